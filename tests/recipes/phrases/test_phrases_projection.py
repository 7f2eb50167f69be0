"""The projection of a teacher's features."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from recipes.phrases.clips import ClipRecord
from recipes.phrases.dataset import TrainingClip
from recipes.phrases.losses import info_nce
from recipes.phrases.projection import fit_projection, project, standardising_projection


def test_too_few_texts_are_a_sentence():
    clip = TrainingClip(ClipRecord(0, 8000, "one", "fr", "anna"), None, np.zeros((8, 16), np.float32))
    with pytest.raises(SystemExit, match="1 texts have more than one clip; write more sets of clips"):
        fit_projection([clip, clip])


def test_the_projection_starts_as_a_standardisation():
    features = 5 + 3 * torch.randn(500, 16) * torch.arange(1, 17)
    linear = standardising_projection(features)[:2]
    found = linear(features)
    assert found.mean(0).abs().max() < 1e-3 and (found.std(0) - 1).abs().max() < 1e-3


def test_the_projection_keeps_what_the_clips_of_a_text_share_and_drops_what_tells_voices_apart():
    generator = np.random.default_rng(0)
    voices = {name: generator.standard_normal(8) for name in ("anna", "ben", "carl", "dora")}
    clips = []
    for text in range(60):
        said = generator.standard_normal((8, 8))
        for name in generator.permutation([*voices])[:2]:
            features = np.concatenate([said, np.tile(2 * voices[name], (8, 1))], 1).astype(np.float32)  # (8, 16)
            clips.append(TrainingClip(ClipRecord(0, 8000, str(text), "fr", name), None, features))
    alone = TrainingClip(ClipRecord(0, 8000, "said once", "fr", "anna"), None, clips[0].teacher)
    projection = fit_projection([*clips, alone], steps=300)
    pairs = torch.from_numpy(np.stack([clip.teacher for side in (0, 1) for clip in clips[side::2]]))
    assert info_nce(projection(pairs)) < 0.5 * info_nce(standardising_projection(pairs.flatten(0, 1))(pairs))
    again = fit_projection(clips, steps=300)  # a text of one clip has no pair
    torch.testing.assert_close(again.state_dict(), projection.state_dict())
    features = np.stack([clip.teacher for clip in clips])
    expected = F.normalize(projection(torch.from_numpy(features)), dim=-1).detach().half()
    torch.testing.assert_close(torch.from_numpy(project(features, projection)), expected, atol=1e-3, rtol=0)
