"""Small corpora with broken files, and a process that is killed while it embeds one."""

import json
import random
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from helpers.models import make_model, random_clips, tiny_config
from helpers.processes import quick_context
from helpers.recordings import SETTINGS
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.corpus import as_array, embed_corpus, read_features

RATES = 16000, 8000, 44100
FORMATS = ("wav", "PCM_16"), ("flac", "PCM_16"), ("ogg", "VORBIS")


def corpus_model(seed: int = 0) -> AudioBranchModel:
    """A tiny model with 8 segments of 16 numbers."""
    return make_model(AudioBranchModel, tiny_config(**SETTINGS, num_segments=8, feature_dim=16), seed)


def write_corpus(folder: Path, count: int, broken: int = 0, seed: int = 0, seconds=(0.2, 1.0)) -> list[str]:
    """Paths of good files of several rates, formats and channels; `broken` more are no audio, each in another way."""
    folder.mkdir(parents=True, exist_ok=True)
    generator, paths = random.Random(seed), []
    for number in range(count):
        rate, (suffix, subtype) = RATES[number % 3], FORMATS[number % len(FORMATS)]
        clip = 0.1 * random_clips([int(generator.uniform(*seconds) * rate)], seed + number)[0].numpy()
        clip = np.stack([clip] * (1 + number % 2), 1)
        paths.append(folder / f"clip_{number:04d}.{suffix}")
        soundfile.write(paths[-1], clip, rate, subtype=subtype)
    for number in range(broken):
        data = (b"", b"no audio", Path(paths[0]).read_bytes()[:44])[number % 3]
        (folder / f"broken_{number:04d}.wav").write_bytes(data)
    return [str(path) for path in paths]


def as_rows(folder: Path) -> dict[str, dict]:
    """The rows of an output by their path, with arrays; each path must be there once."""
    table = read_features(folder)
    arrays = {name: as_array(table[name]) for name in table.column_names if name.startswith("segment")}
    paths = table["path"].to_pylist()
    assert len(set(paths)) == len(paths)
    others = table.select([name for name in table.column_names if name not in arrays]).to_pylist()
    return {
        path: row | {name: values[number] for name, values in arrays.items()}
        for number, (path, row) in enumerate(zip(paths, others, strict=True))
    }


def assert_equal_rows(first: dict, second: dict, atol: float = 1e-5):
    """The same rows; numbers of features may differ by `atol`."""
    assert first.keys() == second.keys()
    for path, row in first.items():
        assert row.keys() == second[path].keys()
        for name, value in row.items():
            if name == "segment_features":
                np.testing.assert_allclose(value, second[path][name], atol=atol, rtol=0)
            elif isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, second[path][name])
            else:
                assert value == second[path][name], name


def _embed(inputs, out, options, started):
    torch.set_num_threads(1)
    model = corpus_model()
    started.set()
    embed_corpus(inputs, out, model, **options)


def embed_and_kill(inputs, out: Path, generator: random.Random, longest: float, **options) -> bool:
    """Embeds in another process that is killed within `longest` seconds; whether it was not done by then."""
    context = quick_context()
    started = context.Event()
    process = context.Process(target=_embed, args=(inputs, out, options, started))
    process.start()
    assert started.wait(120)
    time.sleep(generator.uniform(0, longest))
    process.kill()
    process.join()
    return process.exitcode != 0


def metadata_of(path: Path) -> dict:
    """What a shard tells of what made it."""
    import pyarrow.parquet

    return json.loads(pyarrow.parquet.read_metadata(path).metadata[b"audio_branch"])
