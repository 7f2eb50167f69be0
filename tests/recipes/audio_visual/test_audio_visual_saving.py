"""recipes/audio_visual/model/shipped_code.py: a saved folder loads where neither the recipe nor the package is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from safetensors.torch import save_file

from helpers.fresh_process import run_fresh
from helpers.loopback_hub import LoopbackHub
from recipes.audio_visual.model import AudioVisualForClassification, AudioVisualProcessor
from recipes.audio_visual.write_video import write_video

ROOT = Path(__file__).parents[3]
FOLDERS = ROOT / "recipes/audio_visual/model", ROOT / "modeling_audio_branch"
SHIPPED = [path for folder in FOLDERS for path in folder.glob("[a-z]*.py")]

FRESH = """
import sys
sys.modules["recipes"] = None
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoProcessor
trust = dict(trust_remote_code=True)
for source, target in {jobs!r}:
    golden = load_file(source + "/golden.safetensors")
    expected = golden.pop("logits")
    config = AutoConfig.from_pretrained(source, **trust)
    assert config.num_segments == 4 and config.audio_config.d_model == 16
    model = AutoModelForVideoClassification.from_pretrained(source, **trust).eval()
    processor = AutoProcessor.from_pretrained(source, **trust)
    with torch.no_grad():
        assert torch.equal(model(**golden).logits, expected), source
        assert torch.equal(AutoModel.from_pretrained(source, **trust).eval()(**golden).logits, expected)
    batch = processor({video!r})
    assert model(**batch).logits.isfinite().all()
    for part in (processor, model):
        part.save_pretrained(target)
    for part in (model, processor):  # over the very files that were loaded
        part.save_pretrained(source)
    again = AutoModelForVideoClassification.from_pretrained(target, **trust).eval()
    with torch.no_grad():
        assert torch.equal(again(**golden).logits, expected)
    print("loaded")
"""


def save(model, folder):
    model.save_pretrained(folder)
    AudioVisualProcessor.from_model_config(model.config).save_pretrained(folder)
    return folder


def state_of(model):
    return dict([*model.named_parameters(), *model.named_buffers()])


def test_save_and_load_keeps_every_parameter_every_buffer_and_the_output(av, tmp_path):
    batch = av.batch([av.clip(0.5, 0), av.clip(0.8, 1)])
    for fusion in av.fusions:
        for sees_videos in (False, True):
            model = av.model(fusion, sees_videos)
            folder = save(model, tmp_path / f"{fusion}{sees_videos}")
            loaded, info = AudioVisualForClassification.from_pretrained(folder, output_loading_info=True)
            assert not any(info[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
            assert all(torch.equal(state_of(loaded)[name], value) for name, value in state_of(model).items())
            with torch.no_grad():
                assert torch.equal(loaded(**batch).logits, model(**batch).logits)


def test_a_saved_folder_loads_in_a_fresh_process_without_recipe_and_package_and_saves_from_there(av, tmp_path):
    jobs = []
    for fusion, sees_videos in (("cross_attention", False), ("liquid", True)):
        model, batch = av.model(fusion, sees_videos), av.batch([av.clip(0.5, 0), av.clip(0.8, 1)])
        folder = save(model, tmp_path / fusion)
        with torch.no_grad():
            save_file(batch | {"logits": model(**batch).logits}, folder / "golden.safetensors")
        jobs.append((str(folder), str(tmp_path / f"{fusion} again")))
    video = tmp_path / "clip.mp4"
    write_video(video, torch.randint(0, 255, (20, 16, 16, 3), dtype=torch.uint8).numpy(), 25, [0.1] * 12800, 16000)
    before = {path.name: path.read_bytes() for path in Path(jobs[0][0]).iterdir()}
    assert run_fresh(FRESH.format(jobs=jobs, video=str(video)), tmp_path).split() == ["loaded"] * 2
    for folder in jobs[0]:  # saved by the code that was loaded
        for name, data in before.items():
            if name not in ("golden.safetensors", "config.json"):  # the configuration now knows its dtype
                assert (Path(folder) / name).read_bytes() == data, name


def test_the_code_in_a_folder_is_exactly_the_flat_files_of_recipe_and_package(av, tmp_path):
    save(av.model(), tmp_path)
    saved = {path.name: path.read_text() for path in tmp_path.glob("*.py")}
    assert saved.keys() == {path.name for path in SHIPPED} and len(SHIPPED) == len(saved)
    for path in SHIPPED:
        own = "recipes" in path.parts
        expected = path.read_text()
        if own:
            expected = re.sub(r"(?m)^(\s*)from modeling_audio_branch\.", r"\1from .", expected)
            assert not re.search(r"(?m)^\s*(from|import) (modeling_audio_branch|recipes)\b", saved[path.name])
        assert saved[path.name] == expected, path.name


def test_other_fusions_than_liquid_load_without_ncps_and_liquid_names_it(av, tmp_path):
    for fusion in ("gated", "liquid"):
        save(av.model(fusion), tmp_path / fusion)
    code = f"""
        import sys
        sys.modules["recipes"] = sys.modules["ncps"] = sys.modules["av"] = None
        from transformers import AutoModel, AutoProcessor
        AutoModel.from_pretrained({str(tmp_path / "gated")!r}, trust_remote_code=True)
        try:
            AutoModel.from_pretrained({str(tmp_path / "liquid")!r}, trust_remote_code=True)
        except ImportError as error:
            print(error)
        processor = AutoProcessor.from_pretrained({str(tmp_path / "gated")!r}, trust_remote_code=True)
        try:
            processor("clip.mp4")
        except ImportError as error:
            print(error)
        """
    lines = run_fresh(code, tmp_path).splitlines()
    assert lines[0].startswith("fusion='liquid' needs the package ncps; install it")
    assert lines[1].startswith("Reading video files needs PyAV; install it")


def test_a_processor_that_would_be_uploaded_without_its_code_is_refused(av, tmp_path):
    with pytest.raises(ValueError, match="leaves out the code"):
        AudioVisualProcessor.from_model_config(av.config()).save_pretrained(tmp_path, push_to_hub=True)


def test_nothing_is_left_of_a_model_that_could_not_be_saved(av, tmp_path, monkeypatch):
    model = av.model()
    model.config.fusion_dim = 7  # which 2 heads do not divide
    with pytest.raises(StrictDataclassClassValidationError, match="does not divide"):
        model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_transformers_pushes_to_the_hub_loads_in_a_fresh_process(av, tmp_path):
    save(av.model(), tmp_path / "model")
    with LoopbackHub() as hub:
        environment = hub.environment(tmp_path / "hf_home", "hf_alice") | {"PYTHONPATH": str(ROOT)}
        program = f"""if True:
        from recipes.audio_visual.model import *
        model = AudioVisualForClassification.from_pretrained({str(tmp_path / "model")!r})
        processor = AudioVisualProcessor.from_pretrained({str(tmp_path / "model")!r})
        model.push_to_hub("alice/pushed")
        processor.push_to_hub("alice/pushed")
        model.save_pretrained("saved", push_to_hub=True, repo_id="alice/saved")
        processor.push_to_hub("alice/saved")
        """
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        run_fresh(
            """
            import sys
            sys.modules["recipes"] = None
            import torch
            from transformers import AutoModelForVideoClassification, AutoProcessor
            for repo in ("alice/pushed", "alice/saved"):
                processor = AutoProcessor.from_pretrained(repo, trust_remote_code=True)
                batch = processor(frames=torch.zeros(9, 8, 8, 3, dtype=torch.uint8), frame_rate=25)
                AutoModelForVideoClassification.from_pretrained(repo, trust_remote_code=True)(**batch)
            """,
            tmp_path,
            **hub.environment(tmp_path / "hf_home2"),
        )
