"""Feature extractor of Audio Branch: any form of audio to a padded batch of log-mel frames and their mask."""

from typing import Any

import torch
from transformers import BatchFeature, SequenceFeatureExtractor
from transformers.dynamic_module_utils import custom_object_save

from .audio_input import as_clips, load_audio, pad_batch
from .feature_extractor_adapter import HUB_KWARGS, FeatureExtractorAdapter, allow_remote_code
from .log_mel import SETTINGS, LogMel


class AudioBranchFeatureExtractor(SequenceFeatureExtractor):
    """Turns audio into log-mel frames, with the very module that the model applies to raw audio.

    Args:
        feature_size: Mel bins.
        sampling_rate: Sampling rate of the features in Hz; audio of any other rate is resampled.
        padding_value: Value of padded frames.
        return_attention_mask: Return the mask of valid frames.
        custom_window: Values of the window (win_length,), where they are not those of a symmetric Hann window.
        custom_mel_filters: Mel filters (n_fft // 2 + 1, feature_size), where they are not Slaney's.
        encoder_extractor: Another feature extractor of Transformers, or its settings (`to_dict()`), for the features
            (see `encoder_config` of [`AudioBranchConfig`]); the other settings then mean nothing.
        n_fft, hop_length, win_length, preemphasis, mag_power, log_zero_guard_type, log_zero_guard_value, normalize, normalize_mean,
            normalize_deviation: As in [`AudioBranchConfig`].
    """

    model_input_names = ["input_features", "attention_mask"]

    def __init__(
        self,
        feature_size: int = 80,
        sampling_rate: int = 16000,
        padding_value: float = 0.0,
        return_attention_mask: bool = True,
        n_fft: int = 512,
        hop_length: int = 160,
        win_length: int = 400,
        preemphasis: float = 0.97,
        mag_power: float = 2.0,
        log_zero_guard_type: str = "add",
        log_zero_guard_value: float = 2.0**-24,
        normalize: str = "per_feature",
        normalize_mean: list[float] | None = None,
        normalize_deviation: list[float] | None = None,
        custom_window: list[float] | None = None,
        custom_mel_filters: list[list[float]] | None = None,
        encoder_extractor: dict | SequenceFeatureExtractor | None = None,
        **kwargs,
    ):
        self.encoder_extractor = None
        self._encoder_features = None
        if encoder_extractor is not None:
            self._encoder_features = FeatureExtractorAdapter(encoder_extractor)
            self.encoder_extractor = self._encoder_features.settings
            theirs = self._encoder_features.extractor  # what `pad` and Trainer's collators read
            feature_size, sampling_rate, padding_value = theirs.feature_size, theirs.sampling_rate, theirs.padding_value
            self.model_input_names = [self._encoder_features.input_name, "attention_mask"]
        super().__init__(
            feature_size=feature_size,
            sampling_rate=sampling_rate,
            padding_value=padding_value,
            return_attention_mask=return_attention_mask,
            **kwargs,
        )
        if self.padding_side != "right":
            raise ValueError(f"padding_side={self.padding_side!r} was given; Audio Branch pads on the 'right' only.")
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.win_length = win_length
        self.preemphasis = preemphasis
        self.mag_power = mag_power
        self.log_zero_guard_type = log_zero_guard_type
        self.log_zero_guard_value = log_zero_guard_value
        self.normalize = normalize
        self.normalize_mean = normalize_mean
        self.normalize_deviation = normalize_deviation
        # Not `window` and `mel_filters`: of these names Transformers saves nothing.
        self.custom_window = custom_window
        self.custom_mel_filters = custom_mel_filters
        self._log_mels = {}  # by device

    @classmethod
    def from_model_config(cls, config, **kwargs) -> "AudioBranchFeatureExtractor":
        """The extractor that fits a model of this [`AudioBranchConfig`]."""
        if config.encoder_config:
            return cls(encoder_extractor=config.encoder_extractor, **kwargs)
        settings = {name: getattr(config, name) for name in SETTINGS}
        return cls(feature_size=config.n_mels, sampling_rate=config.sample_rate, **settings, **kwargs)

    @classmethod
    def from_model(cls, model, **kwargs) -> "AudioBranchFeatureExtractor":
        """The extractor that fits this [`AudioBranchModel`], with its very window and filters if they are its own."""
        if model.config.encoder_config:
            return cls(encoder_extractor=model.base_model.encoder.features.extractor, **kwargs)
        log_mel = model.base_model.log_mel
        own = {
            f"own_{name}": getattr(log_mel, name).tolist()
            for name, value in log_mel.constants().items()
            if not torch.equal(getattr(log_mel, name).cpu(), value)
        }
        return cls.from_model_config(model.config, **own, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        download = {name: kwargs[name] for name in HUB_KWARGS if name in kwargs}
        # AutoFeatureExtractor keeps the word to itself; but if this very class came from a repository, it was given.
        trusted = kwargs.get("trust_remote_code") or cls.__module__.startswith("transformers_modules.")
        with allow_remote_code(pretrained_model_name_or_path, trusted, **download):
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    def save_pretrained(self, save_directory, push_to_hub: bool = False, **kwargs):
        remote_code = self._encoder_features is not None and self._encoder_features.has_remote_code
        if remote_code and push_to_hub:  # the upload would be over before the code is there
            raise ValueError("push_to_hub=True leaves out the encoder's own code; use push_to_hub(repo_id).")
        written = super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        if remote_code:
            custom_object_save(self._encoder_features.extractor, save_directory)
        return written

    def to_dict(self):
        hidden = ("_log_mels", "_encoder_features", "model_input_names")
        return {name: value for name, value in super().to_dict().items() if name not in hidden}

    def _log_mel(self, device) -> LogMel:
        if str(device) not in self._log_mels:
            settings = {name: getattr(self, name) for name in SETTINGS}
            log_mel = LogMel(self.sampling_rate, self.feature_size, **settings)
            for name in ("window", "mel_filters"):
                if (own := getattr(self, f"own_{name}")) is not None:
                    log_mel.load_constant(name, torch.tensor(own))
            self._log_mels[str(device)] = log_mel.to(device)
        return self._log_mels[str(device)]

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

        Returns:
            `input_features` (B, T, feature_size) float32 and `attention_mask` (B, T) int32, where
            T = 1 + samples // hop_length. The last frame of even the longest clip is masked: it is half empty. With an
            `encoder_extractor`, what that makes, under its name.

        Raises:
            ValueError, TypeError, FileNotFoundError: One sentence that names the clip of the batch and the remedy.
        """
        if truncation and max_length is None and self._encoder_features is not None:
            max_length = self._encoder_features.max_samples
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
        if self._encoder_features is None:
            waveform, mask = pad_batch(waves, padded_length, device)  # (B, L) each
            with torch.no_grad():
                features, frame_mask = self._log_mel(device)(waveform, mask)  # (B, T, M), (B, T)
            if self.padding_value:
                features = features.masked_fill(~frame_mask.unsqueeze(-1), self.padding_value)
            num_frames = [1 + len(wave) // self.hop_length for wave in waves]
        else:
            features, frame_mask = self._encoder_features(waves)
            features, frame_mask = self._encoder_features.pad_to_samples(features, frame_mask, padded_length)
            features, frame_mask = features.to(device), frame_mask.to(device)
            fixed = self._encoder_features.max_samples is not None
            num_frames = [None if fixed else valid for valid in frame_mask.sum(-1).tolist()]  # None: all of it

        data = {self.model_input_names[0]: features, "attention_mask": frame_mask.int()}
        if not (self.return_attention_mask if return_attention_mask is None else return_attention_mask):
            del data["attention_mask"]
        if return_tensors != "pt":
            data = {name: value.cpu().numpy() for name, value in data.items()}
        if padding in (False, "do_not_pad"):
            data = {
                name: [row[:frames] for row, frames in zip(value, num_frames, strict=True)]
                for name, value in data.items()
            }
            if len(set(num_frames)) > 1 and return_tensors is not None:
                raise ValueError(
                    "padding=False leaves clips of different lengths, which fit no tensor; use padding=True or "
                    "return_tensors=None."
                )
        elif return_tensors is None:
            data = {name: list(value) for name, value in data.items()}
        return BatchFeature(data, tensor_type=return_tensors)


AudioBranchFeatureExtractor.register_for_auto_class()
