"""What is exported: a model as a function of two or three tensors, whose outputs come in one order.

B batch, L samples, T frames, M mel bins, N spans.
"""

import copy
import math
from types import MethodType

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from ..log_mel import LogMel
from .errors import ExportError
from .traced_spans import pool_segments

RAW, FEATURES = "raw", "features"
OUTPUTS = ("segment_features", "segment_times", "segment_mask", "pooler_output")


class ConvolvedLogMel(LogMel):
    """The same log-mel frames with the Fourier transform as a convolution with windowed cosines and sines.

    Runtimes have no fast operator for it, and OpenVINO none at all; as a convolution it is 1e-5 from the original.
    """

    @classmethod
    def like(cls, log_mel: LogMel) -> "ConvolvedLogMel":
        """With the settings, the window and the filters of another."""
        made = cls(log_mel.sampling_rate, log_mel.n_mels, log_mel.settings).to(log_mel.window.device)
        for name, value in log_mel.named_buffers():
            getattr(made, name).copy_(value)
        size = made.settings.n_fft
        bins = torch.arange(size // 2 + 1, dtype=torch.float64)
        angles = bins[:, None] * torch.arange(size, dtype=torch.float64) * (2 * math.pi / size)
        waves = torch.cat([angles.cos(), angles.sin()]) * made._padded_window().double()
        made.register_buffer("waves", waves.float().unsqueeze(1))  # (2 (n_fft // 2 + 1), 1, n_fft)
        return made

    def _frames(self, waveform, attention_mask, num_frames):
        return self._emphasised(waveform, attention_mask, num_frames)

    def _power(self, frames):
        """Samples (B, L) to the power spectra of their frames, (B, T, n_fft // 2 + 1)."""
        waves = F.conv1d(frames.unsqueeze(1), self.waves, stride=self.settings.hop_length)  # (B, 2 bins, T)
        real, imaginary = waves.transpose(1, 2).chunk(2, dim=-1)
        return real * real + imaginary * imaginary


class Exportable(nn.Module):
    """A copy of a model in eval mode and float32, called with `input_names` in order, which returns `output_names`.

    Args:
        model: An [`AudioBranchModel`] or a classifier.
        source: What goes in: `raw` audio (B, L), or the `features` (B, T, M) of the feature extractor.
        attention: `eager` or `sdpa`, as exporters need it.
        spans: Whether spans (B, N, 2) go in, too: all outputs then have an axis N behind B.

    Raises:
        ExportError: Raw audio for an encoder of Transformers, whose feature extractor is no part of the model.
    """

    def __init__(self, model: PreTrainedModel, source: str = RAW, attention: str = "eager", spans: bool = False):
        super().__init__()
        if source not in (RAW, FEATURES):
            raise ExportError(f"source={source!r} was given; give {RAW!r} or {FEATURES!r}.")
        adapter = getattr(model.base_model.front_end, "adapter", None)
        if adapter is not None and source == RAW:
            raise ExportError(
                "The feature extractor of this encoder is one of Transformers, which can't be exported; export with "
                "--from features."
            )
        self.model = copy.deepcopy(model).float().eval()
        self.model.requires_grad_(False)
        self.model.set_attn_implementation(attention)
        self.source = source
        if source == RAW:
            self.input_name = "input_values"
            front_end = self.model.base_model.front_end
            front_end.log_mel = ConvolvedLogMel.like(front_end.log_mel)
        else:
            self.input_name = "input_features" if adapter is None else adapter.input_name
        self.has_spans = spans
        if spans:
            self.model.base_model.pool_segments = MethodType(pool_segments, self.model.base_model)
        self.input_names = (self.input_name, "attention_mask", *(["spans"] if spans else []))
        self.is_classifier = model.base_model is not model
        self.output_names = (*OUTPUTS, "logits") if self.is_classifier else OUTPUTS

    def forward(
        self, inputs: torch.Tensor, attention_mask: torch.Tensor, spans: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """The outputs for raw audio (B, L) or features (B, T, M), and the mask of the valid samples or frames."""
        return self.outputs_of(self.model, inputs, attention_mask, spans)

    def outputs_of(
        self,
        model: PreTrainedModel,
        inputs: torch.Tensor,
        attention_mask: torch.Tensor,
        spans: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """What a model of this kind says, in the order of `output_names`."""
        output = model.base_model(
            **{self.input_name: inputs}, attention_mask=attention_mask, spans=spans, return_dict=True
        )
        values = tuple(output[name] for name in OUTPUTS)
        return (*values, model.classifier(output.pooler_output)) if self.is_classifier else values

    @property
    def has_fixed_length(self) -> bool:
        """Whether the encoder takes inputs of one length only, as Whisper and AST do."""
        return self.model.base_model.front_end.max_samples is not None

    @property
    def dynamic_shapes(self) -> tuple[dict, ...]:
        """The free axes of each input, for torch's exporters: the batch, the number of spans, and the length where it
        is free."""
        free = dict.fromkeys((0,) if self.has_fixed_length else (0, 1), torch.export.Dim.DYNAMIC)
        return (free, free, dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC))[: len(self.input_names)]

    def example(self, batch: int = 2, seconds: float = 3.0) -> tuple[torch.Tensor, ...]:
        """Inputs to trace with: noise, the last clip shorter than the others."""
        return self.inputs([seconds] * (batch - 1) + [0.6 * seconds])

    def inputs(self, seconds: list[float], padding: float = 0.0, seed: int = 0) -> tuple[torch.Tensor, ...]:
        """Clips of noise of these durations, and their mask; with spans, 3 + `seed` of each clip.

        The padding is noise of the size `padding`.
        """
        generator, config = torch.Generator().manual_seed(seed), self.model.config
        front_end = self.model.base_model.front_end
        if self.source == RAW:
            lengths = [round(each * config.sample_rate) for each in seconds]
            values = 0.1 * torch.randn(len(seconds), max(lengths), generator=generator).cumsum(1).sin()
            mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
        elif config.encoder_config:
            rate, most = front_end.adapter.extractor.sampling_rate, front_end.max_samples
            seconds = seconds if most is None else [min(each, most / rate) for each in seconds]
            waves = [0.1 * torch.randn(round(each * rate), generator=generator).cumsum(0).sin() for each in seconds]
            values, mask = front_end.adapter(waves)
        else:
            lengths = [round(each / front_end.seconds_per_frame) for each in seconds]
            values = torch.randn(len(seconds), max(lengths), config.n_mels, generator=generator)
            mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
        if padding and not self.has_fixed_length:
            noise = padding * torch.randn(values.shape, generator=generator)
            values = values.where(mask if values.ndim == 2 else mask.unsqueeze(-1), noise)
        if not self.has_spans:
            return values, mask.long()
        whole = self.whole_clips(mask)  # (B, 1, 2)
        borders = torch.rand(len(whole), 2 + seed, 2, generator=generator).sort(-1).values * whole[..., 1:]
        return values, mask.long(), torch.cat([whole, borders], dim=1)

    def whole_clips(self, mask: torch.Tensor) -> torch.Tensor:
        """One span for each clip of a mask, from its start to its end, (B, 1, 2)."""
        config, front_end = self.model.config, self.model.base_model.front_end
        count = mask.sum(-1, keepdim=True)  # (B, 1)
        ends = (count // config.hop_length if self.source == RAW else count) * front_end.seconds_per_frame
        return torch.stack([torch.zeros_like(ends), ends], dim=-1)
