"""Every form of audio gives the same samples, and audio that is not usable gives one sentence that names the clip."""

import io
import math
import os
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from datasets import Audio, Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.models import random_clips
from modeling_audio_branch import AudioBranchFeatureExtractor, audio_input
from modeling_audio_branch.audio_batch import as_clips
from modeling_audio_branch.audio_file import long_file
from modeling_audio_branch.audio_input import MemoryFile, load_audio, read_blocks

RATE = 16000


@pytest.fixture
def clip():
    return 0.5 * random_clips([4000])[0]


@pytest.fixture
def extractor():
    return AudioBranchFeatureExtractor()


def write(path, samples, rate=RATE, **kwargs):
    soundfile.write(path, np.asarray(samples), rate, **kwargs)
    return path


def forms_of(clip, folder):
    """The same clip in every lossless form, each carrying its rate unless it is bare."""
    array = clip.numpy()
    wav = write(folder / "a.wav", array, subtype="FLOAT")
    carried = {
        "path": wav,
        "string": str(wav),
        "bytes": wav.read_bytes(),
        "dict of an array": {"array": array, "sampling_rate": RATE},
        "dict of a tensor": {"array": clip, "sampling_rate": RATE},
        "dict of raw": {"raw": array, "sampling_rate": RATE},
        "dict of a path": {"path": str(wav), "bytes": None},
        "dict of bytes": {"path": "gone.wav", "bytes": wav.read_bytes()},
        "decoder": SimpleNamespace(get_all_samples=lambda: SimpleNamespace(data=clip[None], sample_rate=RATE)),
        "stereo dict, channels first": {"array": np.stack([array, array]), "sampling_rate": RATE},
        "stereo dict, channels last": {"array": np.stack([array, array], 1), "sampling_rate": RATE},
    }
    bare = {
        "array": array,
        "float64 array": array.astype(np.float64),
        "big-endian array": array.astype(">f4"),
        "reversed view": array[::-1].copy()[::-1],
        "tensor": clip,
        "tensor with a gradient": clip.clone().requires_grad_(),
        "list of floats": array.tolist(),
    }
    return carried, bare


def test_every_form_of_a_clip_gives_the_same_samples(clip, tmp_path):
    carried, bare = forms_of(clip, tmp_path)
    for form, audio in carried.items():
        torch.testing.assert_close(load_audio(audio, RATE), clip, atol=1e-7, rtol=0, msg=form)
    for form, audio in bare.items():
        ((single,), is_batch) = as_clips(audio)
        assert not is_batch
        torch.testing.assert_close(load_audio(single, RATE, RATE), clip, atol=1e-7, rtol=0, msg=form)


def test_a_batch_may_mix_all_forms(clip, tmp_path, extractor):
    carried, bare = forms_of(clip, tmp_path)
    audio = [*carried.values(), *bare.values()]
    features = extractor(audio, sampling_rate=RATE, return_tensors="pt")["input_features"]
    assert features.shape == (len(audio), 26, 80)
    torch.testing.assert_close(features, features[:1].expand_as(features), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "make_batch",
    [list, tuple, np.stack, torch.stack, lambda clips: np.array([*map(np.asarray, clips), None], dtype=object)[:-1]],
)
def test_every_form_of_a_batch_gives_the_same_features(make_batch, extractor):
    clips = random_clips([3200, 3200, 3200])
    expected = extractor(clips, sampling_rate=RATE, return_tensors="pt")["input_features"]
    got = extractor(make_batch(clips), sampling_rate=RATE, return_tensors="pt")["input_features"]
    assert torch.equal(got, expected)


@pytest.mark.parametrize(("format", "tolerance"), [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.2), ("mp3", 0.2)])
def test_files_of_every_common_format_are_read(format, tolerance, tmp_path):
    tone = 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(8000) / RATE)
    samples = load_audio(write(tmp_path / f"tone.{format}", tone), RATE)
    assert (samples[1000:7000] - tone[1000:7000]).abs().max() < tolerance


@pytest.mark.parametrize(
    ("dtype", "scale", "offset"), [(np.int16, 2**15, 0), (np.int32, 2**31, 0), (np.uint8, 2**7, 2**7)]
)
def test_integer_samples_are_scaled_to_one(dtype, scale, offset):
    exact = np.array([-1.0, -0.5, 0.0, 0.25, 0.5])
    samples = load_audio((exact * scale + offset).astype(dtype), RATE, RATE)
    assert samples.tolist() == exact.tolist()


@pytest.mark.parametrize("rate", [5000, 8000, 11025, 11127, 22050, 22254, 44100, 48000, 128000])
def test_any_rate_is_resampled(rate):
    seconds = torch.arange(rate) / rate
    samples = load_audio({"array": torch.sin(2 * torch.pi * 440 * seconds), "sampling_rate": rate}, RATE)
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(RATE) / RATE)
    assert abs(len(samples) - RATE) <= 1
    assert (samples[500:15500] - expected[500:15500]).abs().max() < 0.01


def test_channels_are_mixed_not_picked(tmp_path):
    tone = np.sin(np.arange(3200) / 10)
    stereo = write(tmp_path / "one_silent_channel.wav", np.stack([np.zeros(3200), tone], 1), subtype="FLOAT")
    np.testing.assert_allclose(load_audio(stereo, RATE), tone / 2, atol=1e-6)


def test_datasets_rows_are_read_without_torchcodec(tmp_path, clip, extractor):
    paths = [str(write(tmp_path / f"{i}.wav", clip)) for i in range(2)]
    rows = Dataset.from_dict({"audio": paths}).cast_column("audio", Audio(decode=False))
    assert extractor(rows[:]["audio"], return_tensors="pt")["input_features"].shape == (2, 26, 80)


@pytest.mark.parametrize(
    ("audio", "kwargs", "sentence"),
    [
        ([np.zeros(400)], {}, "Clip 0 of the batch is an array without a sampling rate; pass sampling_rate="),
        ([{"array": np.zeros(400)}], {}, "Clip 0 of the batch is an array without a sampling rate"),
        ([np.zeros(9), np.full(9, np.nan)], {"sampling_rate": RATE}, "Clip 1 of the batch has 9 samples that are NaN"),
        (
            [np.array([0, np.inf])],
            {"sampling_rate": RATE},
            "Clip 0 of the batch has 1 samples that are NaN or infinite",
        ),
        (
            [np.zeros(9, dtype=np.int64)],
            {"sampling_rate": RATE},
            "holds torch.int64 samples; give floating point, int16",
        ),
        ([np.zeros(9, dtype=bool)], {"sampling_rate": RATE}, "holds torch.bool samples"),
        ([np.zeros(9, dtype=complex)], {"sampling_rate": RATE}, "holds torch.complex128 samples"),
        ([None], {"sampling_rate": RATE}, "Clip 0 of the batch is a NoneType that holds no samples"),
        ([np.zeros((40, 40, 2))], {"sampling_rate": RATE}, "has the shape (40, 40, 2); give (samples,), or up to 32"),
        ([np.zeros((400, 500))], {"sampling_rate": RATE}, "has the shape (400, 500)"),
        (np.zeros((400, 2)), {"sampling_rate": RATE}, "put it in a list: [array]"),
        ([np.zeros(9)], {"sampling_rate": 0}, "Clip 0 of the batch has a sampling rate of 0"),
        ([np.zeros(9)], {"sampling_rate": 16000.5}, "has a sampling rate of 16000.5"),
        ([{"text": "hello"}], {}, "Clip 0 of the batch is a dict with the keys ['text']; it needs 'array'"),
        ([], {}, "An empty list was given as audio"),
        (["there.wav", "missing.wav"], {}, "Clip 1 of the batch ('missing.wav') is not a file"),
        (["empty.wav"], {}, "Clip 0 of the batch ('empty.wav') can't be read as audio"),
        (["text.wav"], {}, "Clip 0 of the batch ('text.wav') can't be read as audio"),
        (["header.wav"], {}, "Clip 0 of the batch ('header.wav') holds no samples"),
        (["folder"], {}, "Clip 0 of the batch ('folder') is not a file"),
        ([b"not audio"], {}, "Clip 0 of the batch (9 bytes) can't be read as audio"),
        ([b""], {}, "Clip 0 of the batch (0 bytes) can't be read as audio (Error opening it: "),
        ([1e300, 0.0], {"sampling_rate": RATE}, "has 1 samples that are NaN or infinite"),
        ([10**400, 0], {"sampling_rate": RATE}, "an integer beyond all samples"),
        ([np.zeros(9)], {"sampling_rate": RATE, "truncation": True}, "need max_length= in samples"),
        ([np.zeros(9)], {"sampling_rate": RATE, "padding": "left"}, "padding='left' was given; allowed are True"),
    ],
)
def test_bad_audio_gives_one_sentence_that_names_the_clip(audio, kwargs, sentence, tmp_path, monkeypatch, extractor):
    monkeypatch.chdir(tmp_path)
    write("there.wav", np.zeros(400))
    write("header.wav", np.zeros(0))
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("this is no audio")
    (tmp_path / "folder").mkdir()
    with pytest.raises((ValueError, TypeError, FileNotFoundError)) as raised:
        extractor(audio, **kwargs)
    message = str(raised.value)
    assert sentence in message
    assert "\n" not in message and len(message) < 300


def test_a_file_that_asks_for_an_impossible_place_is_refused_without_another_word(capfd):
    """Found by the fuzzer: libsndfile seeks to before the start of this AIFF."""
    content = (Path(__file__).parents[1] / "fixtures/damaged_seek.aiff").read_bytes()
    with pytest.raises(ValueError, match="can't be read as audio"):
        load_audio(content, RATE)
    assert capfd.readouterr() == ("", "")


def test_a_file_in_memory_equals_the_file(tmp_path, clip):
    buffer = io.BytesIO()
    soundfile.write(buffer, clip.numpy(), RATE, format="FLAC")
    path = tmp_path / "a.flac"
    path.write_bytes(buffer.getvalue())
    assert torch.equal(load_audio(buffer.getvalue(), RATE), load_audio(path, RATE))


@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "mp3"])
@given(kept=st.floats(0.02, 1), flips=st.lists(st.tuples(st.floats(0.05, 1), st.integers(1, 255)), max_size=3))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_read_to_its_real_end_whole_and_block_by_block(format, kept, flips, tmp_path, monkeypatch):
    """Every file that opens gives the samples that libsndfile decodes at once; no block is repeated."""
    monkeypatch.setattr(audio_input, "BLOCK_SECONDS", 1)
    tone = 0.3 * torch.sin(torch.arange(5 * RATE) ** 1.2 / 40)
    data = bytearray(write(tmp_path / f"whole.{format}", tone).read_bytes())
    for place, value in flips:
        data[min(int(place * len(data)), len(data) - 1)] ^= value
    path = tmp_path / f"damaged.{format}"
    path.write_bytes(data[: int(kept * len(data))])
    results = []
    for read in (
        lambda: torch.from_numpy(soundfile.read(path, dtype="float32", always_2d=True)[0]).mean(1),
        lambda: load_audio(path, soundfile.info(path).samplerate),
        lambda: torch.cat([*long_file(path, soundfile.info(path).samplerate, 0.0)]),
    ):
        try:
            results.append(read())
        except (ValueError, TypeError, soundfile.SoundFileError) as error:
            assert "\n" not in str(error)
            results.append(None)
    decoded, whole, streamed = results
    if decoded is None or not len(decoded) or not decoded.isfinite().all():
        assert whole is None and streamed is None
    elif whole is not None:  # a header may be damaged to a rate that is refused, or samples to huge ones
        assert torch.equal(streamed, whole)
        torch.testing.assert_close(whole, decoded, atol=1e-6, rtol=1e-5)
    else:
        assert streamed is None


@pytest.mark.parametrize("form", ["path", "stream"])
def test_a_truncated_long_file_names_itself(form, tmp_path):
    path = write(tmp_path / "cut.flac", random_clips([5 * RATE])[0])
    path.write_bytes(path.read_bytes()[:-20000])
    with pytest.raises(ValueError, match=r"The clip \('.*cut.flac'\) (can't be read as audio|is cut off or damaged)"):
        load_audio(path, RATE) if form == "path" else list(long_file(path, RATE, 1))


@pytest.mark.parametrize(
    "rate", [1, 8, 9, 15, 16, 48, 999, 1_000_001, 999_999_937, math.nan, math.inf, [16000], "x", True]
)
def test_a_sampling_rate_that_is_none_is_refused_wherever_it_comes_from(rate, tmp_path):
    sentence = f"The clip has a sampling rate of {rate}".replace("[", r"\[").replace("]", r"\]")
    for form in (np.zeros(4000), {"array": np.zeros(4000)}):
        with pytest.raises(ValueError, match=f"{sentence}.*give a whole number of Hz from 1000 to 1000000"):
            load_audio(form, RATE, rate)
    with pytest.raises(ValueError, match=sentence):
        load_audio({"array": np.zeros(4000), "sampling_rate": rate}, RATE)


@pytest.mark.parametrize("kilohertz", [8, 16, 22, 44, 48])
def test_kilohertz_in_place_of_hertz_are_noticed(kilohertz):
    with pytest.raises(ValueError, match=f"such as {kilohertz}000 for {kilohertz} kHz"):
        load_audio(np.zeros(4000), RATE, kilohertz)


@pytest.mark.parametrize("rate", [1, 999_999_937])
def test_an_impossible_rate_in_the_header_of_a_file_is_refused_before_anything_is_resampled(rate, tmp_path):
    data = bytearray(write(tmp_path / "a.wav", np.zeros(400)).read_bytes())
    data[24:28] = rate.to_bytes(4, "little")
    path = tmp_path / "b.wav"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"\('.*b.wav'\) has a sampling rate of {rate}"):
        load_audio(path, RATE)


def test_the_rate_given_beside_a_dict_without_one_counts():
    clip = {"array": np.zeros(8000), "sampling_rate": None}
    assert len(load_audio(clip, RATE, 8000)) == 16000
    assert len(load_audio({"array": np.zeros(8000), "sampling_rate": 16000}, RATE, 8000)) == 8000


@pytest.mark.parametrize("size", [1e11, 1e19, 3e38])
def test_samples_whose_power_would_overflow_are_refused(size):
    with pytest.raises(ValueError, match="has samples up to .*; give samples of at most 1e.10"):
        load_audio(np.array([0.0, -size]), RATE, RATE)


@given(st.floats(1e-30, 1e10))
def test_samples_of_every_allowed_size_give_finite_features(size):
    clip = size * random_clips([4000])[0].numpy()
    assert np.isfinite(AudioBranchFeatureExtractor()(clip, sampling_rate=RATE)["input_features"][0]).all()


def test_a_file_name_that_is_no_utf_8_is_read_and_named(tmp_path):
    name = os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav")
    path = os.fsdecode(name)
    write(tmp_path / "a.wav", random_clips([4000])[0]).rename(path)
    assert torch.equal(load_audio(path, RATE), load_audio(Path(path), RATE))
    assert len(torch.cat([*long_file(path, RATE, 0.1)])) == 4000
    Path(path).write_bytes(b"no audio")
    with pytest.raises(ValueError, match="can't be read as audio") as raised:
        load_audio(path, RATE)
    str(raised.value).encode()  # it can be printed


def test_many_channels_at_a_high_rate_take_little_memory():
    file = io.BytesIO()
    soundfile.write(file, np.full((19, 500), 0.5), 1_000_000, format="WAV")
    tracemalloc.start()
    samples = torch.cat([block for block, _ in read_blocks(MemoryFile(file.getvalue()), "The clip")])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert samples.shape == (19,) and peak < 2**26
