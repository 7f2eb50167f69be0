"""A module of sentence-transformers for checkpoints whose clips have several vectors, their segments.

Only `MultiVectorEncoder(folder)` imports this file, by the name in the folder's modules.json.
"""

from torch.nn import functional as F

try:  # imports in a try are not required of those who load the checkpoint by Transformers
    from sentence_transformers.base.modules.module import Module
except ImportError as error:
    raise ImportError("MultiVectorEncoder needs sentence-transformers; pip install sentence-transformers.") from error

MIN_LENGTH = 1e-4  # as in outputs.py; float16 has no smaller one whose inverse it holds


class SegmentVectors(Module):
    """Segments of length 1 and their mask, in place of the mask of the log-mel frames.

    A clip without a valid frame has no vector.
    """

    def forward(self, features: dict, **kwargs) -> dict:
        segments = features["token_embeddings"]  # (B, S, feature_dim)
        features["attention_mask"] = segments.any(-1)  # (B, S)
        features["token_embeddings"] = F.normalize(segments, dim=-1, eps=MIN_LENGTH)
        return features

    def save(self, output_path: str, *args, **kwargs) -> None:
        """It has nothing to save."""

    @classmethod
    def load(cls, *args, **kwargs) -> "SegmentVectors":
        """It has nothing to load."""
        return cls()
