"""Checkpoints whose encoder takes no longer clips, among clips of any length."""

import numpy as np
import torch

from modeling_audio_branch import AudioBranchModel
from recipes.phrases.embedding import embed, load_model


def test_of_a_clip_that_is_too_long_for_the_encoder_the_start_is_embedded(whisper, tmp_path):
    AudioBranchModel.from_encoder(whisper, max_seconds=2, feature_dim=12).save_pretrained(tmp_path)
    model = load_model(tmp_path)
    clip = np.sin(np.arange(30000, dtype=np.float32))  # 3.75 s at 8 kHz
    long, cut, other = embed(model, [clip, clip[:16000], clip[:15000]])
    assert torch.equal(long, cut) and not torch.allclose(long, other, atol=1e-3)
