"""The card of a model without results, and what it says about padding."""

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import Wav2Vec2Config

from modeling_audio_branch import AudioBranchConfig, AudioBranchModel
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
