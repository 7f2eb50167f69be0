"""Training: Trainer, freezing, batch statistics, augmentation, and what gradients must never depend on."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.models import make_model, pad, random_clips, tiny_config
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from modeling_audio_branch import (
    AudioBranchConfig,
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
    AudioBranchModel,
)
from modeling_audio_branch.layers import MaskedBatchNorm
from modeling_audio_branch.spec_augment import spec_augment

PROBLEMS = ["single_label_classification", "multi_label_classification", "regression"]


def tones(extractor, count, seed=0):
    """Rows of features of tones of 0.2 to 1 s, labelled by their pitch."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for i in range(count):
        length = int(torch.randint(3200, 16000, (), generator=generator))
        phase, volume = torch.rand(2, generator=generator)
        tone = volume * torch.sin(2 * torch.pi * ((300, 900, 2700)[i % 3] * torch.arange(length) / 16000 + phase))
        features = extractor(tone, sampling_rate=16000)
        rows.append({name: value[0] for name, value in features.items()} | {"labels": i % 3})
    return rows


def make_trainer(folder, **arguments):
    torch.manual_seed(0)
    config = tiny_config(
        num_labels=3, d_model=32, feature_dim=32, n_mels=80, subsampling_factor=4, subsampling_channels=16
    )
    extractor = AudioBranchFeatureExtractor.from_model_config(config)
    defaults = {"max_steps": 20, "per_device_train_batch_size": 16, "learning_rate": 1e-3, "logging_steps": 1}
    defaults |= {"report_to": "none", "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"}
    return Trainer(
        model=AudioBranchForAudioClassification(config),
        args=TrainingArguments(output_dir=str(folder), **(defaults | arguments)),
        train_dataset=tones(extractor, 96),
        eval_dataset=tones(extractor, 24, seed=1),
        data_collator=DataCollatorWithPadding(extractor),
        processing_class=extractor,
        compute_metrics=lambda prediction: {
            "accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())
        },
    )


def test_trainer_learns_tones_and_its_folder_loads_through_the_auto_classes(tmp_path):
    trainer = make_trainer(tmp_path, max_steps=40)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 40
    assert sum(losses[-3:]) < 0.5 * sum(losses[:3])
    assert trainer.evaluate()["eval_accuracy"] == 1.0
    trainer.save_model()
    model = AutoModelForAudioClassification.from_pretrained(tmp_path, trust_remote_code=True)
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path, trust_remote_code=True)
    batch = extractor.pad([{**row, "labels": 0} for row in tones(extractor, 3)], return_tensors="pt")
    with torch.no_grad():
        trained = trainer.model.eval()(batch["input_features"], batch["attention_mask"]).logits
        assert torch.equal(model(batch["input_features"], batch["attention_mask"]).logits, trained)


def test_a_resumed_run_equals_a_straight_run_to_the_bit(tmp_path):
    straight = make_trainer(tmp_path / "straight", save_strategy="steps", save_steps=10)
    straight.train()
    resumed = make_trainer(tmp_path / "resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "straight" / "checkpoint-10"))
    assert resumed.state.global_step == 20
    for (name, expected), value in zip(
        straight.model.state_dict().items(), resumed.model.state_dict().values(), strict=True
    ):
        assert torch.equal(value, expected), name


def labels_for(problem_type, count):
    if problem_type == "single_label_classification":
        return torch.arange(count) % 3
    labels = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    return (labels > 0).long() if problem_type == "multi_label_classification" else labels


@pytest.mark.parametrize("problem_type", PROBLEMS)
def test_gradient_accumulation_equals_the_larger_batch(problem_type, tmp_path):
    config = tiny_config(num_labels=3, problem_type=problem_type, dropout=0.0)
    extractor = AudioBranchFeatureExtractor.from_model_config(config)
    rows = [
        row | {"labels": y} for row, y in zip(tones(extractor, 8), labels_for(problem_type, 8).tolist(), strict=True)
    ]
    results = []
    for batch_size, steps in ((8, 1), (2, 4)):
        trainer = Trainer(
            model=make_model(AudioBranchForAudioClassification, config),
            args=TrainingArguments(
                output_dir=str(tmp_path),
                max_steps=1,
                per_device_train_batch_size=batch_size,
                gradient_accumulation_steps=steps,
                learning_rate=1.0,
                optim="sgd",
                max_grad_norm=0.0,
                logging_steps=1,
                report_to="none",
                use_cpu=True,
                disable_tqdm=True,
                save_strategy="no",
            ),
            train_dataset=rows,
            data_collator=DataCollatorWithPadding(extractor),
        )
        trainer.train()
        results.append((trainer.state.log_history[0]["loss"], trainer.model.state_dict()))
    (loss, state), (accumulated_loss, accumulated_state) = results
    assert accumulated_loss == pytest.approx(loss, rel=1e-3)
    for name, expected in state.items():
        torch.testing.assert_close(accumulated_state[name], expected, atol=2e-5, rtol=1e-4, msg=name)


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


@pytest.mark.parametrize("conv_norm", ["batch", "layer"])
def test_padding_enters_neither_loss_nor_gradients(conv_norm):
    config = tiny_config(num_labels=3, conv_norm=conv_norm, dropout=0.0, subsampling_factor=4)
    model = make_model(AudioBranchForAudioClassification, config).train()
    waveform, mask = pad(random_clips([4000, 9000]))
    gradients = []
    for extra, value in ((0, 0.0), (3333, float("nan"))):
        model.zero_grad()
        padded = torch.nn.functional.pad(waveform.masked_fill(mask == 0, value), (0, extra), value=value)
        padded_mask = torch.nn.functional.pad(mask, (0, extra))
        model(padded, attention_mask=padded_mask, labels=torch.tensor([0, 2])).loss.backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, atol=1e-5, rtol=1e-4, msg=name)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=4), st.booleans())
def test_batch_statistics_never_see_padding(lengths, training):
    norm, oracle = MaskedBatchNorm(6), torch.nn.BatchNorm1d(6)
    for module in (norm, oracle):
        module.train(training)
    hidden_states = 5 + 3 * torch.randn(len(lengths), 12, 6)
    mask = torch.arange(12) < torch.tensor(lengths)[:, None]
    hidden_states[~mask] = float("nan")
    frames = hidden_states[mask]  # (frames, D), as torch's takes them
    output = norm(hidden_states, mask)[mask]
    if len(frames) > 1 or not training:
        torch.testing.assert_close(output, oracle(frames), atol=1e-5, rtol=1e-5)
    for name, expected in oracle.named_buffers():
        torch.testing.assert_close(getattr(norm, name), expected, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradient_checkpointing_changes_no_gradient_and_no_statistic(use_reentrant):
    config = tiny_config(num_labels=3, conv_norm="batch", use_weighted_layer_sum=True, dropout=0.2)
    plain = make_model(AudioBranchForAudioClassification, config).train()
    checkpointed = copy.deepcopy(plain)
    checkpointed.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": use_reentrant})
    waveform, mask = pad(random_clips([4000, 9000]))
    calls = 0

    def count(*_):
        nonlocal calls
        calls += 1

    checkpointed.audio_branch.encoder.layers[0].feed_forward1.register_forward_hook(count)
    for model in (plain, checkpointed):
        torch.manual_seed(1)
        model(waveform, attention_mask=mask, labels=torch.tensor([0, 2])).loss.backward()
    assert calls == 2  # it really ran again
    for (name, expected), parameter in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, atol=1e-6, rtol=1e-5, msg=name)
    for (name, expected), buffer in zip(plain.named_buffers(), checkpointed.buffers(), strict=True):
        assert torch.equal(buffer, expected), name


FROZEN = {
    "encoder": ("encoder.",),
    "front_end": ("encoder.subsampling.",),
    1: ("encoder.subsampling.", "encoder.layers.0."),
}


@pytest.mark.parametrize("part", list(FROZEN))
@pytest.mark.parametrize("head", [True, False])
def test_what_is_frozen_does_not_move(part, head):
    config = tiny_config(num_labels=3, conv_norm="batch", dropout=0.5, use_weighted_layer_sum=True)
    model = make_model(AudioBranchForAudioClassification if head else AudioBranchModel, config)
    model.freeze(part)
    model.train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    waveform, mask = pad(random_clips([4000, 9000]))
    for _ in range(2):
        optimizer.zero_grad()
        output = model(waveform, attention_mask=mask)
        (output.logits if head else output.segment_features).square().sum().backward()
        optimizer.step()
    for name, value in model.state_dict().items():
        if "log_mel" in name:
            continue
        is_frozen = name.removeprefix("audio_branch.").startswith(FROZEN[part])
        assert torch.equal(value, before[name]) == is_frozen, name
    model.eval()
    model.train()
    for module in model.base_model.frozen_modules:
        assert not any(child.training for child in module.modules())
    model.unfreeze(part)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())


def test_unfreezing_the_first_layers_leaves_the_rest_frozen():
    model = make_model(AudioBranchModel, tiny_config())
    model.freeze("encoder")
    model.unfreeze(1)
    model.train()
    assert model.encoder.layers[0].training and not model.encoder.layers[1].training
    assert not any(parameter.requires_grad for parameter in model.encoder.layers[1].parameters())


def test_the_config_can_freeze_the_encoder_also_in_a_loaded_model(tmp_path):
    built = AudioBranchForAudioClassification(tiny_config(freeze_encoder=True, use_weighted_layer_sum=True))
    built.save_pretrained(tmp_path)
    for model in (built, AudioBranchForAudioClassification.from_pretrained(tmp_path)):
        model.train()
        trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert "audio_branch.layer_weights" in trainable
        assert not any(".encoder." in name for name in trainable)
        assert not any(layer.training for layer in model.audio_branch.encoder.layers)


@pytest.mark.parametrize("part", ["pooling", 3, -1, True, None])
def test_an_unknown_part_gives_one_sentence(part):
    with pytest.raises(ValueError, match="give 'encoder', 'front_end' or a number of layers from 0 to 2"):
        AudioBranchModel(tiny_config()).freeze(part)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=4), st.floats(0, 1), st.integers(0, 99), st.integers(0, 3))
def test_spec_augment_blanks_spans_inside_the_clip(lengths, ratio, width, count):
    config = tiny_config(
        time_mask_ratio=ratio, freq_mask_width=width, num_time_masks=count, num_freq_masks=count, n_mels=20
    )
    mask = torch.arange(60) < torch.tensor(lengths)[:, None]
    features = torch.ones(len(lengths), 60, 20)
    blank = spec_augment(features, mask, config) == 0
    assert (features == 1).all()
    for row, length in zip(blank, lengths, strict=True):
        frames, bins = row.all(-1), row.all(-2)
        if not bins.all():
            assert frames.sum() <= count * ratio * length
            assert not frames[length:].any()
        if not frames.all():
            assert bins.sum() <= count * min(width, 20)
        assert torch.equal(row, frames[:, None] | bins)


def test_spec_augment_runs_in_training_only_and_differs_by_clip():
    config = tiny_config(apply_spec_augment=True, time_mask_ratio=0.5, dropout=0.0)
    model = make_model(AudioBranchModel, config)
    clip = random_clips([8000])[0].expand(2, -1)
    with torch.no_grad():
        calm = model(clip).segment_features
        torch.testing.assert_close(calm[0], calm[1], atol=1e-6, rtol=0)
        wild = model.train()(clip).segment_features
        assert (wild[0] - wild[1]).abs().max() > 1e-3


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
        segments, _ = model.pooling(mixed * mask.unsqueeze(-1), mask)
        torch.testing.assert_close(model.projection(segments), output.segment_features, atol=1e-5, rtol=0)


def test_every_parameter_takes_part_in_every_step():
    for pooling_type in ("attention", "max", "avg", "learnable"):
        config = tiny_config(
            pooling_type=pooling_type, position_embedding="relative", subsampling_factor=4, use_weighted_layer_sum=True
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


TWO_PROCESSES = """
import sys
import torch
sys.path[:0] = [{root!r}, {tests!r}]
from helpers.models import make_model, tiny_config
from test_training import tones
from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchForAudioClassification
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

torch.set_num_threads(1)
config = tiny_config(num_labels=3, dropout=0.0, conv_norm="layer", subsampling_factor=4, use_weighted_layer_sum=True)
extractor = AudioBranchFeatureExtractor.from_model_config(config)
arguments = TrainingArguments(
    {folder!r}, max_steps=4, per_device_train_batch_size=int(sys.argv[1]), optim="sgd", learning_rate=0.1, use_cpu=True,
    ddp_find_unused_parameters=False, report_to="none", disable_tqdm=True, save_strategy="no",
)
model = make_model(AudioBranchForAudioClassification, config)
trainer = Trainer(model, arguments, DataCollatorWithPadding(extractor), tones(extractor, 32))
if sys.argv[1] == "4":
    assert torch.distributed.get_backend() == "gloo" and torch.distributed.get_world_size() == 2
trainer.train()
if trainer.is_world_process_zero():
    torch.save(model.state_dict(), sys.argv[2])
"""


def test_two_processes_train_what_one_does(tmp_path):
    """Each has half of the batch; none may wait for parameters that took no part."""
    tests = Path(__file__).parent
    program = tmp_path / "train.py"
    program.write_text(TWO_PROCESSES.format(root=str(tests.parent), tests=str(tests), folder=str(tmp_path / "out")))
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    states = []
    for processes, size in (((), 8), (launch, 4)):
        made = tmp_path / f"{size}.pt"
        command = [sys.executable, *processes, str(program), str(size), str(made)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        states.append(torch.load(made, weights_only=True))
    start = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3, subsampling_factor=4)).state_dict()
    assert not torch.allclose(states[0]["classifier.weight"], start["classifier.weight"], atol=1e-2)  # it did train
    for name, expected in states[0].items():
        torch.testing.assert_close(states[1][name], expected, atol=1e-5, rtol=1e-4, msg=name)
