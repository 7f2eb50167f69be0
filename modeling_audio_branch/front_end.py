"""The two front ends: what turns the user's input into the encoder's, with one mask of the valid frames.

Both take raw audio or what the feature extractor makes of it, and have the same interface, so that the model need not
know which encoder it has. B batch, T input frames, L samples, M mel bins.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import nn

from .configuration_audio_branch import log_mel_settings
from .feature_extractor_adapter import FeatureExtractorAdapter
from .log_mel import LogMel
from .masks import checked_mask, is_tracing
from .spec_augment import spec_augment


class LogMelFrontEnd(nn.Module):
    """The front end of our own encoder: raw audio or log-mel frames to masked log-mel frames."""

    remote_code = ()  # instances whose source files are saved with the model: none
    can_stream = True  # whether `stream` takes a long file block by block
    max_samples = None  # of the longest clip that is taken: any

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.log_mel = LogMel(config.sample_rate, config.n_mels, log_mel_settings(config))
        self.seconds_per_frame = config.hop_length / config.sample_rate

    def forward(
        self, input_features=None, input_values=None, attention_mask=None, lengths=None
    ) -> tuple[torch.Tensor, torch.Tensor, list[int] | None]:
        """
        Args:
            input_features: Raw audio (B, L) or log-mel frames (B, T, M).
            input_values: The same under the name that Transformers gives to raw audio.
            attention_mask: (B, L) or (B, T); None without padding.
            lengths: The valid samples or frames of each clip, where they are known.

        Returns:
            Log-mel frames (B, T, M), zero where masked, with SpecAugment in training; their mask (B, T); and the valid
            frames of each clip, None while operations are recorded.
        """
        inputs = input_values if input_features is None else input_features
        if not inputs.is_floating_point() or not (
            inputs.ndim == 2 or (inputs.ndim == 3 and inputs.shape[-1] == self.config.n_mels)
        ):
            raise ValueError(
                f"The input is {inputs.dtype} of shape {tuple(inputs.shape)}; give floating-point raw audio (batch, "
                f"samples) or log-mel frames (batch, frames, {self.config.n_mels})."
            )
        frames, frame_mask, lengths = self._log_mel_frames(inputs, attention_mask, lengths)
        if self.training and self.config.apply_spec_augment:
            frames = spec_augment(frames, frame_mask, self.config)
        return frames, frame_mask, lengths

    def _log_mel_frames(self, inputs, attention_mask, lengths):
        if inputs.ndim == 2 and attention_mask is None and lengths is None:
            lengths = None if is_tracing() else [inputs.shape[1]] * len(inputs)
            frames, frame_mask = self.log_mel(inputs)
        else:
            mask, lengths = checked_mask(attention_mask, inputs.shape[:2], inputs.device, lengths)
            if inputs.ndim == 3:  # not a product: padding may be NaN
                return inputs.where(mask.unsqueeze(-1), 0.0), mask, lengths
            frames, frame_mask = self.log_mel(inputs, mask, lengths)
        return frames, frame_mask, lengths and [length // self.config.hop_length for length in lengths]

    def stream(self, blocks: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The valid log-mel frames (T, M) of one clip in blocks of samples, piece by piece; see [`LogMel`]."""
        return self.log_mel.stream(blocks)

    def check_lengths(self, waves: dict[int, torch.Tensor]) -> None:
        """Every length is allowed."""

    def extractor_kwargs(self) -> dict:
        """The arguments of an [`AudioBranchFeatureExtractor`] that makes the same frames."""
        custom = {
            f"custom_{name}": getattr(self.log_mel, name).tolist()
            for name, value in self.log_mel.constants().items()
            if not torch.equal(getattr(self.log_mel, name).cpu(), value)
        }
        shared = vars(self.log_mel.settings)
        return {"feature_size": self.config.n_mels, "sampling_rate": self.config.sample_rate} | shared | custom


class FeatureExtractorFrontEnd(nn.Module):
    """The front end of another Transformers encoder: its own feature extractor, on the CPU.

    An input frame is a sample if the encoder takes the waveform, else a frame of a spectrogram.
    """

    can_stream = False

    def __init__(self, config):
        super().__init__()
        self.adapter = FeatureExtractorAdapter(config.encoder_extractor)
        self.remote_code = (self.adapter.extractor,) if self.adapter.has_remote_code else ()
        self.seconds_per_frame = self.adapter.samples_per_frame / config.sample_rate

    def forward(
        self, input_features=None, input_values=None, attention_mask=None, lengths=None
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """
        Args:
            input_features: Raw audio (B, L), or what the feature extractor makes, if it calls that input_features.
            input_values: What the feature extractor makes, if it calls that input_values (a normalised waveform).
            attention_mask: Its valid samples or frames; None without padding.
            lengths: Their number in each clip, where it is known.

        Returns:
            The encoder's input, its mask (B, T), and None: these encoders take no lengths.
        """
        adapter = self.adapter
        inputs = input_values if input_features is None else input_features
        is_raw = input_values is None and inputs.ndim == 2
        if not inputs.is_floating_point() or not (is_raw or inputs.ndim == (2 if adapter.is_waveform else 3)):
            made = "(batch, samples)" if adapter.is_waveform else "(batch, ., .)"
            raise ValueError(
                f"The input is {inputs.dtype} of shape {tuple(inputs.shape)}; give floating-point raw audio (batch, "
                f"samples) as input_features, or {adapter.input_name} {made} as the feature extractor makes it."
            )
        num_frames = inputs.shape[1 if is_raw else adapter.time_axis]
        mask, lengths = checked_mask(attention_mask, (len(inputs), num_frames), inputs.device, lengths)
        if is_raw:
            lengths = mask.sum(-1).tolist() if lengths is None else lengths
            waves = [wave[:length].float().cpu() for wave, length in zip(inputs, lengths, strict=True)]
            inputs, mask = (made.to(inputs.device) for made in adapter(waves))
        elif adapter.max_samples is None:  # encoders of one length take what follows the clip as input, too
            inputs = inputs.where(mask if inputs.ndim == 2 else mask.unsqueeze(-1), 0.0)
        return inputs, mask, None

    @property
    def max_samples(self) -> int | None:
        """Of the longest clip that the encoder takes; None: any."""
        return self.adapter.max_samples

    def check_lengths(self, waves: dict[int, torch.Tensor]) -> None:
        """Raises a ValueError that names the first clip that is longer than the encoder takes."""
        self.adapter.check_lengths(waves)

    def extractor_kwargs(self) -> dict:
        """The arguments of an [`AudioBranchFeatureExtractor`] that makes the same features."""
        return {"encoder_extractor": self.adapter.extractor}


def make_front_end(config) -> nn.Module:
    """The front end that a configuration asks for."""
    return FeatureExtractorFrontEnd(config) if config.encoder_config else LogMelFrontEnd(config)
