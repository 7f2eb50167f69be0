"""A recording for the tests that find words in it."""

from pathlib import Path

import numpy as np
import pytest

from modeling_audio_branch.audio_input import load_audio
from recipes.phrases.audio import SAMPLE_RATE, trim

AUDIO = Path(__file__).parents[3] / "examples" / "audio"


@pytest.fixture
def paused():
    """Somebody speaking, and the same with a pause in the middle."""
    recording = trim(load_audio(AUDIO / "go_forward_ten_meters.wav", SAMPLE_RATE).numpy())
    return recording, np.insert(recording, len(recording) // 2, np.zeros(SAMPLE_RATE // 4, np.float32))
