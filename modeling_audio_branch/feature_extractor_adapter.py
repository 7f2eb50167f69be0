"""The feature extractor of another Transformers encoder: its input features, and the mask of the clips in them.

B batch, L samples, N input frames: samples if the encoder takes the waveform, else frames of a spectrogram; M mel bins.
"""

import torch
import transformers
from torch.nn import functional as F
from transformers import SequenceFeatureExtractor

from .masks import length_mask
from .remote_code import is_remote_code, remote_code_class, remote_code_settings

AST_WINDOW, AST_HOP = 0.025, 0.010  # seconds; fixed in torchaudio's and Transformers' Kaldi filter banks


class FeatureExtractorAdapter:
    """Calls a feature extractor of Transformers, and tells which frames of its result belong to the clip.

    A clip of under 50 ms is extended to that length with silence, since extractors fail on less than a window; the
    silence counts as part of the clip. An empty clip has no valid frame.

    Args:
        extractor: The feature extractor (or a processor that has one), or its settings (`to_dict()`).

    Raises:
        ValueError: One sentence if Transformers has no such feature extractor.
    """

    def __init__(self, extractor: dict | SequenceFeatureExtractor):
        extractor = self._from_settings(extractor) if isinstance(extractor, dict) else extractor
        self.extractor = getattr(extractor, "feature_extractor", extractor)
        if not isinstance(self.extractor, SequenceFeatureExtractor):
            raise ValueError(
                f"The feature extractor is a {type(self.extractor).__name__}; give one of Transformers, or its "
                f"settings (to_dict())."
            )
        if self.extractor.padding_side != "right":
            raise ValueError(f"The feature extractor has padding_side={self.extractor.padding_side!r}; give 'right'.")
        kind = type(self.extractor).__name__
        self.settings = self.extractor.to_dict()
        self.has_remote_code = is_remote_code(self.extractor)
        if self.has_remote_code:
            self.settings = remote_code_settings(self.settings)
        else:  # Transformers has this class, so the repository's code is not needed
            self.settings.pop("auto_map", None)
        self.input_name = self.extractor.model_input_names[0]
        self.is_waveform = self.input_name == "input_values" and kind != "ASTFeatureExtractor"
        self.time_axis = 2 if kind == "WhisperFeatureExtractor" else 1
        rate = self.extractor.sampling_rate
        if self.is_waveform:
            self.samples_per_frame = 1
        else:  # Kaldi's 10 ms if the extractor has no such setting; `stride` frames are stacked to one
            hop = getattr(self.extractor, "hop_length", rate // 100)
            self.samples_per_frame = hop * getattr(self.extractor, "stride", 1)
        # Some encoders take one length only: shorter clips are extended with silence, as in their training.
        self.max_samples = None
        if kind == "WhisperFeatureExtractor":
            self.max_samples = self.extractor.n_samples
        elif kind == "ASTFeatureExtractor":
            self.window, self.hop = int(AST_WINDOW * rate), int(AST_HOP * rate)
            self.max_samples = self.window + self.extractor.max_length * self.hop - 1

    @staticmethod
    def _from_settings(settings):
        kind = settings.get("feature_extractor_type")
        if "AutoFeatureExtractor" in settings.get("auto_map", {}):
            extractor_class = remote_code_class(settings, "AutoFeatureExtractor")
        else:
            extractor_class = getattr(transformers, str(kind), None)
        is_extractor = isinstance(extractor_class, type) and issubclass(extractor_class, SequenceFeatureExtractor)
        if not is_extractor or extractor_class is SequenceFeatureExtractor:
            raise ValueError(f"Transformers has no feature extractor {kind!r}; give the settings of one that it has.")
        return extractor_class.from_dict(settings)

    def check_lengths(self, waves: dict[int, torch.Tensor]):
        """Raises a ValueError that names the first clip, by its index, that is longer than the encoder takes."""
        rate = self.extractor.sampling_rate
        for index, wave in waves.items():
            if self.max_samples is not None and len(wave) > self.max_samples:
                raise ValueError(
                    f"Clip {index} of the batch is {len(wave)} samples ({len(wave) / rate:.1f} s) long, and this "
                    f"encoder takes at most {self.max_samples}; cut it, or give the extractor truncation=True."
                )

    def __call__(self, waves: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Clips (L,) at the extractor's rate to its features (B, N), (B, N, M) or, for Whisper, (B, M, N), and (B, N).

        Raises:
            ValueError: As `check_lengths`.
        """
        self.check_lengths(dict(enumerate(waves)))
        rate = self.extractor.sampling_rate
        extended = [F.pad(wave, (0, max(0, rate // 20 - len(wave)))).numpy() for wave in waves]
        made = self.extractor(
            extended,
            sampling_rate=rate,
            padding=True if self.max_samples is None else "max_length",
            return_attention_mask=True,
            return_tensors="pt",
        )
        features = made[self.input_name]
        if "attention_mask" in made:
            mask = made["attention_mask"].bool()
        elif self.max_samples is not None:  # AST's extractor does not tell how many frames it made of a clip
            frames = torch.tensor([1 + (len(wave) - self.window) // self.hop for wave in extended])
            mask = length_mask(frames, features.shape[1])
        else:
            raise ValueError(
                f"{type(self.extractor).__name__} makes no attention_mask, so padding is unknown; give one that does."
            )
        mask = mask & torch.tensor([len(wave) > 0 for wave in waves])[:, None]
        return features, mask  # Whisper's and AST's features after the clip are part of their input: not set to zero

    def pad_to_samples(self, features: torch.Tensor, mask: torch.Tensor, num_samples: int):
        """Features and mask, padded with zeros to `num_samples` samples; encoders of one length need no padding."""
        missing = max(0, -(-num_samples // self.samples_per_frame) - mask.shape[1])
        if self.max_samples is not None or not missing:
            return features, mask
        return F.pad(features, (0, missing) if self.is_waveform else (0, 0, 0, missing)), F.pad(mask, (0, missing))
