"""The input of another Transformers encoder, made by that encoder's own feature extractor, and its mask.

B batch, L samples, N input steps: samples where the encoder takes the waveform, else frames of a spectrogram.
"""

from contextlib import contextmanager
from contextvars import ContextVar

import torch
import transformers
from torch.nn import functional as F
from transformers import SequenceFeatureExtractor
from transformers.dynamic_module_utils import get_class_from_dynamic_module

AST_WINDOW, AST_HOP = 0.025, 0.010  # seconds; fixed in torchaudio's and Transformers' Kaldi filter banks
HUB_KWARGS = ("cache_dir", "force_download", "local_files_only", "revision", "token")  # settings of a download

_allowed_remote_code = ContextVar("allow_remote_code", default=None)


@contextmanager
def allow_remote_code(repository: str, trust_remote_code: bool, **download):
    """Inside, encoders and extractors may run code of their own, from this repository or folder only, if trusted."""
    token = _allowed_remote_code.set((repository, download) if trust_remote_code else None)
    try:
        yield
    finally:
        _allowed_remote_code.reset(token)


def remote_code_class(settings: dict, auto_class: str) -> type:
    """The class that these settings of an encoder or extractor name under `auto_map`, from the trusted repository."""
    if _allowed_remote_code.get() is None:
        name = settings["auto_map"][auto_class]
        raise ValueError(
            f"The encoder brings its own code, {name}; read it, then pass trust_remote_code=True to from_pretrained of "
            f"AudioBranchModel and AudioBranchFeatureExtractor, or to from_encoder, to run it."
        )
    if "--" in settings["auto_map"][auto_class]:
        raise ValueError(
            f"The encoder's code is said to be in another repository, {settings['auto_map'][auto_class]}, which nobody "
            f"said to trust; use from_encoder with that repository."
        )
    repository, download = _allowed_remote_code.get()
    return get_class_from_dynamic_module(settings["auto_map"][auto_class], repository, **download)


def remote_code_settings(settings: dict) -> dict:
    """The same settings, with names that point to code beside them: it is saved there, with our checkpoint."""
    auto_map = {name: reference.split("--")[-1] for name, reference in settings.get("auto_map", {}).items()}
    return settings | {"auto_map": auto_map}


class FeatureExtractorAdapter:
    """Calls a feature extractor of Transformers, and says which steps of its result belong to the clip.

    A clip of under 50 ms is filled up with silence to that length, for extractors fail on less than a window; an empty
    one has no valid step. What is filled up counts as part of the clip.

    Args:
        extractor: The feature extractor (or a processor that has one), or its settings (`to_dict()`).

    Raises:
        ValueError: One sentence if Transformers has no such feature extractor.
    """

    def __init__(self, extractor: dict | SequenceFeatureExtractor):
        extractor = self._from_settings(extractor) if isinstance(extractor, dict) else extractor
        self.extractor = getattr(extractor, "feature_extractor", extractor)
        if self.extractor.padding_side != "right":
            raise ValueError(f"The feature extractor has padding_side={self.extractor.padding_side!r}; give 'right'.")
        kind = type(self.extractor).__name__
        self.settings = self.extractor.to_dict()
        self.has_remote_code = type(self.extractor).__module__.startswith("transformers_modules.")
        if self.has_remote_code:
            self.settings = remote_code_settings(self.settings)
        else:  # Transformers has this class: whatever else the repository offers is not run
            self.settings.pop("auto_map", None)
        self.input_name = self.extractor.model_input_names[0]
        self.is_waveform = self.input_name == "input_values" and kind != "ASTFeatureExtractor"
        self.time_axis = 2 if kind == "WhisperFeatureExtractor" else 1
        rate = self.extractor.sampling_rate
        if self.is_waveform:
            self.samples_per_step = 1
        else:  # Kaldi's 10 ms where the extractor has no such setting; stride is of frames that are stacked
            hop = getattr(self.extractor, "hop_length", rate // 100)
            self.samples_per_step = hop * getattr(self.extractor, "stride", 1)
        # Some encoders take one length only: shorter clips are filled up, as their training did.
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
        """Raises a ValueError of one sentence if a clip, named by its number, is longer than the encoder takes."""
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
        filled = [F.pad(wave, (0, max(0, rate // 20 - len(wave)))).numpy() for wave in waves]
        made = self.extractor(
            filled,
            sampling_rate=rate,
            padding=True if self.max_samples is None else "max_length",
            return_attention_mask=True,
            return_tensors="pt",
        )
        features = made[self.input_name]
        if "attention_mask" in made:
            mask = made["attention_mask"].bool()
        elif self.max_samples is not None:  # AST's extractor does not say how many frames it made of a clip
            frames = torch.tensor([1 + (len(wave) - self.window) // self.hop for wave in filled])
            mask = torch.arange(features.shape[1]) < frames[:, None]
        else:
            raise ValueError(f"{type(self.extractor).__name__} makes no attention_mask, so padding would go unseen.")
        mask = mask & torch.tensor([len(wave) > 0 for wave in waves])[:, None]
        return features, mask  # Whisper's and AST's features after the clip are part of their input: never blanked

    def pad_to_samples(self, features: torch.Tensor, mask: torch.Tensor, num_samples: int):
        """Features and mask, with zeros up to the length of so many samples; encoders of one length need none."""
        missing = max(0, -(-num_samples // self.samples_per_step) - mask.shape[1])
        if self.max_samples is not None or not missing:
            return features, mask
        return F.pad(features, (0, missing) if self.is_waveform else (0, 0, 0, missing)), F.pad(mask, (0, missing))
