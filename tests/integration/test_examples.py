"""The examples as a user runs them, on the recordings of the checkout."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from transformers import AutoModelForAudioClassification, Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchModel

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
RECORDINGS = sorted(path for path in (EXAMPLES / "audio").iterdir() if path.suffix in {".wav", ".flac", ".ogg"})
PHRASES = sorted((EXAMPLES / "phrases").glob("*.flac"))
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def load_example(name):
    """An example as a module: importing torch anew for each test would take longer than all the tests."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def demo():
    return load_example("demo")


def run(script, *arguments):
    command = [sys.executable, EXAMPLES / script, *arguments]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # two pytest workers share two cores
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=one_thread, timeout=300)


def save_tiny(folder, **choices):
    make_model(AudioBranchModel, tiny_config(**choices)).save_pretrained(folder)
    return str(folder)


def is_png(path):
    return path.read_bytes().startswith(PNG_SIGNATURE)


def imported_names(script):
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{script.name} has a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_has_at_most_60_lines_and_imports_no_other_example(script):
    assert len(script.read_text().splitlines()) <= 60
    imported = set(imported_names(script))
    assert not imported & {name for other in SCRIPTS for name in (other.stem, f"examples.{other.stem}")}
    assert not any(name.split(".")[0] in ("examples", "recipes", "helpers") for name in imported)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_uses_the_public_interface_only(script):
    ours = {name for name in imported_names(script) if name.split(".")[0] == "modeling_audio_branch"}
    import modeling_audio_branch
    from modeling_audio_branch import corpus, plots

    public = {f"modeling_audio_branch.{name}" for name in [*modeling_audio_branch.__all__, "corpus", "plots"]}
    public |= {f"modeling_audio_branch.corpus.{name}" for name in corpus.__all__}
    public |= {f"modeling_audio_branch.plots.{name}" for name in plots.__all__} | {"modeling_audio_branch"}
    assert ours and ours <= public


def test_the_demo_prints_a_row_per_clip_keeps_its_promise_and_draws(tmp_path):
    picture = tmp_path / "new folder" / "demo.png"
    done = run("demo.py", "--output", picture)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for path in RECORDINGS:
        assert sum(line.startswith(path.name) for line in lines) == 1
    assert max(len(line) for line in lines if not line.startswith("Picture")) <= 100
    difference = float(lines[-1].split("at most ")[1].split()[0])
    assert difference < 1e-4
    assert is_png(picture)


@pytest.mark.parametrize("pooling_type", ["attention", "max", "avg", "learnable"])
def test_every_pooling_of_a_checkpoint_is_drawn(demo, tmp_path, capsys, pooling_type):
    model = save_tiny(tmp_path / "model", pooling_type=pooling_type, subsampling_factor=4)
    picture = tmp_path / "demo.png"
    demo.main(RECORDINGS[:2], model=model, output=picture)
    assert is_png(picture)
    assert "random" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "fault", ["no file", "no audio", "no model", "broken model", "foreign model", "too short", "no picture"]
)
def test_bad_input_ends_in_one_sentence(demo, tmp_path, capsys, fault):
    bad, picture = tmp_path / "bad.wav", tmp_path / "demo.png"
    if fault == "no audio":
        bad.write_text("This is text.")
    elif fault == "too short":
        soundfile.write(bad, [0.0] * 10, 16000)
    elif fault == "no picture":
        picture.mkdir()
        soundfile.write(bad, [0.0] * 16000, 16000)
    elif fault != "no file":
        soundfile.write(bad, [0.0] * 16000, 16000)
    model = tmp_path / "model"
    if fault == "broken model":
        model.mkdir()
        (model / "config.json").write_text("{")
    elif fault == "foreign model":
        save_wav2vec2(model)
    elif fault != "no model":
        save_tiny(model)
    with pytest.raises(typer.Exit) as end:
        demo.main([bad], model=str(model), output=picture)
    assert end.value.exit_code == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    named = {"no picture": picture}.get(fault, model if fault.endswith("model") else bad)
    assert named.name in sentence
    assert not picture.is_file()


def test_an_unreadable_file_ends_in_one_sentence_on_the_command_line(tmp_path):
    bad, picture = tmp_path / "bad.wav", tmp_path / "demo.png"
    bad.write_text("This is text.")
    done = run("demo.py", bad, "--output", picture)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and bad.name in done.stderr
    assert not picture.exists()


def test_a_file_name_in_brackets_is_no_markup(demo, tmp_path, capsys):
    clip = tmp_path / "song [live].wav"
    soundfile.write(clip, [0.0] * 32000, 16000)
    picture = tmp_path / "demo.png"
    demo.main([clip], model=save_tiny(tmp_path / "model"), output=picture)
    assert is_png(picture)
    assert capsys.readouterr().out.count("song [live].wav") == 2


def test_the_same_phrase_of_two_speakers_is_more_similar_than_another_phrase(tmp_path):
    picture = tmp_path / "new folder" / "same.png"
    done = run("same_phrase.py", "--output", picture)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("carlo_marked_urgent.flac")]
    same, other = (float(row[-1]) for row in rows)
    assert same > other + 0.3
    assert is_png(picture) and "CC BY-SA 3.0 IT" in done.stdout


def test_same_phrase_takes_three_files_and_names_a_bad_one(tmp_path, capsys):
    same_phrase = load_example("same_phrase")
    with pytest.raises(typer.BadParameter, match="2 files were given; give three"):
        same_phrase.main(PHRASES[:2])
    with pytest.raises(typer.Exit) as end:
        same_phrase.main([*PHRASES[:2], tmp_path / "none.wav"], output=tmp_path / "same.png")
    assert end.value.exit_code == 1
    assert "none.wav" in capsys.readouterr().err and not (tmp_path / "same.png").exists()


def test_finetune_trains_a_classifier_that_loads_again(tmp_path, capsys):
    load_example("finetune").main(checkpoint=save_tiny(tmp_path / "model"), epochs=1, output=tmp_path / "trained")
    lines = capsys.readouterr().out.splitlines()
    assert f"of {len(RECORDINGS) + len(PHRASES) + 1} training files" in lines[-1]
    trained = AutoModelForAudioClassification.from_pretrained(tmp_path / "trained")
    assert trained.config.id2label == {0: "audio", 1: "phrases"}


def test_finetune_names_what_is_wrong_with_its_data(tmp_path, capsys):
    finetune = load_example("finetune")
    with pytest.raises(typer.BadParameter, match="0 folders with audio files"):
        finetune.main(tmp_path)
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "bad.wav").write_text("This is text.")
    with pytest.raises(typer.Exit):
        finetune.main(tmp_path, checkpoint=save_tiny(tmp_path / "model"))
    assert "bad.wav" in capsys.readouterr().err.splitlines()[-1]


def save_wav2vec2(folder):
    """A tiny random wav2vec2 of the kind whose features depend on the padding, with its feature extractor."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    convolutions = {"conv_dim": (8, 8), "conv_stride": (5, 64), "conv_kernel": (10, 64), "num_feat_extract_layers": 2}
    positions = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    Wav2Vec2Model(Wav2Vec2Config(**sizes, **convolutions, **positions)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)


def test_pretrained_encoder_saves_a_checkpoint_and_says_what_is_next(tmp_path, capsys):
    save_wav2vec2(tmp_path / "wav2vec2")
    nemo = ROOT / "tests" / "fixtures" / "nemo" / "fc_ctc_bpe" / "model.nemo"
    example = load_example("pretrained_encoder")
    for source in (tmp_path / "wav2vec2", nemo):
        example.main(str(source), output=tmp_path / "checkpoint")
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1] == f"Next: python examples/finetune.py FOLDER --checkpoint {tmp_path / 'checkpoint'}"
        assert any("same_length_batches=True" in line for line in lines) == (source != nemo)
        assert isinstance(AudioBranchModel.from_pretrained(tmp_path / "checkpoint"), AudioBranchModel)


def test_pretrained_encoder_names_a_source_that_is_missing(tmp_path, capsys):
    with pytest.raises(typer.Exit) as end:
        load_example("pretrained_encoder").main(str(tmp_path / "none.nemo"), output=tmp_path / "checkpoint")
    assert end.value.exit_code == 1
    assert "none.nemo" in capsys.readouterr().err and not (tmp_path / "checkpoint").exists()


def test_every_recording_has_an_entry_in_its_readme():
    entries = (EXAMPLES / "audio" / "README.md").read_text().splitlines()
    files = {path.name for path in (EXAMPLES / "audio").iterdir()} - {"README.md", "LICENSE"}
    assert files == {line.split("`")[1] for line in entries if line.startswith("| `")}
    assert len(files) >= 4


def test_the_phrase_is_found_in_the_recording_of_another_speaker(tmp_path):
    done = run("find_phrase.py", "--output", tmp_path / "hit.png")
    assert done.returncode == 0, done.stderr
    name, start, end, score = done.stdout.splitlines()[2].split()
    assert name == "carlo_voicemail.ogg" and float(start) == pytest.approx(38.04, abs=0.15)
    assert float(end) == pytest.approx(40.3, abs=0.5) and float(score) > 0.6
    assert is_png(tmp_path / "hit.png")


def test_a_search_without_recordings_or_in_a_file_that_is_no_audio_ends_with_one_line(tmp_path):
    find_phrase = load_example("find_phrase")
    with pytest.raises(typer.BadParameter, match="give the files or folders"):
        find_phrase.main(PHRASES[0])
    (tmp_path / "a.wav").write_text("no audio")
    with pytest.raises(typer.Exit):
        find_phrase.main(PHRASES[0], [tmp_path / "a.wav"], top=1, output=tmp_path / "hit.png")


@pytest.fixture
def audio_visual_model(tmp_path):
    """A folder with a random audio-visual model and a video with sound."""
    from recipes.audio_visual.generated_training import small_config
    from recipes.audio_visual.model import AudioVisualForClassification, AudioVisualProcessor
    from recipes.audio_visual.write_video import write_video

    config = small_config("cross_attention")
    AudioVisualForClassification(config).save_pretrained(tmp_path / "model")
    AudioVisualProcessor.from_model_config(config).save_pretrained(tmp_path / "model")
    frames, samples = np.full((25, 16, 16, 3), 99, np.uint8), np.sin(np.arange(8000))
    write_video(tmp_path / "clip.mp4", frames, 25, samples, 8000)
    return tmp_path


def test_a_video_is_classified_by_both_sides_and_by_each_and_the_weights_are_drawn(audio_visual_model, capsys):
    folder = audio_visual_model
    example = load_example("audio_visual_fusion")
    example.main(folder / "clip.mp4", model=str(folder / "model"), output=folder / "weights.png")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["both sides", "audio alone", "video alone", "Picture"]
    assert all("fitting (" in line for line in lines[:3]) and is_png(folder / "weights.png")


def test_a_video_that_is_missing_ends_in_one_sentence(audio_visual_model, capsys):
    folder = audio_visual_model
    with pytest.raises(typer.Exit) as end:
        load_example("audio_visual_fusion").main(
            folder / "none.mp4", model=str(folder / "model"), output=folder / "weights.png"
        )
    assert end.value.exit_code == 1 and not (folder / "weights.png").exists()
    assert "none.mp4 does not exist" in capsys.readouterr().err.splitlines()[-1]
