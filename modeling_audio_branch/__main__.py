"""`python -m modeling_audio_branch` is the command `audio-branch`."""

from modeling_audio_branch.cli import app

if __name__ == "__main__":
    app(prog_name="audio-branch")
