"""The models: losses, the weighted sum of layers, initial gradients, inputs and attentions."""

import pytest
import torch

from helpers.assertions import rounding
from helpers.models import make_model, pad, random_clips, tiny_config
from helpers.strategies import POOLING_CHOICES
from helpers.training import PROBLEMS, labels_for
from modeling_audio_branch import (
    AudioBranchConfig,
    AudioBranchForAudioClassification,
    AudioBranchModel,
)


@pytest.mark.parametrize("problem_type", PROBLEMS)
def test_the_loss_is_the_one_its_problem_type_names(problem_type):
    model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3, problem_type=problem_type))
    waveform, mask = pad(random_clips([4000, 5000, 6000]))
    labels = labels_for(problem_type, 3)
    output = model(waveform, attention_mask=mask, labels=labels)
    losses = {
        "single_label_classification": torch.nn.functional.cross_entropy,
        "multi_label_classification": lambda x, y: torch.nn.functional.binary_cross_entropy_with_logits(x, y.float()),
        "regression": torch.nn.functional.mse_loss,
    }
    torch.testing.assert_close(output.loss, losses[problem_type](output.logits, labels))


def test_the_layer_mix_learns_and_never_leaks_hidden_states():
    model = make_model(AudioBranchForAudioClassification, tiny_config(use_weighted_layer_sum=True, num_labels=3))
    output = model(random_clips([8000])[0][None], labels=torch.tensor([1]))
    assert set(output.keys()) == {"loss", "logits"}
    output.loss.backward()
    assert model.audio_branch.layer_weights.grad.abs().min() > 0
    asked = model.audio_branch(random_clips([8000])[0][None], output_hidden_states=True)
    assert len(asked.hidden_states) == 3
    assert torch.equal(asked.hidden_states[-1], asked.last_hidden_state)


def test_the_layer_mix_pools_the_weighted_sum_of_all_layers():
    model = make_model(AudioBranchModel, tiny_config(use_weighted_layer_sum=True))
    with torch.no_grad():
        output = model(random_clips([8000])[0][None], output_hidden_states=True)
        weights = model.layer_weights.softmax(0)
        mixed = sum(weight * states for weight, states in zip(weights, output.hidden_states, strict=True))
        mask = output.attention_mask.bool()
        segments, _, _ = model.pooling(mixed * mask.unsqueeze(-1), mask)
        torch.testing.assert_close(model.projection(segments), output.segment_features, atol=1e-5, rtol=0)


def test_every_parameter_takes_part_in_every_step():
    for pooling in POOLING_CHOICES:
        config = tiny_config(
            **pooling, position_embedding="relative", subsampling_factor=4, use_weighted_layer_sum=True
        )
        model = make_model(AudioBranchForAudioClassification, config).train()
        model(random_clips([8000])[0][None], labels=torch.tensor([1])).loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("preset", ["lightweight", "large"])
def test_a_new_model_has_gradients_of_ordinary_size_on_silence(preset):
    """LayerNorm's slope at an exact 0 is 316: with an input bias of 0, one silent clip gave 1e18 and more."""
    config = getattr(AudioBranchConfig, preset)(d_model=64, num_layers=4, num_labels=3)
    model = AudioBranchForAudioClassification(config).train()
    waveform, mask = pad([torch.zeros(8000), *random_clips([8000])])
    norms = []
    for i in range(2):
        model.zero_grad()
        model(waveform[i : i + 1], attention_mask=mask[i : i + 1], labels=torch.tensor([1])).loss.backward()
        norms.append(torch.nn.utils.get_total_norm([parameter.grad for parameter in model.parameters()]))
    assert norms[0] < 5 * norms[1]


@pytest.fixture(scope="module")
def model():
    return make_model(AudioBranchModel, tiny_config(subsampling_factor=4))


def test_raw_audio_gives_eight_segments():
    out = AudioBranchModel(AudioBranchConfig.lightweight())(torch.randn(4, 48000))
    assert out.segment_features.shape == out["segment_features"].shape == (4, 8, 512)
    assert out.segment_times[0, -1, 1] == 3.0


@pytest.mark.parametrize(
    ("inputs", "error", "sentence"),
    [
        ({}, ValueError, "Give either input_features or input_values"),
        ({"input_features": torch.zeros(1, 800), "input_values": torch.zeros(1, 800)}, ValueError, "and not both"),
        ({"input_features": torch.zeros(800)}, ValueError, "give floating-point raw audio (batch, samples) or log-mel"),
        ({"input_features": torch.zeros(1, 9, 80)}, ValueError, "log-mel frames (batch, frames, 20)"),
        ({"input_features": torch.zeros(1, 800, dtype=torch.int16)}, ValueError, "The input is torch.int16"),
        (
            {"input_features": torch.zeros(2, 800), "attention_mask": torch.ones(2, 5)},
            ValueError,
            "attention_mask has the shape (2, 5); give (2, 800), one number per sample",
        ),
        (
            {"input_features": torch.zeros(1, 3, 20), "attention_mask": torch.tensor([[0, 1, 1]])},
            ValueError,
            "attention_mask has a 1 after a 0; pad on the right",
        ),
        (
            {"input_features": torch.zeros(1, 800), "padding_mask": torch.ones(1, 800)},
            TypeError,
            "does not know padding_mask",
        ),
    ],
)
def test_a_wrong_input_gives_one_sentence(model, inputs, error, sentence):
    with pytest.raises(error) as raised:
        model(**inputs)
    assert sentence in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("pooling", POOLING_CHOICES)
@pytest.mark.parametrize("attn_implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("attention_window", [None, 3])
def test_attentions_are_given_when_asked_and_are_distributions(pooling, attn_implementation, attention_window):
    config = tiny_config(**pooling, attention_window=attention_window)
    model = make_model(AudioBranchModel, config)
    model.set_attn_implementation(attn_implementation)
    waveform, mask = pad(random_clips([4000, 9000]))
    with torch.no_grad():
        plain, output = model(waveform, mask), model(waveform, mask, output_attentions=True)
    assert "attentions" not in plain and "pooling_attentions" not in plain
    assert len(output.attentions) == config.num_layers
    torch.testing.assert_close(output.attentions[0].sum(-1), torch.ones_like(output.attentions[0][..., 0]))
    if pooling["pooling_type"] == "max":
        assert output.pooling_attentions is None
    else:
        weights = output.pooling_attentions
        assert weights.shape == (2, config.num_heads if pooling["pooling_type"] == "attention" else 1, 4, 57)
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        assert (weights.sum((1, 2)) > 0).int().equal(output.attention_mask)
    torch.testing.assert_close(output.segment_features, plain.segment_features, atol=rounding(pooling), rtol=0)


@pytest.mark.parametrize("problem_type", PROBLEMS)
@pytest.mark.parametrize("single", [False, True])
def test_the_classifier_encodes_any_audio_with_logits_and_probabilities(problem_type, single, tmp_path):
    labels = 1 if problem_type == "regression" else 3
    config = tiny_config(num_labels=labels, problem_type=problem_type, subsampling_factor=4)
    model = make_model(AudioBranchForAudioClassification, config)
    clips = random_clips([4000, 9000])
    audio = clips[1].numpy() if single else [clip.numpy() for clip in clips]
    encoded = model.encode(audio, sampling_rate=16000)
    with torch.no_grad():
        expected = torch.cat([model(clip[None]).logits for clip in clips])
    expected = expected[1] if single else expected
    torch.testing.assert_close(encoded.logits, expected, atol=1e-5, rtol=0)
    if problem_type == "regression":
        assert encoded.probabilities is None
    elif problem_type == "multi_label_classification":
        torch.testing.assert_close(encoded.probabilities, expected.sigmoid(), atol=1e-5, rtol=0)
    else:
        torch.testing.assert_close(encoded.probabilities.sum(-1), torch.ones(expected.shape[:-1]))
    assert ("probabilities" in encoded) == (problem_type != "regression") and "logits" in encoded
    if problem_type != "regression":
        int8 = model.quantize().encode(audio, sampling_rate=16000)
        assert (int8.probabilities - encoded.probabilities).abs().max() < 0.2
    features = model.audio_branch.encode(audio, sampling_rate=16000).segment_features
    assert torch.equal(encoded.segment_features, features)
    skipped = model.encode([tmp_path / "missing.wav", clips[0].numpy()], sampling_rate=16000, on_error="skip")
    assert skipped.logits[0].isnan().all() and skipped.logits[1].isfinite().all() and skipped.errors.keys() == {0}
    alone = model.encode(tmp_path / "missing.wav", on_error="skip")
    assert alone.logits.isnan().all() and alone.logits.shape == (labels,)


def test_tensor_parallel_loading_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="tp_plan is not supported: .*; use device_map instead"):
        AudioBranchModel.from_pretrained(tmp_path, tp_plan="auto")


@pytest.mark.parametrize("model_class", [AudioBranchModel, AudioBranchForAudioClassification])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_checkpoint_with_a_weight_that_is_no_number_is_refused_by_name(model_class, value, tmp_path):
    model = make_model(model_class, tiny_config(conv_norm="batch"))
    state = model.state_dict()
    for name in (next(name for name in state if name.endswith("running_var")), list(state)[-1]):
        damaged = {key: tensor.clone() for key, tensor in state.items()}
        damaged[name].view(-1)[1] = value
        model.save_pretrained(tmp_path / name, state_dict=damaged)
        with pytest.raises(ValueError, match=f"is damaged: its weight {name} has values that are NaN or infinite"):
            model_class.from_pretrained(tmp_path / name)
    huge = {name: tensor.fill_(3e38) if name.endswith("o_proj.weight") else tensor for name, tensor in state.items()}
    model.save_pretrained(tmp_path / "huge", state_dict=huge)
    model_class.from_pretrained(tmp_path / "huge")  # finite, though their sum is not
