"""Every weight of a NeMo encoder is used exactly once, and its window and mel filters are the archive's."""

import pytest
import torch

from helpers.nemo_archives import NEMO, change
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.convert.nemo_archive import NemoError


@pytest.mark.parametrize(
    ("missing", "settings"),
    [
        ("window", {"window": "hamming"}),
        ("window", {"window": "none"}),
        ("fb", {"lowfreq": 60}),
        ("fb", {"highfreq": 7000}),
        ("fb", {"mel_norm": None}),
    ],
)
def test_a_window_or_filters_that_an_archive_lacks_are_the_usual_ones_or_refused(missing, settings, tmp_path):
    def forget(weights):
        del weights[f"preprocessor.featurizer.{missing}"]

    source = NEMO / "fc_local4/model.nemo"
    model = AudioBranchModel.from_nemo(change(source, tmp_path / "usual.nemo", change_weights=forget))
    log_mel = model.front_end.log_mel
    for name, value in log_mel.constants().items():
        assert torch.equal(getattr(log_mel, name), value)
    archive = change(source, tmp_path / "own.nemo", lambda config: config["preprocessor"].update(settings), forget)
    with pytest.raises(NemoError) as raised:
        AudioBranchModel.from_nemo(archive)
    ((name, value),) = settings.items()
    assert f"{name}={value!r}" in str(raised.value) and f"featurizer.{missing}" in str(raised.value)


def rename(old, new):
    return lambda weights: weights.update({new: weights.pop(old)})


@pytest.mark.parametrize(
    ("change_weights", "sentence"),
    [
        (lambda w: w.update({"encoder.extra.weight": torch.zeros(2)}), "unknown: extra.weight"),
        (lambda w: w.update({f"encoder.{n:0>200}": torch.zeros(2) for n in range(500)}), " and 498 more."),
        (lambda w: w.pop("encoder.layers.1.norm_out.bias"), "missing: layers.1.norm_out.bias"),
        (lambda w: w.pop("encoder.layers.1.self_attn.linear_k.bias"), "has only q, v of q, k and v"),
        (rename("encoder.pre_encode.out.bias", "encoder.pre_encode.bias"), None),
        (lambda w: w.update({"encoder.pre_encode.bias": torch.zeros(64)}), "two weights for subsampling.linear.bias"),
        (
            lambda w: w.update({"encoder.layers.0.norm_out.bias": torch.zeros(3)}),
            "of another shape: layers.0.norm_out.bias",
        ),
        (lambda w: w.update({"preprocessor.featurizer.window": torch.zeros(7)}), "window has the shape (7,)"),
    ],
)
def test_every_encoder_weight_is_used_exactly_once_or_named(change_weights, sentence, tmp_path):
    archive = change(NEMO / "fc_ctc_bpe/model.nemo", tmp_path / "model.nemo", change_weights=change_weights)
    if sentence is None:  # the same weight under the name that NeMo gives it without subsampling
        AudioBranchModel.from_nemo(archive)
        return
    with pytest.raises(ValueError) as raised:
        AudioBranchModel.from_nemo(archive)
    assert sentence in str(raised.value) and len(str(raised.value)) < 600
