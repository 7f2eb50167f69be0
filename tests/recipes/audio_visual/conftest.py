"""Tiny models, clips and videos of the tests of recipes/audio_visual."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import VideoMAEConfig, ViTConfig

from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchModel
from recipes.audio_visual.model import AudioVisualConfig, AudioVisualForClassification
from recipes.audio_visual.model.fusion import FUSIONS
from recipes.audio_visual.write_video import write_video
from recipes.emotion.data import RAVDESS_EMOTIONS

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
SIZES |= {"image_size": 8, "patch_size": 4}
FRAME_RATE = 25
RATE = 16000


def av_config(fusion="cross_attention", sees_videos=False, **settings) -> AudioVisualConfig:
    """A tiny configuration with an image encoder, or with a video encoder."""
    video = VideoMAEConfig(**SIZES, num_frames=2) if sees_videos else ViTConfig(**SIZES)
    settings = {"fusion_dim": 16, "num_heads": 2, "num_labels": 3, "frames_per_segment": 2, "dropout": 0.0} | settings
    return AudioVisualConfig(audio_config=tiny_config(), video_config=video, fusion=fusion, **settings)


def av_clip(seconds: float, seed: int = 0, side: str = "both") -> dict[str, torch.Tensor]:
    """The inputs of one clip, a batch of one; `side` leaves the other out."""
    samples = random_clips([round(seconds * RATE)], seed)[0]
    count = max(1, round(seconds * FRAME_RATE))
    pixels = torch.randn(1, count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    borders = torch.arange(count + 1) / FRAME_RATE
    audio = {"input_features": samples[None], "attention_mask": torch.ones(1, len(samples), dtype=torch.int32)}
    times = torch.stack([borders[:-1], borders[1:]], -1)[None]
    video = {"pixel_values": pixels, "frame_times": times, "video_mask": torch.ones(1, count, dtype=torch.int32)}
    return {"audio": audio, "video": video, "both": audio | video}[side]


def av_batch(clips: list[dict], noise: float = 0.0) -> dict[str, torch.Tensor]:
    """The clips as one batch; a side that a clip lacks is masked. What is masked holds this value."""
    batch = {}
    for name in {name: None for clip in clips for name in clip}:
        example = next(clip[name] for clip in clips if name in clip)
        longest = max(clip[name].shape[1] for clip in clips if name in clip)
        fill = 0 if name.endswith("mask") else noise
        batch[name] = torch.full((len(clips), longest, *example.shape[2:]), fill, dtype=example.dtype)
        for row, clip in enumerate(clips):
            if name in clip:
                batch[name][row, : clip[name].shape[1]] = clip[name][0]
    return batch


@pytest.fixture(scope="session")
def av():
    """What the tests of this folder share: functions that make configurations, clips and batches."""
    return SimpleNamespace(
        config=av_config,
        clip=av_clip,
        batch=av_batch,
        model=lambda *args, seed=0, **settings: make_model(
            AudioVisualForClassification, av_config(*args, **settings), seed
        ),
        fusions=list(FUSIONS),
        rate=RATE,
        frame_rate=FRAME_RATE,
    )


@pytest.fixture(scope="session")
def ravdess_videos(tmp_path_factory):
    """Videos in the layout of RAVDESS: the brightness of the picture and the pitch of the tone tell the emotion."""
    folder, generator = tmp_path_factory.mktemp("ravdess"), np.random.default_rng(0)
    for actor in range(1, 25):
        (folder / f"Actor_{actor:02d}").mkdir()
        for emotion in RAVDESS_EMOTIONS:
            frames = generator.normal(28 * emotion, 5, (12, 16, 16, 3)).clip(0, 255).astype(np.uint8)
            tone = 0.3 * np.sin(2 * np.pi * 300 * emotion * np.arange(8000) / RATE)
            name = f"01-01-{emotion:02d}-01-01-01-{actor:02d}.mp4"
            write_video(folder / f"Actor_{actor:02d}" / name, frames, FRAME_RATE, tone, RATE)
    return folder


@pytest.fixture(scope="session")
def sides(tmp_path_factory):
    """Folders of a checkpoint of each side."""
    from transformers import ViTImageProcessorPil, ViTModel

    folder = tmp_path_factory.mktemp("sides")
    torch.manual_seed(0)
    AudioBranchModel(tiny_config()).save_pretrained(folder / "audio")
    ViTModel(ViTConfig(**SIZES)).save_pretrained(folder / "video")
    ViTImageProcessorPil(size={"height": 8, "width": 8}, image_mean=[0.4] * 3).save_pretrained(folder / "video")
    return folder / "audio", folder / "video"
