"""A corpus to a table of features: every file exactly once, however often the job is stopped and started again."""

import json
import os
import platform
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import filelock

from ..disk import REMEDY, writing
from ..encoding import eval_copy, input_device
from ..hub.errors import first_line
from ..hub.writing import remove_unfinished, replaced_file
from ..modeling_audio_branch import AudioBranchModel
from .compression import FILE as ROTATION
from .compression import FeatureFormat, rotation_of
from .errors import CorpusError
from .features import failures_of, shard_path, shard_paths, write_errors
from .fingerprint import fingerprint
from .plan import Plan, read_plan
from .processes import embed_in_processes
from .progress import JobProgress
from .ray_engine import RaySettings, embed_with_ray
from .shards import Interrupted, Work
from .sources import source_of, sources_of

FORMAT = 1
LOCK_SECONDS = 5  # until the processes of a call that was killed have ended, too
HIDDEN = ".embed"  # folder beside the features: the plan, locks, files that are not whole
ROWS_PER_SHARD = 256
CPU_BATCH_SECONDS, GPU_BATCH_SECONDS = 60.0, 600.0
LIBRARIES = ("torch", "torchaudio", "transformers", "soundfile", "pyarrow", "numpy")
MUST_AGREE = {  # what rows of one table have in common, and how it is called
    "fingerprint": "model",
    "dtype": "dtype",
    "dim": "dim",
    "sequence_embedding": "sequence_embedding",
}


@dataclass
class EmbeddingResult:
    """What a call did.

    Args:
        rows: Rows of the shards that it wrote, with those that can't be embedded.
        failures: How many of these can't be.
        shards_left: Of its part, still to be done.
        seconds: Duration of the audio.
        times_real_time: Seconds of audio a second.
        was_stopped: Whether it was interrupted.
    """

    rows: int = 0
    failures: int = 0
    shards_left: int = 0
    seconds: float = 0.0
    times_real_time: float = 0.0
    was_stopped: bool = False


def embed_corpus(
    inputs: str | os.PathLike | Iterable[str | os.PathLike],
    folder: str | os.PathLike,
    model: AudioBranchModel | str | os.PathLike,
    form: FeatureFormat | None = None,
    split: str | None = None,
    part: tuple[int, int] = (0, 1),
    workers: int | None = None,
    batch_seconds: float | None = None,
    rows_per_shard: int = ROWS_PER_SHARD,
    retry_errors: bool = False,
    show_progress: bool = False,
    ray: RaySettings | None = None,
) -> EmbeddingResult:
    """Writes the segment features of a corpus as Parquet; what is there already is not done again.

    Args:
        inputs: Files, folders, globs, tables and datasets (see `sources_of`).
        folder: Of the output.
        model: An [`AudioBranchModel`], or the folder or Hub repository of one.
        form: How features are stored; by default as float32.
        split: Of datasets that have several.
        part: (I, N): of all shards those that are I modulo N, where N processes or machines share the work.
        workers: Processes beside this one: on a CPU they embed a shard each, by default one for each core; with a GPU
            they decode for this one, by default one for each core but one, at most 8. With 0, this process does all.
        batch_seconds: At most so much audio in a forward pass; by default 60 s, on a GPU 600 s. The features don't
            depend on it.
        rows_per_shard: Rows of a file of the output; at most these are lost when the process is killed.
        retry_errors: Do the shards again in which a row can't be embedded.
        show_progress: Show hours of audio an hour, time left and errors.
        ray: Run the shards on Ray in place of this process.

    Raises:
        CorpusError, DiskError: One sentence; the shards that are written stay.
    """
    index, count = _check_part(part)
    if isinstance(rows_per_shard, bool) or not isinstance(rows_per_shard, int) or rows_per_shard < 1:
        raise CorpusError(f"rows_per_shard={rows_per_shard!r} was given; give a whole number of at least 1.")
    folder, sources = Path(os.path.abspath(folder)), sources_of(inputs, split)
    audio = {source.name: source.audio for source in sources if source.audio is not None}
    job = CorpusFolder(folder)
    work = job.open(model, form or FeatureFormat(), audio, batch_seconds)
    plan = job.grow_plan(sources, rows_per_shard)
    for name in set(plan.rows["_source"].unique().to_pylist()) - {None, *audio}:  # of an earlier call
        work.audio[name] = source_of(name, split).audio
    with job.locked(f"{index}-of-{count}"):
        mine = [shard for shard in range(plan.num_shards) if shard % count == index]
        shards = [shard for shard in mine if job.is_missing(shard, retry_errors)]
        through = job.hidden / f"{index}-of-{count}"
        remove_unfinished(through)
        rows = sum(len(plan.rows_of(shard)) for shard in shards)
        result = EmbeddingResult()
        with JobProgress(rows, show_progress) as progress, stop_on_interrupt() as stopped:
            try:
                if ray is None:
                    run_here(work, plan, shards, folder, through, workers, progress.advance, stopped.is_set)
                else:
                    embed_with_ray(work, job.plan_path, shards, through, ray, progress.advance)
            except (Interrupted, KeyboardInterrupt):
                result.was_stopped = True
        result.shards_left = sum(not shard_path(folder, shard).exists() for shard in mine)
        result.rows, result.seconds, result.failures = progress.rows, progress.seconds, progress.failures
        result.times_real_time = progress.times_real_time
        write_errors(folder, (failure for path in shard_paths(folder) for failure in failures_of(path)))
    return result


class CorpusFolder:
    """The output folder of a job: `embed.json`, the shards, and in a hidden folder the plan and the locks."""

    def __init__(self, folder: Path):
        self.folder, self.hidden = Path(os.path.abspath(folder)), Path(os.path.abspath(folder)) / HIDDEN
        self.plan_path = self.hidden / "plan.parquet"

    def open(self, model, form: FeatureFormat, audio: dict, batch_seconds: float | None) -> Work:
        """The work of a model in this folder, which is new or was begun by the same model with the same settings.

        Raises:
            CorpusError, DiskError: It is not, or it can't be written.
        """
        about = self.read_about()
        name = None if isinstance(model, AudioBranchModel) else os.fspath(model)
        if name is not None:
            model = AudioBranchModel.from_pretrained(name).eval()
        name = name or model.config._name_or_path or None
        model = eval_copy(model.base_model)
        form.check(model.config.feature_dim)
        rotation = rotation_of(name, model.config.feature_dim) if form.dim is not None else None
        if form.dim is not None and rotation is None:
            raise CorpusError(
                f"dim={form.dim} needs a {ROTATION} in the model's folder; see docs/scale.md on fitting one."
            )
        mine = describe(model, name, form)
        for key, called in MUST_AGREE.items():
            if about is not None and about[key] != mine[key]:
                before, now = (about["model"], name) if key == "fingerprint" else (about[key], mine[key])
                raise CorpusError(
                    f"{self.folder} holds features with {called}={before!r}, not {now!r}; give that, or another folder."
                )
        if about is None:
            with replaced_file(self.folder / "embed.json") as path:
                path.write_text(json.dumps(mine, indent=1) + "\n", encoding="utf-8")
        default = CPU_BATCH_SECONDS if input_device(model).type == "cpu" else GPU_BATCH_SECONDS
        return Work(model, form, rotation, mine, audio, default if batch_seconds is None else batch_seconds)

    def read_about(self) -> dict | None:
        """What made the features; None if the folder is new.

        Raises:
            CorpusError: The folder holds something else.
        """
        path = self.folder / "embed.json"
        if not path.exists():
            others = (
                [each for each in self.folder.iterdir() if not each.name.startswith(".")]
                if self.folder.is_dir()
                else []
            )
            if others or (self.folder.exists() and not self.folder.is_dir()):
                raise CorpusError(f"{self.folder} exists and holds no features; give another folder.")
            return None
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            if about["format"] != FORMAT:
                raise ValueError(f"format {about['format']}")
            return {key: about[key] for key in ("model", "revision", "shape", *MUST_AGREE)}
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise CorpusError(f"{path} is not of features that can be read ({first_line(error)}); {REMEDY}.") from error

    def plan(self) -> Plan:
        return read_plan(self.plan_path)

    def grow_plan(self, sources: list, rows_per_shard: int) -> Plan:
        """The plan with the rows of these sources. Several processes may do this at a time."""
        with writing(self.folder):
            self.hidden.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.hidden / "plan.lock")
        with lock:
            plan = self.plan()
            grown = plan.grown(sources, rows_per_shard)
            if grown is not plan:
                grown.write(self.plan_path)
        return grown

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Keeps other processes from doing the same part of the work."""
        try:
            with filelock.FileLock(self.hidden / f"{name}.lock", timeout=LOCK_SECONDS):
                yield
        except filelock.Timeout as error:
            raise CorpusError(f"Another process writes to {self.folder}; wait until it has ended.") from error

    def is_missing(self, shard: int, retry_errors: bool = False) -> bool:
        """Whether a shard is still to be done."""
        path = shard_path(self.folder, shard)
        return not path.exists() or (retry_errors and bool(failures_of(path)))


def describe(model: AudioBranchModel, name: str | None, form: FeatureFormat) -> dict:
    """What made features, and how they are stored."""
    width = form.width(model.config.feature_dim)
    is_binary = form.dtype == "binary"
    return {
        "format": FORMAT,
        "model": name,
        "revision": getattr(model.config, "_commit_hash", None),
        "fingerprint": fingerprint([model], model.config),
        "dtype": form.dtype,
        "dim": form.dim,
        "sequence_embedding": form.sequence_embedding,
        "shape": [model.config.num_segments, width // 8 if is_binary else width],
        "stored_as": "uint8" if is_binary else form.dtype,
        "versions": {"python": platform.python_version()} | {each: version(each) for each in LIBRARIES},
    }


def run_here(work, plan, shards, folder, through, workers, report, is_stopped) -> None:
    """Embeds shards on this machine (see `Work.embed`)."""
    cores, is_on_cpu = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, work.is_on_cpu
    if workers is None:
        workers = cores if is_on_cpu else min(8, cores - 1)
    processes = min(workers, len(shards))
    if is_on_cpu and processes > 1:
        embed_in_processes(work, plan, shards, folder, through, processes, report, is_stopped)
    else:
        work.embed(plan, shards, folder, through, 0 if is_on_cpu else workers, report, is_stopped)


def _check_part(part):
    whole = len(part) == 2 and all(isinstance(each, int) and not isinstance(each, bool) for each in part)
    if not whole or not 0 <= part[0] < part[1]:
        raise CorpusError(f"The part {part!r} was given; give (I, N) with I from 0 to N - 1.")
    return part


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets in the main thread; the second one interrupts as usual."""
    stopped = threading.Event()

    def stop(number, frame):
        stopped.set()
        signal.signal(signal.SIGINT, before)

    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)
