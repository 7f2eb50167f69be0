"""Saving to a full disk: one sentence with the folder, and nothing that was not there before is left."""

import pytest
import torch

from helpers.full_disk import full_disk
from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.disk import DiskError


@pytest.mark.parametrize("largest_file", [0, 500, 5000, 20_000])
@pytest.mark.parametrize("kind", ["model", "classifier", "extractor"])
@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a folder with a file"])
def test_saving_to_a_full_disk_is_one_sentence_and_leaves_nothing(largest_file, kind, there, tmp_path):
    folder = tmp_path / "new" / "folder"
    if there != "nothing":
        folder.mkdir(parents=True)
    if there == "a folder with a file":
        (folder / "notes.txt").write_text("mine")
    model = make_model(AudioBranchForAudioClassification if kind == "classifier" else AudioBranchModel, tiny_config())
    saved = AudioBranchFeatureExtractor.from_model(model) if kind == "extractor" else model
    if kind == "extractor" and largest_file == 20_000:
        largest_file = 10_000  # its largest file is a source file
    with full_disk(largest_file), pytest.raises(DiskError) as raised:
        saved.save_pretrained(folder)
    assert str(raised.value).startswith(f"{folder} cannot be written (File too large); free some space there")
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert left == (["notes.txt"] if there == "a folder with a file" else [])
    assert folder.exists() == (there != "nothing")
    saved.save_pretrained(folder)
    if kind != "extractor":
        assert torch.equal(type(model).from_pretrained(folder).base_model.pooling.query, model.base_model.pooling.query)
