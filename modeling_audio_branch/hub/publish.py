"""Publishes a checkpoint on the Hugging Face Hub, and proves that a stranger can use it by loading it back.

    python hub_upload.py CHECKPOINT --repo-id USER/NAME --dry-run OUT_DIR     # assemble and check only
    python hub_upload.py CHECKPOINT --repo-id USER/NAME --tag v1.0.0

The folder is assembled anew (weights, configuration, code, card), checked against an allow-list, and loaded in a fresh
process where Audio Branch is not importable, which must give the golden output. What will be sent is shown and asked
about; it is sent as one commit; the published revision is then loaded by its id in the same way.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import torch
import transformers
import typer
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id
from rich.console import Console
from rich.table import Table
from rich.text import Text
from safetensors.torch import save_file

from modeling_audio_branch import (
    AudioBranchConfig,
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
    AudioBranchModel,
    __version__,
    stranger,
)
from modeling_audio_branch.hub.card import (
    CardError,
    check_text,
    eval_results_yaml,
    read_results,
    write_card,
)

CLASSES = {each.__name__: each for each in (AudioBranchModel, AudioBranchForAudioClassification)}
REQUIREMENTS = ["torch>=2.9,<2.15", "torchaudio>=2.9", "transformers>=5.23,<6", "safetensors", "soundfile>=0.13"]
WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json")
CODE = re.compile(r"[a-z_0-9]+\.py")
# What a checkpoint folder may hold that is read, or written anew.
PARTS = ["config.json", "preprocessor_config.json", "README.md", "LICENSE", "requirements.txt", "golden.safetensors"]
CHECKPOINT_FILES = re.compile("|".join([*map(re.escape, [*PARTS, ".gitattributes"]), WEIGHTS.pattern, CODE.pattern]))
# What training leaves there, and is never sent.
TRAINING = [
    *(r"checkpoint-\d+", "training", "runs", "logs", r"\.git", r"\.cache", "__pycache__", r"\.eval_results"),
    *(r"training_args\.bin", r"optimizer\.(pt|bin)", r"(scheduler|scaler)\.pt", r"rng_state(_\d+)?\.pth"),
    *(r"trainer_state\.json", r"(\w+_)?results\.json"),
]
LEFT_OUT = re.compile("|".join(TRAINING))
WRITTEN_BY_TRANSFORMERS = {
    *("architectures", "auto_map", "custom_pipelines", "dtype", "torch_dtype", "transformers_version", "_name_or_path"),
    *("id2label", "label2id", "num_labels", "problem_type", "return_dict", "feature_extractor_type", "processor_class"),
    *("use_cache", "_attn_implementation", "attn_implementation"),
}
PICKLE = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".nemo")
ALLOWED = ["safetensors weights", "the configurations", "the model's code", "the card", "LICENSE", "requirements.txt"]
UPLOAD_ALLOWLIST = re.compile(rf"{CHECKPOINT_FILES.pattern}|\.eval_results/[a-z0-9_-]+\.yaml")
FLOAT32_TOLERANCE, HALF_TOLERANCE = 1e-4, 5e-2  # of the golden output's largest number, on another machine
REFERENCE = re.compile(r"(?!refs/|[0-9a-f]{40}$)[A-Za-z0-9]([A-Za-z0-9_-]|[./](?=[A-Za-z0-9_]))*")  # of a branch or tag
CONFLICTS = (409, 412)
# Of a server that answers, and of one that does not; httpx in huggingface_hub 1, httpx2 in 2.
NETWORK_ERRORS = (OSError, *HfHubHTTPError.__bases__)
SNIPPET = """\
from transformers import AutoFeatureExtractor, AutoModel

repo = "{repo}"
model = AutoModel.from_pretrained(repo, {revision}trust_remote_code=True)
clips = ["one.wav", "two.wav"]  # also mp3, flac, ogg, bytes, or dicts of an array and its sampling_rate
out = model.encode(clips)
print(out.segment_features.shape)
print(out.segment_times.shape)
print(out.pooler_output.shape)

extractor = AutoFeatureExtractor.from_pretrained(repo, {revision}trust_remote_code=True)
out = model(**extractor(clips, return_tensors="pt"))  # the same, for training and for batches of your own
print(out.segment_features.shape)
"""
console = Console()


class UploadError(Exception):
    """One sentence: what was given, what is allowed, what to do."""


# ---------------------------------------------------------------------------------------------- reading the checkpoint


def check_checkpoint(folder: Path) -> list[str]:
    """Looks at the names in a checkpoint folder. Returns those that are left out.

    Raises:
        UploadError: No checkpoint, no weights, pickled weights, or a file that is not known.
    """
    if not (folder / "config.json").is_file():
        raise UploadError(f"{folder} holds no config.json; give a folder that save_pretrained or Trainer wrote.")
    names = sorted(path.name for path in folder.iterdir())
    left_out = [name for name in names if LEFT_OUT.fullmatch(name)]
    others = [name for name in names if name not in left_out]
    if "adapter_config.json" in others:
        raise UploadError(f"{folder} holds an adapter; merge it first (merge_and_unload) and save the whole model.")
    if pickled := [name for name in others if name.endswith(PICKLE)]:
        raise UploadError(
            f"{folder} holds {', '.join(pickled)}, which is or may be a pickle and can run code when it is loaded; "
            f"save the model with save_pretrained, which writes safetensors, and move the file away."
        )
    if not any(WEIGHTS.fullmatch(name) for name in others):
        raise UploadError(f"{folder} holds no model.safetensors; give a folder with weights.")
    if unknown := [name for name in others if not CHECKPOINT_FILES.fullmatch(name)]:
        raise UploadError(f"{folder} holds {', '.join(unknown)}, which is no part of a model; move it elsewhere.")
    if links := [name for name in others if (folder / name).is_symlink() or not (folder / name).is_file()]:
        raise UploadError(f"{folder} holds {', '.join(links)}, which is no plain file; copy the file itself there.")
    return left_out


def load_checkpoint(folder: Path):
    """The model and its extractor. The extractor is made from the model where none is there.

    Raises:
        UploadError: It is no Audio Branch model, or a weight is missing, too many, or of another shape.
    """
    settings = _settings(folder / "config.json", {*AudioBranchConfig().to_dict(), *AudioBranchConfig.attribute_map})
    name = settings.get("architectures")
    name = name[0] if isinstance(name, list) and name else name
    if not isinstance(name, str) or name not in CLASSES:
        raise UploadError(f"{folder / 'config.json'} is of a {name}; allowed are {' and '.join(CLASSES)}.")
    if (folder / "preprocessor_config.json").is_file():
        _settings(folder / "preprocessor_config.json", {*AudioBranchFeatureExtractor().to_dict()})
    try:
        model, info = CLASSES[name].from_pretrained(folder, output_loading_info=True, local_files_only=True)
        if (folder / "preprocessor_config.json").is_file():
            extractor = AudioBranchFeatureExtractor.from_pretrained(folder, local_files_only=True)
        else:
            extractor = AudioBranchFeatureExtractor.from_model(model)
            console.print("No preprocessor_config.json: the feature extractor is made from the model.")
    except Exception as error:  # whatever is wrong with the files, it is one sentence to the user
        raise UploadError(f"{folder} can't be loaded: {_first_line(error)}") from error
    problems = {kind: sorted(map(str, keys)) for kind, keys in info.items() if keys and kind != "conversion_errors"}
    if problems:
        listed = "; ".join(f"{kind.replace('_', ' ')}: {', '.join(keys[:5])}" for kind, keys in problems.items())
        raise UploadError(f"{folder} has weights that don't fit its config.json ({listed}); save the model again.")
    return model.eval(), extractor


def _settings(path: Path, known: set[str]) -> dict:
    """A configuration file, which may hold known settings alone: all of it is published."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UploadError(f"{path} is no configuration ({_first_line(error)}); save the model again.") from error
    if not isinstance(settings, dict):
        raise UploadError(f"{path} is no configuration (it holds a {type(settings).__name__}); save the model again.")
    if strange := settings.keys() - known - WRITTEN_BY_TRANSFORMERS:
        raise UploadError(f"{path} holds {', '.join(sorted(strange))}, which is no setting of ours; take it out.")
    return settings


# -------------------------------------------------------------------------------------------------- assembling a folder


def golden_output(model) -> dict[str, torch.Tensor]:
    """Two clips, a rising tone over noise of 1 and 0.6 s, and what the model makes of them in one batch."""
    rate = model.config.sample_rate
    generator = torch.Generator().manual_seed(0)
    seconds = torch.arange(rate) / rate
    clips = 0.2 * torch.sin(2 * torch.pi * (200 + 1500 * seconds) * seconds) + 0.02 * torch.randn(
        2, rate, generator=generator
    )
    mask = torch.ones(2, rate, dtype=torch.int8)
    mask[1, int(0.6 * rate) :] = 0
    clips = clips * mask
    with torch.no_grad():
        out = model.base_model(clips, attention_mask=mask)
        golden = {"clips": clips, "mask": mask, "segment_features": out.segment_features.float()}
        if model.base_model is not model:
            golden["logits"] = model(clips, attention_mask=mask).logits.float()
    return {name: value.contiguous() for name, value in golden.items()}


def measured_facts(model, repo_id: str, golden: dict[str, torch.Tensor]) -> dict:
    """What the card says of the model."""
    config = model.config
    seconds = 3.2  # whole frames of every encoder
    noise = 0.1 * torch.randn(1, int(2 * seconds * config.sample_rate), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        once, twice = (int(model.base_model(part).attention_mask.sum()) for part in (noise.chunk(2, 1)[0], noise))
        alone = model.base_model(golden["clips"][1:, : int(golden["mask"][1].sum())]).segment_features.float()
    is_half = model.dtype in (torch.float16, torch.bfloat16)
    other = config.encoder_config
    return {
        "config": config,
        "name": repo_id.split("/")[-1],
        "is_classifier": model.base_model is not model,
        "encoder": (other if isinstance(other, dict) else other.to_dict())["model_type"] if other else
                   f"{config.num_layers}-layer Conformer",
        "frames_per_second": (twice - once) / seconds,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "gap": (alone - golden["segment_features"][1:]).abs().max().item(),
        "tolerance": HALF_TOLERANCE if is_half else FLOAT32_TOLERANCE,
        "versions": {
            "audio-branch": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "Python": platform.python_version(),
        },
    }  # fmt: skip


def assemble(
    model,
    extractor,
    folder: Path,
    repo_id: str,
    license: str = "apache-2.0",
    language: list[str] | None = None,
    results: dict | None = None,
    tag: str | None = None,
) -> dict:
    """Writes the repository to an empty folder, and loads it back as a stranger would. Returns what to check later.

    Raises:
        UploadError: It does not load, or does not give the golden output.
    """
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    golden = golden_output(model)
    for name, value in golden.items():
        if not value.isfinite().all() or not value.any():
            raise UploadError(f"The model gives {name} that are all 0 or not finite; train it, or repair its weights.")
    facts = measured_facts(model, repo_id, golden)
    save_file(golden, folder / "golden.safetensors", metadata={"tolerance": str(facts["tolerance"])})
    (folder / "requirements.txt").write_text("\n".join(REQUIREMENTS) + "\n", encoding="utf-8")
    (folder / "LICENSE").write_text(license_text(), encoding="utf-8")
    check = {"golden": str(folder / "golden.safetensors"), "printed": None}
    check |= {name: facts[name] for name in ("tolerance", "is_classifier")}
    check["printed"] = verify_in_clean_process(str(folder), None, check)
    facts["snippet"] = with_output(SNIPPET.format(repo=repo_id, revision=""), check["printed"])
    card = write_card(facts, license, language or [], results, tag)
    (folder / "README.md").write_text(card, encoding="utf-8")
    task = "audio-classification" if facts["is_classifier"] else "feature-extraction"
    if results and (entries := eval_results_yaml(results, task)):
        (folder / ".eval_results").mkdir()
        (folder / ".eval_results" / "audio_branch.yaml").write_text(entries, encoding="utf-8")
    check_allow_list(folder)
    return check


def license_text() -> str:
    """The Apache licence, from the checkout or from the installed package."""
    file = Path(__file__).with_name("LICENSE")
    if file.is_file():
        return file.read_text(encoding="utf-8")
    return importlib.metadata.distribution("audio-branch").read_text("licenses/LICENSE")


def with_output(snippet: str, printed: list[str]) -> str:
    """The snippet with what each of its print lines printed behind it."""
    lines, output = [], iter(printed)
    for line in snippet.rstrip().splitlines():
        lines.append(f"{line}  # {next(output)}" if line.startswith("print(") else line)
    return "\n".join(lines)


def check_allow_list(folder: Path) -> list[str]:
    """The files of a folder, which may all be sent; an UploadError names the others."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    if outside := [name for name in names if not UPLOAD_ALLOWLIST.fullmatch(name) or (folder / name).is_symlink()]:
        raise UploadError(f"{', '.join(outside)} may not be published: only {', '.join(ALLOWED)} may.")
    return names


def verify_in_clean_process(repository: str, revision: str | None, check: dict, private: bool = False) -> list[str]:
    """Runs stranger.py in a fresh process, in a folder of its own, with an empty cache.

    Without a `revision` the repository is a folder. Only if it is private, the stranger gets the token.

    Returns:
        What the card's snippet printed.

    Raises:
        UploadError: It fails, or its output is not the golden one, or the snippet prints something else than before.
    """
    with tempfile.TemporaryDirectory(prefix="stranger") as folder:
        for name, seconds in (("one.wav", 2.0), ("two.wav", 3.5)):
            _write_wav(Path(folder) / name, seconds)
        hidden = (
            "PYTHONPATH",
            "HF_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "HF_TOKEN_PATH",
            "HF_HUB_CACHE",
            "HF_MODULES_CACHE",
        )
        hidden += ("HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "HF_ASSETS_CACHE", "HF_XET_CACHE")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        environment |= {"HF_HOME": f"{folder}/huggingface", "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
        if revision is None:
            environment["HF_HUB_OFFLINE"] = "1"
        elif private:  # by the environment, which no list of processes shows to others
            environment["HF_TOKEN"] = get_token()
        pinned = f'revision="{revision}", ' if revision else ""
        request = {
            "repository": repository,
            "revision": revision,
            "golden": check["golden"],
            "is_classifier": check["is_classifier"],
            "snippet": SNIPPET.format(repo=repository, revision=pinned),
        }
        done = subprocess.run(
            [sys.executable, "-c", Path(stranger.__file__).read_text(encoding="utf-8")],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
        )
    where = f"{repository} at {revision}" if revision else repository
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise UploadError(f"{where} does not load in a fresh process: {last}")
    answer = json.loads(done.stdout.splitlines()[-1])
    if not answer["difference"] <= check["tolerance"]:  # or NaN
        raise UploadError(
            f"{where} loads in a fresh process, but its output is {answer['difference']:.2g} (of its largest number) "
            f"from the golden one; at most {check['tolerance']:g} is allowed."
        )
    if check["printed"] is not None and answer["printed"] != check["printed"]:
        raise UploadError(f"{where} prints {answer['printed']} in place of {check['printed']}.")
    return answer["printed"]


def _write_wav(path: Path, seconds: float):
    import soundfile

    samples = 0.1 * torch.randn(int(16000 * seconds), generator=torch.Generator().manual_seed(0))
    soundfile.write(path, samples.numpy(), 16000)


# ----------------------------------------------------------------------------------------------------------- publishing


def check_names(repo_id: str, revision: str | None, tag: str | None) -> None:
    """Raises an UploadError about what can't be a repository, a branch or a tag."""
    try:
        validate_repo_id(repo_id)
        _, _ = repo_id.split("/")
    except (HFValidationError, ValueError) as error:
        raise UploadError(
            f"--repo-id {repo_id!r} is impossible; give USER/NAME of letters, digits, single - and dots, and _."
        ) from error
    for option, name in {"--revision": revision, "--tag": tag}.items():
        if name is not None and not REFERENCE.fullmatch(name):
            raise UploadError(
                f"{option} {name!r} is impossible; give a name of letters, digits, _, -, dots and slashes."
            )


def check_target(
    api: HfApi,
    repo_id: str,
    revision: str | None = None,
    tag: str | None = None,
    pr: bool = False,
    private: bool | None = None,
) -> dict:
    """Looks at the Hub, and changes nothing there.

    Returns:
        `exists`; `private`; `branch`, the commit of the branch (None if it is missing), and `head`, which the new one
        goes on; `tagged`, the commit that has the tag; `proposals`, the open pull requests; `files`, the names and
        hashes of what is there.

    Raises:
        UploadError: No token or a wrong one, no rights, or a repository with other contents.
    """
    token, namespace = get_token(), repo_id.split("/")[0]
    if not token:
        raise UploadError("There is no token for the Hub; run `hf auth login`, or set HF_TOKEN to one that may write.")
    if constants.HF_HUB_OFFLINE:
        raise UploadError("HF_HUB_OFFLINE is set, and publishing needs the Hub; unset it.")
    if not token.isascii():
        raise UploadError("The Hub does not accept the token (it has letters that no token has); set HF_TOKEN anew.")
    target = {"exists": False, "private": bool(private), "branch": None, "head": None, "tagged": None}
    target |= {"proposals": [], "files": {}}
    try:
        user = api.whoami()
        namespaces = [user["name"], *(each["name"] for each in user.get("orgs", []))]
        role = user.get("auth", {}).get("accessToken", {}).get("role")
        if role == "read":
            raise UploadError("The token may only read; set HF_TOKEN to one with write permission.")
        if namespace not in namespaces and not pr:
            raise UploadError(
                f"{user['name']} can't write to {namespace}/; give a --repo-id that begins with "
                f"{' or '.join(f'{each}/' for each in namespaces)}, or --pr for a pull request."
            )
        try:
            info = api.model_info(repo_id)
        except RepositoryNotFoundError:
            if pr:
                raise UploadError(f"{repo_id} does not exist, so --pr has nothing to go to; leave --pr out.") from None
            return target
        if private is not None and private != bool(info.private):
            raise UploadError(
                f"{repo_id} is {_visibility(info.private)}, and this command does not change that; do it in its "
                f"settings, or leave --{_visibility(private)} out."
            )
        branches, tags, proposals = _references(api, repo_id)
        if revision in tags:
            raise UploadError(f"{repo_id} has a tag {revision}; give --revision a branch.")
        target |= {"exists": True, "private": bool(info.private), "branch": branches.get(revision or "main")}
        target |= {"tagged": tags.get(tag), "proposals": proposals, "head": target["branch"] or branches.get("main")}
        if target["head"]:
            for file in api.list_repo_tree(repo_id, revision=target["head"], recursive=True):
                if isinstance(file, RepoFile):
                    target["files"][file.path] = file.lfs.sha256 if file.lfs else file.blob_id
        contents = [name for name in target["files"] if name not in (".gitattributes", "README.md", "LICENSE")]
        strange = [name for name in contents if not UPLOAD_ALLOWLIST.fullmatch(name)]
        if strange or (contents and not _is_audio_branch(api, repo_id, target)):
            listed = ", ".join((strange or contents)[:5])
            raise UploadError(
                f"{repo_id} holds other contents ({listed}); choose another --repo-id, or delete them there."
            )
    except NETWORK_ERRORS as error:
        raise UploadError(f"{explain(error, repo_id)} Nothing was changed.") from error
    return target


def _visibility(private: bool) -> str:
    return "private" if private else "public"


def _references(api, repo_id):
    refs = api.list_repo_refs(repo_id, include_pull_requests=True)
    branches, tags = ({ref.name: ref.target_commit for ref in kind} for kind in (refs.branches, refs.tags))
    return branches, tags, sorted(ref.ref for ref in refs.pull_requests or [])


def _is_audio_branch(api, repo_id, target):
    if "config.json" not in target["files"]:
        return False
    with tempfile.TemporaryDirectory() as cache:
        path = api.hf_hub_download(repo_id, "config.json", revision=target["head"], cache_dir=cache)
        try:
            return json.loads(Path(path).read_text(encoding="utf-8"))["model_type"] == "audio_branch"
        except (ValueError, TypeError, KeyError):
            return False


def changes(folder: Path, target: dict) -> dict[str, str]:
    """What a commit does, by file name: `new`, `replaced`, `same`, or `deleted` (of ours, from an earlier version)."""
    names, what = check_allow_list(folder), {}
    for name in names:
        data = (folder / name).read_bytes()
        hashes = hashlib.sha256(data).hexdigest(), hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        there = target["files"].get(name)
        what[name] = "new" if there is None else "same" if there in hashes else "replaced"
    foreign = re.compile(r"\.gitattributes|\.eval_results/(?!audio_branch\.yaml).*")
    return what | {name: "deleted" for name in target["files"] if name not in what and not foreign.fullmatch(name)}


def publish(
    api: HfApi, folder: Path, repo_id: str, target: dict, revision: str | None = None, pr: bool = False
) -> tuple[str, str | None]:
    """Sends a folder as one commit. Returns the commit's hash, and the address of the pull request if it is one.

    Raises:
        UploadError: It says what is on the Hub.
    """
    what = changes(folder, target)
    operations = [
        CommitOperationDelete(path_in_repo=name)
        if change == "deleted"
        else CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name)
        for name, change in what.items()
    ]
    try:
        if not target["exists"]:
            api.create_repo(repo_id, private=target["private"])
        if revision not in (None, "main") and target["branch"] is None:
            api.create_branch(repo_id, branch=revision)
        commit = api.create_commit(
            repo_id,
            operations,
            commit_message=f"Audio Branch {__version__}",
            revision=revision,
            create_pr=pr,
            parent_commit=None if pr else target["head"],  # refused if somebody else was faster
        )
    except (*NETWORK_ERRORS, RuntimeError, ValueError) as error:  # of the weights, and of the card's metadata
        why = explain(error, repo_id)
        raise UploadError(f"{why} {what_is_there(api, repo_id, target, revision)}") from error
    except KeyboardInterrupt as error:
        raise UploadError(f"Interrupted. {what_is_there(api, repo_id, target, revision)}") from error
    return commit.oid, commit.pr_url


def what_is_there(api: HfApi, repo_id: str, target: dict, revision: str | None) -> str:
    """After a failure, what has changed on the Hub: an answer that was lost may be that of a commit that was made."""
    again = "a commit is made whole or not at all, so run the command again."
    try:
        if not api.repo_exists(repo_id):
            return f"Nothing was changed there; {again}"
        branches, _, proposals = _references(api, repo_id)
        if new := [each for each in proposals if each not in target["proposals"]]:
            return f"The pull request {new[-1]} of {repo_id} was opened in the meantime; look at it before another try."
        there = branches.get(revision or "main")
        if not target["exists"]:
            files = api.list_repo_files(repo_id, revision=there) if there else []
            if "config.json" not in files:
                return f"The empty repository {repo_id} was created there, and nothing was sent; {again}"
        elif there == target["branch"]:
            return f"Nothing was changed there; {again}"
        elif target["branch"] is None and there == target["head"]:
            return f"The branch {revision} was made there, and nothing was sent; {again}"
        return f"The commit {there} is in {repo_id} now, this one or somebody's; {again}"
    except NETWORK_ERRORS:
        return f"What is there can't be seen now; {again}"


def explain(error: Exception, repo_id: str) -> str:
    """An error of the Hub or of the network, as one sentence without the token."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:  # what happened to a large file
        error = error.__cause__
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return "The Hub does not accept the token; run `hf auth login` again, or set HF_TOKEN to a valid one."
    if status == 403:
        return f"The token may not write to {repo_id}; use one with write permission for it."
    if status in CONFLICTS:
        return f"{repo_id} was changed by somebody else in the meantime."
    if status is not None:
        return f"The Hub answered with an error ({status})."
    if isinstance(error, ValueError):
        return f"The Hub does not take the card's metadata ({' '.join(str(error).split())})."
    return f"The connection to the Hub was lost ({type(error).__name__})."


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


# --------------------------------------------------------------------------------------------------------- command line


def show(folder: Path, what: dict[str, str], title: str) -> None:
    """The files that will be sent, their sizes, and what becomes of those that are there."""
    table = Table(title=Text(title))
    for column in ("file", "bytes", "there"):
        table.add_column(column, justify="right" if column == "bytes" else "left")
    total = 0
    for name, change in what.items():
        size = 0 if change == "deleted" else (folder / name).stat().st_size
        total += size
        table.add_row(Text(name), f"{size:,}", change)
    table.add_row("all", f"{total:,}", style="bold")
    console.print(table)


def run(
    checkpoint: Path,
    repo_id: str,
    private: bool | None = None,
    revision: str | None = None,
    tag: str | None = None,
    pr: bool = False,
    dry_run: Path | None = None,
    metrics: Path | None = None,
    license: str = "apache-2.0",
    language: list[str] | None = None,
    yes: bool = False,
) -> None:
    """What the command does; see `main` for the arguments. Raises UploadError and CardError."""
    check_text(**{"repo-id": repo_id, "license": license, "revision": revision, "tag": tag})
    for each in language or []:
        check_text(language=each)
    check_names(repo_id, revision, tag)
    if pr and (revision or tag):
        raise UploadError("--pr proposes a change of the main branch; leave --revision and --tag out.")
    if dry_run is not None:
        _check_new(dry_run, checkpoint)
    results = None if metrics is None else read_results(metrics)
    left_out = check_checkpoint(checkpoint)
    api = HfApi()
    target = {"files": {}} if dry_run else check_target(api, repo_id, revision, tag, pr, private)
    with tempfile.TemporaryDirectory(prefix="hub_upload") as temporary:
        folder = Path(temporary) / "repository"
        with console.status("Loading the checkpoint"):
            model, extractor = load_checkpoint(checkpoint)
        with console.status("Assembling the repository, and loading it in a fresh process"):
            check = assemble(model, extractor, folder, repo_id, license, language, results, tag)
        what = changes(folder, target)
        if left_out:
            console.print(f"Left out: {', '.join(left_out)}.", markup=False)
        if dry_run is not None:
            try:
                shutil.copytree(folder, dry_run, dirs_exist_ok=True)
            except OSError as error:
                raise UploadError(f"--dry-run {dry_run} can't be written ({error.strerror}).") from error
            show(folder, what, f"{dry_run}: written, and loaded in a fresh process; nothing was sent")
            return
        is_same = target["exists"] and set(what.values()) == {"same"}
        if pr and is_same:
            raise UploadError(f"{repo_id} holds all of this already; there is nothing to propose.")
        if target["tagged"] and not (is_same and target["tagged"] == target["branch"]):
            raise UploadError(f"{repo_id} has a tag {tag} already, and tags don't move; choose another --tag.")
        where = "a pull request" if pr else f"branch {revision or 'main'}"
        state = f"{_visibility(target['private'])}{'' if target['exists'] else ', new'}; weights under {license}"
        show(folder, what, f"{api.endpoint}/{repo_id}, {where}; {state}")
        if not yes and not (sys.stdin.isatty() and typer.confirm("Send this?")):
            raise UploadError("Nothing was sent: answer y on a terminal, or give --yes.")
        commit, pr_url = publish(api, folder, repo_id, target, revision, pr)
        try:
            with console.status("Loading the published revision in a fresh process"):
                verify_in_clean_process(repo_id, commit, check, target["private"])
            if tag and not target["tagged"]:
                api.create_tag(repo_id, tag=tag, revision=commit)
        except (UploadError, KeyboardInterrupt, *NETWORK_ERRORS) as error:
            why = {UploadError: str(error), KeyboardInterrupt: "this was interrupted before the end."}
            reason = why.get(type(error)) or f"its tag may be missing: {explain(error, repo_id)}"
            raise UploadError(f"The commit {commit} is in {repo_id}, but {reason} Run the command again.") from error
    console.print(f"Published and loaded back: {pr_url or f'{api.endpoint}/{repo_id}/tree/{commit}'}", markup=False)
    console.print("To use it, pinned:")
    pinned = SNIPPET.format(repo=repo_id, revision=f'revision="{commit}", ')
    console.print(with_output(pinned, check["printed"]), markup=False, highlight=False, soft_wrap=True)


def _check_new(folder: Path, checkpoint: Path) -> None:
    """Raises an UploadError unless a folder can be made there, outside of the checkpoint."""
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UploadError(f"--dry-run {folder} is there already; give a new folder.")
    if checkpoint.resolve() in [folder.resolve(), *folder.resolve().parents]:
        raise UploadError(f"--dry-run {folder} is in the checkpoint; give a folder elsewhere.")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    checkpoint: Annotated[Path, typer.Argument(help="Folder that save_pretrained, Trainer or a conversion wrote.")],
    repo_id: Annotated[str, typer.Option(help="USER/NAME on the Hub.")],
    private: Annotated[bool | None, typer.Option("--private/--public", help="Of a new repository.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch to send to; made where it is missing.")] = None,
    tag: Annotated[str | None, typer.Option(help="Tag for the commit, such as v1.0.0.")] = None,
    pr: Annotated[bool, typer.Option("--pr", help="Open a pull request.")] = False,
    dry_run: Annotated[Path | None, typer.Option(help="Write the repository here, and send nothing.")] = None,
    metrics: Annotated[Path | None, typer.Option(help="results.json of an evaluation, for the card.")] = None,
    license: Annotated[str, typer.Option(help="Licence of the weights, as the Hub names it.")] = "apache-2.0",
    language: Annotated[list[str] | None, typer.Option(help="Language code, such as en; may be repeated.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
):
    """Publish a checkpoint on the Hugging Face Hub, and load it back as a stranger would."""
    transformers.utils.logging.set_verbosity_error()
    try:
        run(checkpoint, repo_id, private, revision, tag, pr, dry_run, metrics, license, language, yes)
    except (UploadError, CardError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
