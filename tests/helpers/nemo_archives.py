"""The .nemo archives in fixtures/nemo, which NeMo 3.0.0 wrote, and changed copies of them."""

import io
import tarfile
from pathlib import Path

import torch
import yaml

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
