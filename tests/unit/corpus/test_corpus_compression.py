"""Smaller features: what is kept of them, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch.nn import functional as F

from modeling_audio_branch.corpus import FeatureFormat, compress, fit_rotation, save_rotation, similarity
from modeling_audio_branch.corpus.compression import read_rotation, rotation_of, unpack_signs
from modeling_audio_branch.corpus.errors import CorpusError

WIDTH = 32


def features(count, seed=0):
    """Of rank 8 but for a little noise."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.randn(8, WIDTH, generator=torch.Generator().manual_seed(99))
    values = torch.randn(count, 4, 8, generator=generator) @ basis
    return 3 * values + 0.01 * torch.randn(count, 4, WIDTH, generator=generator)


def cosines(first, second):
    return torch.einsum("nsd,msd->nm", F.normalize(first, dim=-1), F.normalize(second, dim=-1)).numpy() / first.shape[1]


@given(
    seed=st.integers(0, 99), dtype=st.sampled_from(["float32", "float16", "int8"]), dim=st.sampled_from([None, 8, 32])
)
def test_cosine_similarities_are_kept(seed, dtype, dim):
    form = FeatureFormat(dtype, dim).check(WIDTH)
    rotation = fit_rotation(features(100))
    first, second = features(5, seed), features(6, seed + 1)
    stored = [compress(each, form, rotation) for each in (first, second)]
    assert stored[0].dtype == dtype and stored[0].shape == (5, 4, dim or WIDTH)
    tolerance = 0.02 if dtype == "int8" or dim == 8 else 2e-3
    np.testing.assert_allclose(similarity(*stored, dtype), cosines(first, second), atol=tolerance)


def test_without_a_dim_floats_are_what_the_model_gives():
    np.testing.assert_array_equal(compress(features(3), FeatureFormat()), features(3).numpy())


def test_signs_are_packed_eight_to_a_byte():
    stored = compress(features(3), FeatureFormat("binary").check(WIDTH))
    assert stored.shape == (3, 4, WIDTH // 8) and stored.dtype == np.uint8
    np.testing.assert_array_equal(unpack_signs(stored), np.where(features(3).numpy() > 0, 1, -1))
    np.testing.assert_allclose(np.diag(similarity(stored, stored, "binary")), 1, atol=1e-6)
    np.testing.assert_allclose(similarity(stored, 255 - stored, "binary").diagonal(), -1, atol=1e-6)


@pytest.mark.parametrize(
    "form, message",
    [
        (FeatureFormat("float64"), "give one of float32, float16, int8, binary"),
        (FeatureFormat(dim=0), "dim=0 was given; give a whole number from 1 to 32"),
        (FeatureFormat(dim=33), "from 1 to 32"),
        (FeatureFormat(dim=True), "from 1 to 32"),
        (FeatureFormat("binary", 12), "give a multiple of 8"),
        (FeatureFormat("int8", sequence_embedding=True), "leave out int8 and binary"),
    ],
)
def test_what_is_impossible_is_refused(form, message):
    with pytest.raises(CorpusError, match=message):
        form.check(WIDTH)


def test_a_rotation_comes_with_a_checkpoint(tmp_path):
    rotation = fit_rotation(features(100))
    save_rotation(rotation, tmp_path)
    assert torch.equal(rotation_of(str(tmp_path), WIDTH), rotation.half().float())
    torch.testing.assert_close(rotation.T @ rotation, torch.eye(WIDTH), atol=1e-5, rtol=0)
    save_file({"rotation": rotation}, tmp_path / "rotation.safetensors")  # as of checkpoints before it was halved
    assert torch.equal(rotation_of(str(tmp_path), WIDTH), rotation)
    assert rotation_of(None, WIDTH) is None
    with pytest.raises(CorpusError, match="rotation.safetensors holds no rotation of 16 components"):
        rotation_of(str(tmp_path), 16)
    save_file({"rotation": torch.ones(WIDTH, WIDTH)}, tmp_path / "rotation.safetensors")
    with pytest.raises(CorpusError, match="holds no rotation of 32 components"):
        read_rotation(tmp_path / "rotation.safetensors", WIDTH)
    (tmp_path / "rotation.safetensors").write_bytes(b"no")
    with pytest.raises(CorpusError, match="holds no rotation"):
        read_rotation(tmp_path / "rotation.safetensors", WIDTH)
    with pytest.raises(CorpusError, match="dim=8 needs a rotation"):
        compress(features(1), FeatureFormat(dim=8))
