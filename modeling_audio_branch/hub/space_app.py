"""The app.py of a Space: the page of the model in the folder `checkpoint`, by the package next to this file."""

from pathlib import Path

from modeling_audio_branch.app.page import build_page, launch
from modeling_audio_branch.cli.common import load_model

FOLDER = Path(__file__).parent / "checkpoint"

demo = build_page(load_model(str(FOLDER), trust_remote_code=False), "{repo_id}")

if __name__ == "__main__":
    launch(demo)
