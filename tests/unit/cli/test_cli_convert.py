"""`audio-branch convert`."""

import gzip
import tempfile

import pytest
import torch
from safetensors.torch import load_file
from transformers import ParakeetEncoder, ParakeetEncoderConfig, ParakeetFeatureExtractor
from typer.testing import CliRunner

from helpers.fresh_process import run_fresh
from helpers.full_disk import full_disk
from helpers.nemo_archives import NEMO, change
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.cli import app


def run(*arguments):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


def test_a_converted_folder_loads_in_a_fresh_process_with_the_archives_own_filters(tmp_path):
    """Some archives hold the window and filters rounded to bfloat16: these, not ours, are what the encoder knows."""

    def round_filters(weights):
        for name in ("window", "fb"):
            weights[f"preprocessor.featurizer.{name}"] = weights[f"preprocessor.featurizer.{name}"].bfloat16()

    archive = change(NEMO / "fc_ctc_bpe/model.nemo", tmp_path / "model.nemo", change_weights=round_filters)
    model = AudioBranchModel.from_nemo(archive)
    log_mel = model.front_end.log_mel
    assert not torch.equal(log_mel.mel_filters, log_mel.constants()["mel_filters"])
    assert run(archive, tmp_path / "new" / "folder").exit_code == 0
    code = f"""
    import torch
    from transformers import AutoFeatureExtractor, AutoModel
    from safetensors.torch import load_file
    folder = {str(tmp_path / "new" / "folder")!r}
    model = AutoModel.from_pretrained(folder, trust_remote_code=True)
    extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
    clip = load_file({str(NEMO / "waveforms.safetensors")!r})["waveforms"][0, :16000]
    with torch.no_grad():
        raw, extracted = model(clip[None]), model(**extractor(clip, sampling_rate=16000, return_tensors="pt"))
    print((raw.last_hidden_state - extracted.last_hidden_state).abs().max().item() < 1e-6)
    print(raw.last_hidden_state.double().sum().item())
    """
    same_doors, total = run_fresh(code, tmp_path).split()
    with torch.no_grad():
        expected = (
            model(load_file(NEMO / "waveforms.safetensors")["waveforms"][:1, :16000])
            .last_hidden_state.double()
            .sum()
            .item()
        )
    assert same_doors == "True" and float(total) == pytest.approx(expected, abs=1e-4)


def test_the_converter_says_in_one_sentence_that_a_setting_is_impossible(tmp_path):
    def change_kernel(config):
        config["encoder"]["conv_kernel_size"] = 8

    archive = change(NEMO / "fc_local4/model.nemo", tmp_path / "model.nemo", change_kernel)
    result = run(archive, tmp_path / "new")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "The archive has a setting that is not supported: conv_kernel_size=8 has no middle: give an odd number."
    ]


def test_the_converter_overwrites_nothing_and_names_a_missing_archive(tmp_path):
    (tmp_path / "kept").touch()
    occupied = run(NEMO / "fc_local4/model.nemo", tmp_path)
    assert occupied.exit_code == 1
    assert "is not an empty folder; give another" in occupied.stderr
    missing = run(tmp_path / "no.nemo", tmp_path / "new")
    assert missing.exit_code == 1
    assert "is not a file; give the path of a .nemo archive" in missing.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]


def test_the_converter_prints_what_the_archive_holds(tmp_path):
    result = run(NEMO / "fc_local4/model.nemo", tmp_path / "new")
    assert result.exit_code == 0
    rows = [line.split("│")[1:3] for line in result.stdout.splitlines() if line.startswith("│")]
    table = {name.strip(): value.strip() for name, value in rows}
    model = AudioBranchModel.from_nemo(NEMO / "fc_local4/model.nemo")
    assert table["attention_window"] == "[4, 4]" and table["num_layers"] == str(model.config.num_layers)
    counts = model.num_parameters_by_part()
    assert table["parameters: encoder"] == f"{counts['encoder']:,}"
    assert table["parameters: pooling"] == f"{counts['pooling']:,} (new, random)"


def test_the_converter_takes_parakeet_folders(tmp_path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 8, "intermediate_size": 64}
    encoder = ParakeetEncoder(ParakeetEncoderConfig(**sizes, subsampling_conv_channels=8))
    encoder.save_pretrained(tmp_path / "parakeet")
    ParakeetFeatureExtractor().save_pretrained(tmp_path / "parakeet")
    assert run(tmp_path / "parakeet", tmp_path / "new", "--parakeet").exit_code == 0
    model = AudioBranchModel.from_pretrained(tmp_path / "new")
    weight = encoder.state_dict()["layers.0.feed_forward1.linear1.weight"]
    assert torch.equal(model.encoder.layers[0].feed_forward1.linear1.weight, weight)

    encoder.config.hidden_act = "relu"
    encoder.config.save_pretrained(tmp_path / "parakeet")
    result = run(tmp_path / "parakeet", tmp_path / "other", "--parakeet")
    assert result.exit_code == 1 and "hidden_act='relu'" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("largest_file", [0, 1000, 15_000, 25_000, 100_000])
def test_a_full_disk_is_one_sentence_with_the_folder_and_leaves_nothing(largest_file, tmp_path, monkeypatch):
    model = AudioBranchModel.from_nemo(NEMO / "fc_local4/model.nemo")
    monkeypatch.setattr("modeling_audio_branch.cli.convert.load_nemo", lambda *_, **__: model)
    with full_disk(largest_file):
        result = run("model.nemo", tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert result.exit_code == 1 and result.stderr.splitlines()[-1] == (
        f"{folder} cannot be written (File too large); free some space there, or give another path."
    )
    assert not list(tmp_path.rglob("new/*"))


def test_a_full_temporary_folder_is_one_sentence_too(tmp_path):
    archive = tmp_path / "model.nemo"
    archive.write_bytes(gzip.compress((NEMO / "fc_local4/model.nemo").read_bytes()))
    with full_disk(1000):  # what a compressed archive holds is copied to the temporary folder
        result = run(archive, tmp_path / "new")
    assert result.exit_code == 1 and len(result.stderr.splitlines()) == 1
    assert f"{tempfile.gettempdir()} cannot be written (File too large)" in result.stderr and "TMPDIR" in result.stderr
