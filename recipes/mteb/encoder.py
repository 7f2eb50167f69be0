"""Models of MTEB that embed batches of clips: ours, and whatever is compared with them."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ScoringFunction
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.corpus.fingerprint import fingerprint

logger = logging.getLogger(__name__)


def rows_to_columns(rows: list[dict]) -> dict[str, list]:
    """A collate function that leaves the audio as it is: our feature extractor decodes and resamples it."""
    return {name: [row[name] for row in rows] for name in rows[0]}


class ClipEncoder(AbsEncoder):
    """A model of MTEB for audio.

    Args:
        meta: Its metadata (see `audio_meta`).
        embed: Clips, as `datasets` gives them (torchcodec's AudioDecoder, or dicts of an array and its sampling_rate),
            to one vector of each (N, D).
    """

    def __init__(self, meta: ModelMeta, embed: Callable[[list], np.ndarray]):
        self.mteb_model_meta, self.embed = meta, embed

    def encode(self, inputs: DataLoader, *, show_progress_bar: bool = False, **kwargs: Any) -> np.ndarray:
        """The vectors (N, D) of the clips in the column "audio".

        Raises:
            ValueError: The inputs have no audio.
        """
        if "audio" not in inputs.dataset.features:
            raise ValueError(f"{self.mteb_model_meta.name} embeds audio only; give a task whose inputs are audio.")
        inputs.collate_fn = rows_to_columns
        return np.concatenate([self.embed(batch["audio"]) for batch in tqdm(inputs, disable=not show_progress_bar)])


def audio_meta(name: str, revision: str, dim: int, parameters: int | None = None, **known: Any) -> ModelMeta:
    """Metadata of a model of audio whose vectors are compared by their cosine.

    Args:
        name: ORGANIZATION/MODEL; results are stored below it.
        revision: Tells versions apart: results of another revision are not reused.
        dim: Of its vectors.
        parameters: How many it has.
        **known: What else is known of it, by the names of MTEB's `ModelMeta`, such as `license`.
    """
    unknown = "loader release_date languages memory_usage_mb max_tokens license open_weights public_training_code"
    unknown += " public_training_data use_instructions training_datasets"
    fields = dict.fromkeys(unknown.split()) | {"framework": ["PyTorch"], "modalities": ["audio"]} | known
    return ModelMeta(
        name=name,
        revision=revision,
        embed_dim=dim,
        n_parameters=parameters,
        similarity_fn_name=ScoringFunction.COSINE,
        **fields,
    )


def audio_branch_encoder(
    model: AudioBranchModel, name: str, batch_size: int = 8, same_length_batches: bool | None = None, **known: Any
) -> ClipEncoder:
    """MTEB's view of any [`AudioBranchModel`], of `from_nemo` and `from_encoder` too.

    Its vector is the one that `config.embedding_output` names.

    Args:
        model: The model.
        name: ORGANIZATION/MODEL.
        batch_size: Clips per forward pass; MTEB's own says only how many are decoded at a time.
        same_length_batches: As `encode` takes it; by default for encoders that look at the padding.
        **known: See `audio_meta`.
    """
    if same_length_batches is None:
        same_length_batches = bool(model.config.encoder_config) and not model.encoder.is_padding_invariant
    output = model.config.embedding_output
    if output == "segment_features":
        raise ValueError("embedding_output='segment_features' gives several vectors a clip; set 'sequence_embedding'.")

    def embed(clips):
        encoded = model.encode(
            clips, batch_size=batch_size, same_length_batches=same_length_batches, show_progress=False
        )
        return encoded[output].float().numpy()

    parameters = sum(parameter.numel() for parameter in model.parameters())
    known = {"framework": ["PyTorch", "Transformers", "safetensors"]} | known
    revision = f"{fingerprint([model], model.config)[:40]}-{output}"
    meta = audio_meta(name, revision, model.config.projection_dim, parameters, **known)
    return ClipEncoder(meta, embed)
