"""The projection of a teacher's features."""

import numpy as np
import pytest
import torch

from recipes.phrases.clips import ClipRecord
from recipes.phrases.dataset import TrainingClip
from recipes.phrases.losses import info_nce
from recipes.phrases.projection import fit_projection, project


def test_too_few_texts_are_a_sentence():
    clip = TrainingClip(ClipRecord(0, 8000, "one", "fr", "anna"), None, np.zeros((8, 16), np.float32))
    with pytest.raises(SystemExit, match="1 texts have more than one clip; write more sets of clips"):
        fit_projection([clip, clip])


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
    matrix = fit_projection([*clips, alone], steps=400)
    pairs = torch.from_numpy(np.stack([clip.teacher for side in (0, 1) for clip in clips[side::2]]))
    assert info_nce(pairs @ matrix.T) < 0.5 * info_nce(pairs)
    torch.testing.assert_close(matrix, fit_projection(clips, steps=400))  # a text of one clip has no pair
    features = np.stack([clip.teacher for clip in clips])
    expected = torch.nn.functional.normalize(torch.from_numpy(features) @ matrix.T, dim=-1)
    torch.testing.assert_close(torch.from_numpy(project(features, matrix)), expected.half(), atol=1e-3, rtol=0)
