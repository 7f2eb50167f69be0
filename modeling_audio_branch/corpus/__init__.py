"""Collections of recordings: a table of their features; an index of their frames, and phrases found in it.

It needs pyarrow, which `datasets` installs.
"""

from .compression import FeatureFormat, compress, fit_rotation, save_rotation, similarity
from .cutouts import write_cutouts
from .embedding import EmbeddingResult, embed_corpus
from .features import as_array, read_features
from .index import Added, AudioIndex
from .ray_engine import RaySettings
from .search import Hit
from .verifying import Verified, verify_features

__all__ = [
    "Added",
    "AudioIndex",
    "EmbeddingResult",
    "FeatureFormat",
    "Hit",
    "RaySettings",
    "Verified",
    "as_array",
    "compress",
    "embed_corpus",
    "fit_rotation",
    "read_features",
    "save_rotation",
    "similarity",
    "verify_features",
    "write_cutouts",
]
