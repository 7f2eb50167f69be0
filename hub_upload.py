"""Publishes a checkpoint on the Hugging Face Hub: `audio-branch push`, for a checkout that is not installed.

python hub_upload.py CHECKPOINT --repo-id USER/NAME --dry-run FOLDER     # assemble and verify only
python hub_upload.py CHECKPOINT --repo-id USER/NAME --tag v1.0.0
"""

import typer

from modeling_audio_branch.cli.push import push

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(push)

if __name__ == "__main__":
    app()
