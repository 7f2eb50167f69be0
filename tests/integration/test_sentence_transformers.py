"""sentence-transformers opens a folder of ours and gives our numbers; the real library, nothing imitated.

Tests sentence_transformers_files.py and segment_vectors.py.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from datasets import Dataset
from sentence_transformers import (
    MultiVectorEncoder,
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor

from helpers.fresh_process import run_fresh
from helpers.models import make_model, random_clips, tiny_config
from helpers.training import make_trainer
from modeling_audio_branch import AudioBranchConfig, AudioBranchFeatureExtractor, AudioBranchModel
from modeling_audio_branch.sentence_transformers_files import FILES

EXAMPLES = Path(__file__).parents[2] / "examples" / "audio"
FILES_OF_ALL_RATES = sorted(str(path) for path in EXAMPLES.iterdir() if path.suffix in (".wav", ".flac", ".ogg"))
WAV2VEC2 = {
    **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    **{"conv_dim": [12] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2},
    **{"feat_extract_norm": "layer", "do_stable_layer_norm": True},
}


def save(folder, model=None, **choices):
    model = model or make_model(AudioBranchModel, tiny_config(**choices))
    model.save_pretrained(folder)
    AudioBranchFeatureExtractor.from_model(model).save_pretrained(folder)
    return str(folder)


def wav2vec2_model():
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True).to_dict()
    config = AudioBranchConfig(
        encoder_config=Wav2Vec2Config(**WAV2VEC2),
        encoder_extractor=extractor,
        feature_dim=12,
        num_heads=2,
    )
    return make_model(AudioBranchModel, config)


IN_A_FRESH_PROCESS = """
import numpy as np
from sentence_transformers import SentenceTransformer
for folder, output, size in {jobs!r}:
    embedder = SentenceTransformer(folder, trust_remote_code=True)
    model, files = embedder[0].model, {files!r}
    assert type(model).__module__.startswith("transformers_modules.")
    assert embedder.get_embedding_dimension() == size
    together = embedder.encode(files)
    assert together.shape == (len(files), size)
    encoded = model.encode(files)[output].numpy()
    for path, *rows in zip(files, together, encoded, strict=True):
        alone = embedder.encode(path)
        assert np.array_equal(alone, model.encode(path)[output].numpy())
        for row in rows:
            assert np.abs(alone - row).max() <= 1e-5 * np.abs(row).max()
    print(size)
"""


def test_it_gives_the_vectors_of_encode_for_files_of_any_rate_where_the_package_is_not_installed(tmp_path):
    jobs = [
        (save(tmp_path / "mean"), "pooler_output", 12),
        (save(tmp_path / "ordered", embedding_output="sequence_embedding"), "sequence_embedding", 48),
        (save(tmp_path / "subsampled", subsampling_factor=8, conv_norm="batch"), "pooler_output", 12),
        (save(tmp_path / "wav2vec2", wav2vec2_model()), "pooler_output", 12),
    ]
    printed = run_fresh(IN_A_FRESH_PROCESS.format(jobs=jobs, files=FILES_OF_ALL_RATES), tmp_path)
    assert printed.split() == ["12", "48", "12", "12"]


def test_arrays_tensors_and_decoded_dictionaries_are_taken(tmp_path):
    embedder = SentenceTransformer(save(tmp_path), trust_remote_code=True)
    clips = random_clips([16000, 9000])
    expected = embedder.encode([{"array": clip.numpy(), "sampling_rate": 16000} for clip in clips])
    kwargs = {"processing_kwargs": {"audio": {"sampling_rate": 16000}}}
    assert np.array_equal(embedder.encode([clip.numpy() for clip in clips], **kwargs), expected)
    assert np.array_equal(embedder.encode(clips, **kwargs), expected)


def test_audio_of_an_unknown_rate_is_refused(tmp_path):
    embedder = SentenceTransformer(save(tmp_path), trust_remote_code=True)
    with pytest.raises(ValueError, match="sampling_rate"):
        embedder.encode([random_clips([16000])[0].numpy()])


def test_truncated_and_small_vectors_are_those_of_the_whole(tmp_path):
    embedder = SentenceTransformer(save(tmp_path), trust_remote_code=True)
    whole = embedder.encode(FILES_OF_ALL_RATES)
    truncated = SentenceTransformer(str(tmp_path), trust_remote_code=True, truncate_dim=8)
    assert np.array_equal(truncated.encode(FILES_OF_ALL_RATES), whole[:, :8])
    assert truncated.get_embedding_dimension() == 8
    bits = embedder.encode(FILES_OF_ALL_RATES, truncate_dim=8, precision="ubinary")
    assert np.array_equal(np.unpackbits(bits, axis=1), whole[:, :8] > 0)
    small = embedder.encode(FILES_OF_ALL_RATES, precision="int8")
    assert small.dtype == np.int8 and small.shape == whole.shape


def test_multi_vector_encoder_gives_the_segments_of_length_1(tmp_path):
    folder = save(tmp_path, embedding_output="segment_features")
    embedder = MultiVectorEncoder(folder, trust_remote_code=True)
    vectors = embedder.encode(FILES_OF_ALL_RATES)
    segments = embedder[0].model.encode(FILES_OF_ALL_RATES).segment_features
    expected = torch.nn.functional.normalize(segments, dim=-1).numpy()
    assert len(vectors) == len(expected)
    for vector, each in zip(vectors, expected, strict=True):
        assert np.array_equal(np.asarray(vector), each)
    similarity = embedder.similarity(vectors[:1], vectors[:1])
    assert torch.allclose(similarity, torch.tensor(4.0))  # one for each of the 4 segments
    embedder.save_pretrained(str(tmp_path / "again"))
    again = MultiVectorEncoder(str(tmp_path / "again"), trust_remote_code=True).encode(FILES_OF_ALL_RATES)
    assert all(np.array_equal(one, other) for one, other in zip(again, vectors, strict=True))


def test_a_folder_saved_before_its_files_gives_the_right_vector(tmp_path):
    for output in ("pooler_output", "sequence_embedding"):
        folder = save(tmp_path / output, embedding_output=output)
        for name in FILES:
            (tmp_path / output / name).unlink()
        embedder = SentenceTransformer(folder, trust_remote_code=True)
        expected = embedder[0].model.encode(FILES_OF_ALL_RATES)[output].numpy()
        assert np.array_equal(embedder.encode(FILES_OF_ALL_RATES), expected)


def words(folder, seed):
    """Paths of six clips, each a tone of its own; two speakers differ by noise and loudness."""
    generator, paths = torch.Generator().manual_seed(seed), []
    seconds = torch.arange(8000) / 16000
    for number in range(6):
        clip = (0.1 + 0.1 * seed) * torch.sin(2 * torch.pi * 300 * (number + 1) * seconds)
        paths.append(str(folder / f"{seed}_{number}.wav"))
        soundfile.write(paths[-1], (clip + 0.02 * torch.randn(8000, generator=generator)).numpy(), 16000)
    return paths


def test_its_trainer_fine_tunes_the_model_and_its_folder_opens_everywhere(tmp_path):
    embedder = SentenceTransformer(save(tmp_path / "start", dropout=0.0), trust_remote_code=True)
    pairs = Dataset.from_dict({"anchor": words(tmp_path, 0), "positive": words(tmp_path, 1)})
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path / "run"),
        max_steps=20,
        per_device_train_batch_size=6,
        learning_rate=3e-3,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    loss = MultipleNegativesRankingLoss(embedder)
    trainer = SentenceTransformerTrainer(model=embedder, args=arguments, train_dataset=pairs, loss=loss)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 20 and losses[-1] < 0.5 * losses[0]

    embedder.save_pretrained(str(tmp_path / "trained"))
    expected = embedder.encode(pairs["anchor"])
    again = SentenceTransformer(str(tmp_path / "trained"), trust_remote_code=True)
    assert np.array_equal(again.encode(pairs["anchor"]), expected)
    model = AudioBranchModel.from_pretrained(tmp_path / "trained")
    assert np.array_equal(model.encode(pairs["anchor"]).pooler_output.numpy(), expected)


def test_what_it_saved_of_the_whole_model_stays_when_the_model_is_saved_there_again(tmp_path):
    save(tmp_path)
    settings = json.loads((tmp_path / FILES[2]).read_text())
    (tmp_path / FILES[2]).write_text(json.dumps(settings | {"similarity_fn_name": "dot"}))
    save(tmp_path)
    assert SentenceTransformer(str(tmp_path), trust_remote_code=True).similarity_fn_name == "dot"
    save(tmp_path, embedding_output="segment_features")
    assert json.loads((tmp_path / FILES[2]).read_text())["model_type"] == "MultiVectorEncoder"


def test_modules_that_it_saved_behind_ours_stay_too(tmp_path):
    embedder = SentenceTransformer(save(tmp_path / "one"), trust_remote_code=True)
    folder = str(tmp_path / "two")
    SentenceTransformer(modules=[embedder[0], Dense(12, 5)]).save_pretrained(folder)
    expected = SentenceTransformer(folder, trust_remote_code=True).encode(FILES_OF_ALL_RATES)
    AudioBranchModel.from_pretrained(folder).save_pretrained(folder)
    again = SentenceTransformer(folder, trust_remote_code=True)
    assert len(again) == 2 and np.array_equal(again.encode(FILES_OF_ALL_RATES), expected)
    (tmp_path / "two" / FILES[0]).write_text("[1]")  # what is damaged is written anew
    AudioBranchModel.from_pretrained(folder).save_pretrained(folder)
    assert len(SentenceTransformer(folder, trust_remote_code=True)) == 1


def test_the_folder_of_trainer_gives_the_vectors_too(tmp_path):
    trainer = make_trainer(tmp_path / "run", max_steps=1)
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    embedder = SentenceTransformer(str(tmp_path / "saved"), trust_remote_code=True)
    expected = embedder[0].model.encode(FILES_OF_ALL_RATES).pooler_output.numpy()
    assert np.array_equal(embedder.encode(FILES_OF_ALL_RATES), expected)
    shutil.rmtree(tmp_path / "run")
