"""recipes/emotion/trainer.py: the loss, the learning rate of each layer, and the encoder that is frozen at first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import TrainingArguments

from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchForAudioClassification, AudioBranchModel
from recipes.emotion.collator import Collator, make_dataset
from recipes.emotion.recordings import Recording
from recipes.emotion.trainer import SpeechTrainer, UnfreezeEncoderCallback, layer_groups

ROOT = Path(__file__).parents[3]
RATE = 16000


def test_each_layer_towards_the_input_learns_slower_and_every_parameter_learns():
    model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3, num_layers=3))
    groups = layer_groups(model, 1e-3, 0.5, 0.01)
    assert sum(len(group["params"]) for group in groups) == len([*model.parameters()])
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    encoder = model.audio_branch.encoder
    modules = [encoder.subsampling.linear, *(layer.norm_out for layer in encoder.layers), model.classifier]
    assert [rates[id(module.weight)] for module in modules] == pytest.approx([1e-3 * 0.5**n for n in (4, 3, 2, 1, 0)])


def test_the_layers_of_other_encoders_are_above_their_convolutions(wav2vec2):
    model = AudioBranchModel.from_pretrained(wav2vec2)
    groups = layer_groups(model, 1.0, 0.5, 0.0)
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    inner = model.encoder.model
    modules = [inner.feature_extractor.conv_layers[6].conv, inner.encoder.layers[0].feed_forward.output_dense]
    assert [rates[id(module.weight)] for module in modules] == [0.125, 0.25]


def test_class_weights_and_accumulation_give_the_gradient_of_one_large_batch(ravdess, tmp_path):
    model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3))
    trainer = SpeechTrainer(
        model,
        TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, label_smoothing_factor=0.1),
        class_weights=torch.tensor([0.5, 1.0, 3.0]),
    )
    paths = sorted(ravdess.glob("*/*"))[:6]
    recordings = [Recording(path, "abc"[i % 3], seconds=0.5) for i, path in enumerate(paths)]
    rows, collate = [*make_dataset(recordings, ["a", "b", "c"], RATE)], Collator(RATE)

    def gradient(*batches):
        model.train().zero_grad()
        for batch in batches:
            (trainer.compute_loss(model, collate(batch)) / len(batches)).backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])

    model.config.dropout = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    whole, parts = gradient(rows), gradient(rows[:2], rows[2:4], rows[4:])
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-4)


def test_a_frozen_encoder_does_not_move_until_its_epoch():
    model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3, conv_norm="batch", dropout=0.0))
    callback = UnfreezeEncoderCallback(model, 2.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for epoch, is_frozen in ((0.0, True), (1.9, True), (2.0, False)):
        model.train()
        callback.on_step_begin(None, type("State", (), {"epoch": epoch}), None, model=model)
        model(torch.randn(2, 8000), labels=torch.tensor([0, 2])).loss.backward()
        norm = torch.nn.utils.get_total_norm([p.grad for n, p in model.named_parameters() if "encoder" in n])
        assert (norm == 0) == is_frozen  # it takes no part in clipping, either
        callback.on_pre_optimizer_step(None, None, None)
        optimizer.step()
        optimizer.zero_grad()
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert any("encoder." in name for name in moved) != is_frozen
        assert "classifier.weight" in moved


TWO_PROCESSES = """
import datasets
import torch
from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchForAudioClassification
from recipes.emotion.trainer import DISTRIBUTED_ARGUMENTS, SpeechTrainer, UnfreezeEncoderCallback
from transformers import TrainingArguments

torch.set_num_threads(1)
model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=2, dropout=0.0, conv_norm="layer"))
seen = []

def collate(rows):
    torch.rand(sum(row["number"] for row in rows))  # as augmentation, which draws more in one process than another
    seen.extend(row["number"] for row in rows)
    clips = torch.stack([torch.randn(4000, generator=torch.Generator().manual_seed(row["number"])) for row in rows])
    return {{"input_features": clips, "labels": torch.tensor([row["labels"] for row in rows])}}

rows = datasets.Dataset.from_dict(
    {{"number": [*range(32)], "labels": [i % 2 for i in range(32)], "length": [4000 + i for i in range(32)]}}
)
arguments = TrainingArguments(
    {folder!r}, num_train_epochs=3, learning_rate=1e-2, report_to="none", disable_tqdm=True, save_strategy="no",
    **(DISTRIBUTED_ARGUMENTS | {{"per_device_train_batch_size": 4, "use_cpu": True}}),
)
start = {{name: value.clone() for name, value in model.state_dict().items()}}
trainer = SpeechTrainer(model, arguments, collate, rows, callbacks=[UnfreezeEncoderCallback(model, 1.0)])
trainer.train()
rank, state = torch.distributed.get_rank(), model.state_dict()
torch.save({{"seen": seen, "state": state, "start": start}}, {folder!r} + f"/{{rank}}.pt")
"""


def test_two_processes_unfreeze_one_encoder_and_see_each_clip_once_in_an_epoch(tmp_path):
    (tmp_path / "two_processes.py").write_text(TWO_PROCESSES.format(folder=str(tmp_path)))
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(
        [*program, str(tmp_path / "two_processes.py")], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for epoch in range(3):
        part = slice(16 * epoch, 16 * epoch + 16)
        assert sorted(first["seen"][part] + second["seen"][part]) == [*range(32)]
    moved = 0
    for name, value in first["state"].items():
        torch.testing.assert_close(second["state"][name], value, atol=0, rtol=0, msg=name)
        moved += "encoder." in name and not torch.equal(value, first["start"][name])
    assert moved
