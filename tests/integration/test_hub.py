"""Publishing: hub_upload.py and Transformers' own pushes, against a Hub on this machine, with the real client."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
import yaml
from helpers.models import make_model, tiny_config
from helpers.fresh_process import run_fresh
from huggingface_hub import HfApi, ModelCard, parse_eval_result_entries
from helpers.loopback_hub import Fault, LoopbackHub
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2Config

import hub_upload
from hub_upload import UploadError, check_target, publish
from modeling_audio_branch import (
    AudioBranchConfig,
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
    AudioBranchModel,
)
from modeling_audio_branch.hub.card import CardError, read_results

ROOT = Path(__file__).parent.parent
RESULTS = {
    "dataset": {"name": "RAVDESS speech", "id": "alice/ravdess", "license": "cc-by-nc-sa-4.0", "language": ["en"]},
    "protocol": "6 speaker-disjoint folds",
    "folds": 6,
    "interval": "95 % bootstrap, clustered by speaker",
    "hardware": "2 CPU cores",
    "metrics": {"unweighted_accuracy": {"value": 0.71, "low": 0.66, "high": 0.75}},
    "training_data": {"name": "RAVDESS speech", "id": "alice/ravdess", "license": "cc-by-nc-sa-4.0"},
}


def save(folder, model_class=AudioBranchModel, **choices):
    model = make_model(model_class, tiny_config(**choices))
    model.save_pretrained(folder)
    AudioBranchFeatureExtractor.from_model(model).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = save(
        tmp_path_factory.mktemp("classifier"), AudioBranchForAudioClassification, id2label={0: "calm", 1: "angry\n# |"}
    )
    # What Trainer leaves beside a model.
    (folder / "training_args.bin").write_bytes(b"a pickle")
    (folder / "checkpoint-20").mkdir()
    (folder / "checkpoint-20" / "optimizer.pt").write_bytes(b"a pickle")
    return folder


@pytest.fixture(scope="module")
def dry_run(classifier, tmp_path_factory):
    """The repository that a dry run writes, of a classifier with results."""
    folder = tmp_path_factory.mktemp("dry")
    (folder / "results.json").write_text(json.dumps(RESULTS), encoding="utf-8")
    hub_upload.run(
        classifier,
        "alice/emotion",
        dry_run=folder / "repository",
        metrics=folder / "results.json",
        license="cc-by-nc-sa-4.0",
    )
    return folder / "repository"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub that this very process talks to, as alice."""
    with LoopbackHub() as hub:
        for name in ("ENDPOINT", "_HF_DEFAULT_ENDPOINT"):
            monkeypatch.setattr(huggingface_hub.constants, name, hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_alice")
        for name, value in hub.environment(tmp_path / "hf").items():  # of processes that are started
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_TOKEN", "hf_alice")
        yield hub


@pytest.fixture
def no_strangers(monkeypatch):
    """Leaves out the fresh processes, seconds each, where they are not what is tested."""
    monkeypatch.setattr(hub_upload, "verify_in_clean_process", lambda *_: ["torch.Size([2, 4, 12])"] * 4)


def upload(*arguments, **environment):
    """The command in a process of its own: (exit status, what it printed)."""
    command = [sys.executable, str(ROOT / "hub_upload.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment or None, cwd="/")
    return done.returncode, done.stdout + done.stderr


# ---------------------------------------------------------------------------------------------------------- the folder


def test_a_dry_run_writes_what_a_stranger_needs_and_nothing_else(dry_run):
    names = {path.relative_to(dry_run).as_posix() for path in dry_run.rglob("*") if path.is_file()}
    assert names >= {
        *("README.md", "LICENSE", "requirements.txt", "golden.safetensors", ".eval_results/audio_branch.yaml"),
        *("config.json", "preprocessor_config.json", "model.safetensors", "modeling_audio_branch.py"),
    }
    assert not [name for name in names if not hub_upload.SENT.fullmatch(name)]
    assert not names & {"training_args.bin", "convert_nemo.py", "model_card.py", "stranger.py"}
    assert (dry_run / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_weights_are_sent_to_the_bit(dry_run, classifier):
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


def test_the_card_has_complete_metadata_and_figures_with_their_protocol(dry_run):
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


def test_a_card_without_results_says_so(checkpoint, tmp_path, no_strangers):
    hub_upload.run(checkpoint, "alice/tiny", dry_run=tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert "was not evaluated" in card.text and "model-index" not in card.data.to_dict()
    assert card.data.pipeline_tag == "feature-extraction" and not (tmp_path / "out" / ".eval_results").exists()


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_the_card_says_whether_the_encoder_looks_at_the_padding(norm, tmp_path, no_strangers):
    torch.manual_seed(0)
    encoder = Wav2Vec2Config(
        **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
        **{"conv_dim": (8, 8), "conv_stride": (20, 16), "conv_kernel": (40, 16), "num_conv_pos_embeddings": 4},
        **{"num_conv_pos_embedding_groups": 2, "feat_extract_norm": norm, "do_stable_layer_norm": norm == "layer"},
    )
    AudioBranchModel(AudioBranchConfig(encoder_config=encoder, feature_dim=12)).save_pretrained(tmp_path / "model")
    hub_upload.run(tmp_path / "model", "alice/tiny", dry_run=tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert ("**This encoder looks at the padding**" in card) == (norm == "group")
    assert ("don't depend on what else is in the batch" in card) == (norm == "layer")
    assert "50 encoder frames" in card and "→ wav2vec2 →" in card


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
    check = {"golden": str(dry_run / "golden.safetensors"), "tolerance": 1e-4, "printed": None, "is_classifier": True}
    with pytest.raises(UploadError, match="from the golden one"):
        hub_upload.verify_in_clean_process(str(folder), None, check)


def test_a_folder_that_needs_the_package_is_refused(dry_run, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(dry_run, folder)
    code = folder / "modeling_audio_branch.py"
    code.write_text(code.read_text() + "\nimport modeling_audio_branch.convert.nemo\n")
    check = {"golden": str(dry_run / "golden.safetensors"), "tolerance": 1e-4, "printed": None, "is_classifier": True}
    with pytest.raises(UploadError, match="does not load in a fresh process"):
        hub_upload.verify_in_clean_process(str(folder), None, check)


# ----------------------------------------------------------------------------------------------------- the round trip


def test_the_command_publishes_and_strangers_load_it_by_its_id(classifier, dry_run, tmp_path):
    """All in processes of their own: upload, then load by tag, by commit, and offline."""
    with LoopbackHub() as hub:
        environment = {"PATH": "/usr/bin:/bin", **hub.environment(tmp_path / "uploader", "hf_alice")}
        arguments = (
            classifier,
            "--repo-id",
            "alice/emotion",
            "--private",
            "--license",
            "mit",
            "--tag",
            "v1.0.0",
            "--yes",
        )
        status, printed = upload(*arguments, **environment)
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

        code = """
        import torch
        from huggingface_hub import hf_hub_download
        from safetensors.torch import load_file
        from transformers import (
            AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, pipeline
        )
        repo, trust = "alice/emotion", dict(trust_remote_code=True, revision=REVISION)
        golden = load_file(hf_hub_download(repo, "golden.safetensors", revision=REVISION))
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
        stranger = {name: value for name, value in hub.environment(tmp_path / "hf_home", "hf_alice").items()}
        for revision in ("v1.0.0", commit):
            run_fresh(code.replace("REVISION", repr(revision)), tmp_path, **stranger)
        before = len(hub.requests)
        run_fresh(code.replace("REVISION", repr(commit)), tmp_path, **(stranger | {"HF_HUB_OFFLINE": "1"}))
        assert len(hub.requests) == before  # all of it came from the cache
        with pytest.raises(AssertionError, match="alice/emotion"):  # private: nobody else sees it
            run_fresh(code.replace("REVISION", "None"), tmp_path, **hub.environment(tmp_path / "bob", "hf_bob"))


def test_model_and_extractor_and_pipeline_and_trainer_push_loadable_repositories(tmp_path):
    with LoopbackHub() as hub:
        environment = hub.environment(tmp_path / "hf_home", "hf_alice")
        code = f"""
        import os, sys, torch
        sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
        from transformers import DataCollatorWithPadding, Trainer, TrainingArguments, pipeline
        from helpers.models import make_model, tiny_config
        from modeling_audio_branch import *
        config = tiny_config(num_labels=2)
        model, extractor = make_model(AudioBranchForAudioClassification, config), None
        extractor = AudioBranchFeatureExtractor.from_model(model)
        model.push_to_hub("alice/pushed")
        extractor.push_to_hub("alice/pushed")
        pipeline("audio-classification", model=model, feature_extractor=extractor).push_to_hub("alice/pipeline")
        model.save_pretrained("saved", push_to_hub=True, repo_id="alice/saved")
        extractor.save_pretrained("saved", push_to_hub=True, repo_id="alice/saved")
        features = [extractor(torch.randn(4000), sampling_rate=16000) for _ in range(4)]
        rows = [{{name: value[0] for name, value in each.items()}} | {{"labels": 1}} for each in features]
        arguments = TrainingArguments(
            "trained", push_to_hub=True, hub_model_id="alice/trained", max_steps=2, report_to="none", use_cpu=True,
            save_steps=1, per_device_train_batch_size=2,
        )
        collator = DataCollatorWithPadding(extractor)
        trainer = Trainer(model, arguments, collator, train_dataset=rows, processing_class=extractor)
        trainer.train()
        trainer.push_to_hub()
        """
        program = code.replace("\n        ", "\n").strip()
        folder = tmp_path / "work"
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=folder, env=os.environ | environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        run_fresh(
            """
            import torch
            from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, pipeline
            for repo in ("alice/pushed", "alice/pipeline", "alice/saved", "alice/trained"):
                extractor = AutoFeatureExtractor.from_pretrained(repo, trust_remote_code=True)
                features = extractor(torch.randn(8000), sampling_rate=16000, return_tensors="pt")
                for auto in (AutoModel, AutoModelForAudioClassification):
                    auto.from_pretrained(repo, trust_remote_code=True)(**features)
                classify = pipeline("audio-classification", model=repo, trust_remote_code=True)
                assert len(classify({"array": torch.randn(8000).numpy(), "sampling_rate": 16000})) == 2
            """,
            tmp_path,
            **hub.environment(tmp_path / "hf_home2"),
        )


def test_a_revision_and_a_pull_request_leave_the_main_branch_alone(checkpoint, hub, tmp_path, no_strangers):
    hub_upload.run(checkpoint, "alice/tiny", yes=True)
    repository = hub.repositories["alice/tiny"]
    main = repository.refs["refs/heads/main"]
    hub_upload.run(save(tmp_path / "two", num_segments=2), "alice/tiny", revision="two", yes=True)
    hub_upload.run(save(tmp_path / "three", num_segments=3), "alice/tiny", pr=True, yes=True)
    assert repository.refs["refs/heads/main"] == main
    segments = {ref: json.loads(repository.files(ref)["config.json"])["num_segments"] for ref in repository.refs}
    assert segments == {"refs/heads/main": 4, "refs/heads/two": 2, "refs/pr/1": 3}


def test_the_same_again_makes_no_commit(checkpoint, hub, no_strangers):
    hub_upload.run(checkpoint, "alice/tiny", yes=True)
    before = dict(hub.repositories["alice/tiny"].refs)
    hub_upload.run(checkpoint, "alice/tiny", yes=True)
    assert hub.repositories["alice/tiny"].refs == before


def test_a_later_version_takes_away_files_of_an_earlier_one(checkpoint, hub, no_strangers):
    hub_upload.run(checkpoint, "alice/tiny", yes=True)
    repository = hub.repositories["alice/tiny"]
    repository.commit("refs/heads/main", repository.files() | {"outdated.py": b"pass"}, "an earlier version")
    hub_upload.run(checkpoint, "alice/tiny", yes=True)
    assert "outdated.py" not in repository.files() and "config.json" in repository.files()


# ---------------------------------------------------------------------------------------------------------- bad input


def broken(folder, checkpoint, what):
    shutil.copytree(checkpoint, folder)
    if what == "no config":
        (folder / "config.json").unlink()
    elif what == "no weights":
        (folder / "model.safetensors").unlink()
    elif what == "pickle":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif what == "secret":
        (folder / "secrets.env").write_text("HF_TOKEN=hf_alice")
    elif what == "link":
        (folder / "LICENSE").symlink_to("/etc/hostname")
    elif what == "adapter":
        (folder / "adapter_config.json").write_text("{}")
    elif what == "other model":
        (folder / "config.json").write_text('{"architectures": ["BertModel"], "model_type": "bert"}')
    elif what == "no json":
        (folder / "config.json").write_text("not json")
    elif what in ("setting", "extractor's setting"):
        path = folder / ("config.json" if what == "setting" else "preprocessor_config.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"api_key": "hf_alice"}))
    elif what == "odd architecture":
        (folder / "config.json").write_text('{"architectures": [["x"]], "model_type": "audio_branch"}')
    elif what == "a weight is missing":
        weights = load_file(folder / "model.safetensors")
        del weights["projection.1.bias"]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    elif what == "half a file":
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    return folder


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("no config", "holds no config.json"),
        ("no weights", "holds no model.safetensors"),
        ("pickle", "pytorch_model.bin, which is or may be a pickle"),
        ("secret", "secrets.env, which is no part of a model"),
        ("link", "LICENSE, which is no plain file"),
        ("adapter", "merge it first"),
        ("other model", "is of a BertModel"),
        ("no json", "is no configuration"),
        ("setting", "holds api_key, which is no setting"),
        ("extractor's setting", "holds api_key, which is no setting"),
        ("odd architecture", "allowed are AudioBranchModel"),
        ("a weight is missing", r"projection\.1\.bias"),
        ("half a file", "can't be loaded"),
    ],
)
def test_a_bad_checkpoint_is_refused_in_one_sentence_and_nothing_is_sent(what, sentence, checkpoint, hub, tmp_path):
    with pytest.raises(UploadError, match=sentence) as error:
        hub_upload.run(broken(tmp_path / "bad", checkpoint, what), "alice/tiny", yes=True)
    assert "\n" not in str(error.value)
    assert not hub.repositories


@pytest.mark.parametrize(
    ("repo_id", "token", "sentence"),
    [
        ("alice/ti ny", "hf_alice", "is impossible"),
        ("tiny", "hf_alice", "is impossible"),
        ("a/b/c", "hf_alice", "is impossible"),
        ("alice/tiny", None, "no token"),
        ("alice/tiny", "hf_wrong", "does not accept the token"),
        ("alice/tiny", "hf_\u00e9", "does not accept the token"),
        ("alice/tiny", "hf_reader", "may only read"),
        ("alice/tiny", "hf_fine", "may not write to alice/tiny"),
        ("bob/tiny", "hf_alice", "alice can't write to bob/"),
    ],
)
def test_a_bad_target_is_refused_in_one_sentence(
    repo_id, token, sentence, checkpoint, hub, monkeypatch, tmp_path, no_strangers
):
    monkeypatch.delenv("HF_TOKEN") if token is None else monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(UploadError, match=sentence) as error:
        hub_upload.run(checkpoint, repo_id, yes=True)
    assert "\n" not in str(error.value) and (token is None or token not in str(error.value))
    assert not hub.repositories


def test_a_repository_with_other_contents_is_left_alone(checkpoint, hub):
    api = HfApi()
    for name, content in (("secrets.txt", b"x"), ("config.json", b'{"model_type": "bert"}')):
        api.create_repo("alice/other")
        repository = hub.repositories["alice/other"]
        before = repository.commit("refs/heads/main", {name: content}, "theirs")
        with pytest.raises(UploadError, match=rf"holds other contents \({name}\)"):
            hub_upload.run(checkpoint, "alice/other", yes=True)
        assert repository.refs["refs/heads/main"] == before
        del hub.repositories["alice/other"]


def test_an_existing_tag_and_a_missing_answer_send_nothing(checkpoint, hub, no_strangers):
    hub_upload.run(checkpoint, "alice/tiny", tag="v1", yes=True)
    before = dict(hub.repositories["alice/tiny"].refs)
    hub_upload.run(checkpoint, "alice/tiny", tag="v1", yes=True)  # the very same: the tag is where it belongs
    with pytest.raises(UploadError, match="has a tag v1 already"):
        hub_upload.run(checkpoint, "alice/tiny", tag="v1", license="mit", yes=True)
    with pytest.raises(UploadError, match="--yes"):
        hub_upload.run(checkpoint, "alice/new")
    assert hub.repositories["alice/tiny"].refs == before and "alice/new" not in hub.repositories


def test_a_lost_answer_about_the_tag_can_be_repeated(checkpoint, hub, no_strangers):
    hub.faults.append(Fault("POST", "/tag/", "lose"))
    with pytest.raises(UploadError, match="tag may be missing"):
        hub_upload.run(checkpoint, "alice/tiny", tag="v1", yes=True)
    hub_upload.run(checkpoint, "alice/tiny", tag="v1", yes=True)


def test_a_new_branch_of_other_contents_is_refused_too(checkpoint, hub):
    HfApi().create_repo("alice/other")
    repository = hub.repositories["alice/other"]
    repository.commit("refs/heads/main", {"secrets.txt": b"x"}, "theirs")
    with pytest.raises(UploadError, match="holds other contents"):
        hub_upload.run(checkpoint, "alice/other", revision="two", yes=True)
    assert "refs/heads/two" not in repository.refs


def test_a_public_repository_is_not_taken_for_a_private_one(checkpoint, hub, no_strangers):
    hub_upload.run(checkpoint, "alice/tiny", yes=True)
    with pytest.raises(UploadError, match="alice/tiny is public"):
        hub_upload.run(checkpoint, "alice/tiny", private=True, yes=True)


def test_what_is_replaced_and_deleted_is_shown_and_foreign_results_stay(checkpoint, hub, no_strangers, capsys):
    hub_upload.run(checkpoint, "alice/tiny", yes=True)
    repository = hub.repositories["alice/tiny"]
    theirs = {"README.md": b"by hand", "outdated.py": b"pass", ".eval_results/theirs.yaml": b"- {}"}
    repository.commit("refs/heads/main", repository.files() | theirs, "by hand")
    capsys.readouterr()
    hub_upload.run(checkpoint, "alice/tiny", yes=True)
    shown = {line.split()[1]: line.split()[-2] for line in capsys.readouterr().out.splitlines() if line.startswith("│")}
    assert shown["README.md"] == "replaced" and shown["outdated.py"] == "deleted" and shown["config.json"] == "same"
    assert ".eval_results/theirs.yaml" in repository.files() and "outdated.py" not in repository.files()


@pytest.mark.parametrize("fault", [Fault("POST", "/commit/", 403), Fault("POST", "/validate-yaml", 500)])
def test_a_failed_update_says_that_nothing_was_changed(fault, hub, small):
    api = HfApi()
    publish(api, small, "alice/tiny", check_target(api, "alice/tiny"))
    (small / "config.json").write_text('{"model_type": "audio_branch", "new": 1}')
    hub.faults.append(Fault(fault.method, fault.path, fault.what))
    with pytest.raises(UploadError, match="Nothing was changed there"):
        publish(api, small, "alice/tiny", check_target(api, "alice/tiny"))


def test_a_lost_answer_about_a_pull_request_names_it(hub, small):
    api = HfApi()
    publish(api, small, "alice/tiny", check_target(api, "alice/tiny"))
    (small / "config.json").write_text('{"model_type": "audio_branch", "new": 1}')
    hub.faults.append(Fault("POST", "/commit/", "lose"))
    with pytest.raises(UploadError, match="The pull request refs/pr/1 of alice/tiny was opened"):
        publish(api, small, "alice/tiny", check_target(api, "alice/tiny", pr=True), pr=True)


def test_an_interruption_says_what_is_there(hub, small, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    api = HfApi()
    monkeypatch.setattr(api, "create_commit", interrupted)
    with pytest.raises(UploadError, match="Interrupted. The empty repository alice/tiny was created"):
        publish(api, small, "alice/tiny", check_target(api, "alice/tiny"))


@pytest.mark.parametrize("content", [b"[]", b"not json", b"\xff", b"{}"])
def test_a_remote_configuration_that_is_none_counts_as_other_contents(content, hub):
    HfApi().create_repo("alice/other")
    hub.repositories["alice/other"].commit("refs/heads/main", {"config.json": content}, "theirs")
    with pytest.raises(UploadError, match="holds other contents"):
        check_target(HfApi(), "alice/other")


@pytest.mark.parametrize("name", ["v 1", "a..b", "~x", "refs/heads/x", "a" * 40, "x/", "-x", "x.lock^"])
def test_impossible_branches_and_tags_are_refused_before_anything_else(name, checkpoint, tmp_path):
    for option in ("revision", "tag"):
        with pytest.raises(UploadError, match=f"--{option} .* is impossible"):
            hub_upload.run(checkpoint, "alice/tiny", dry_run=tmp_path / "out", **{option: name})


def test_a_dry_run_needs_a_place_of_its_own(checkpoint, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for place in (checkpoint / "out", tmp_path / "file", tmp_path / "link"):
        with pytest.raises(UploadError, match="--dry-run"):
            hub_upload.run(checkpoint, "alice/tiny", dry_run=place)
    assert not (checkpoint / "out").exists()


def test_a_model_without_output_is_refused(tmp_path, no_strangers):
    model = make_model(AudioBranchModel, tiny_config())
    with torch.no_grad():
        for parameter in model.projection.parameters():
            parameter.zero_()
    model.save_pretrained(tmp_path / "dead")
    with pytest.raises(UploadError, match="segment_features that are all 0 or not finite"):
        hub_upload.run(tmp_path / "dead", "alice/tiny", dry_run=tmp_path / "out")


def test_card_fields_that_are_no_text_are_refused(checkpoint, tmp_path):
    with pytest.raises(CardError, match="--license .* not readable UTF-8"):
        hub_upload.run(
            checkpoint, "alice/tiny", dry_run=tmp_path / "out", license=b"mit\xff".decode("utf-8", "surrogateescape")
        )
    (tmp_path / "results.json").write_bytes(json.dumps(RESULTS).replace("RAVDESS", "RAVDÄSS").encode("latin-1"))
    with pytest.raises(CardError, match="not UTF-8"):
        hub_upload.run(checkpoint, "alice/tiny", dry_run=tmp_path / "out", metrics=tmp_path / "results.json")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"protocol": ""}, "lacks protocol"),
        ({"metrics": {"accuracy": 0.7}}, "has not the numbers value, low and high"),
        ({"metrics": {"accuracy": {"value": 0.9, "low": 0.1, "high": 0.5}}}, "outside its interval"),
        ({"dataset": {"name": "x"}}, "dataset has no name and license"),
        ({"protocol": "\ud800"}, "the protocol is .* readable text"),
        ({"hardware": "\x1b[31m"}, "the hardware is .* readable text"),
        ({"versions": ["a"]}, "results.json: "),
        ({"seeds": 3}, "results.json: "),
        ({"dataset": {"name": "x", "license": None}}, "dataset's license is None"),
        ({"dataset": {"name": "x", "license": "mit", "id": "not an id!!"}}, "not an id"),
        ({"metrics": {"accuracy": {"value": 10**400, "low": 0, "high": 10**401}}}, "outside its interval"),
        ({"metrics": {"accuracy": {"value": float("inf"), "low": 0, "high": float("inf")}}}, "outside its interval"),
        ({"metrics": {"a|b\n# Injected": {"value": 1, "low": 0, "high": 1}}}, "a metric is named"),
        ({"base_model": {"a": "b"}, "date": "yesterday"}, "results.json: "),
    ],
)
def test_figures_without_protocol_or_interval_are_refused(change, sentence, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(RESULTS | change))
    with pytest.raises(CardError, match=sentence):
        read_results(tmp_path / "results.json")


def test_the_command_line_prints_one_sentence_and_fails(tmp_path):
    status, printed = upload(tmp_path, "--repo-id", "alice/tiny", "--dry-run", tmp_path / "out")
    assert status == 1 and printed.splitlines()[-1].startswith("Error: ") and "Traceback" not in printed


# ------------------------------------------------------------------------------------------------------------- faults


@pytest.fixture
def small(tmp_path):
    """A folder that may be sent, without a model in it: what is tested is the sending."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "audio_branch"}')
    (folder / "README.md").write_text("---\nlibrary_name: transformers\nlicense: mit\n---\n")
    save_file({"weight": torch.randn(100)}, folder / "model.safetensors")
    return folder


FAULTS = [
    (Fault("POST", "/commit/", 500), "answered with an error .500.", "was created there, and nothing was sent"),
    (Fault("POST", "/commit/", 403), "may not write", "was created there, and nothing was sent"),
    (Fault("POST", "/commit/", "drop"), "connection to the Hub was lost", "nothing was sent"),
    (Fault("POST", "/commit/", "lose"), "connection to the Hub was lost", "is in alice/tiny now, this one or"),
    (Fault("PUT", "/lfs/", 403), "may not write", "was created there, and nothing was sent"),
    (Fault("POST", "/objects/batch", 403), "may not write", "was created there, and nothing was sent"),
    (Fault("POST", "/preupload/", 403), "may not write", "was created there, and nothing was sent"),
    (Fault("POST", "/repos/create", 403), "may not write", "Nothing was changed"),
    (Fault("POST", "/repos/create", "drop"), "connection to the Hub was lost", "Nothing was changed"),
    (
        Fault("POST", "/repos/create", "lose"),
        "connection to the Hub was lost",
        "was created there, and nothing was sent",
    ),
]


@pytest.mark.parametrize(("fault", "why", "state"), FAULTS, ids=lambda each: f"{each}"[:60])
def test_a_fault_publishes_nothing_half_and_says_what_is_there_and_can_be_repeated(fault, why, state, hub, small):
    api = HfApi()
    hub.faults.append(Fault(fault.method, fault.path, fault.what))
    with pytest.raises(UploadError) as error:
        publish(api, small, "alice/tiny", check_target(api, "alice/tiny"))
    assert re.search(why, str(error.value)) and state in str(error.value), str(error.value)
    assert "hf_alice" not in str(error.value) and "run the command again" in str(error.value)
    if "alice/tiny" in hub.repositories:  # all or nothing
        assert set(hub.repositories["alice/tiny"].files()) - {".gitattributes"} in (set(), set(map(str, names(small))))
    publish(api, small, "alice/tiny", check_target(api, "alice/tiny"))
    assert set(hub.repositories["alice/tiny"].files()) - {".gitattributes"} == set(names(small))
    assert len(hub.repositories["alice/tiny"].messages) == 2


def test_a_card_that_the_hub_does_not_take_sends_nothing(hub, small):
    (small / "README.md").write_text("---\nlicense: No Such Licence\n---\n")
    with pytest.raises(UploadError, match="does not take the card's metadata .*not a known licence"):
        publish(HfApi(), small, "alice/tiny", check_target(HfApi(), "alice/tiny"))
    assert set(hub.repositories["alice/tiny"].files()) == {".gitattributes"}


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_server_error_while_the_weights_are_sent_is_tried_again(hub, small):
    api = HfApi()
    hub.faults.append(Fault("PUT", "/lfs/", 500))
    publish(api, small, "alice/tiny", check_target(api, "alice/tiny"))
    assert set(names(small)) <= set(hub.repositories["alice/tiny"].files())


def test_a_change_by_somebody_else_in_the_meantime_is_not_overwritten(hub, small):
    api = HfApi()
    publish(api, small, "alice/tiny", check_target(api, "alice/tiny"))
    target = check_target(api, "alice/tiny")
    repository = hub.repositories["alice/tiny"]
    theirs = repository.commit("refs/heads/main", repository.files() | {"config.json": b"{}"}, "theirs")
    (small / "config.json").write_text('{"model_type": "audio_branch", "new": 1}')
    with pytest.raises(UploadError, match="changed by somebody else"):
        publish(api, small, "alice/tiny", target)
    assert repository.refs["refs/heads/main"] == theirs


def test_a_publication_that_does_not_load_back_is_reported_with_its_commit(checkpoint, hub, monkeypatch):
    def fail_on_the_hub(repository, revision, *_):
        if revision:
            raise UploadError(f"{repository} does not load in a fresh process.")
        return ["torch.Size([2, 4, 12])"] * 4

    monkeypatch.setattr(hub_upload, "verify_in_clean_process", fail_on_the_hub)
    with pytest.raises(UploadError, match=r"The commit \w{40} is in alice/tiny, but alice/tiny does not load"):
        hub_upload.run(checkpoint, "alice/tiny", tag="v1", yes=True)
    assert "refs/tags/v1" not in hub.repositories["alice/tiny"].refs
