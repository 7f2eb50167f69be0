"""MTEB runs our models and the baselines; the real library, its mock tasks and torchcodec."""

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Audio, Dataset
from mteb.mocks.mock_run import mock_run
from torch.utils.data import DataLoader
from torchcodec.decoders import AudioDecoder
from transformers import Wav2Vec2Config, WhisperConfig, WhisperFeatureExtractor, WhisperModel
from typer.testing import CliRunner

from helpers.encoders import CONVOLUTIONS, LAYER_NORM, SIZES, WHISPER
from helpers.models import make_model, random_clips, tiny_config
from helpers.nemo_archives import NEMO
from modeling_audio_branch import AudioBranchConfig, AudioBranchModel
from recipes.mteb import maeb, same_words
from recipes.mteb.baselines import ShortWhisper, mfcc_encoder, sequence_of_segments, whisper_encoder
from recipes.mteb.encoder import audio_branch_encoder

EXAMPLE = Path(__file__).parents[2] / "examples" / "audio" / "go_somewhere.flac"


@pytest.fixture(autouse=True, scope="module")
def ffmpeg():
    try:
        AudioDecoder(EXAMPLE)
    except (ImportError, OSError, RuntimeError):
        pytest.fail("torchcodec finds no FFmpeg; run `make test`, or set LD_LIBRARY_PATH as the Makefile does.")


def encoders():
    """A checkpoint, a converted NeMo archive, and encoders of Transformers that ignore the padding or don't."""
    yield make_model(AudioBranchModel, tiny_config(subsampling_factor=4, embedding_output="sequence_embedding"))
    yield AudioBranchModel.from_nemo(NEMO / "fc_ctc_bpe" / "model.nemo").eval()
    for kind in ({}, LAYER_NORM):
        encoder = Wav2Vec2Config(**SIZES, **CONVOLUTIONS, **kind)
        yield make_model(AudioBranchModel, AudioBranchConfig(encoder_config=encoder, feature_dim=12, num_heads=2))


def loader(clips, batch_size, rate=16000):
    rows = [{"array": clip.numpy(), "sampling_rate": rate} for clip in clips]
    return DataLoader(
        Dataset.from_dict({"audio": rows}).cast_column("audio", Audio()), batch_size, collate_fn=lambda rows: rows
    )


def test_all_mock_tasks_of_audio_pass():
    model = audio_branch_encoder(make_model(AudioBranchModel, tiny_config()), "audio-branch/tiny")
    results = mock_run(model)
    ran = [name for name, result in results.items() if result is not None]
    assert len(ran) >= 7 and results.all_passed, results.to_markdown()


def test_a_batch_of_32_equals_one_clip_at_a_time():
    lengths = torch.randint(3000, 40000, (32,), generator=torch.Generator().manual_seed(0)).tolist()
    clips = random_clips(lengths)
    for model in encoders():
        encoder = audio_branch_encoder(model, "audio-branch/tiny", batch_size=32)
        together, alone = (encoder.encode(loader(clips, size)) for size in (32, 1))
        assert together.shape == (32, encoder.mteb_model_meta.embed_dim)
        cosine = (together * alone).sum(1) / np.linalg.norm(together, axis=1) / np.linalg.norm(alone, axis=1)
        assert cosine.min() >= 0.99999


def test_decoded_audio_of_another_rate_gives_what_encode_gives():
    model = make_model(AudioBranchModel, tiny_config())
    clips = random_clips([8000, 5000])
    encoded = audio_branch_encoder(model, "audio-branch/tiny").encode(loader(clips, 2, rate=8000))
    expected = model.encode([clip.numpy() for clip in clips], sampling_rate=8000).pooler_output.numpy()
    assert np.abs(encoded - expected).max() < 1e-3  # the column holds 16-bit samples


def test_what_is_no_audio_or_has_several_vectors_is_refused():
    model = make_model(AudioBranchModel, tiny_config())
    encoder = audio_branch_encoder(model, "audio-branch/tiny")
    with pytest.raises(ValueError, match="embeds audio only"):
        encoder.encode(DataLoader(Dataset.from_dict({"text": ["a"]})))
    model.config.embedding_output = "segment_features"
    with pytest.raises(ValueError, match="several vectors"):
        audio_branch_encoder(model, "audio-branch/tiny")


def test_another_weight_is_another_revision():
    model = make_model(AudioBranchModel, tiny_config())
    before = audio_branch_encoder(model, "audio-branch/tiny").mteb_model_meta.revision
    assert audio_branch_encoder(model, "audio-branch/tiny").mteb_model_meta.revision == before
    with torch.no_grad():
        next(model.parameters()).add_(1)
    assert audio_branch_encoder(model, "audio-branch/tiny").mteb_model_meta.revision != before


@pytest.fixture
def whisper(tmp_path):
    make_model(WhisperModel, WhisperConfig(**WHISPER | {"max_source_positions": 1500})).save_pretrained(tmp_path)
    return tmp_path


def test_a_whisper_on_a_window_of_30_seconds_is_that_of_transformers(whisper):
    clip = random_clips([16000 * 17])[0]
    features = WhisperFeatureExtractor(feature_size=20)(clip.numpy(), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        states = WhisperModel.from_pretrained(whisper).encoder.eval()(
            features.input_features, output_hidden_states=True
        )
    short = ShortWhisper(str(whisper), -1)
    for clip_of_another_window in random_clips([16000, 16000 * 5]):  # leaves nothing behind
        short(clip_of_another_window)
    assert torch.equal(short(clip), states.last_hidden_state[0, : 17 * 50])
    assert torch.equal(ShortWhisper(str(whisper), 1)(clip), states.hidden_states[1][0, : 17 * 50])


def test_the_mean_cosine_of_segments_is_the_dot_product_of_their_sequence():
    frames = torch.randn(2, 40, 5, generator=torch.Generator().manual_seed(0))
    one, other = map(sequence_of_segments, frames)
    segments = torch.nn.functional.normalize(frames.reshape(2, 8, 5, 5).mean(2), dim=-1)
    assert torch.allclose(one @ other, (segments[0] * segments[1]).sum(-1).mean(), atol=1e-6)


def test_same_words_finds_the_phrase_and_prints_the_table(whisper, tmp_path, monkeypatch):
    model = make_model(AudioBranchModel, tiny_config(sample_rate=8000))
    model.save_pretrained(tmp_path / "model")
    phrases = [clip.numpy() for clip in random_clips([6000, 8000, 9000, 7000])]
    louder = [0.5 * phrase for phrase in phrases]  # by "another speaker"
    monkeypatch.setattr(same_words, "install", lambda packages, root: None)
    monkeypatch.setattr(same_words, "load_pairs", lambda language: (phrases, louder))
    arguments = [
        "--checkpoint",
        str(tmp_path / "model"),
        "--whisper",
        f"{whisper}:-1",
        "--output",
        str(tmp_path / "out"),
    ]
    app = same_words.typer.Typer()
    app.command()(same_words.main)
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    rows = [line.split() for line in done.stdout.splitlines() if "/" in line]
    assert [row[0] for row in rows] == ["audio-branch/model", "baseline/mfcc", f"baseline/{whisper.name}-layer-1"]
    assert [row[1] for row in rows] == ["12", "312", "256"]
    assert rows[0][2:] == rows[1][2:] == ["100.0"] * 4


def test_a_task_whose_answers_are_wrong_scores_nothing(tmp_path, monkeypatch):
    phrases = [clip.numpy() for clip in random_clips([6000, 8000, 9000, 7000])]
    monkeypatch.setattr(same_words, "install", lambda packages, root: None)
    monkeypatch.setattr(same_words, "load_pairs", lambda language: (phrases, phrases[1:] + phrases[:1]))
    task = same_words.SameWordsAnotherSpeaker()
    result = same_words.mteb.evaluate(mfcc_encoder(), task, cache=None)
    assert {row["hit_rate_at_1"] for row in result.task_results[0].scores["test"]} == {0.0}


def test_the_benchmark_of_audio_is_known_and_every_kind_of_model_loads(tmp_path):
    assert len(maeb.mteb.get_benchmark(maeb.BENCHMARK).tasks) >= 19
    model = make_model(AudioBranchModel, tiny_config())
    model.save_pretrained(tmp_path)
    assert maeb.load(str(tmp_path), encoder=False).config.feature_dim == 12
    converted = maeb.load(str(NEMO / "fc_ctc_bpe" / "model.nemo"), encoder=False)
    assert converted.config.pooling_type == "avg"


def test_whisper_and_mfcc_embed_clips_of_any_rate(whisper):
    clips = random_clips([16000, 9000])
    for encoder in (mfcc_encoder(), whisper_encoder(f"{whisper}:1")):
        vectors = encoder.encode(loader(clips, 2))
        assert vectors.shape == (2, encoder.mteb_model_meta.embed_dim)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
