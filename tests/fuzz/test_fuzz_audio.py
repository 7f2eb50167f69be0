"""Audio containers: whatever is in a file, it is decoded to finite samples, or one sentence says why not."""

import io

import pytest
import soundfile
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.fuzzing import fuzz, loads_or_says_why, mutations
from helpers.models import random_clips
from modeling_audio_branch.audio_batch import as_clips
from modeling_audio_branch.audio_file import long_file
from modeling_audio_branch.audio_input import load_audio

RATE = 16000
FORMATS = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS")]
FORMATS += [("MP3", None), ("AIFF", None), ("AU", None), ("CAF", None), ("W64", None), ("RF64", None)]


def encoded(format, subtype, rate, channels):
    file = io.BytesIO()
    clip = 0.5 * random_clips([1200])[0].numpy()
    soundfile.write(file, clip.repeat(channels).reshape(-1, channels), rate, format=format, subtype=subtype)
    return file.getvalue()


SAMPLES = {
    f"{format} {subtype}": [encoded(format, subtype, rate, channels) for rate, channels in ((8000, 1), (16000, 2))]
    for format, subtype in FORMATS
}


@pytest.mark.parametrize("format", SAMPLES)
@given(data=st.data())
@fuzz(120)
def test_a_mutated_audio_file_is_decoded_or_refused_in_a_sentence(format, data, tmp_path):
    content = data.draw(mutations(SAMPLES[format]))
    path = tmp_path / "clip"
    path.write_bytes(content)
    decoded = loads_or_says_why(load_audio, path, RATE)
    in_memory = loads_or_says_why(load_audio, content, RATE)
    if decoded is None:
        assert in_memory is None
        return
    assert decoded.ndim == 1 and decoded.isfinite().all() and len(decoded) < 10**7
    torch.testing.assert_close(in_memory, decoded, atol=1e-6, rtol=1e-5)
    rate = soundfile.info(path).samplerate
    blocks = loads_or_says_why(lambda: [*(long_file(path, rate, 0.0) or [])])
    if blocks:
        torch.testing.assert_close(torch.cat(blocks), load_audio(path, rate), atol=0, rtol=0)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(st.sampled_from(["array", "raw", "bytes", "path", "sampling_rate", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(anything, anything)
@example((None,), "\n")
@fuzz(1500)
def test_any_object_is_audio_or_refused_in_a_sentence(audio, rate):
    clips = loads_or_says_why(as_clips, audio)
    for index, clip in enumerate(clips[0] if clips else ()):
        samples = loads_or_says_why(load_audio, clip, RATE, rate, index)
        assert samples is None or (samples.ndim == 1 and samples.isfinite().all())
