"""The card: without results, about padding, and with the folder's own words, results, languages and licence."""

import json
import shutil

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import Wav2Vec2Config

from helpers.encoders import make
from helpers.publishing import RESULTS
from modeling_audio_branch import AudioBranchConfig, AudioBranchModel
from modeling_audio_branch.hub.errors import CardError
from modeling_audio_branch.hub.push import push_checkpoint


def test_a_card_without_results_says_so(checkpoint, tmp_path, no_clean_room):
    push_checkpoint(checkpoint, "alice/tiny", dry_run=tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert "was not evaluated" in card.text and "model-index" not in card.data.to_dict()
    assert card.data.pipeline_tag == "feature-extraction" and not (tmp_path / "out" / ".eval_results").exists()


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_the_card_says_whether_the_encoder_looks_at_the_padding(norm, tmp_path, no_clean_room):
    torch.manual_seed(0)
    encoder = Wav2Vec2Config(
        **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
        **{"conv_dim": (8, 8), "conv_stride": (20, 16), "conv_kernel": (40, 16), "num_conv_pos_embeddings": 4},
        **{"num_conv_pos_embedding_groups": 2, "feat_extract_norm": norm, "do_stable_layer_norm": norm == "layer"},
    )
    AudioBranchModel(AudioBranchConfig(encoder_config=encoder, feature_dim=12)).save_pretrained(tmp_path / "model")
    push_checkpoint(tmp_path / "model", "alice/tiny", dry_run=tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert ("**This encoder looks at the padding**" in card) == (norm == "group")
    assert ("`model.encode(clips, same_length_batches=True)`" in card) == (norm == "group")
    assert ("don't depend on what else is in the batch" in card) == (norm == "layer")
    assert "50 encoder frames" in card and "→ wav2vec2 →" in card


def test_the_card_tells_the_longest_clip(checkpoint, tmp_path, no_clean_room):
    make("whisper").save_pretrained(tmp_path / "short")
    for folder, sentence in (
        (checkpoint, "Clips of any length, mono"),
        (tmp_path / "short", "Clips of up to 2 s, mono"),
    ):
        push_checkpoint(folder, "alice/tiny", dry_run=tmp_path / "out" / folder.name)
        assert sentence in (tmp_path / "out" / folder.name / "README.md").read_text()


@pytest.fixture
def own_words(checkpoint, tmp_path):
    """A checkpoint with a card, languages, a licence and results of its own."""
    folder = tmp_path / "own"
    shutil.copytree(checkpoint, folder)
    metadata = "license: cc-by-4.0\nlanguage: [no, de]\ntags: [mine]\nthumbnail: a.png\nbase_model: a/b\n"
    text = "# Mine\n\nMy words.\n\n## How it was made\n\nBy hand.\n"
    (folder / "README.md").write_text(f"---\n{metadata}---\n{text}", encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(RESULTS | {"base_model": "c/d", "confusion": [[1]]}))
    return folder


def test_the_folders_metadata_and_words_are_kept(own_words, tmp_path, no_clean_room):
    push_checkpoint(own_words, "alice/tiny", dry_run=tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    data = card.data.to_dict()
    assert data["license"] == "cc-by-4.0" and data["language"] == ["no", "de"] and data["base_model"] == "a/b"
    assert data["thumbnail"] == "a.png" and data["tags"][0] == "mine" and "custom_code" in data["tags"]
    assert data["library_name"] == "transformers" and data["metrics"] == ["unweighted_accuracy"]
    assert "# Mine\n\nMy words." in card.text and "## How it was made\n\nBy hand." in card.text
    assert "| unweighted accuracy | 0.71 |" in card.text and "not evaluated" not in card.text
    assert (tmp_path / "out" / "results.json").read_bytes() == (own_words / "results.json").read_bytes()


def test_options_have_precedence_over_the_folder(own_words, tmp_path, no_clean_room):
    push_checkpoint(own_words, "alice/tiny", dry_run=tmp_path / "out", language=["en"], license="mit", yes=True)
    data = ModelCard.load(tmp_path / "out" / "README.md").data
    assert data.language == ["en"] and data.license == "mit"


def test_own_words_without_results_get_no_section_that_says_there_are_none(own_words, tmp_path, no_clean_room):
    (own_words / "results.json").unlink()
    push_checkpoint(own_words, "alice/tiny", dry_run=tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "## Results" not in text and "## Training data" not in text and "## Licences" in text


def test_metadata_that_the_hub_could_not_read_is_refused(own_words, tmp_path, no_clean_room):
    (own_words / "results.json").unlink()
    (own_words / "README.md").write_text("---\nmodel-index: [1]\n---\n# Mine\n")
    with pytest.raises(CardError, match="metadata of the folder's README.md is wrong") as error:
        push_checkpoint(own_words, "alice/tiny", dry_run=tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
