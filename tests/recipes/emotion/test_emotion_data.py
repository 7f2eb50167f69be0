"""recipes/emotion/data.py: the published layouts of RAVDESS and CREMA-D, CSV files, data sets of the Hub."""

import shutil
import warnings
from pathlib import Path

import datasets
import pytest

from recipes.emotion.collator import Collator, make_dataset
from recipes.emotion.data import RAVDESS_EMOTIONS, load_crema_d, load_csv, load_hub_dataset, load_ravdess
from recipes.emotion.recordings import DataError, drop_unusable


def test_ravdess_is_read_in_its_published_layout_and_songs_are_skipped(ravdess, tmp_path):
    shutil.copytree(ravdess, tmp_path / "data")
    shutil.copy(
        tmp_path / "data" / "Actor_01" / "03-01-06-01-01-01-01.wav",
        tmp_path / "data" / "Actor_01" / "03-02-06-01-01-01-01.wav",
    )
    recordings = load_ravdess(tmp_path / "data")
    assert len(recordings) == 192
    assert {recording.label for recording in recordings} == set(RAVDESS_EMOTIONS.values())
    recording = next(each for each in recordings if each.audio.name == "03-01-06-01-01-01-12.wav")
    assert recording.label == "fearful" and recording.speaker == "12"


def test_a_missing_actor_and_an_unknown_file_name_are_reported(ravdess, tmp_path):
    shutil.copytree(ravdess, tmp_path / "data")
    (tmp_path / "data" / "Actor_03" / "notes.wav").write_bytes(b"")
    with pytest.raises(DataError, match="notes.wav has no file name of RAVDESS"):
        load_ravdess(tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "Actor_03")
    with pytest.raises(DataError, match="Actor_03 is missing"):
        load_ravdess(tmp_path / "data")


def test_crema_d_is_read_in_its_published_layout(tmp_path):
    for name in ("1001_DFA_ANG_XX", "1002_IEO_HAP_HI"):
        (tmp_path / f"{name}.wav").write_bytes(b"")
    recordings = load_crema_d(tmp_path)
    assert [(each.label, each.speaker) for each in recordings] == [("angry", "1001"), ("happy", "1002")]
    (tmp_path / "x.wav").write_bytes(b"")
    with pytest.raises(DataError, match="x.wav has no file name of CREMA-D"):
        load_crema_d(tmp_path)


def test_a_csv_file_needs_its_columns_and_every_label(tmp_path):
    (tmp_path / "clips.csv").write_text("path,label,speaker\na.wav,x,anna\nb.wav,,ben\n")
    with pytest.raises(DataError, match="line 3, has no label"):
        load_csv(tmp_path / "clips.csv")
    for wrong, missing in (({"label": "emotion"}, "emotion"), ({"speaker": "actr"}, "actr")):
        with pytest.raises(DataError, match=f"no column {missing}, but path, label, speaker"):
            load_csv(tmp_path / "clips.csv", **wrong)
    (tmp_path / "clips.csv").write_text("label,path\nx\n")
    with pytest.raises(DataError, match="line 2, has no path"):
        load_csv(tmp_path / "clips.csv")
    (tmp_path / "clips.csv").write_bytes("path,label\na.wav,größe\n".encode("cp1252"))
    with pytest.raises(DataError, match="UTF-8"):
        load_csv(tmp_path / "clips.csv")
    with pytest.raises(DataError, match="can't be read"):
        load_csv(tmp_path / "nowhere.csv")


def test_a_csv_file_of_excel_with_blanks_is_read_as_intended(tmp_path):
    (tmp_path / "clips.csv").write_text("path,label,speaker\na.wav,x,anna\nb.wav, x,anna \n", encoding="utf-8-sig")
    recordings = load_csv(tmp_path / "clips.csv")
    assert [(each.label, each.speaker) for each in recordings] == [("x", "anna")] * 2


def test_data_of_the_hub_is_not_decoded_by_datasets(ravdess, tmp_path):
    paths = [str(path) for path in sorted((ravdess / "Actor_02").iterdir())][:4]
    audio = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    label = datasets.ClassLabel(names=["a", "b"])
    features = datasets.Features({"audio": audio, "label": label, "speaker": datasets.Value("int64")})
    files = [{"path": path, "bytes": Path(path).read_bytes()} for path in paths]
    columns = {"audio": files, "label": [0, 1, 0, 1], "speaker": [1, 2, 3, 4]}
    data = datasets.Dataset.from_dict(columns, features=features)
    data.to_parquet(tmp_path / "data" / "train.parquet")
    recordings, _ = drop_unusable(load_hub_dataset(str(tmp_path / "data"), "train"))
    assert [each.label for each in recordings] == ["a", "b", "a", "b"] and recordings[3].speaker == "4"
    dataset = make_dataset(recordings, ["a", "b"], 8000)
    assert dataset["length"] == [int(8000 * each.seconds) for each in recordings]
    batch = Collator(8000)([*dataset])
    lengths = zip(batch["attention_mask"].sum(1).tolist(), dataset["length"], strict=True)
    assert all(abs(length - header) <= 1 for length, header in lengths) and batch["labels"].tolist() == [0, 1, 0, 1]
    unlabelled = datasets.Features(features | {"label": datasets.Value("int64")})
    columns["label"] = [0, None, 0, -1]
    datasets.Dataset.from_dict(columns, features=unlabelled).to_parquet(tmp_path / "other" / "train.parquet")
    with pytest.raises(DataError, match="row 1, has no label"):
        load_hub_dataset(str(tmp_path / "other"), "train")
    with pytest.raises(DataError, match="no column emotion"), warnings.catch_warnings():
        load_hub_dataset(str(tmp_path / "data"), "train", label="emotion")
