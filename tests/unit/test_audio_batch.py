"""What is a clip and what is a batch: no batch is mixed into one clip, and what is neither is named."""

import io
from collections import deque

import numpy as np
import pandas
import pytest
import soundfile
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchModel
from modeling_audio_branch.audio_batch import as_clips

RATE = 16000


def object_array(clips):
    array = np.empty(len(clips), dtype=object)
    array[:] = clips
    return array


BATCHES = {
    "list": list,
    "tuple": tuple,
    "deque": deque,
    "generator": lambda clips: (clip for clip in clips),
    "iterator": iter,
    "object array": object_array,
    "array of rows": np.stack,
    "tensor of rows": lambda clips: torch.from_numpy(np.stack(clips)),
    "pandas Series": lambda clips: pandas.Series(list(clips)),
    "list of lists": lambda clips: [clip.tolist() for clip in clips],
    "column": lambda clips: Dataset.from_dict({"speech": [clip.tolist() for clip in clips]})["speech"],
    "numpy column": lambda clips: Dataset.from_dict({"speech": clips}).with_format("numpy")["speech"],
    "torch column": lambda clips: Dataset.from_dict({"speech": clips}).with_format("torch")["speech"],
    "numpy slice": lambda clips: Dataset.from_dict({"speech": clips}).with_format("numpy")[:]["speech"],
    "torch slice": lambda clips: Dataset.from_dict({"speech": clips}).with_format("torch")[:]["speech"],
    "dataset of clips": lambda clips: Dataset.from_dict({"array": clips, "sampling_rate": [RATE] * len(clips)}),
}


@pytest.mark.parametrize("form", BATCHES)
@given(lengths=st.one_of(st.lists(st.integers(33, 900), min_size=1, max_size=4), st.just([400, 400, 400])))
def test_a_sequence_of_clips_is_a_batch_in_every_container(form, lengths):
    if form.endswith(("rows", "slice")):
        lengths = [lengths[0]] * len(lengths)  # which only clips of equal length fit
    clips = [clip.numpy().astype(np.float32) for clip in random_clips(lengths)]
    got, is_batch = as_clips(BATCHES[form](clips))
    assert is_batch and len(got) == len(clips)
    for clip, expected in zip(got, clips, strict=True):
        clip = clip["array"] if isinstance(clip, dict) else clip
        np.testing.assert_allclose(np.asarray(clip, dtype=np.float32), expected, rtol=1e-6)


@pytest.mark.parametrize("form", BATCHES)
def test_encode_and_the_extractor_embed_each_clip_of_every_container(form):
    model = make_model(AudioBranchModel, tiny_config())
    clips = [clip.numpy() for clip in random_clips([3000, 3000, 3000])]
    expected = torch.stack([model.encode(clip, sampling_rate=RATE).segment_features for clip in clips])
    got = model.encode(BATCHES[form](clips), sampling_rate=RATE).segment_features
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    extractor = AudioBranchFeatureExtractor.from_model(model)
    assert len(extractor(BATCHES[form](clips), sampling_rate=RATE)["input_features"]) == 3


def test_a_sequence_of_numbers_is_one_clip_in_every_container():
    numbers = [0.1, -0.2, 0.3]
    forms = [numbers, tuple(numbers), deque(numbers), iter(numbers), pandas.Series(numbers), np.float64(numbers)]
    for form in [*forms, memoryview(np.float32(numbers)), [np.float32(0.1), -0.2, 0.3]]:
        (clip,), is_batch = as_clips(form)
        assert not is_batch
        np.testing.assert_allclose(np.asarray(clip, dtype=np.float32), numbers, rtol=1e-6)


def test_a_file_in_memory_is_one_clip_in_every_form(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, random_clips([3000])[0].numpy(), RATE)
    data = path.read_bytes()
    model = make_model(AudioBranchModel, tiny_config())
    expected = model.encode(path).segment_features
    buffer = io.BytesIO(data)
    with open(path, "rb") as file:
        for form in (data, bytearray(data), memoryview(data), buffer, file, file, buffer):  # twice: nothing is used up
            assert torch.equal(model.encode(form).segment_features, expected)
    with open(path, encoding="latin-1") as file, pytest.raises(TypeError, match="open it in binary mode"):
        model.encode(file)


@pytest.mark.parametrize(
    ("audio", "sentence"),
    [
        (None, "None was given as audio; give a clip"),
        ({0.1, 0.2}, "A set was given as audio; give a clip"),
        (3.0, "A float was given as audio"),
        (object(), "A object was given as audio"),
        ({"a": 1}.values(), "A dict_values was given as audio"),
        (pandas.DataFrame({"speech": [1.0]}), "A DataFrame was given as audio"),
        ([], "An empty list was given as audio; give at least one clip"),
        (deque(), "An empty deque was given"),
        (iter([]), "An empty list_iterator was given"),
        (np.zeros((0, 16000)), "An empty batch (an array of shape (0, 16000)) was given as audio"),
        (np.zeros(0, dtype=object), "An empty array of clips was given"),
        ([set()], "Clip 0 of the batch is a set that holds no samples"),
        ([None], "Clip 0 of the batch is a NoneType that holds no samples"),
        (Dataset.from_dict({"speech": [[0.1]], "label": [1]}), "Clip 0 of the batch is a dict with the keys"),
        ([[0.1, "x"]], "Clip 0 of the batch is a list that holds no samples"),
        ([[[0.1, 0.2], [0.3]]], "Clip 0 of the batch is a list that holds no samples"),
    ],
)
def test_what_is_no_audio_is_named_in_one_sentence(audio, sentence):
    model = make_model(AudioBranchModel, tiny_config())
    with pytest.raises((ValueError, TypeError)) as raised:
        model.encode(audio, sampling_rate=RATE)
    assert sentence in str(raised.value) and "\n" not in str(raised.value)
