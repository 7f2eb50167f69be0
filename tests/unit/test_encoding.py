"""`encode`: any form of audio, long files, the order of the input, progress."""

import numpy as np
import pytest
import soundfile
import torch
from accelerate import cpu_offload
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import (
    AudioBranchModel,
    audio_input,
    encoding,
)

RATE = 16000


@pytest.fixture(scope="module")
def model():
    return make_model(AudioBranchModel, tiny_config(subsampling_factor=4))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("normalize", ["per_feature", "none"])
def test_a_long_file_is_read_block_by_block_and_gives_the_same(tmp_path, monkeypatch, channels, normalize):
    model = make_model(AudioBranchModel, tiny_config(subsampling_factor=4, attention_window=8, normalize=normalize))
    clips = [clip.numpy() for clip in random_clips([70000, 20000, 48011])]
    for index, clip in enumerate(clips):
        soundfile.write(tmp_path / f"{index}.wav", np.stack([clip] * channels, 1), 16000, subtype="FLOAT")
    paths = [tmp_path / f"{index}.wav" for index in range(3)]
    expected = model.encode(paths)
    loaded = []
    load = encoding.load_audio
    monkeypatch.setattr(encoding, "load_audio", lambda clip, *rest: loaded.append(clip) or load(clip, *rest))
    monkeypatch.setattr(encoding, "LONG_FILE_SECONDS", 2)
    monkeypatch.setattr(audio_input, "BLOCK_SECONDS", 1)
    got = model.encode(paths)
    assert loaded == [paths[1]]
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, atol=1e-5, rtol=0, msg=name)


@example([516, 480], 2)  # three frames: their small deviation shows how the filters' product is rounded
@given(st.lists(st.integers(160, 9000), min_size=1, max_size=6), st.integers(1, 4))
@settings(max_examples=10)
def test_encode_gives_each_clip_its_own_features_in_the_order_of_the_input(lengths, batch_size):
    model = make_model(AudioBranchModel, tiny_config(subsampling_factor=4))
    clips = random_clips(lengths)
    encoded = model.encode(clips, sampling_rate=RATE, batch_size=batch_size)
    for i, clip in enumerate(clips):
        alone = model.encode(clip, sampling_rate=RATE)
        with torch.no_grad():
            expected = model(clip[None])
        for name in ("segment_features", "segment_times", "segment_mask", "pooler_output"):
            torch.testing.assert_close(encoded[name][i], expected[name][0], atol=1e-5, rtol=0, msg=name)
            torch.testing.assert_close(alone[name], expected[name][0], atol=1e-5, rtol=0, msg=name)


def test_encode_takes_files_and_resamples(model, tmp_path):
    clip = torch.sin(torch.arange(32000) / 20).numpy()
    soundfile.write(tmp_path / "a.flac", clip, 32000)
    from_file = model.encode(tmp_path / "a.flac")
    from_array = model.encode({"array": clip, "sampling_rate": 32000})
    torch.testing.assert_close(from_file.segment_features, from_array.segment_features, atol=1e-2, rtol=0)
    assert from_file.segment_times[-1, 1] == 1.0


def test_encode_leaves_the_mode_as_it_is_even_after_an_error(model):
    model.train()
    model.encode(random_clips([4000]), sampling_rate=RATE)
    assert model.training
    with pytest.raises(ValueError, match="Clip 1 of the batch is an array without a sampling rate"):
        model.encode([{"array": np.zeros(800), "sampling_rate": RATE}, np.zeros(800)])
    assert model.training and model.encoder.layers[0].training
    model.eval()


def test_encode_shows_progress_when_asked(model, capsys):
    model.encode(random_clips([4000, 5000, 6000]), sampling_rate=RATE, batch_size=1, show_progress=True)
    assert "Encoding: 100%" in capsys.readouterr().err
    model.encode(random_clips([4000, 5000, 6000]), sampling_rate=RATE, batch_size=1, show_progress=False)
    assert "Encoding" not in capsys.readouterr().err


def test_encode_shows_how_far_it_is_in_a_long_file(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(encoding, "LONG_FILE_SECONDS", 2)
    path = tmp_path / "interview.wav"
    soundfile.write(path, random_clips([3 * RATE])[0].numpy(), RATE)
    expected = model.encode(path, window_seconds=1.0, show_progress=False).segment_features
    assert capsys.readouterr().err == ""
    assert torch.equal(model.encode(path, window_seconds=1.0, show_progress=True).segment_features, expected)
    assert "interview.wav:" in capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    model.encode(path)
    shown = capsys.readouterr().err
    assert "interview.wav:" in shown and "Encoding" not in shown


def test_a_missing_file_is_noticed_before_anything_is_encoded(model, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", random_clips([4000])[0].numpy(), RATE)
    monkeypatch.setattr(encoding, "load_audio", lambda *_: pytest.fail("something was decoded"))
    for missing in (tmp_path / "missing.wav", {"path": "missing.wav", "bytes": None}):
        with pytest.raises(FileNotFoundError, match=r"Clip 3 of the batch \('.*missing.wav'\) is not a file"):
            model.encode([tmp_path / "a.wav"] * 3 + [missing])


@given(bad=st.sets(st.integers(0, 5)), kind=st.sampled_from(["missing", "text", "nan", "None", "no rate"]))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_clips_that_can_not_be_read_are_skipped_and_named_on_demand(model, bad, kind, tmp_path):
    (tmp_path / "text.wav").write_text("this is no audio")
    sentence, form = {
        "missing": ("is not a file", tmp_path / "missing.wav"),
        "text": ("can't be read as audio", tmp_path / "text.wav"),
        "nan": ("NaN or infinite", {"array": np.full(99, np.nan), "sampling_rate": RATE}),
        "None": ("is a NoneType", {"array": [None], "sampling_rate": RATE}),
        "no rate": ("without a sampling rate", np.zeros(400)),
    }[kind]
    if kind == "None":
        sentence, form = "it needs 'array'", {"array": None}
    clips = [
        {"array": clip.numpy(), "sampling_rate": RATE} for clip in random_clips([4000, 900, 6000, 800, 7000, 3000])
    ]
    expected = model.encode(clips)
    given_clips = [form if index in bad else clip for index, clip in enumerate(clips)]
    got = model.encode(given_clips, on_error="skip", batch_size=2)
    assert got.errors.keys() == bad
    for index, error in got.errors.items():
        assert f"Clip {index} of the batch" in error and sentence in error and "\n" not in error
        assert not got.segment_features[index].any() and not got.segment_mask[index].any()
    kept = [index for index in range(6) if index not in bad]
    for name, value in expected.items():
        torch.testing.assert_close(got[name][kept], value[kept], atol=1e-5, rtol=0)
    if bad:
        with pytest.raises((ValueError, FileNotFoundError), match=f"Clip {min(bad)} of the batch"):
            model.encode(given_clips)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"batch_size": "8"}, "batch_size='8' was given; give a whole number of at least 1"),
        ({"batch_size": 0}, "batch_size=0 was given"),
        ({"batch_size": True}, "batch_size=True was given"),
        ({"batch_size": 2.0}, "batch_size=2.0 was given"),
        ({"on_error": "ignore"}, "on_error='ignore' was given; give 'raise' or 'skip'"),
    ],
)
def test_wrong_arguments_of_encode_are_one_sentence(model, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        model.encode(np.zeros(4000), RATE, **arguments)


def test_a_wrapped_model_in_training_mode_is_refused_in_one_sentence():
    model = cpu_offload(make_model(AudioBranchModel, tiny_config()))
    model.encode(np.zeros(4000), RATE)
    with pytest.raises(ValueError, match="is wrapped .*; call model.eval\\(\\) first"):
        model.train().encode(np.zeros(4000), RATE)
