"""Publishes a checkpoint on the Hugging Face Hub: `audio-branch push`, under the name that the checkout has had.

python hub_upload.py CHECKPOINT --repo-id USER/NAME --dry-run OUT_DIR     # assemble and check only
python hub_upload.py CHECKPOINT --repo-id USER/NAME --tag v1.0.0
"""

from modeling_audio_branch.hub.publish import app

if __name__ == "__main__":
    app()
