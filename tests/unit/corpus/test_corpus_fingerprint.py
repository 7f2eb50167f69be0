"""What tells one model from another."""

import torch

from helpers.recordings import index_model
from modeling_audio_branch.corpus.fingerprint import fingerprint


def mark(model, *ignored):
    return fingerprint([model], model.config, ignored)


def test_weights_and_settings_decide_and_labels_do_not():
    model = index_model()
    assert mark(model) == mark(index_model()) != mark(index_model(seed=1))
    model.config.id2label = {0: "happy", 1: "sad"}
    model.config._name_or_path = "elsewhere"
    assert mark(model) == mark(index_model())
    model.config.attention_window = 5
    assert mark(model) != mark(index_model()) and mark(model, "attention_window") == mark(
        index_model(), "attention_window"
    )
    model = index_model()
    with torch.no_grad():
        next(model.parameters()).add_(1e-6)
    assert mark(model) != mark(index_model())


def test_a_prepared_model_is_the_same_model():
    assert mark(index_model().prepare_for_inference(measure=False)) == mark(index_model())
