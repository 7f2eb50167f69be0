"""What ours is compared with: MFCCs, and a frozen Whisper encoder, both averaged over 8 segments in order."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import WhisperFeatureExtractor, WhisperModel

from modeling_audio_branch.audio_input import load_audio
from modeling_audio_branch.outputs import sequence_embedding

from ..phrases.audio import SAMPLE_RATE
from ..phrases.baselines import parse_encoder
from ..phrases.dtw import mfcc
from .encoder import ClipEncoder, audio_meta

SEGMENTS = 8
WINDOWS = (2, 4, 8, 16, 30)  # seconds; a clip gets the first in which it is followed by at least half a second
WHISPER_RATE, WHISPER_SAMPLES_PER_FRAME = 16000, 320


def sequence_of_segments(frames: torch.Tensor) -> torch.Tensor:
    """Frames (T, D) to 8 mean directions, one behind the other, over sqrt(8): the mean cosine is their dot product."""
    return sequence_embedding(F.adaptive_avg_pool1d(frames.T, SEGMENTS).T)  # of (S, D)


def mfcc_encoder() -> ClipEncoder:
    """The baseline of the recipe of phrases (see `recipes.phrases.dtw`)."""

    def embed(clips):
        frames = (mfcc(load_audio(clip, SAMPLE_RATE).numpy()) for clip in clips)
        return torch.stack([sequence_of_segments(each) for each in frames]).numpy()

    return ClipEncoder(audio_meta("baseline/mfcc", "1", dim=SEGMENTS * 39, parameters=0), embed)


class ShortWhisper(nn.Module):
    """A Whisper encoder on windows shorter than 30 s: its first positions, which is 10 times as fast for short clips.

    Args:
        folder: Of a WhisperModel in Transformers' format.
        layer: Whose output is taken; -1 is the last, after the final norm.
    """

    def __init__(self, folder: str, layer: int):
        super().__init__()
        self.encoder = WhisperModel.from_pretrained(folder).encoder.eval()
        self.layer, self.positions = layer, self.encoder.embed_positions.weight.data
        self.mels = self.encoder.config.num_mel_bins

    @torch.no_grad()
    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        """A clip (L,) at 16 kHz to its frames (T, D), 50 a second. What is beyond 29.5 s is left out."""
        clip = clip[: int((WINDOWS[-1] - 0.5) * WHISPER_RATE)]
        window = next(each for each in WINDOWS if len(clip) / WHISPER_RATE + 0.5 <= each)
        extractor = WhisperFeatureExtractor(feature_size=self.mels, chunk_length=window)
        features = extractor(clip.numpy(), sampling_rate=WHISPER_RATE, return_tensors="pt").input_features
        count = self.encoder.config.max_source_positions = window * 50
        self.encoder.embed_positions = nn.Embedding.from_pretrained(self.positions[:count])
        states = self.encoder(features, output_hidden_states=True).hidden_states[self.layer][0]
        return states[: -(-len(clip) // WHISPER_SAMPLES_PER_FRAME)]


def whisper_encoder(name: str) -> ClipEncoder:
    """A frozen Whisper, given as FOLDER:LAYER."""
    folder, layer = parse_encoder(name)
    whisper = ShortWhisper(folder, layer)

    def embed(clips) -> np.ndarray:
        frames = (whisper(load_audio(clip, WHISPER_RATE)) for clip in clips)
        return torch.stack([sequence_of_segments(each) for each in frames]).numpy()

    parameters = sum(parameter.numel() for parameter in whisper.parameters())
    dim = SEGMENTS * whisper.encoder.config.d_model
    return ClipEncoder(audio_meta(f"baseline/{Path(folder).name}-layer{layer}", "1", dim, parameters), embed)
