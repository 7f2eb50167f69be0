"""Recordings of tiny indexes, and a process that is killed while it indexes."""

import random
import time

import soundfile
import torch

from helpers.models import make_model, random_clips, tiny_config
from helpers.processes import quick_context
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.corpus import AudioIndex

RATE = 16000
SETTINGS = {"attention_window": 3, "subsampling_factor": 4, "sample_rate": RATE}


def index_model(seed: int = 0) -> AudioBranchModel:
    """A tiny model that recordings are indexed with."""
    return make_model(AudioBranchModel, tiny_config(**SETTINGS), seed)


def write_recordings(folder, count: int = 3, seconds: float = 2.0, seed: int = 0) -> list[str]:
    """Paths of wav files of noise, each of another."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = random_clips([int(seconds * RATE) + 160 * number for number in range(count)], seed)
    paths = [folder / f"{number}.wav" for number in range(count)]
    for path, clip in zip(paths, clips, strict=True):
        soundfile.write(path, clip.numpy(), RATE)
    return [str(path) for path in paths]


def _index(folder, files, started):
    torch.set_num_threads(1)
    model = index_model()
    started.set()
    AudioIndex(folder, model).add(files)


def index_and_kill(folder, files: list[str], generator: random.Random, longest: float) -> bool:
    """Indexes in another process that is killed within `longest` seconds; whether it was not done by then."""
    context = quick_context()
    started = context.Event()
    process = context.Process(target=_index, args=(folder, files, started))
    process.start()
    assert started.wait(120)
    time.sleep(generator.uniform(0, longest))
    process.kill()
    process.join()
    return process.exitcode != 0
