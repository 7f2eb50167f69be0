"""`audio-branch info`: every row of its table against the model."""

import pytest
from transformers import ASTConfig, Wav2Vec2Config
from typer.testing import CliRunner

from helpers.encoders import make
from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.cli import app
from modeling_audio_branch.cli.info import batch_difference, describe, encoder_kind, frame_rate, licence

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WAV2VEC2 = SIZES | {
    **{"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2},
}


def rows(model, folder):
    return dict(describe(model, folder))


def test_the_table_has_the_facts_of_a_model_of_ours(tmp_path):
    model = make_model(AudioBranchModel, tiny_config(subsampling_factor=4, attention_window=[3, 5]))
    table = rows(model, tmp_path)
    counts = model.num_parameters_by_part()
    assert {f"parameters: {part}": f"{count:,}" for part, count in counts.items()}.items() <= table.items()
    assert table["dtype"] == "float32"
    assert table["encoder frames per second"] == "25"
    assert table["sampling rate"] == "16000 Hz"
    assert table["segments"] == "4 of 12 features, pooling by attention"
    assert table["encoder"] == (
        "Conformer, 2 layers of width 16, subsampling by 4 (dw_striding), positions: rotary, attention to 3 + 5 frames"
    )
    assert "block by block" in table["long files"]
    assert table["classification"].startswith("no;")
    assert table["licence"] == "not stated in the folder's README.md"


def test_a_classifier_has_its_labels_and_its_head(tmp_path):
    model = make_model(AudioBranchForAudioClassification, tiny_config(id2label={0: "calm", 1: "angry"}))
    table = rows(model, tmp_path)
    assert table["classification"] == "calm, angry"
    assert table["parameters: classifier"] == "26"


def test_the_exactness_is_measured():
    difference, largest = batch_difference(make_model(AudioBranchModel, tiny_config()))
    assert difference < 1e-5 < largest


@pytest.mark.parametrize("norm, exact", [("group", False), ("layer", True)])
def test_an_encoder_that_depends_on_the_padding_is_found_by_measuring_and_by_name(tmp_path, norm, exact):
    encoder = Wav2Vec2Config(**WAV2VEC2, feat_extract_norm=norm, do_stable_layer_norm=exact)
    model = make_model(AudioBranchModel, tiny_config(encoder_config=encoder))
    assert (batch_difference(model)[0] < 1e-4) == exact
    table = rows(model, tmp_path)
    assert ("same_length_batches=True" in table["exactness, known"]) != exact
    assert encoder_kind(model) == "Wav2Vec2Model of Transformers, 2 layers of width 16"
    assert frame_rate(model) == 50
    assert table["long files"] == "read whole"


def test_an_encoder_of_one_length_has_its_limit(tmp_path):
    encoder = ASTConfig(**SIZES, max_length=1024, num_mel_bins=32, frequency_stride=10, time_stride=10)
    model = make_model(AudioBranchModel, tiny_config(encoder_config=encoder))
    assert rows(model, tmp_path)["long files"] == "refused: the encoder takes at most 10 s"
    assert frame_rate(model) == 10
    short = rows(make("whisper"), tmp_path)
    assert short["long files"] == "refused: the encoder takes at most 2 s"
    assert "differ by at most" in short["exactness, measured"]


@pytest.mark.parametrize(
    "text, expected",
    [("---\nlicense: gpl-2.0\n---\n", "gpl-2.0"), ("no metadata", None), ("---\n{\n---\n", None), (None, None)],
)
def test_the_licence_is_that_of_the_readme(tmp_path, text, expected):
    if text is not None:
        (tmp_path / "README.md").write_text(text)
    assert licence(tmp_path) == expected


def test_the_command_prints_the_table(tmp_path):
    make_model(AudioBranchModel, tiny_config()).save_pretrained(tmp_path)
    done = CliRunner().invoke(app, ["info", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert all(name in done.stdout for name in ("parameters: total", "exactness", "licence", "sampling rate"))


def test_a_missing_model_ends_in_one_sentence(tmp_path):
    done = CliRunner().invoke(app, ["info", str(tmp_path / "none")])
    assert done.exit_code == 1 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and "none" in done.stderr
