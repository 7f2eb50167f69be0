"""Trainer: it learns, resumes, accumulates and runs in two processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from helpers.models import make_model, tiny_config
from helpers.training import PROBLEMS, labels_for, make_trainer, tones
from modeling_audio_branch import (
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
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


ROOT = Path(__file__).parents[2]
TWO_PROCESSES = """
import sys
import torch
from helpers.models import make_model, tiny_config
from helpers.training import tones
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
if torch.distributed.is_initialized():  # else gloo's threads, still running at the exit, now and then abort the process
    torch.distributed.destroy_process_group()
"""


def test_two_processes_train_what_one_does(tmp_path):
    """Each has half of the batch; none may wait for parameters that took no part."""
    program = tmp_path / "train.py"
    program.write_text(TWO_PROCESSES.format(folder=str(tmp_path / "out")))
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    states = []
    for processes, size in (((), 8), (launch, 4)):
        made = tmp_path / f"{size}.pt"
        command = [sys.executable, *processes, str(program), str(size), str(made)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        states.append(torch.load(made, weights_only=True))
    start = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3, subsampling_factor=4)).state_dict()
    assert not torch.allclose(states[0]["classifier.weight"], start["classifier.weight"], atol=1e-2)  # it did train
    for name, expected in states[0].items():
        torch.testing.assert_close(states[1][name], expected, atol=1e-5, rtol=1e-4, msg=name)
