"""Data and checkpoints of the tests of recipes/emotion. The tests read them, and copy what they change."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from helpers.models import tiny_config
from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchModel
from recipes.emotion.data import RAVDESS_EMOTIONS

AUDIO = Path(__file__).parents[3] / "examples" / "audio"
RATE = 16000


@pytest.fixture(scope="session")
def ravdess(tmp_path_factory):
    """Real speech cut into half seconds, in the layout of RAVDESS; each emotion ends in a tone of its own."""
    folder = tmp_path_factory.mktemp("ravdess")
    paths = sorted(AUDIO.glob("*.flac")) + sorted(AUDIO.glob("*.wav"))
    speech = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in paths])
    generator = np.random.default_rng(0)
    for actor in range(1, 25):
        (folder / f"Actor_{actor:02d}").mkdir()
        for emotion in RAVDESS_EMOTIONS:
            start = generator.integers(len(speech) - RATE)
            clip = speech[start : start + int(RATE * generator.uniform(0.4, 0.7))]
            half = np.arange(len(clip)) > len(clip) / 2
            tone = half * np.sin(2 * np.pi * 400 * emotion * np.arange(len(clip)) / RATE)
            name = f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
            soundfile.write(folder / f"Actor_{actor:02d}" / name, 0.5 * clip + 0.3 * tone, RATE)
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A small model to start from, at another rate than the data."""
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    settings = {"d_model": 32, "feature_dim": 32, "n_mels": 40, "sample_rate": 8000, "n_fft": 256, "win_length": 200}
    config = tiny_config(**settings, hop_length=80, subsampling_factor=4, subsampling_channels=16, num_segments=8)
    model = AudioBranchModel(config)
    model.save_pretrained(folder)
    AudioBranchFeatureExtractor.from_model(model).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def wav2vec2(tmp_path_factory):
    """A checkpoint on another library's encoder."""
    folder = tmp_path_factory.mktemp("wav2vec2")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    config = Wav2Vec2Config(**sizes, feat_extract_norm="layer", do_stable_layer_norm=True)
    Wav2Vec2Model(config).save_pretrained(folder / "encoder")
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder / "encoder")
    AudioBranchModel.from_encoder(folder / "encoder").save_pretrained(folder / "model")
    return folder / "model"
