"""The default checkpoint, and how it is trained: pairs, batches, loss, baselines."""

import json
import math
from pathlib import Path

import numpy as np
import phrase_words
import phrases_data
import pretrain_phrases
import pytest
import soundfile
import torch
from helpers.models import tiny_config
from evaluate_phrases import measure
from hypothesis import given
from hypothesis import strategies as st
from phrase_words import word_times
from phrases_data import RATE, trim
from pretrain_phrases import LengthBucketBatchSampler, Phrases, augment, found, info_nce, similarity
from torch.nn import functional as F
from warping import path_of, warping_cost

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.audio_input import load_audio

ROOT = Path(__file__).parent.parent


def make_rows(lengths, languages="ab"):
    """Two clips, of a person and of espeak-ng, for each length in samples; row i has text i."""
    rows, start = [], 0
    for text, length in enumerate(lengths):
        for voice in ("anna", "espeak+f1"):
            row = {"text": text, "language": languages[text % len(languages)], "voice": voice}
            rows.append(row | {"start": start, "length": length})
            start += length
    return rows, np.random.default_rng(0).integers(-20000, 20000, start).astype(np.int16)


def test_the_loss_is_the_cross_entropy_of_finding_the_partner_in_both_directions():
    features = torch.randn(10, 3, 8)
    unit = F.normalize(features, dim=-1)
    logits = torch.stack([torch.stack([(a * b).sum(-1).mean() for b in unit[5:]]) for a in unit[:5]]) / 0.05
    expected = -(logits.log_softmax(0).diagonal().mean() + logits.log_softmax(1).diagonal().mean()) / 2
    torch.testing.assert_close(info_nce(features), expected)
    pairs = torch.cat([features[:5], features[:5] + 0.01 * torch.randn(5, 3, 8)])
    assert info_nce(pairs) < 0.1 * info_nce(pairs[torch.tensor([*range(5), 6, 7, 8, 9, 5])])


def test_the_order_of_the_segments_counts():
    features = torch.randn(6, 4, 16)
    assert found(similarity(*(F.normalize(each, dim=-1) for each in (features, features))), 1).mean() == 1
    turned = F.normalize(features.flip(1), dim=-1)
    assert similarity(F.normalize(features, dim=-1), turned).diagonal().mean() < 0.5


def test_recall_counts_both_directions_and_its_interval_holds_it():
    scores = torch.tensor([[0.9, 0.0, 0.0], [0.0, 0.5, 0.6], [0.0, 0.1, 0.7]])
    assert found(scores, 1).tolist() == [1.0, 0.5, 1.0]  # the second misses its partner in one direction
    assert found(scores, 2).tolist() == [1.0, 1.0, 1.0]
    for collapsed in (torch.zeros(9, 9), torch.full((9, 9), float("nan"))):
        assert found(collapsed, 5).sum() == 0
    result = measure(scores)
    assert result["N"] == 3 and result["R@1"]["value"] == pytest.approx(250 / 3)
    assert result["R@1"]["low"] <= result["R@1"]["value"] <= result["R@1"]["high"] <= 100


@given(st.lists(st.integers(2400, 40000), min_size=1, max_size=60), st.integers(0, 3), st.integers(0, 3))
def test_a_batch_is_of_one_language_and_no_text_is_twice_in_an_epoch(lengths, seed, epoch):
    data = Phrases(make_rows(lengths))
    batches = LengthBucketBatchSampler(data, 6.0, seed)
    batches.set_epoch(epoch)
    made = [*batches]
    assert len(made) == len(batches) and made == [*batches]
    places = [place for batch in made for place in batch]
    assert len(set(places)) == len(places)
    for batch in made:
        assert len({data.texts[place][0]["language"] for place in batch}) == 1
        assert len(batch) <= 192


def test_batches_are_of_like_length_and_differ_by_epoch():
    lengths = np.linspace(4000, 40000, 400).astype(int)
    data = Phrases(make_rows(lengths))
    batches = LengthBucketBatchSampler(data, 40.0, 0)
    first = [*batches]
    spreads = [max(lengths[batch]) / min(lengths[batch]) for batch in first]
    assert np.median(spreads) < 2.5  # of 10 in all
    batches.set_epoch(1)
    assert [*batches] != first


def test_a_pair_is_two_clips_of_one_text():
    rows, samples = make_rows([4000, 6000])
    data = Phrases((rows, samples))
    for place in (0, 1):
        clips = [clip for _ in range(20) for clip in data[place]["clips"]]
        assert len(data[place]["clips"]) == 2
        # Up to 1.25 times as fast, or 0.8 times, and unevenly so; a pause; 50 ms cut at both ends, or 0.12 s added.
        assert all(0.45 * (4000, 6000)[place] <= len(c) <= 1.6 * (4000, 6000)[place] + 3920 for c in clips)


def test_the_same_words_of_two_sources_are_one_text():
    (rows, samples), (more, shorter) = make_rows([4000, 6000]), make_rows([3000])
    data = Phrases((rows, samples), (more, shorter))
    assert [{row["length"] for row in clips} for clips in data.texts] == [{4000, 3000}, {6000}]
    clips = [data.clip(row) for row in data.texts[0] if row["length"] == 3000]
    np.testing.assert_allclose(np.concatenate(clips), shorter / 2**15, rtol=1e-6)


def test_a_pair_is_of_two_voices_where_there_are_two():
    rows, samples = make_rows([4000])
    again = rows[0] | {"start": 4000, "length": 3999}
    rows = [rows[0], again, rows[1] | {"length": 2000}]
    data = Phrases((rows, samples))
    data.clip = lambda row: row["voice"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain_phrases, "augment", lambda clip, generator: clip)
        made = [data[0]["clips"] for _ in range(30)]
    assert all(len({*pair}) == 2 for pair in made)


@given(st.integers(0, 10**6), st.integers(2400, 40000))
def test_another_speed_keeps_the_order_and_a_pause_only_adds_silence(seed, length):
    generator = np.random.default_rng(seed)
    ramp = np.arange(1, length + 1, dtype=np.float32)
    faster = pretrain_phrases.at_another_speed(ramp, generator)
    assert (np.diff(faster) > 0).all() and faster[-1] >= length - 3
    paused = pretrain_phrases.with_a_pause(ramp, generator)
    assert paused[paused > 0].tolist() == ramp.tolist()
    assert 0.8 * RATE > length or 0.05 * RATE - 1 <= len(paused) - length <= 0.25 * RATE


@given(st.integers(0, 10**6), st.integers(2400, 20000))
def test_augmented_clips_are_finite_and_keep_their_place(seed, length):
    generator = np.random.default_rng(seed)
    clip = np.zeros(length, np.float32)
    clip[length // 2] = 1.0
    made = augment(clip, generator)
    assert made.dtype == np.float32 and np.isfinite(made).all() and np.abs(made).max() > 0


def naive_warping(a, b):
    total = np.full((len(a) + 1, len(b) + 1), np.inf)
    total[0, 0] = 0
    for i in range(len(a)):
        for j in range(len(b)):
            before = min(total[i, j], total[i, j + 1], total[i + 1, j])
            total[i + 1, j + 1] = 1 - float(a[i] @ b[j]) + before
    return total[-1, -1] / (len(a) + len(b))


def test_the_warping_baseline_is_dynamic_time_warping():
    query, *keys = (F.normalize(torch.randn(length, 5), dim=-1) for length in (7, 4, 9, 7))
    padded = torch.nn.utils.rnn.pad_sequence(keys, batch_first=True)
    costs = warping_cost(query, padded, torch.tensor([4, 9, 7]))
    assert costs.tolist() == pytest.approx([naive_warping(query, key) for key in keys], rel=1e-5)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 9))
def test_a_warping_path_goes_from_corner_to_corner_at_the_least_cost(height, width, seed):
    distance = torch.rand(height, width, generator=torch.Generator().manual_seed(seed))
    rows, columns = path_of(distance)
    assert (rows[0], columns[0]) == (0, 0) and (rows[-1], columns[-1]) == (height - 1, width - 1)
    steps = {*zip(np.diff(rows).tolist(), np.diff(columns).tolist(), strict=True)}
    assert steps <= {(0, 1), (1, 0), (1, 1)}
    least = np.full((height + 1, width + 1), np.inf)
    least[0, 0] = 0
    for row, column in np.ndindex(height, width):
        before = min(least[row, column], least[row, column + 1], least[row + 1, column])
        least[row + 1, column + 1] = before + float(distance[row, column])
    assert distance[rows, columns].sum().item() == pytest.approx(least[-1, -1], rel=1e-5)


class Voices:
    """In place of espeak-ng: a recording, as each voice speeds it up, whose words begin at known times."""

    variants = [f"x{number}" for number in range(5)]

    def __init__(self, recording: np.ndarray, times: dict[int, float], late: float = 0.0):
        self.recording, self.times, self.late = recording, times, late

    def say(self, text, voice, words_per_minute, pitch):
        speed = 1.0 + 0.04 * int(voice[-1])
        places = np.arange(0, len(self.recording) - 1, speed)
        clip = np.interp(places, np.arange(len(self.recording)), self.recording).astype(np.float32)
        silence = np.zeros(RATE // 5, np.float32)  # which the times count, too
        self.words = [(at, 0.2 + time / speed + self.late * int(voice[-1])) for at, time in self.times.items()]
        return np.concatenate([silence, clip, silence])


@pytest.fixture
def paused():
    """Somebody speaking, and the same with a pause in the middle."""
    recording = trim(load_audio(ROOT / "examples" / "audio" / "go_forward_ten_meters.wav", RATE).numpy())
    return recording, np.insert(recording, len(recording) // 2, np.zeros(RATE // 4, np.float32))


def test_words_are_found_in_a_recording_by_renderings_at_other_speeds(paused):
    recording, clip = paused
    seconds = len(recording) / RATE
    words, times = [(0, "go"), (3, "far"), (7, "on")], {0: 0.0, 3: 0.25 * seconds, 7: 0.75 * seconds}

    def found(times, **named):
        return word_times(Voices(recording, times, **named), clip, words, "go far on", "x", Voices.variants)

    starts, sure = found(times)
    assert sure == [True] * 3
    assert np.abs(np.subtract(starts, [0.0, 0.25 * seconds, 0.75 * seconds + 0.25])).max() < 0.05
    assert not all(found(times, late=0.1)[1])  # each voice has its words elsewhere
    assert found({0: 0.0, 7: 0.75 * seconds})[1] == [True, False, True]  # "go far" is one word to the voices
    silent = Voices(recording[:100], times)
    assert word_times(silent, clip, words, "go far on", "x", Voices.variants)[1] == [False] * 3


@pytest.mark.parametrize("known", ["adl", "ad", "al", "dl"])
def test_a_run_of_words_is_cut_only_where_its_own_words_are_known(known, paused, monkeypatch, tmp_path):
    recording, clip = paused
    monkeypatch.setattr(phrase_words, "DATA", tmp_path)
    text, seconds = "« Aujour d\u2019hui, là-bas »", len(recording) / RATE
    begins = {"a": (2, 0.0), "d": (9, 0.25 * seconds), "l": (16, 0.75 * seconds)}
    voices = Voices(recording, dict(begins[word] for word in known))
    monkeypatch.setattr(phrase_words.cut, "espeak", voices, raising=False)
    texts = set()
    for number in range(12):  # each file chooses its own runs
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, clip, RATE)
        texts |= {run for run, _ in phrase_words.cut((path, text, "fr", "anna"))}
    runs = {"aujour": "ad", "d'hui": "dl", "là-bas": "l", "aujour d'hui": "adl", "d'hui là-bas": "dl"}
    assert texts == {run for run, needed in runs.items() if {*needed} <= {*known}}


def test_trimming_takes_off_what_lies_before_and_after_the_speech():
    clip = np.zeros(RATE, np.float32)
    clip[3000:5000] = np.random.default_rng(0).standard_normal(2000)
    assert 2000 <= len(trim(clip)) <= 2000 + 4 * RATE // 50
    assert len(trim(np.zeros(100, np.float32))) == 100


def test_italian_is_nowhere_among_the_training_texts():
    assert "it" not in {*phrases_data.WORD_LANGUAGES, *phrases_data.STAMP_LANGUAGES, "cs", "nl"}
    packages = {package for pair in phrases_data.PAIRS.values() for package in pair}
    assert not {*phrases_data.TRAINING} & {*phrases_data.TEST, *packages, phrases_data.DEVELOPMENT}


def test_pretraining_learns_goes_on_where_it_ended_and_saves_a_model(tmp_path, monkeypatch):
    recordings = sorted(path for path in (ROOT / "examples" / "audio").iterdir() if path.suffix in (".wav", ".flac"))
    speech = (32000 * torch.cat([load_audio(path, RATE) for path in recordings]).clamp(-1, 1)).short().numpy()
    rows, start = [], 0
    for text in range(24):
        for voice in ("anna", "espeak", "espeak+f1"):  # the same piece of real speech under three names
            rows.append({"text": text, "language": "en", "voice": voice, "start": start, "length": 3200})
        start += 3200
    folder = tmp_path / "data" / "phrases"
    folder.mkdir(parents=True)
    for name in ("train", "words"):
        np.save(folder / f"{name}.npy", speech)
        (folder / f"{name}.json").write_text(json.dumps(rows))
    paths = []
    for place in range(8):
        paths.append(tmp_path / f"{place}.wav")
        soundfile.write(paths[-1], speech[place * 4000 : place * 4000 + 4000], RATE)
    small = {"sample_rate": RATE, "n_fft": 256, "win_length": 200, "hop_length": 80, "num_segments": 4, "dropout": 0.0}
    monkeypatch.setattr(pretrain_phrases, "DATA", tmp_path / "data")
    monkeypatch.setattr(pretrain_phrases, "development_phrases", lambda: [[paths, paths], [paths[:5], paths[3:]]])
    monkeypatch.setattr(pretrain_phrases, "make_config", lambda **_: tiny_config(d_model=32, n_mels=40, **small))
    arguments = ["--output", str(tmp_path / "out"), "--seconds", "4", "--learning-rate", "3e-3"]
    pretrain_phrases.main([*arguments, "--steps", "100", "--minutes", "0"])  # time is up after the first step
    assert [path.name for path in tmp_path.glob("out/training/checkpoint-*")] == ["checkpoint-1"]
    pretrain_phrases.main([*arguments, "--steps", "100"])
    state = json.loads((tmp_path / "out" / "training" / "checkpoint-100" / "trainer_state.json").read_text())
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert state["global_step"] == 100 and losses[-1] < 0.7 * math.log(10)  # 10 clips in a batch
    assert [entry["step"] for entry in state["log_history"] if "development" in entry] == [100]
    out = AudioBranchModel.from_pretrained(tmp_path / "out").encode(paths[0])
    assert out.segment_features.shape == (4, 12)
