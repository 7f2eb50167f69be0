"""The .nemo archives in fixtures/nemo, which NeMo 3.0.0 wrote, and changed copies of them."""

import io
import tarfile
from pathlib import Path

import pytest
import torch
import yaml

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.convert.nemo_archive import NemoError

NEMO = Path(__file__).parents[1] / "fixtures" / "nemo"
ARCHIVES = sorted(folder.name for folder in NEMO.iterdir() if (folder / "model.nemo").exists())


def change(archive, target, change_config=None, change_weights=None, mode="w"):
    """A copy of an archive with another configuration or other weights."""
    with tarfile.open(archive) as source, tarfile.open(target, mode) as copy:
        for member in filter(tarfile.TarInfo.isreg, source):
            data = source.extractfile(member).read()
            if member.name.endswith("model_config.yaml") and change_config:
                config = yaml.safe_load(data)
                change_config(config)
                data = yaml.safe_dump(config).encode()
            if member.name.endswith("model_weights.ckpt") and change_weights:
                weights = torch.load(io.BytesIO(data), weights_only=True)
                change_weights(weights)
                buffer = io.BytesIO()
                torch.save(weights, buffer)
                data = buffer.getvalue()
            member.size = len(data)
            copy.addfile(member, io.BytesIO(data))
    return target


def assert_refused(section, settings, named, tmp_path):
    """An archive with these settings in a section of its configuration gives an error of one line that names them."""
    archive = change(
        NEMO / "fc_ctc_bpe/model.nemo", tmp_path / "model.nemo", lambda config: config[section].update(settings)
    )
    with pytest.raises(NemoError) as raised:
        AudioBranchModel.from_nemo(archive)
    assert named in str(raised.value) and "\n" not in str(raised.value)
