"""examples/finetune.py: labelled data, splits by speaker, figures, and a short run on a tree laid out like RAVDESS."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import finetune
import numpy as np
import pytest
import soundfile
import speech_data
import speech_metrics
import torch
import typer
from helpers.models import make_model, tiny_config
from helpers.fresh_process import run_fresh
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from speech_data import EMOBOX_FOLDS, EMOTIONS, DataError

from hub_upload import UploadError, check_checkpoint
from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.hub.card import read_results

ROOT = Path(__file__).parent.parent
RATE = 16000


@pytest.fixture(scope="module")
def ravdess(tmp_path_factory):
    """Real speech cut into half seconds, in the layout of RAVDESS; each emotion ends in a tone of its own."""
    folder = tmp_path_factory.mktemp("ravdess")
    paths = sorted((ROOT / "examples" / "audio").glob("*.flac")) + sorted((ROOT / "examples" / "audio").glob("*.wav"))
    speech = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in paths])
    generator = np.random.default_rng(0)
    for actor in range(1, 25):
        (folder / f"Actor_{actor:02d}").mkdir()
        for emotion in EMOTIONS:
            start = generator.integers(len(speech) - RATE)
            clip = speech[start : start + int(RATE * generator.uniform(0.4, 0.7))]
            half = np.arange(len(clip)) > len(clip) / 2
            tone = half * np.sin(2 * np.pi * 400 * emotion * np.arange(len(clip)) / RATE)
            name = f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
            soundfile.write(folder / f"Actor_{actor:02d}" / name, 0.5 * clip + 0.3 * tone, RATE)
    return folder


def test_ravdess_is_read_in_its_published_layout_and_songs_are_passed_over(ravdess, tmp_path):
    shutil.copytree(ravdess, tmp_path / "data")
    shutil.copy(
        tmp_path / "data" / "Actor_01" / "03-01-06-01-01-01-01.wav",
        tmp_path / "data" / "Actor_01" / "03-02-06-01-01-01-01.wav",
    )
    rows = speech_data.ravdess(tmp_path / "data")
    assert len(rows) == 192 and {row["label"] for row in rows} == set(EMOTIONS.values())
    row = next(row for row in rows if row["audio"].name == "03-01-06-01-01-01-12.wav")
    assert row["label"] == "fearful" and row["speaker"] == "12"


def test_a_missing_actor_and_a_strange_name_are_said(ravdess, tmp_path):
    shutil.copytree(ravdess, tmp_path / "data")
    (tmp_path / "data" / "Actor_03" / "notes.wav").write_bytes(b"")
    with pytest.raises(DataError, match="notes.wav has no name of RAVDESS"):
        speech_data.ravdess(tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "Actor_03")
    with pytest.raises(DataError, match="Actor_03 is missing"):
        speech_data.ravdess(tmp_path / "data")


def test_the_folds_of_emobox_test_every_actor_once_and_no_actor_is_in_two_splits(ravdess):
    rows = speech_data.ravdess(ravdess)
    tested = []
    for fold in EMOBOX_FOLDS:
        splits = speech_data.split_by_speaker(rows, fold, is_ravdess=True)
        speakers = {name: {row["speaker"] for row in part} for name, part in splits.items()}
        assert speakers["test"] == {f"{actor:02d}" for actor in EMOBOX_FOLDS[fold]}
        assert sorted(int(each) % 2 for each in speakers["validation"]) == [0, 1]  # odd actors are men
        assert not (speakers["train"] & speakers["test"] or speakers["train"] & speakers["validation"])
        assert not speakers["test"] & speakers["validation"] and sum(map(len, splits.values())) == len(rows)
        tested += [*speakers["test"]]
    assert sorted(tested) == [f"{actor:02d}" for actor in range(1, 25)]


@given(st.lists(st.sampled_from("abcdefghij"), min_size=30, max_size=60), st.integers(0, 3))
def test_every_speaker_of_other_data_is_tested_once_and_none_is_in_two_splits(speakers, seed):
    rows = [{"label": "x", "speaker": each} for each in speakers]
    if speech_data.count_folds(rows) < 3:
        with pytest.raises(DataError, match="at least 3"):
            speech_data.split_by_speaker(rows)
        return
    tested = []
    for fold in range(1, speech_data.count_folds(rows) + 1):
        splits = speech_data.split_by_speaker(rows, fold, seed)
        parts = {name: {row["speaker"] for row in part} for name, part in splits.items()}
        assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == len(set(speakers))
        tested += parts["test"]
    assert sorted(tested) == sorted(set(speakers))


def test_data_without_speakers_warns_loudly_and_bad_splits_are_refused():
    rows = [{"label": "xy"[place % 2], "speaker": None} for place in range(40)]
    with pytest.warns(UserWarning, match="THERE ARE NO SPEAKERS"):
        speech_data.split_by_speaker(rows)
    with pytest.raises(DataError, match="1 speakers"):
        speech_data.split_by_speaker([row | {"speaker": "anna"} for row in rows])
    row = {"label": "x", "speaker": "anna"}
    with pytest.raises(DataError, match="Speaker anna is in train and in test"):
        speech_data.check_splits({"train": [row], "test": [row]})
    with pytest.raises(DataError, match="test split has y, and training has none"):
        speech_data.check_splits({"train": [row], "test": [{"label": "y", "speaker": "ben"}]})
    with pytest.warns(UserWarning, match="test split has no y"):
        others = [{"label": "y", "speaker": "cleo"}]
        speech_data.check_splits({"train": [row, *others], "test": [{"label": "x", "speaker": "ben"}]})


def test_unreadable_empty_and_double_files_are_left_out_and_listed(ravdess, tmp_path):
    source = next((ravdess / "Actor_01").iterdir())
    (tmp_path / "happy").mkdir()
    (tmp_path / "sad").mkdir()
    shutil.copy(source, tmp_path / "happy" / "anna-1.wav")
    shutil.copy(source, tmp_path / "sad" / "ben-1.wav")  # the same audio
    (tmp_path / "sad" / "ben-2.wav").write_bytes(b"no audio")
    soundfile.write(tmp_path / "sad" / "ben-3.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "sad" / "ben-4.wav", np.ones(RATE // 2), RATE)
    rows, left_out = speech_data.usable(speech_data.audio_folder(tmp_path))
    assert [row["audio"].name for row in rows] == ["anna-1.wav", "ben-4.wav"] and rows[1]["length"] == 0.5
    assert rows[0]["speaker"] == "anna"
    reasons = {Path(name).name: reason for name, reason in left_out}
    assert "same audio as" in reasons["ben-1.wav"] and "no samples" in reasons["ben-3.wav"]
    assert "can't be read" in reasons["ben-2.wav"]
    with pytest.raises(DataError, match="at least two"):
        speech_data.usable(rows[:1])
    with pytest.raises(DataError, match="1 of 2 recordings have no speaker"):
        speech_data.usable([rows[0] | {"speaker": None}, rows[1]])
    soundfile.write(tmp_path / "sad" / "ben-5.wav", np.array([0.1, np.nan, 0.1]), RATE, subtype="FLOAT")
    broken = source.read_bytes()
    (tmp_path / "sad" / "ben-6.wav").write_bytes(broken)
    soundfile.write(tmp_path / "whole.flac", soundfile.read(source)[0], RATE)
    (tmp_path / "sad" / "ben-7.flac").write_bytes((tmp_path / "whole.flac").read_bytes()[:3000])
    _, left_out = speech_data.usable(speech_data.audio_folder(tmp_path))
    reasons = {Path(name).name: reason for name, reason in left_out}
    assert "no numbers" in reasons["ben-5.wav"] and "can't be read" in reasons["ben-7.flac"]
    twice = [{"audio": broken, "label": label, "speaker": "anna", "name": f"row {label}"} for label in "xyx"]
    twice[1]["audio"] = (tmp_path / "whole.flac").read_bytes()
    kept, left_out = speech_data.usable(twice)
    assert len(kept) == 2 and left_out == [("row x", "is the same audio as row x")]


def test_a_table_needs_its_columns_and_every_label(tmp_path):
    (tmp_path / "clips.csv").write_text("path,label,speaker\na.wav,x,anna\nb.wav,,ben\n")
    with pytest.raises(DataError, match="line 3, has no label"):
        speech_data.table(tmp_path / "clips.csv")
    for wrong, missing in (({"label": "emotion"}, "emotion"), ({"speaker": "actr"}, "actr")):
        with pytest.raises(DataError, match=f"no column {missing}, but path, label, speaker"):
            speech_data.table(tmp_path / "clips.csv", **wrong)
    (tmp_path / "clips.csv").write_text("label,path\nx\n")
    with pytest.raises(DataError, match="line 2, has no path"):
        speech_data.table(tmp_path / "clips.csv")
    (tmp_path / "clips.csv").write_bytes("path,label\na.wav,größe\n".encode("cp1252"))
    with pytest.raises(DataError, match="UTF-8"):
        speech_data.table(tmp_path / "clips.csv")
    with pytest.raises(DataError, match="can't be read"):
        speech_data.table(tmp_path / "nowhere.csv")


def test_a_table_of_excel_with_blanks_is_read_as_it_is_meant(tmp_path):
    (tmp_path / "clips.csv").write_text("path,label,speaker\na.wav,x,anna\nb.wav, x,anna \n", encoding="utf-8-sig")
    rows = speech_data.table(tmp_path / "clips.csv")
    assert [(row["label"], row["speaker"]) for row in rows] == [("x", "anna")] * 2


def test_crema_d_is_read_in_its_published_layout(tmp_path):
    for name in ("1001_DFA_ANG_XX", "1002_IEO_HAP_HI"):
        (tmp_path / f"{name}.wav").write_bytes(b"")
    rows = speech_data.crema_d(tmp_path)
    assert [(row["label"], row["speaker"]) for row in rows] == [("angry", "1001"), ("happy", "1002")]
    (tmp_path / "x.wav").write_bytes(b"")
    with pytest.raises(DataError, match="x.wav has no name of CREMA-D"):
        speech_data.crema_d(tmp_path)


def test_the_unweighted_accuracy_is_the_mean_recall():
    right, predicted = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 0, 1, 0])
    scores = speech_metrics.figures(right, predicted)
    assert scores["UA"] == pytest.approx((1 + 0.5) / 2) and scores["WA"] == pytest.approx(5 / 6)
    assert scores["macro-F1"] == pytest.approx((8 / 9 + 2 / 3) / 2)


def test_the_interval_draws_speakers_so_that_their_clips_count_together():
    generator = np.random.default_rng(0)
    speakers = np.repeat([f"speaker {i}" for i in range(10)], 50)
    right = generator.integers(0, 2, 500)
    predicted = np.where(np.repeat(np.arange(10) < 7, 50), right, 1 - right)  # 7 speakers all right, 3 all wrong
    by_speaker = speech_metrics.with_intervals(right, predicted, speakers)["WA"]
    by_clip = speech_metrics.with_intervals(right, predicted, [None] * 500)["WA"]
    assert by_speaker["value"] == by_clip["value"] == pytest.approx(0.7)
    assert by_speaker["high"] - by_speaker["low"] > 4 * (by_clip["high"] - by_clip["low"])
    spread = speech_metrics.by_speaker(right, predicted, speakers)
    assert spread["speaker 0"] == 1.0 and spread["speaker 9"] == 0.0


def test_each_layer_towards_the_input_learns_slower_and_every_parameter_learns():
    model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3, num_layers=3))
    groups = finetune.layer_groups(model, 1e-3, 0.5, 0.01)
    assert sum(len(group["params"]) for group in groups) == len([*model.parameters()])
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    encoder = model.audio_branch.encoder
    places = [encoder.subsampling.linear, *(layer.norm_out for layer in encoder.layers), model.classifier]
    assert [rates[id(place.weight)] for place in places] == pytest.approx([1e-3 * 0.5**n for n in (4, 3, 2, 1, 0)])


def test_class_weights_and_accumulation_give_the_gradient_of_one_large_batch(ravdess, tmp_path):
    model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3))
    trainer = finetune.SpeechTrainer(
        model,
        finetune.TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, label_smoothing_factor=0.1),
        class_weights=torch.tensor([0.5, 1.0, 3.0]),
    )
    rows = [
        {"audio": path, "label": "abc"[i % 3], "length": 0.5} for i, path in enumerate(sorted(ravdess.glob("*/*"))[:6])
    ]
    items, collate = [*finetune.make_dataset(rows, ["a", "b", "c"], RATE)], finetune.Collator(RATE)

    def gradient(*batches):
        model.train().zero_grad()
        for batch in batches:
            (trainer.compute_loss(model, collate(batch)) / len(batches)).backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])

    model.config.dropout = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    whole, parts = gradient(items), gradient(items[:2], items[2:4], items[4:])
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-4)


def test_a_frozen_encoder_stays_until_it_is_told_to_thaw():
    model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3, conv_norm="batch", dropout=0.0))
    thaw = finetune.UnfreezeEncoderCallback(model, 2.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for epoch, is_frozen in ((0.0, True), (1.9, True), (2.0, False)):
        model.train()
        thaw.on_step_begin(None, type("State", (), {"epoch": epoch}), None, model=model)
        model(torch.randn(2, 8000), labels=torch.tensor([0, 2])).loss.backward()
        norm = torch.nn.utils.get_total_norm([p.grad for n, p in model.named_parameters() if "encoder" in n])
        assert (norm == 0) == is_frozen  # it takes no part in clipping, either
        thaw.on_pre_optimizer_step(None, None, None)
        optimizer.step()
        optimizer.zero_grad()
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert any("encoder." in name for name in moved) != is_frozen
        assert "classifier.weight" in moved


TWO_PROCESSES = """
import sys
import torch
sys.path[:0] = [{root!r}, {tests!r}, {examples!r}]
import datasets
import finetune
from helpers.models import make_model, tiny_config
from finetune import AudioBranchForAudioClassification, SpeechTrainer, UnfreezeEncoderCallback, TrainingArguments

torch.set_num_threads(1)
model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=2, dropout=0.0, conv_norm="layer"))
seen = []

def collate(items):
    torch.rand(sum(item["number"] for item in items))  # as augmentation, which draws more in one process than another
    seen.extend(item["number"] for item in items)
    clips = torch.stack([torch.randn(4000, generator=torch.Generator().manual_seed(i["number"])) for i in items])
    return {{"input_features": clips, "labels": torch.tensor([item["labels"] for item in items])}}

rows = datasets.Dataset.from_dict(
    {{"number": [*range(32)], "labels": [i % 2 for i in range(32)], "length": [4000 + i for i in range(32)]}}
)
arguments = TrainingArguments(
    {folder!r}, num_train_epochs=3, learning_rate=1e-2, report_to="none", disable_tqdm=True, save_strategy="no",
    **(finetune.DISTRIBUTED | {{"per_device_train_batch_size": 4, "use_cpu": True}}),
)
start = {{name: value.clone() for name, value in model.state_dict().items()}}
trainer = SpeechTrainer(model, arguments, collate, rows, callbacks=[UnfreezeEncoderCallback(model, 1.0)])
trainer.train()
rank, state = torch.distributed.get_rank(), model.state_dict()
torch.save({{"seen": seen, "state": state, "start": start}}, {folder!r} + f"/{{rank}}.pt")
"""


def test_two_processes_thaw_one_encoder_and_see_each_clip_once_in_an_epoch(tmp_path):
    paths = {"root": str(ROOT), "tests": str(ROOT / "tests"), "examples": str(ROOT / "examples")}
    (tmp_path / "train.py").write_text(TWO_PROCESSES.format(folder=str(tmp_path), **paths))
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*program, str(tmp_path / "train.py")], capture_output=True, text=True, cwd=tmp_path)
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


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory):
    """A checkpoint on somebody else's encoder."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    folder = tmp_path_factory.mktemp("wav2vec2")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    config = Wav2Vec2Config(**sizes, feat_extract_norm="layer", do_stable_layer_norm=True)
    Wav2Vec2Model(config).save_pretrained(folder / "encoder")
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder / "encoder")
    AudioBranchModel.from_encoder(folder / "encoder").save_pretrained(folder / "model")
    return folder / "model"


def test_layers_of_other_encoders_are_told_from_their_convolutions(wav2vec2):
    model = AudioBranchModel.from_pretrained(wav2vec2)
    groups = finetune.layer_groups(model, 1.0, 0.5, 0.0)
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    inner = model.encoder.model
    places = [inner.feature_extractor.conv_layers[6].conv, inner.encoder.layers[0].feed_forward.output_dense]
    assert [rates[id(place.weight)] for place in places] == [0.125, 0.25]


def test_options_reach_other_encoders_or_are_refused(wav2vec2):
    settings = {"checkpoint": wav2vec2, "lora": False, "spec_augment": True, "freeze_epochs": 1, "layer_decay": 0.8}
    for asked in (True, False):
        model = finetune.load_model(["a", "b", "c"], settings | {"spec_augment": asked})
        assert model.audio_branch.encoder.model.config.apply_spec_augment is asked
        assert model.classifier.out_features == 3
    for wrong, sentence in (({"lora": True}, "--lora knows our own"), ({"freeze_epochs": -1}, "stays frozen")):
        with pytest.raises(DataError, match=sentence):
            finetune.load_model(["a", "b"], settings | wrong)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small model to begin from, at another rate than the data."""
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    settings = {"d_model": 32, "feature_dim": 32, "n_mels": 40, "sample_rate": 8000, "n_fft": 256, "win_length": 200}
    config = tiny_config(**settings, hop_length=80, subsampling_factor=4, subsampling_channels=16, num_segments=8)
    model = AudioBranchModel(config)
    model.save_pretrained(folder)
    AudioBranchFeatureExtractor.from_model(model).save_pretrained(folder)
    return folder


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / "finetune.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )


@pytest.mark.parametrize(
    "options", [("--steps", 60, "--learning-rate", 3e-3, "--no-augment", "--layer-decay", 1), ("--steps", 4, "--lora")]
)
def test_the_recipe_trains_reports_and_leaves_a_checkpoint_that_loads_anywhere(options, ravdess, checkpoint, tmp_path):
    data = shutil.copytree(ravdess, tmp_path / "data")
    (data / "Actor_01" / "03-01-01-01-02-01-01.wav").write_bytes(b"no audio")
    arguments = ("ravdess", data, "--checkpoint", checkpoint, "--output", tmp_path / "out", "--fold", 2)
    done = command(*arguments, "--batch-size", 32, "--freeze-epochs", 0, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "03-01-01-01-02-01-01.wav can't be read" in done.stderr
    results = read_results(tmp_path / "out" / "results.json")
    assert results["clips"] == 32 and set(results["accuracy_by_speaker"]) == {"04", "10", "12", "14"}
    assert np.sum(results["confusion"]) == 32 and results["labels"] == sorted(EMOTIONS.values())
    assert check_checkpoint(tmp_path / "out" / "fold-2") == ["training"]  # and may be published
    assert (tmp_path / "out" / "confusion.png").stat().st_size > 5000
    assert "unweighted_accuracy" in results["metrics"] and "UA" in (tmp_path / "out" / "report.md").read_text()
    if "--lora" in options:
        before, after = (load_file(f / "model.safetensors") for f in (checkpoint, tmp_path / "out" / "fold-2"))
        moved = {name for name, value in before.items() if not torch.equal(value, after[f"audio_branch.{name}"])}
        assert moved and all("qkv_proj" in n or "o_proj" in n for n in moved if n.startswith("encoder."))
        assert any(name.startswith("encoder.") for name in moved)
    else:
        states = sorted((tmp_path / "out" / "fold-2" / "training").glob("checkpoint-*/trainer_state.json"))
        history = json.loads(states[-1].read_text())["log_history"]
        losses = [entry["loss"] for entry in history if "loss" in entry]
        assert losses[-1] < losses[0]
        assert results["metrics"]["unweighted_accuracy"]["value"] > 0.3  # chance is 0.125
    run_fresh(
        f"""
        import torch
        from transformers import AutoModelForAudioClassification, pipeline
        folder = {str(tmp_path / "out" / "fold-2")!r}
        model = AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=True)
        assert model.config.id2label[0] == "angry" and model(torch.randn(1, 8000)).logits.shape == (1, 8)
        classify = pipeline("audio-classification", model=folder, trust_remote_code=True)
        assert classify({str(ravdess / "Actor_02" / "03-01-01-01-01-01-02.wav")!r})[0]["label"] in model.config.label2id
        """,
        tmp_path,
    )


def test_bad_arguments_are_one_sentence(ravdess, checkpoint, tmp_path):
    for arguments, sentence in (
        (("ravdess", tmp_path), "Actor_01 is missing"),
        (("wav", tmp_path), "'wav' is no kind of data"),
        (("ravdess", ravdess, "--checkpoint", tmp_path / "nowhere"), "nowhere can't be loaded"),
    ):
        done = command(*arguments[:2], "--checkpoint", checkpoint, *arguments[2:], cwd=tmp_path)
        assert done.returncode == 1 and sentence in done.stderr and "Traceback" not in done.stderr


def test_data_of_the_hub_is_not_decoded_by_datasets(ravdess, tmp_path):
    import datasets

    paths = [str(path) for path in sorted((ravdess / "Actor_02").iterdir())][:4]
    audio = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    label = datasets.ClassLabel(names=["a", "b"])
    features = datasets.Features({"audio": audio, "label": label, "speaker": datasets.Value("int64")})
    files = [{"path": path, "bytes": Path(path).read_bytes()} for path in paths]
    columns = {"audio": files, "label": [0, 1, 0, 1], "speaker": [1, 2, 3, 4]}
    data = datasets.Dataset.from_dict(columns, features=features)
    data.to_parquet(tmp_path / "data" / "train.parquet")
    rows, _ = speech_data.usable(speech_data.hub_dataset(str(tmp_path / "data"), "train"))
    assert [row["label"] for row in rows] == ["a", "b", "a", "b"] and rows[3]["speaker"] == "4"
    made = finetune.make_dataset(rows, ["a", "b"], 8000)
    assert made["length"] == [int(8000 * row["length"]) for row in rows]
    batch = finetune.Collator(8000)([*made])
    lengths = zip(batch["attention_mask"].sum(1).tolist(), made["length"], strict=True)
    assert all(abs(length - header) <= 1 for length, header in lengths) and batch["labels"].tolist() == [0, 1, 0, 1]
    unlabelled = datasets.Features(features | {"label": datasets.Value("int64")})
    columns["label"] = [0, None, 0, -1]
    datasets.Dataset.from_dict(columns, features=unlabelled).to_parquet(tmp_path / "other" / "train.parquet")
    with pytest.raises(DataError, match="row 1, has no label"):
        speech_data.hub_dataset(str(tmp_path / "other"), "train")
    with pytest.raises(DataError, match="no column emotion"), warnings.catch_warnings():
        speech_data.hub_dataset(str(tmp_path / "data"), "train", label="emotion")


def test_a_run_that_goes_on_equals_one_that_went_through(ravdess, checkpoint, tmp_path):
    start = shutil.copytree(checkpoint, tmp_path / "start")
    arguments = ("ravdess", ravdess, "--checkpoint", start, "--fold", 1, "--steps", 10, "--batch-size", 32)
    done = command(*arguments, "--output", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    training = tmp_path / "out" / "fold-1" / "training"
    through = load_file(training / "checkpoint-10" / "model.safetensors")
    shutil.rmtree(training / "checkpoint-10")  # as if it had been killed after the first epoch
    (training / "checkpoint-10").mkdir()  # while it was saving the second
    assert {path.name for path in training.glob("checkpoint-*/*.safetensors")} == {"model.safetensors"}
    done = command(*arguments, "--output", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    resumed = load_file(training / "checkpoint-10" / "model.safetensors")
    assert all(torch.equal(resumed[name], value) for name, value in through.items())
    done = command(*arguments, "--output", tmp_path / "out", "--seed", 1, cwd=tmp_path)
    assert done.returncode == 1 and "holds a run with other seed" in done.stderr and "Traceback" not in done.stderr
    torch.manual_seed(1)  # not the seed of the fixture: other weights
    AudioBranchModel(AudioBranchModel.from_pretrained(start).config).save_pretrained(start)
    done = command(*arguments, "--output", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 1 and "holds a run with other weights" in done.stderr and "Traceback" not in done.stderr


def test_push_publishes_the_first_fold_with_its_figures_and_what_fails_is_a_sentence(
    ravdess, checkpoint, tmp_path, monkeypatch, capsys
):
    sent = []

    def train_fold(splits, labels, seed, settings, output):
        return np.array([labels.index(row["label"]) for row in splits["test"]])

    def run(folder, repo_id, metrics, license):
        sent.append((folder, repo_id, read_results(metrics)["metrics"]["weighted_accuracy"]["value"], license))
        if len(sent) > 1:
            raise UploadError("Nothing was sent: answer y on a terminal, or give --yes.")

    monkeypatch.setattr(finetune, "train_fold", train_fold)
    monkeypatch.setattr(finetune.hub_upload, "run", run)
    arguments = {"fold": 2, "output": tmp_path, "push": "anna/emotion"}
    with pytest.raises(typer.Exit):
        finetune.main("ravdess", str(ravdess), str(checkpoint), **arguments)
    assert "--push needs --license" in capsys.readouterr().err and not sent
    arguments["license"] = "cc-by-nc-sa-4.0"
    finetune.main("ravdess", str(ravdess), str(checkpoint), **arguments)
    assert sent == [(tmp_path / "fold-2", "anna/emotion", 1.0, "cc-by-nc-sa-4.0")]
    with pytest.raises(typer.Exit):
        finetune.main("ravdess", str(ravdess), str(checkpoint), **arguments)
    assert "Error: Nothing was sent" in capsys.readouterr().err
    assert read_results(tmp_path / "results.json")  # nothing of the training is lost
