"""Feature extractor of Audio Branch: any form of audio to a padded batch of log-mel frames and their mask.

B batch, L samples, T frames, M mel bins.
"""

from dataclasses import asdict, fields
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import BatchFeature, SequenceFeatureExtractor

from .audio_batch import as_clips
from .audio_input import load_audio, pad_batch
from .configuration_audio_branch import AudioBranchConfig, LogMelSettings, log_mel_settings
from .configuration_checks import is_part_of, shown
from .disk import saving
from .feature_extractor_adapter import FeatureExtractorAdapter
from .log_mel import LogMel
from .remote_code import allow_remote_code, hub_kwargs_in, save_remote_code


class AudioBranchFeatureExtractor(SequenceFeatureExtractor):
    """Turns audio into log-mel frames, by the same module that the model applies to raw audio.

    Args:
        feature_size: Mel bins M.
        sampling_rate: Sampling rate of the features in Hz; audio of any other rate is resampled.
        padding_value: Value of padded frames.
        return_attention_mask: Return the mask of valid frames.
        custom_window: Values of the window (win_length,), if it is not a symmetric Hann window.
        custom_mel_filters: Mel filters (n_fft // 2 + 1, M), if they are not Slaney's.
        encoder_extractor: Another feature extractor of Transformers, or its settings (`to_dict()`), for the features
            (see `encoder_config` of [`AudioBranchConfig`]); the other settings then have no effect.
        **kwargs: The settings of [`LogMelSettings`] (`n_fft`, `hop_length`, ...), and those of
            `SequenceFeatureExtractor`.
    """

    model_input_names = ["input_features", "attention_mask"]

    def __init__(
        self,
        feature_size: int = 80,
        sampling_rate: int = 16000,
        padding_value: float = 0.0,
        return_attention_mask: bool = True,
        custom_window: list[float] | None = None,
        custom_mel_filters: list[list[float]] | None = None,
        encoder_extractor: dict | SequenceFeatureExtractor | None = None,
        **kwargs,
    ):
        settings = {field.name: kwargs.pop(field.name) for field in fields(LogMelSettings) if field.name in kwargs}
        self._check_other_settings(kwargs)
        self.encoder_extractor = None
        self._adapter = None
        if encoder_extractor is not None:
            self._adapter = FeatureExtractorAdapter(encoder_extractor)
            self.encoder_extractor = self._adapter.settings
            theirs = self._adapter.extractor  # what `pad` and Trainer's collators read
            feature_size, sampling_rate, padding_value = theirs.feature_size, theirs.sampling_rate, theirs.padding_value
            self.model_input_names = [self._adapter.input_name, "attention_mask"]
        super().__init__(
            feature_size=feature_size,
            sampling_rate=sampling_rate,
            padding_value=padding_value,
            return_attention_mask=return_attention_mask,
            **kwargs,
        )
        if self.padding_side != "right":
            raise ValueError(
                f"padding_side={shown(self.padding_side)} was given; Audio Branch pads on the 'right' only."
            )
        if encoder_extractor is None:
            _check_settings(feature_size, sampling_rate, padding_value, settings)
        for name, value in asdict(LogMelSettings(**settings)).items():  # as attributes, which Transformers saves
            setattr(self, name, value)
        for name, value in {"custom_window": custom_window, "custom_mel_filters": custom_mel_filters}.items():
            if value is not None and not _is_finite(value):
                raise ValueError(f"{name} is not an array of finite numbers; give one, or leave it out.")
        # Not `window` and `mel_filters`: Transformers does not save attributes of these names.
        self.custom_window = custom_window
        self.custom_mel_filters = custom_mel_filters
        self._log_mels = {}  # by device

    @classmethod
    def from_model_config(cls, config, **kwargs) -> "AudioBranchFeatureExtractor":
        """The feature extractor of a model with this [`AudioBranchConfig`]."""
        if config.encoder_config:
            return cls(encoder_extractor=config.encoder_extractor, **kwargs)
        settings = asdict(log_mel_settings(config))
        return cls(feature_size=config.n_mels, sampling_rate=config.sample_rate, **settings, **kwargs)

    @classmethod
    def from_model(cls, model, **kwargs) -> "AudioBranchFeatureExtractor":
        """The feature extractor of this [`AudioBranchModel`], with the model's own window and filters."""
        return cls(**model.base_model.front_end.extractor_kwargs(), **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        # AutoFeatureExtractor does not pass trust_remote_code on; if this class came from a repository, it was given.
        trusted = kwargs.get("trust_remote_code") or cls.__module__.startswith("transformers_modules.")
        with allow_remote_code(pretrained_model_name_or_path, trusted, **hub_kwargs_in(kwargs)):
            try:
                return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
            except RecursionError as error:
                raise ValueError("preprocessor_config.json has too many levels; give that of Audio Branch.") from error

    @classmethod
    def _check_other_settings(cls, settings):
        """Raises a ValueError if a setting that this class does not know would replace a part of it."""
        for name, value in settings.items():
            if name == "model_input_names" and value != cls.model_input_names:
                raise ValueError(f"model_input_names={shown(value)} is impossible; give {cls.model_input_names}.")
            if name in ("_adapter", "_log_mels") or is_part_of(cls, name):
                raise ValueError(f"The feature extractor has no setting {name!a:.100}; leave it out.")

    def save_pretrained(self, save_directory, push_to_hub: bool = False, **kwargs):
        remote_code = [self._adapter.extractor] if self._adapter is not None and self._adapter.has_remote_code else []
        if remote_code and push_to_hub:  # the upload would end before the code is written
            raise ValueError("push_to_hub=True leaves out the encoder's own code; use push_to_hub(repo_id).")
        with saving(save_directory):
            written = super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
            save_remote_code(remote_code, save_directory)
        return written

    def to_dict(self):
        hidden = ("_log_mels", "_adapter", "model_input_names")
        return {name: value for name, value in super().to_dict().items() if name not in hidden}

    def __call__(
        self,
        audio: Any,
        sampling_rate: int | None = None,
        padding: bool | str = True,
        max_length: int | None = None,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        device: str | torch.device = "cpu",
        return_lengths: bool = False,
    ) -> BatchFeature:
        """
        Args:
            audio: A clip or a batch of clips: paths, bytes, arrays, tensors, lists of floats, dicts, AudioDecoders. A
                bare 2-D array is a batch (clips, samples); within a list, a 2-D array is one clip with channels, mixed
                to mono.
            sampling_rate: Rate in Hz of the clips that don't carry their own (arrays, tensors, lists of floats).
            padding: True or `longest`, `max_length`, or False for a list of unpadded clips.
            max_length: Length in samples to pad to (`padding="max_length"`) or to cut at (`truncation=True`).
            truncation: Cut clips at `max_length` samples.
            pad_to_multiple_of: Round the padded length up to a multiple of this many samples.
            return_attention_mask: Return the mask; by default as the extractor was built.
            return_tensors: `pt` or `np`; None gives lists of arrays.
            device: Where to compute the spectrogram; with `return_tensors="pt"` the features stay there.
            return_lengths: Return the valid frames of each clip too, a list that the model takes as `lengths`, so that
                no GPU has to be asked for them.

        Returns:
            `input_features` (B, T, feature_size) float32 and `attention_mask` (B, T) int32, where
            T = 1 + samples // hop_length. The last frame is always masked, since half of it is empty. With an
            `encoder_extractor`, its features under its own name.

        Raises:
            ValueError, TypeError, FileNotFoundError: One sentence that names the clip of the batch and the remedy.
        """
        if truncation and max_length is None and self._adapter is not None:
            max_length = self._adapter.max_samples
        if (truncation or padding == "max_length") and max_length is None:
            raise ValueError("truncation=True and padding='max_length' need max_length= in samples.")
        if padding not in (True, False, "longest", "max_length", "do_not_pad"):
            raise ValueError(f"padding={padding!r} was given; allowed are True, False, 'longest' and 'max_length'.")
        clips, is_batch = as_clips(audio)
        waves = [
            load_audio(clip, self.sampling_rate, sampling_rate, index if is_batch else None)
            for index, clip in enumerate(clips)
        ]
        if truncation:
            waves = [wave[:max_length] for wave in waves]

        padded_length = max(max(len(wave) for wave in waves), max_length if padding == "max_length" else 0)
        if pad_to_multiple_of:
            padded_length += -padded_length % pad_to_multiple_of
        extract = self._log_mel_batch if self._adapter is None else self._adapter_batch
        features, frame_mask, num_frames = extract(waves, padded_length, device)

        data = {self.model_input_names[0]: features, "attention_mask": frame_mask.int()}
        if not (self.return_attention_mask if return_attention_mask is None else return_attention_mask):
            del data["attention_mask"]
        if return_tensors != "pt":
            data = {name: value.cpu().numpy() for name, value in data.items()}
        if padding in (False, "do_not_pad"):
            if len(set(num_frames)) > 1 and return_tensors is not None:
                raise ValueError(
                    "padding=False leaves clips of different lengths, which fit no tensor; use padding=True or "
                    "return_tensors=None."
                )
            data = {name: [row[:n] for row, n in zip(rows, num_frames, strict=True)] for name, rows in data.items()}
        elif return_tensors is None:
            data = {name: list(value) for name, value in data.items()}
        features = BatchFeature(data, tensor_type=return_tensors)
        if return_lengths:  # the last frame is never valid
            own = self._adapter is None
            features["lengths"] = [each - 1 for each in num_frames] if own else frame_mask.sum(-1).tolist()
        return features

    def _log_mel_batch(self, waves, padded_length, device):
        """Log-mel frames (B, T, M), their mask (B, T), and the frames of each clip before padding."""
        waveform, mask, lengths = pad_batch(waves, padded_length, device)  # (B, L) each
        with torch.no_grad():
            features, frame_mask = self._log_mel(device)(waveform, mask, lengths)
        if self.padding_value:
            features = features.masked_fill(~frame_mask.unsqueeze(-1), float(self.padding_value))
        return features, frame_mask, [1 + len(wave) // self.hop_length for wave in waves]

    def _adapter_batch(self, waves, padded_length, device):
        """The same by the other feature extractor; None for the frames of a clip that always has the full length."""
        features, frame_mask = self._adapter.pad_to_samples(*self._adapter(waves), padded_length)
        num_frames = frame_mask.sum(-1).tolist()
        if self._adapter.max_samples is not None:
            num_frames = [None] * len(waves)
        return features.to(device), frame_mask.to(device), num_frames

    def _log_mel(self, device) -> LogMel:
        if str(device) not in self._log_mels:
            log_mel = LogMel(self.sampling_rate, self.feature_size, log_mel_settings(self))
            for name in ("window", "mel_filters"):
                if (custom := getattr(self, f"custom_{name}")) is not None:
                    log_mel.load_constant(name, torch.tensor(custom, dtype=torch.float32))
            self._log_mels[str(device)] = log_mel.to(device)
        return self._log_mels[str(device)]


def _is_finite(numbers) -> bool:
    try:
        return bool(torch.tensor(numbers, dtype=torch.float32).isfinite().all())
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return False


def _check_settings(feature_size, sampling_rate, padding_value, settings):
    """Raises a ValueError of one sentence if the configuration of a model would refuse these settings."""
    if isinstance(padding_value, bool) or not isinstance(padding_value, (int, float)) or not _is_finite(padding_value):
        raise ValueError(f"padding_value={shown(padding_value)} was given; give a finite number.")
    try:
        AudioBranchConfig(n_mels=feature_size, sample_rate=sampling_rate, **settings)
    except StrictDataclassError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        reason = reason.replace("n_mels", "feature_size").replace("sample_rate", "sampling_rate")
        reason = reason[:300].encode(errors="backslashreplace").decode()  # surrogates can't be printed
        raise ValueError(f"The feature extractor has an impossible setting: {reason}") from error


AudioBranchFeatureExtractor.register_for_auto_class()
