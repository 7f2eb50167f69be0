"""The audio-visual classifier: Audio Branch and an image or video encoder, pooled over the same segments, and fused.

    raw audio (B, L)               -> Audio Branch  -> (B, S, feature_dim) \
                                                                            fusion -> (B, fusion_dim) -> logits
    frames (B, F, C, H, W), times  -> visual branch -> (B, S, hidden size) /

B clips, L samples, F frames, C channels, H x W pixels, S segments. Either side may be missing.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from modeling_audio_branch.disk import saving
from modeling_audio_branch.masks import checked_mask
from modeling_audio_branch.modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.outputs import times_of_segments

from .configuration_audio_visual import AudioVisualConfig
from .fusion import FUSIONS
from .visual_branch import VisualBranch

if TYPE_CHECKING:  # never executed: a checkpoint's users need these files
    from modeling_audio_branch.feature_extraction import AudioBranchFeatureExtractor  # noqa: F401

    from .processing_audio_visual import AudioVisualProcessor  # noqa: F401

SIDES = ("audio", "video")
SPAN_SLACK = 0.02  # seconds that a span may end after a video


@dataclass
class AudioVisualOutput(ModelOutput):
    """Output of [`AudioVisualForClassification`].

    Args:
        loss: Cross-entropy, with labels.
        logits: (B, num_labels).
        modality_weights: (B, 2, S), how much audio (0) and video (1) of each segment count in the fusion, as shares.
        segment_times: (B, S, 2) seconds, start and end of the segments: those of the audio, or, without audio, of the
            video.
        visual_segment_times: (B, S, 2) seconds, start and end of the frames that were pooled for each segment.
        modality_mask: (B, 2) int32, 1 for the sides that a clip had, after modality dropout.
        pooler_output: (B, fusion_dim), the fused vector.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    modality_weights: torch.Tensor | None = None
    segment_times: torch.Tensor | None = None
    visual_segment_times: torch.Tensor | None = None
    modality_mask: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None


class SideProjection(nn.Module):
    """Segments of one side to the width of the fusion; a learned vector in place of a missing side."""

    def __init__(self, size: int, width: int):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(size), nn.Linear(size, width)
        self.missing = nn.Parameter(torch.empty(width))

    def init_parameters(self):
        init.normal_(self.missing, std=0.02)

    def forward(self, segments, is_present):
        """(B, S, size) and (B,) to (B, S, width)."""
        return torch.where(is_present.view(-1, 1, 1), self.linear(self.norm(segments)), self.missing)


class AudioVisualForClassification(PreTrainedModel):
    """Classifies clips by their audio and video. Takes the output of [`AudioVisualProcessor`]."""

    config: AudioVisualConfig
    config_class = AudioVisualConfig
    main_input_name = "input_features"
    input_modalities = ("audio", "video")
    accepts_loss_kwargs = False  # a mean over the batch: else Trainer's gradient accumulation would not divide it
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(self, config: AudioVisualConfig):
        super().__init__(config)
        self.audio_branch = AudioBranchModel(config.audio_config)
        self.visual_branch = VisualBranch(config)
        self.audio_projection = SideProjection(config.audio_config.feature_dim, config.fusion_dim)
        self.video_projection = SideProjection(config.video_config.hidden_size, config.fusion_dim)
        self.fusion = FUSIONS[config.fusion](config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.fusion_dim, config.num_labels)
        self.post_init()
        self._freeze_as_configured()

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, nn.Linear):  # Transformers' standard deviation of 0.02 fits one width only
            init.kaiming_normal_(module.weight, nonlinearity="linear")
        elif hasattr(module, "init_parameters"):
            module.init_parameters()

    @classmethod
    def from_branches(cls, audio, video, **settings) -> "AudioVisualForClassification":
        """A new fusion on two trained sides.

        Args:
            audio: Audio Branch checkpoint: a folder or a Hub repository.
            video: The same of an image or video encoder; of a model of images and texts, the vision encoder is taken.
            **settings: Of [`AudioVisualConfig`], such as `fusion`, `num_labels` and `modality_dropout`.

        Raises:
            OSError, ValueError: One sentence on a checkpoint that can't be loaded, or on a setting.
        """
        audio, video = AudioBranchModel.from_pretrained(audio), AutoModel.from_pretrained(video)
        video = getattr(video, "vision_model", video)
        model = cls(cls.config_class(audio_config=audio.config, video_config=video.config, **settings))
        model.audio_branch.load_state_dict(audio.state_dict())
        model.visual_branch.encoder.load_state_dict(video.state_dict(), strict=False)
        return model

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model._freeze_as_configured()  # loading replaces the frozen parameters by new ones, which train
        return loaded

    def save_pretrained(self, save_directory, *args, **kwargs):
        self.config.validate()
        # Transformers would give the weights of a ViT their names of long ago, and only from_pretrained knows both:
        # Trainer, which continues from such a checkpoint, would leave them at random.
        kwargs.setdefault("save_original_format", False)
        if kwargs.get("state_dict") is not None:  # which Transformers empties then, shard by shard
            kwargs["state_dict"] = dict(kwargs["state_dict"])
        with saving(save_directory):
            super().save_pretrained(save_directory, *args, **kwargs)

    # ------------------------------------------------------------------------------------------------------- freezing

    @property
    def frozen_sides(self) -> set[str]:
        """The sides that are frozen: `audio`, `video`, both or none."""
        return self.__dict__.setdefault("_frozen_sides", set())

    def freeze(self, side: str) -> None:
        """Stops training a side: its parameters get no gradient, and it stays in eval mode through `train()`.

        Args:
            side: `audio` (Audio Branch with its pooling) or `video` (the image or video encoder).
        """
        self._side(side).requires_grad_(False).eval()
        self.frozen_sides.add(side)

    def unfreeze(self, side: str) -> None:
        """Trains a side (see `freeze`) again."""
        self._side(side).requires_grad_(True).train(self.training)
        self.frozen_sides.discard(side)
        self._freeze_unused()

    def train(self, mode: bool = True):
        super().train(mode)
        for side in self.frozen_sides:
            self._side(side).eval()
        return self

    def _side(self, side):
        if side not in SIDES:
            raise ValueError(f"{side!r:.40} is no side to freeze; give 'audio' or 'video'.")
        return self.audio_branch if side == "audio" else self.visual_branch.encoder

    def _freeze_unused(self):
        self.visual_branch.freeze_unused()
        self.audio_branch._freeze_as_configured()

    def _freeze_as_configured(self):
        self._freeze_unused()
        for side in SIDES:
            if getattr(self.config, f"freeze_{side}"):
                self.freeze(side)

    # -------------------------------------------------------------------------------------------------------- forward

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        frame_times: torch.Tensor | None = None,
        video_mask: torch.Tensor | None = None,
        spans: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs,
    ) -> AudioVisualOutput:
        """
        Args:
            input_features: Raw audio (B, L) or log-mel frames (B, T, M), as Audio Branch takes them. None: no clip has
                audio.
            attention_mask: Its valid samples (B, L) or frames (B, T). A row of zeros: this clip has no audio.
            pixel_values: (B, F, C, H, W). None: no clip has a video.
            frame_times: (B, F, 2) seconds, start and end of each frame on the clock of the audio.
            video_mask: (B, F), ones on valid frames, then zeros. A row of zeros: this clip has no video.
            spans: (B, 2) seconds: the part of each clip that is cut into segments, in place of the whole. Give the
                processor `frames_per_segment=None` then, or it keeps the frames for the whole clip.
            labels: (B,) numbers of the labels.

        Raises:
            ValueError: One sentence about an input that is missing or of the wrong shape.
        """
        _check_inputs(input_features, pixel_values, frame_times, spans)
        audio, has_audio, times = self._hear(input_features, attention_mask, spans)
        video, has_video, times, visual_times = self._see(
            pixel_values, frame_times, video_mask, spans, times, has_audio
        )
        size, device = (input_features if input_features is not None else pixel_values).shape[0], self.device
        shape = (size, self.config.num_segments)
        nothing = torch.zeros(size, dtype=torch.bool, device=device)
        has_audio = nothing if has_audio is None else has_audio
        has_video = nothing if has_video is None else has_video
        present = self._drop_sides(torch.stack([has_audio, has_video], dim=-1))  # (B, 2)
        if audio is None:
            audio = torch.zeros(*shape, self.config.audio_config.feature_dim, dtype=self.dtype, device=device)
        if video is None:
            video = torch.zeros(*shape, self.config.video_config.hidden_size, dtype=self.dtype, device=device)
        fused, weights = self.fusion(
            self.audio_projection(audio, present[:, 0]), self.video_projection(video, present[:, 1]), present, times
        )  # (B, D), (B, 2, S)
        logits = self.classifier(self.dropout(fused))  # (B, num_labels)
        return AudioVisualOutput(
            loss=None if labels is None else F.cross_entropy(logits.float(), labels),
            logits=logits,
            modality_weights=weights,
            segment_times=times,
            visual_segment_times=visual_times,
            modality_mask=present.int(),
            pooler_output=fused,
        )

    def _hear(self, input_features, attention_mask, spans):
        """Audio segments (B, S, feature_dim), which clips have audio (B,), and the segment times; None without any."""
        if input_features is None:
            return None, None, None
        if spans is not None:  # a clip without audio has no part of it
            valid = [True] * len(spans) if attention_mask is None else attention_mask[:, 0].bool().tolist()
            if not any(valid):
                return None, None, None
            spans = [span.unsqueeze(0) if each else () for span, each in zip(spans, valid, strict=True)]
        output = self.audio_branch(input_features, attention_mask, spans=spans)
        found = (output.segment_features, output.segment_mask, output.segment_times)
        features, mask, times = found if spans is None else (each[:, 0] for each in found)
        return features, mask[:, 0].bool(), times

    def _see(self, pixel_values, frame_times, video_mask, spans, times, has_audio):
        """Video segments (B, S, D), which clips have a video, the times of the segments, and those of their frames."""
        if pixel_values is None:
            return None, None, times, None
        frame_mask, _ = checked_mask(video_mask, pixel_values.shape[:2], pixel_values.device)
        frame_times = torch.where(frame_mask.unsqueeze(-1), frame_times.float(), 0.0)
        end = frame_times[..., 1].amax(-1)  # (B,)
        if spans is not None:
            _check_spans_of_videos(spans, end, frame_mask[:, 0] if has_audio is None else frame_mask[:, 0] & ~has_audio)
        borders = (torch.zeros_like(end), end) if spans is None else spans.float().unbind(-1)
        own_times = times_of_segments(*borders, self.config.num_segments)
        times = own_times if times is None else torch.where(has_audio.view(-1, 1, 1), times, own_times)
        features, visual_times = self.visual_branch(pixel_values.to(self.dtype), frame_times, frame_mask, times)
        return features, frame_mask[:, 0], times, visual_times

    def _drop_sides(self, present):
        """In training, takes a side from some of the clips that have both."""
        if not self.training or not self.config.modality_dropout:
            return present
        is_dropped = torch.rand(len(present), device=present.device) < self.config.modality_dropout
        side = torch.randint(2, (len(present),), device=present.device)
        is_dropped = is_dropped & present.all(-1)
        return present & ~(is_dropped.unsqueeze(-1) & F.one_hot(side, 2).bool())


def _check_spans_of_videos(spans, seconds, is_asked):
    """Raises a ValueError of one sentence for a span (B, 2) that is not inside its video of so many `seconds` (B,)."""
    fits = (spans[:, 0] >= 0) & (spans[:, 0] < spans[:, 1]) & (spans[:, 1] <= seconds + SPAN_SLACK)
    for clip in (is_asked & ~fits).nonzero().flatten().tolist():
        start, end = spans[clip].tolist()
        raise ValueError(
            f"The span of clip {clip} is from {start:g} to {end:g} s, but must start before it ends, both inside the "
            f"video's 0 to {seconds[clip].item():g} s."
        )


def _check_inputs(input_features, pixel_values, frame_times, spans):
    """Raises a ValueError of one sentence for inputs that are missing or don't fit together."""
    if input_features is None and pixel_values is None:
        raise ValueError("Neither input_features nor pixel_values were given; give at least one of them.")
    size = len(pixel_values if input_features is None else input_features)
    if pixel_values is not None:
        if pixel_values.ndim != 5:
            raise ValueError(
                f"pixel_values has the shape {tuple(pixel_values.shape)}; give (clips, frames, 3, height, width)."
            )
        if frame_times is None or frame_times.shape != (*pixel_values.shape[:2], 2):
            given = None if frame_times is None else tuple(frame_times.shape)
            raise ValueError(
                f"frame_times has the shape {given}; give {(*pixel_values.shape[:2], 2)}, start and end of each frame "
                f"in seconds."
            )
        if len(pixel_values) != size:
            raise ValueError(
                f"There are {size} clips of audio and {len(pixel_values)} of video; give the same, with a mask of "
                f"zeros for a side that is missing."
            )
    if spans is not None and spans.shape != (size, 2):
        raise ValueError(f"spans has the shape {tuple(spans.shape)}; give {(size, 2)}, start and end in seconds.")
