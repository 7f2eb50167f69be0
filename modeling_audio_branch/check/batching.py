"""Whether what a model says of a clip depends on the other clips of its batch.

Any audio model is checked as people call it: by Transformers (the feature extractor's padded batch, then the model) or
by sentence-transformers (`encode`).

L samples, T frames, D features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import file_exists
from transformers import AutoFeatureExtractor, AutoModel, WhisperFeatureExtractor

SECONDS = (0.6, 1.0, 2.3, 3.7, 9.1)  # of the clips of noise
SMALLEST = 1e-30  # keeps 0 out of divisions
Embed = Callable[[list[np.ndarray]], list[np.ndarray]]  # clips (L,) to a vector (D,) or frames (T, D) of each


@dataclass(frozen=True)
class BatchingGap:
    """How a clip's numbers in a padded batch differ from those of the clip alone.

    Args:
        seconds: Duration of the clip.
        difference: The largest difference of any number, as a part of the clip's largest number.
        cosine: Cosine similarity of the two vectors (of frames: of their means).
    """

    seconds: float
    difference: float
    cosine: float


def batching_gaps(embed: Embed, clips: list[np.ndarray], sampling_rate: int) -> list[BatchingGap]:
    """Embeds all clips together and each alone. Of a clip's frames in the batch, those that it has alone are compared.

    Raises:
        ValueError: The model gives a clip no frames, fewer in a batch than alone, or numbers that are not finite.
    """
    gaps = []
    for clip, together in zip(clips, embed(clips), strict=True):
        alone = embed([clip])[0]
        seconds = len(clip) / sampling_rate
        if not alone.size or len(together) < len(alone):
            raise ValueError(
                f"The model gives a clip of {seconds:.2f} s {len(alone)} frames alone and {len(together)} in a batch."
            )
        together = together[: len(alone)]
        for values, where in ((alone, "alone"), (together, "in a padded batch")):
            if not np.isfinite(values).all():
                raise ValueError(f"The model gives NaN or infinite numbers for a clip of {seconds:.2f} s {where}.")
        one, other = (each.reshape(-1, each.shape[-1]).mean(0) for each in (alone, together))
        cosine = one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), SMALLEST)
        difference = np.abs(together - alone).max() / max(np.abs(alone).max(), SMALLEST)
        gaps.append(BatchingGap(seconds, float(difference), float(cosine)))
    return gaps


def noise_clips(sampling_rate: int, durations: tuple[float, ...] = SECONDS) -> list[np.ndarray]:
    """Clips of coloured noise of these durations in seconds."""
    generator = torch.Generator().manual_seed(0)
    lengths = [int(seconds * sampling_rate) for seconds in durations]
    return [(0.1 * torch.randn(length, generator=generator).cumsum(0).sin()).numpy() for length in lengths]


def is_for_sentence_transformers(model: str) -> bool:
    """Whether sentence-transformers is installed, and a folder or Hub repository has its modules.json."""
    if find_spec("sentence_transformers") is None:
        return False
    return (Path(model) / "modules.json").is_file() if Path(model).is_dir() else file_exists(model, "modules.json")


def by_transformers(model: str, trust_remote_code: bool = False) -> tuple[Embed, int]:
    """Embeds by AutoFeatureExtractor and AutoModel, as the extractor pads by default. Also its sampling rate in Hz.

    A model's one vector of a clip (`get_audio_features`, as CLAP has) is taken where it has one, else its
    `last_hidden_state`; of a model with a decoder that of its encoder.
    """
    extractor = AutoFeatureExtractor.from_pretrained(model, trust_remote_code=trust_remote_code)
    network = AutoModel.from_pretrained(model, trust_remote_code=trust_remote_code).eval()
    call = network.get_encoder() if network.config.is_encoder_decoder else network
    call = getattr(network, "get_audio_features", call)
    padding = "max_length" if isinstance(extractor, WhisperFeatureExtractor) else True

    @torch.no_grad()
    def embed(clips):
        rate = extractor.sampling_rate
        output = call(**extractor(clips, sampling_rate=rate, padding=padding, return_tensors="pt"))
        if not isinstance(output, torch.Tensor):
            output = output.pooler_output if output.get("pooler_output") is not None else output.last_hidden_state
        return list(output.float().numpy())

    return embed, extractor.sampling_rate


def by_sentence_transformers(model: str, trust_remote_code: bool = False) -> tuple[Embed, int]:
    """Embeds by the `encode` of a SentenceTransformer. Also its sampling rate in Hz.

    Raises:
        ImportError: sentence-transformers is not installed.
        ValueError: The model takes no audio.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ImportError("This needs sentence-transformers; pip install 'audio-branch[st]'.") from error
    embedder = SentenceTransformer(model, trust_remote_code=trust_remote_code)
    processor = getattr(embedder[0], "processor", None)
    rate = getattr(getattr(processor, "feature_extractor", processor), "sampling_rate", None)
    if rate is None:
        raise ValueError(f"{model} has no feature extractor of audio; give a model of audio.")

    def embed(clips):
        audio = [{"array": clip, "sampling_rate": rate} for clip in clips]
        return list(embedder.encode(audio, batch_size=len(clips), show_progress_bar=False))

    return embed, rate
