"""A recording for the tests that find words in it, and a small Whisper."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

from helpers.encoders import WHISPER
from modeling_audio_branch.audio_input import load_audio
from recipes.phrases.audio import SAMPLE_RATE, trim

AUDIO = Path(__file__).parents[3] / "examples" / "audio"


@pytest.fixture
def paused():
    """Somebody speaking, and the same with a pause in the middle."""
    recording = trim(load_audio(AUDIO / "go_forward_ten_meters.wav", SAMPLE_RATE).numpy())
    return recording, np.insert(recording, len(recording) // 2, np.zeros(SAMPLE_RATE // 4, np.float32))


@pytest.fixture(scope="session")
def whisper(tmp_path_factory):
    """A small Whisper of three layers with random weights, in a folder."""
    torch.manual_seed(0)
    sizes = WHISPER | {"encoder_layers": 3, "num_mel_bins": 80, "max_source_positions": 1500}
    folder = tmp_path_factory.mktemp("whisper")
    WhisperModel(WhisperConfig(**sizes)).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder
