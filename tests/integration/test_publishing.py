"""Publishing in processes of their own: the folder, the command to the Hub and back, and hub/clean_room_script.py."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder

from helpers.fresh_process import run_fresh
from helpers.loopback_hub import LoopbackHub
from helpers.publishing import RESULTS, save_checkpoint
from modeling_audio_branch import AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.hub.clean_room import Expectation, verify_in_clean_process
from modeling_audio_branch.hub.errors import UploadError
from modeling_audio_branch.hub.push import push_checkpoint
from modeling_audio_branch.hub.repository import UPLOAD_ALLOWLIST

ROOT = Path(__file__).parents[2]
# Loads alice/emotion by every Auto class and pipeline at each of REVISIONS.
LOAD_BACK = """
import torch
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file
from transformers import (
    AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, pipeline
)
repo = "alice/emotion"
for revision in REVISIONS:
    trust = dict(trust_remote_code=True, revision=revision)
    golden = load_file(hf_hub_download(repo, "golden.safetensors", revision=revision))
    clips = [golden["clips"][0].numpy(), golden["clips"][1, : int(golden["mask"][1].sum())].numpy()]
    assert AutoConfig.from_pretrained(repo, **trust).id2label[1].startswith("angry")
    extractor = AutoFeatureExtractor.from_pretrained(repo, **trust)
    features = extractor(clips, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        out = AutoModel.from_pretrained(repo, **trust)(**features)
        logits = AutoModelForAudioClassification.from_pretrained(repo, **trust)(**features).logits
    assert (out.segment_features - golden["segment_features"]).abs().max() < 1e-4
    assert (logits - golden["logits"]).abs().max() < 1e-4
    embed = pipeline("audio-segment-embedding", model=repo, **trust)
    made = torch.tensor(embed(clips[0], sampling_rate=16000)["segment_features"])
    assert (made - golden["segment_features"][0]).abs().max() < 1e-4
    extract = pipeline("feature-extraction", model=repo, **trust)
    assert torch.tensor(extract(clips[0], sampling_rate=16000)).ndim == 2
    classify = pipeline("audio-classification", model=repo, **trust)
    best = classify(clips[0], sampling_rate=16000)[0]
    assert best["label"][:4] == ["calm", "angr"][int(golden["logits"][0].argmax())]
"""


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    save_checkpoint(folder, AudioBranchForAudioClassification, id2label={0: "calm", 1: "angry\n# |"})
    # What Trainer leaves next to a model.
    (folder / "training_args.bin").write_bytes(b"a pickle")
    (folder / "checkpoint-20").mkdir()
    (folder / "checkpoint-20" / "optimizer.pt").write_bytes(b"a pickle")
    return folder


@pytest.fixture(scope="module")
def dry_run(classifier, tmp_path_factory):
    """The repository that a dry run writes, of a classifier with results."""
    folder = tmp_path_factory.mktemp("dry")
    repository, results = folder / "repository", folder / "results.json"
    results.write_text(json.dumps(RESULTS), encoding="utf-8")
    push_checkpoint(classifier, "alice/emotion", dry_run=repository, metrics=results, license="cc-by-nc-sa-4.0")
    return repository


def run_command(*arguments, **environment):
    """hub_upload.py in a process of its own: (exit status, what it printed)."""
    command = [sys.executable, str(ROOT / "hub_upload.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment or None, cwd="/")
    return done.returncode, done.stdout + done.stderr


def test_a_dry_run_writes_what_the_hub_needs_and_nothing_else(dry_run):
    names = {path.relative_to(dry_run).as_posix() for path in dry_run.rglob("*") if path.is_file()}
    assert names >= {
        *("README.md", "LICENSE", "requirements.txt", "golden.safetensors", ".eval_results/audio_branch.yaml"),
        *("config.json", "preprocessor_config.json", "model.safetensors", "modeling_audio_branch.py"),
    }
    assert not [name for name in names if not UPLOAD_ALLOWLIST.fullmatch(name)]
    assert not names & {"training_args.bin", "nemo.py", "card.py", "clean_room_script.py"}
    shipped = {path.name for path in (ROOT / "modeling_audio_branch").glob("[a-z]*.py")}
    assert {name for name in names if name.endswith(".py")} <= shipped
    assert (dry_run / "LICENSE-CODE").read_text() == (ROOT / "LICENSE").read_text()
    assert "under the licence cc-by-nc-sa-4.0" in (dry_run / "LICENSE").read_text()


def test_the_weights_are_sent_bit_for_bit(dry_run, classifier):
    sent, had = (load_file(folder / "model.safetensors") for folder in (dry_run, classifier))
    assert sent.keys() == had.keys() and all(torch.equal(sent[name], had[name]) for name in had)


def test_the_dry_run_folder_gives_the_golden_output_elsewhere_without_soundfile_and_torchaudio(dry_run, tmp_path):
    shutil.copytree(dry_run, tmp_path / "elsewhere")
    run_fresh(
        f"""
        for name in ("soundfile", "torchaudio", "datasets", "librosa"):
            sys.modules[name] = None
        import torch
        from safetensors.torch import load_file
        from transformers import AutoModel, AutoModelForAudioClassification
        golden = load_file({str(tmp_path / "elsewhere" / "golden.safetensors")!r})
        for auto, name in ((AutoModel, "segment_features"), (AutoModelForAudioClassification, "logits")):
            model = auto.from_pretrained({str(tmp_path / "elsewhere")!r}, trust_remote_code=True).eval()
            with torch.no_grad():
                out = model(golden["clips"], attention_mask=golden["mask"])
            assert (out[name] - golden[name]).abs().max() < 1e-4
        """,
        tmp_path,
    )


def test_the_card_has_complete_metadata_and_results_with_their_protocol(dry_run):
    card = ModelCard.load(dry_run / "README.md")
    data = card.data.to_dict()
    assert data["library_name"] == "transformers" and data["pipeline_tag"] == "audio-classification"
    assert data["license"] == "cc-by-nc-sa-4.0" and data["language"] == ["en"]
    assert data["datasets"] == ["alice/ravdess"] and data["metrics"] == ["unweighted_accuracy"]
    assert data["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.71
    for text in (
        "6 speaker-disjoint folds",
        "clustered by speaker",
        "0.66 to 0.75",
        "2 CPU cores",
        "calm, angry \\# \\|",
    ):
        assert text in card.text, text
    entries = yaml.safe_load((dry_run / ".eval_results" / "audio_branch.yaml").read_text())
    assert parse_eval_result_entries(entries)[0].value == 0.71


def test_the_shapes_in_the_card_are_those_that_its_snippet_printed(dry_run):
    text = (dry_run / "README.md").read_text()
    shapes = re.findall(r"print\(.*\)  # (.*)", text)
    assert shapes == [f"torch.Size([2, 4{rest}])" for rest in (", 12", ", 2")] + [
        "torch.Size([2, 12])",
        "torch.Size([2, 4, 12])",
    ]


def test_the_requirements_are_those_of_the_package(dry_run):
    needed = [line.strip() for line in (ROOT / "setup.cfg").read_text().splitlines()]
    for line in (dry_run / "requirements.txt").read_text().splitlines():
        assert line in needed, line


def test_a_folder_that_does_not_give_the_golden_output_is_refused(dry_run, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(dry_run, folder)
    weights = load_file(folder / "model.safetensors")
    weights["audio_branch.projection.1.bias"] += 0.1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    expected = Expectation(dry_run / "golden.safetensors", tolerance=1e-4, is_classifier=True)
    with pytest.raises(UploadError, match="from the golden one"):
        verify_in_clean_process(str(folder), None, expected)


def test_a_folder_that_needs_the_package_is_refused(dry_run, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(dry_run, folder)
    code = folder / "modeling_audio_branch.py"
    code.write_text(code.read_text() + "\nimport modeling_audio_branch.convert.nemo\n")
    expected = Expectation(dry_run / "golden.safetensors", tolerance=1e-4, is_classifier=True)
    with pytest.raises(UploadError, match="does not load in a fresh process"):
        verify_in_clean_process(str(folder), None, expected)


def test_the_command_publishes_and_others_load_it_by_its_id(classifier, dry_run, tmp_path):
    """All in processes of their own: upload, then load by tag, by commit, and offline."""
    with LoopbackHub() as hub:
        environment = {"PATH": "/usr/bin:/bin", **hub.environment(tmp_path / "uploader", "hf_alice")}
        options = ("--repo-id", "alice/emotion", "--private", "--license", "mit", "--tag", "v1.0.0", "--yes")
        status, printed = run_command(classifier, *options, **environment)
        assert status == 0, printed
        repository = hub.repositories["alice/emotion"]
        assert repository.private and len(repository.messages) == 2  # the Hub's own, and ours
        sent = repository.files()
        assert set(sent) - {".gitattributes"} == {
            path.relative_to(dry_run).as_posix()
            for path in dry_run.rglob("*")
            if path.is_file() and ".eval_results" not in path.parts
        }
        commit = repository.refs["refs/tags/v1.0.0"]
        assert commit == repository.refs["refs/heads/main"] and f'revision="{commit}"' in printed
        assert "hf_alice" not in printed and not any(b"hf_alice" in data for data in sent.values())

        other = hub.environment(tmp_path / "hf_home", "hf_alice")
        run_fresh(LOAD_BACK.replace("REVISIONS", repr(["v1.0.0", commit])), tmp_path, **other)
        before = len(hub.requests)
        run_fresh(LOAD_BACK.replace("REVISIONS", repr([commit])), tmp_path, **(other | {"HF_HUB_OFFLINE": "1"}))
        assert len(hub.requests) == before  # all of it came from the cache
        with pytest.raises(AssertionError, match="alice/emotion"):  # private: nobody else sees it
            run_fresh(LOAD_BACK.replace("REVISIONS", "[None]"), tmp_path, **hub.environment(tmp_path / "bob", "hf_bob"))


def test_the_command_line_prints_one_sentence_and_fails(tmp_path):
    status, printed = run_command(tmp_path, "--repo-id", "alice/tiny", "--dry-run", tmp_path / "out")
    assert status == 1 and printed.splitlines()[-1].startswith("Error: ") and "Traceback" not in printed


def test_a_repository_may_hold_onnx_and_be_one_of_several_vectors(tmp_path):
    checkpoint, repository = tmp_path / "checkpoint", tmp_path / "repository"
    save_checkpoint(checkpoint, AudioBranchModel)
    push_checkpoint(checkpoint, "alice/segments", dry_run=repository, multi_vector=True, onnx=True)
    names = {path.relative_to(repository).as_posix() for path in repository.rglob("*") if path.is_file()}
    assert {"onnx/model.onnx", "onnx/model_int8.onnx", "onnx/preprocess.json", "modules.json"} <= names
    assert "MultiVectorEncoder" in (repository / "README.md").read_text(encoding="utf-8")
    files = sorted(map(str, (ROOT / "examples" / "audio").glob("*.wav")))
    vectors = MultiVectorEncoder(str(repository), trust_remote_code=True).encode(files)
    exported = AudioBranchModel.from_onnx(repository / "onnx").encode(files).segment_features
    for vector, segments in zip(vectors, exported, strict=True):
        torch.testing.assert_close(
            torch.as_tensor(vector), torch.nn.functional.normalize(segments, dim=-1), atol=1e-4, rtol=0
        )
    about = json.loads((repository / "onnx" / "preprocess.json").read_text(encoding="utf-8"))
    assert about["model"] == "alice/segments"
    for path in (repository / "onnx").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes() and str(ROOT).encode() not in path.read_bytes(), path
    push_checkpoint(repository, "alice/segments", dry_run=tmp_path / "again")  # what was downloaded is published again
    assert not (tmp_path / "again" / "onnx").exists()
