"""Processor of the audio-visual classifier: video files, or frames and audio, to a padded batch of both inputs.

Transformers copies what the text of this file seems to import along with it. With the next line, that is all code:

    from .modeling_audio_visual import AudioVisualForClassification

B clips, F frames, H x W pixels, L samples, S segments, K sampled frames of a segment.
"""

import copy
import os
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchFeature
from transformers.processing_utils import ProcessorMixin

from modeling_audio_branch.audio_input import load_audio
from modeling_audio_branch.disk import saving
from modeling_audio_branch.masks import length_mask
from modeling_audio_branch.outputs import times_of_segments

from .configuration_audio_visual import AUTO_MAP
from .segment_frames import thin_frames
from .shipped_code import save_code
from .video_file import VideoClip, read_video


class AudioVisualProcessor(ProcessorMixin):
    """Decodes, resamples, scales and pads both sides of clips.

    Of the frames of a segment, only those are kept that the model looks at (see `segment_frames`), so that batches do
    not grow with the length of the videos. While a file is read, all of its frames are held, at the encoder's size.

    Args:
        sampling_rate: Of the audio in Hz; audio of another rate is resampled.
        hop_length: Samples per log-mel frame, in which Audio Branch counts the length of a clip.
        num_segments: Segments of a clip.
        frames_per_segment: Frames of a segment that are kept; None keeps all.
        image_size: Height and width of the frames for the encoder. Frames are scaled to it, without cropping.
        image_mean: Mean of each color, subtracted from pixels in [0, 1].
        image_std: Standard deviation of each color, which pixels are divided by.
    """

    def __init__(
        self,
        sampling_rate: int = 16000,
        hop_length: int = 160,
        num_segments: int = 8,
        frames_per_segment: int | None = 4,
        image_size: list[int] | None = None,
        image_mean: list[float] | None = None,
        image_std: list[float] | None = None,
    ):
        super().__init__()
        self.sampling_rate, self.hop_length, self.num_segments = sampling_rate, hop_length, num_segments
        self.frames_per_segment = frames_per_segment
        self.image_size = list(image_size or (224, 224))
        self.image_mean, self.image_std = list(image_mean or [0.5] * 3), list(image_std or [0.5] * 3)
        for name, count in {"image_size": 2, "image_mean": 3, "image_std": 3}.items():
            values = getattr(self, name)
            if len(values) != count or (name != "image_mean" and not all(value > 0 for value in values)):
                raise ValueError(f"{name}={values!s:.60} was given; give {count} numbers, those of sizes above 0.")

    @classmethod
    def from_model_config(cls, config, **settings) -> "AudioVisualProcessor":
        """The processor of a model with this [`AudioVisualConfig`]; `settings` such as `image_mean` replace its own."""
        size = config.video_config.image_size
        learned = config.audio_config.segmentation == "learned"  # whose borders the model alone knows
        own = {
            "sampling_rate": config.audio_config.sample_rate,
            "hop_length": config.audio_config.hop_length,
            "num_segments": config.num_segments,
            "frames_per_segment": None if learned else config.frames_per_segment,
            "image_size": [size, size] if isinstance(size, int) else list(size),
        }
        return cls(**(own | settings))

    @property
    def model_input_names(self) -> list[str]:
        """Names of what `__call__` returns."""
        return ["input_features", "attention_mask", "pixel_values", "frame_times", "video_mask"]

    def to_dict(self):
        return super().to_dict() | {"auto_map": {"AutoProcessor": copy.deepcopy(AUTO_MAP["AutoProcessor"])}}

    def save_pretrained(self, save_directory, push_to_hub: bool = False, **kwargs):
        if push_to_hub:  # the upload would end before the code is written
            raise ValueError("push_to_hub=True leaves out the code; use processor.push_to_hub(repo_id).")
        with saving(save_directory):
            written = super().save_pretrained(save_directory, **kwargs)
            save_code(save_directory)
        return written

    def __call__(
        self,
        videos: Any = None,
        frames: Any = None,
        frame_rate: float | list[float] | None = None,
        audio: Any = None,
        sampling_rate: int | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """
        Args:
            videos: A video file (path or bytes) or a list of them. A file may lack either stream.
            frames: In place of `videos`: the frames of a clip, (F, H, W, 3) uint8, or a list with those of each clip,
                None for a clip without a video. The first frame begins with the audio.
            frame_rate: With `frames`: frames per second, one number or one for each clip.
            audio: With `frames` or alone: a clip in any form that Audio Branch takes, or a list with one of each clip,
                None for a clip without audio.
            sampling_rate: Rate in Hz of audio that does not carry its own.
            return_tensors: `pt` or `np`.

        Returns:
            `input_features` (B, L) float32, raw audio, with `attention_mask` (B, L); `pixel_values` (B, F, 3, H, W)
            float32 with `frame_times` (B, F, 2) seconds and `video_mask` (B, F). A side that no clip has is left out.

        Raises:
            ValueError, TypeError, FileNotFoundError, ImportError: One sentence on what is wrong with which clip.
        """
        if (videos is None) == (frames is None and audio is None):
            raise ValueError("Give either videos, or frames with frame_rate and audio (one of both is enough).")
        if videos is not None:
            is_list = isinstance(videos, (list, tuple))
            clips = [
                read_video(_checked_path(each), tuple(self.image_size)) for each in (videos if is_list else [videos])
            ]
        else:
            clips = _clips_of(frames, frame_rate, audio, sampling_rate)
        waves = [self._wave(clip, number) for number, clip in enumerate(clips)]
        pictures = [self._pictures(clip, wave) for clip, wave in zip(clips, waves, strict=True)]
        data = {}
        if any(wave is not None for wave in waves):
            filled = [torch.zeros(0) if wave is None else wave for wave in waves]
            data["input_features"] = pad_sequence(filled, batch_first=True)
            lengths = torch.tensor([len(wave) for wave in filled])
            data["attention_mask"] = length_mask(lengths, data["input_features"].shape[1]).int()
        if any(picture is not None for picture in pictures):
            empty = torch.zeros(0, 3, *self.image_size), torch.zeros(0, 2)
            pixels, times = zip(*(empty if each is None else each for each in pictures), strict=True)
            data["pixel_values"] = pad_sequence(pixels, batch_first=True)
            data["frame_times"] = pad_sequence(times, batch_first=True)
            data["video_mask"] = length_mask(torch.tensor([*map(len, times)]), data["frame_times"].shape[1]).int()
        if return_tensors == "np":
            data = {name: value.numpy() for name, value in data.items()}
        elif return_tensors != "pt":
            raise ValueError(f"return_tensors={return_tensors!r} was given; give 'pt' or 'np'.")
        return BatchFeature(data)

    def _wave(self, clip: VideoClip, number: int):
        """Samples (L,) at the rate of the model; None without audio."""
        if clip.samples is None:
            return None
        return load_audio(clip.samples, self.sampling_rate, clip.sampling_rate, number)

    def _pictures(self, clip: VideoClip, wave):
        """The frames that the model will look at, (F, 3, H, W), and their times (F, 2); None without a video."""
        if clip.frames is None:
            return None
        frames, times = clip.frames, clip.frame_times
        if self.frames_per_segment is not None:
            num_hops = 0 if wave is None else len(wave) // self.hop_length
            # Audio that is too short for a frame is no audio, and the clip is as long as its video.
            seconds = num_hops * self.hop_length / self.sampling_rate if num_hops else times[-1, 1]
            seconds = torch.as_tensor(seconds, dtype=torch.float64)
            segments = times_of_segments(torch.zeros_like(seconds), seconds, self.num_segments)
            indices, times = thin_frames(times, segments, self.frames_per_segment)
            frames = frames[indices]
        pixels = frames.permute(0, 3, 1, 2).float() / 255  # (F, 3, H, W)
        if list(pixels.shape[-2:]) != self.image_size:
            pixels = F.interpolate(pixels, self.image_size, mode="bilinear", antialias=True).clamp(0, 1)
        mean, std = (torch.tensor(each).view(3, 1, 1) for each in (self.image_mean, self.image_std))
        return (pixels - mean) / std, times.float()


def _checked_path(source):
    if not isinstance(source, (str, os.PathLike, bytes)):
        raise TypeError(f"A video is a {type(source).__name__}; give a path or the bytes of a file, or frames=.")
    return source


def _clips_of(frames, frame_rate, audio, sampling_rate) -> list[VideoClip]:
    """The arguments of `__call__` as clips."""
    is_list = isinstance(frames, (list, tuple)) or (frames is None and isinstance(audio, (list, tuple)))
    frames, audio = ([each] if not is_list and each is not None else each for each in (frames, audio))
    count = len(frames if frames is not None else audio)
    frames, audio = ([None] * count if each is None else each for each in (frames, audio))
    rates = list(frame_rate) if isinstance(frame_rate, (list, tuple)) else [frame_rate] * count
    if not len(frames) == len(audio) == len(rates):
        raise ValueError(
            f"There are {len(frames)} clips of frames, {len(audio)} of audio and {len(rates)} rates; give the same, "
            f"with None for a side that is missing."
        )
    clips = []
    for number, (pictures, rate, sound) in enumerate(zip(frames, rates, audio, strict=True)):
        clip = VideoClip()
        if pictures is not None:
            clip.frames = _checked_frames(pictures, number)
            if not isinstance(rate, (int, float)) or not 0 < rate < 10_000:
                raise ValueError(f"Clip {number} of the batch has frame_rate={rate!r:.40}; give frames per second.")
            borders = torch.arange(len(clip.frames) + 1, dtype=torch.float64) / rate
            clip.frame_times = torch.stack([borders[:-1], borders[1:]], dim=-1)
        if sound is not None:
            clip.samples, clip.sampling_rate = sound, sampling_rate
        if pictures is None and sound is None:
            raise ValueError(f"Clip {number} of the batch has neither frames nor audio; leave it out.")
        clips.append(clip)
    return clips


def _checked_frames(frames, number) -> torch.Tensor:
    frames = torch.as_tensor(frames if isinstance(frames, torch.Tensor) else np.asarray(frames))
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != torch.uint8 or not len(frames):
        raise ValueError(
            f"The frames of clip {number} of the batch are {frames.dtype} of the shape {tuple(frames.shape)}; give "
            f"uint8 of (frames, height, width, 3)."
        )
    return frames
