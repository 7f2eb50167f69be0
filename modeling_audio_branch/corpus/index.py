"""An index of recordings, in which phrases are found.

T encoder frames, D d_model, C components that are kept of a frame.
"""

import copy
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import filelock
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn import functional as F

from ..audio_file import AudioFile
from ..audio_input import load_audio
from ..disk import REMEDY, DiskError, writing
from ..encoding import BAD_CLIP, eval_copy
from ..hub.errors import first_line
from ..hub.writing import remove_unfinished, replaced_file
from ..modeling_audio_branch import AudioBranchModel
from ..streaming import is_limited, stream_frames
from .errors import CorpusError
from .files import recordings_in
from .fingerprint import fingerprint
from .search import FrameMatrix, Hit
from .settings import FILE, MIN_DEVIATION, SearchSettings, read_settings, settings_of
from .store import Recording, RecordingStore, file_state, hash_of

FORMAT = 1
MIN_SECONDS, MAX_SECONDS = 0.2, 20.0  # of a phrase
PRIOR_SECONDS = 10.0  # of speech in general that a recording's own mean and deviation are mixed with
LARGEST = 127  # int8
MATRICES = 4  # of frames of all or some recordings, kept in memory


@dataclass
class Added:
    """What `add` did, by the paths of the recordings: `errors` has a sentence for each that can't be read."""

    added: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)


class AudioIndex:
    """Recordings, encoded once, in which a phrase by anybody is found.

    The model runs over each recording with a narrow attention window, and the index keeps the encoder's frames. `find`
    aligns the frames of a phrase with those of all recordings (see `alignment`).

    Args:
        folder: Of the index; it is made by the first `add`.
        model: An [`AudioBranchModel`], or the folder or Hub repository of one. With None, the index can be looked at
            and recordings be removed.
        settings: See [`SearchSettings`]; by default the search.safetensors of the checkpoint.

    Raises:
        CorpusError: One sentence: the folder holds something else, or an index of another model or other settings.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        model: AudioBranchModel | str | os.PathLike | None = None,
        settings: SearchSettings | None = None,
    ):
        self.folder = Path(folder)
        self._about, self._matrices, self._state = self._read_about(), {}, None
        self.settings = None if self._about is None else read_settings(self.folder / FILE)
        self._model = None
        if model is not None:
            name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else None
            loaded = AudioBranchModel.from_pretrained(name) if name else model
            self._take(loaded, name or loaded.config.name_or_path or None, settings)

    def __len__(self) -> int:
        """The number of recordings."""
        return len(self.recordings())

    def __contains__(self, recording: str | os.PathLike) -> bool:
        return self._store.find(os.path.abspath(recording)) is not None

    def recordings(self) -> list[Recording]:
        """All recordings, in the order of their paths."""
        return self._store.recordings()

    def outdated(self) -> list[str]:
        """The recordings whose files have changed or are gone since they were added."""
        changed = []
        for recording in self.recordings():
            try:
                if file_state(Path(recording.file)) != (recording.size, recording.modified_ns):
                    changed.append(recording.file)
            except OSError:
                changed.append(recording.file)
        return changed

    def add(
        self,
        recordings: str | os.PathLike | Iterable[str | os.PathLike],
        show_progress: bool = False,
        on_error: str = "raise",
    ) -> Added:
        """Adds recordings, or those that changed, and leaves others as they are; what was interrupted goes on.

        Args:
            recordings: Files, and folders whose audio files are added.
            show_progress: Show a progress bar.
            on_error: `raise` the error of a recording that can't be read, or `skip` it.

        Raises:
            ValueError, OSError: One sentence; the recordings before it are in the index.
        """
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error={on_error!r} was given; give 'raise' or 'skip'.")
        self._need_model()
        done = Added()
        with self._locked():
            files = recordings_in(recordings)
            for file in _progress(files) if show_progress else files:
                try:
                    changed = self._add(file)
                except BAD_CLIP as error:
                    if on_error == "raise" or isinstance(error, (CorpusError, DiskError)):
                        raise
                    done.errors[file] = first_line(error)
                else:
                    (done.added if changed else done.unchanged).append(file)
        return done

    def remove(self, recordings: str | os.PathLike | Iterable[str | os.PathLike]) -> None:
        """Removes recordings by their paths.

        Raises:
            CorpusError: One of them is not in the index; nothing is removed.
        """
        files = [recordings] if isinstance(recordings, (str, os.PathLike)) else recordings
        files = [os.path.abspath(file) for file in files]
        if self._about is None:
            raise CorpusError(f"{self.folder} holds no index; give the folder of one.")
        with self._locked():
            if missing := [file for file in files if not self._store.path_of(file).exists()]:
                raise CorpusError(f"{missing[0]} is not in the index {self.folder}; see its recordings().")
            for file in files:
                self._store.remove(file)

    def find(
        self,
        phrase: Any,
        top: int = 10,
        sampling_rate: int | None = None,
        recordings: Iterable[str | os.PathLike] | None = None,
    ) -> list[Hit]:
        """The places where a phrase is said, the best first.

        Args:
            phrase: Speech of 0.2 to 20 s, of the phrase alone, as [`AudioBranchFeatureExtractor`] takes a clip.
            top: At most so many hits.
            sampling_rate: Rate in Hz of an array.
            recordings: Paths of those that it is sought in; by default all.

        Raises:
            ValueError, TypeError, OSError: One sentence about the phrase or the index.
        """
        if isinstance(top, bool) or not isinstance(top, int) or top < 1:
            raise ValueError(f"top={top!r} was given; give a whole number of at least 1.")
        self._need_model()
        files = None if recordings is None else [os.path.abspath(file) for file in recordings]
        return self.frame_matrix(files).find(self.phrase_frames(phrase, sampling_rate), top, self.settings)

    def phrase_frames(self, phrase: Any, sampling_rate: int | None = None) -> torch.Tensor:
        """Unit vectors (n, C) of a phrase, as they are aligned."""
        rate = self._model.config.sample_rate
        samples = load_audio(phrase, rate, sampling_rate)
        if not MIN_SECONDS <= len(samples) / rate <= MAX_SECONDS:
            raise CorpusError(
                f"The phrase has {len(samples) / rate:.2f} s; give {MIN_SECONDS:g} to {MAX_SECONDS:g} s of speech."
            )
        if not self.settings.is_measured:
            raise CorpusError(f"The index {self.folder} is empty; add recordings first.")
        return F.normalize(self.settings.project(torch.cat(self._frames([samples])[0])), dim=-1)

    def frame_matrix(self, files: list[str] | None = None) -> FrameMatrix:
        """The frames of all recordings, or of some; they are read again when a recording was added or removed."""
        state, key = self._store.state(), files and tuple(files)
        if state != self._state or len(self._matrices) == MATRICES:
            self._matrices, self._state = {}, state
        if key not in self._matrices:
            recordings = self.recordings()
            if files is not None:
                wanted = set(files)
                if missing := wanted - {recording.file for recording in recordings}:
                    raise CorpusError(f"{min(missing)} is not in the index {self.folder}; add it first.")
                recordings = [recording for recording in recordings if recording.file in wanted]
            frames = [self._store.frames(recording) for recording in recordings]
            self._matrices[key] = FrameMatrix(recordings, frames, self.frame_seconds)
        return self._matrices[key]

    @property
    def frame_seconds(self) -> float:
        """Duration of an encoder frame."""
        return self._about["frame_seconds"]

    @property
    def sampling_rate(self) -> int:
        """Of the model, in Hz."""
        self._need_model()
        return self._model.config.sample_rate

    @property
    def model_name(self) -> str | None:
        """Folder or repository of the model that made the index; None for one in memory."""
        return self._about["model"]["name"]

    @property
    def _store(self):
        return RecordingStore(self.folder / "recordings", self._about and self._about["model"]["fingerprint"])

    def _add(self, file):
        """Whether the recording is new or changed."""
        path = Path(file)
        size, modified_ns = file_state(path)
        known = self._store.find(file)
        if known and (known.size, known.modified_ns) == (size, modified_ns):
            return False
        sha256 = hash_of(path)
        if known and known.sha256 == sha256:
            self._store.update(Recording(**asdict(known) | {"size": size, "modified_ns": modified_ns}))
            return False
        frames, seconds = self.recording_frames(file)
        frames = self._standardised(frames)
        recording = Recording(file, sha256, size, modified_ns, seconds, len(frames))
        self._store.write(recording, frames, self.frame_seconds)
        return True

    def recording_frames(self, file: str | os.PathLike) -> tuple[list[torch.Tensor], float]:
        """The encoder frames of a file as the model gives them, in parts (t, D), and the file's duration in seconds."""
        frames, seconds = self._frames(AudioFile(file, self._model.config.sample_rate))
        if not frames:
            raise ValueError(f"{file} is shorter than a frame; leave it out.")
        return frames, seconds

    def _frames(self, blocks):
        """Encoder frames in parts (t, D), and their duration in seconds."""
        frames, counts = [], []
        for part, count in stream_frames(self._model, blocks):
            frames.append(part.float().cpu())
            counts.append(count)
        return frames, round(sum(counts) * self._model.front_end.seconds_per_frame, 6)

    def _standardised(self, parts):
        """(T, C) int8 of parts (t, D), over the recording's own mean and deviation, to which a voice and a room add."""
        settings = self.settings
        if not settings.is_measured:
            settings.measure(torch.cat(parts))
            settings.save(self.folder / FILE)
        count = sum(map(len, parts))
        share = count / (count + PRIOR_SECONDS / self.frame_seconds)
        own = sum(part.double().sum(0) for part in parts) / count
        squares = sum(((part - own) ** 2).sum(0) for part in parts) / count
        mean = share * own + (1 - share) * settings.mean
        variance = share * squares + (1 - share) * settings.deviation**2
        variance = variance + share * (1 - share) * (own - settings.mean) ** 2
        mean, deviation = mean.float(), variance.sqrt().clamp(min=MIN_DEVIATION).float()
        return torch.cat([_to_int8(settings.project(part, mean, deviation)) for part in parts])

    def _take(self, model, name, settings):
        """Uses a model, if it is the one that made the index."""
        model = eval_copy(model.base_model)
        if model.config.encoder_config:
            raise CorpusError(
                "Searching needs our own encoder, whose attention can be narrowed; give a checkpoint without an "
                "encoder_config."
            )
        settings = (settings or settings_of(model, name)).check(model.config.d_model, "The argument settings")
        identity = {
            "name": name,
            "revision": getattr(model.config, "_commit_hash", None),
            "fingerprint": fingerprint([model.front_end, model.encoder], model.config, ["attention_window"]),
        }
        if self._about is None:
            self._about = {
                "format": FORMAT,
                "model": identity,
                "frame_seconds": model.front_end.seconds_per_frame * model.config.subsampling_factor,
            }
            self.settings = settings
        elif self._about["model"]["fingerprint"] != identity["fingerprint"]:
            made_by = self.model_name or "a model in memory"
            raise CorpusError(
                f"The index {self.folder} was made by another model ({made_by}) than {name or 'the given one'}; give "
                f"that one, or another folder for a new index."
            )
        elif self.settings.attention_window != settings.attention_window:
            raise CorpusError(
                f"The index {self.folder} was made with attention_window={self.settings.attention_window}, not "
                f"{settings.attention_window}; give that, or another folder for a new index."
            )
        self._model = _narrowed(model, self.settings.attention_window)

    def _need_model(self):
        if self._model is None:
            raise CorpusError(f"The index {self.folder} was opened without a model; give the one that made it.")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps other processes from writing, and ends what one that was killed has left."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.folder / ".lock", timeout=0)
        try:
            with lock:
                remove_unfinished(self.folder)
                remove_unfinished(self._store.folder)
                if not (self.folder / "index.json").exists() and self._about is not None:
                    self._write_about()
                yield
        except filelock.Timeout as error:
            raise CorpusError(f"Another process writes to the index {self.folder}; wait until it has ended.") from error

    def _read_about(self):
        path = self.folder / "index.json"
        if not path.exists():
            if self.folder.exists() and (not self.folder.is_dir() or _others_in(self.folder)):
                raise CorpusError(f"{self.folder} exists and is no index; give another folder.")
            return None
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            if about["format"] != FORMAT:
                raise ValueError(f"format {about['format']}")
            return {key: about[key] for key in ("format", "model", "frame_seconds")}
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise CorpusError(f"{path} is not of an index that can be read ({first_line(error)}); {REMEDY}.") from error

    def _write_about(self):
        self.settings.save(self.folder / FILE)
        with replaced_file(self.folder / "index.json") as path:
            path.write_text(json.dumps(self._about, indent=1) + "\n", encoding="utf-8")


def _narrowed(model, attention_window):
    """The model with a narrower attention window and the same weights: only the encoder's configuration differs."""
    if is_limited(model.config) and max(model.config.attention_context) <= attention_window:
        return model
    narrowed, narrowed.config = copy.copy(model), copy.deepcopy(model.config)
    narrowed.config.attention_window = attention_window
    narrowed._modules = dict(model._modules)
    narrowed.encoder = copy.copy(model.encoder)
    narrowed.encoder.config = narrowed.config
    if not is_limited(narrowed.config):
        raise CorpusError("Searching needs an encoder without chunked or global attention; give another checkpoint.")
    return narrowed


def _to_int8(frames):
    """Frames (T, C) of which the direction counts, each scaled so that its largest number is 127."""
    return (frames * LARGEST / frames.abs().amax(-1, keepdim=True).clamp(min=1e-6)).round().to(torch.int8)


def _others_in(folder):
    """What is in a folder that no index leaves there, not even one that was killed when it was begun."""
    return [path for path in folder.iterdir() if not path.name.startswith(".") and path.name != FILE]


def _progress(files):
    """The files, with a bar on the terminal."""
    columns = (
        TextColumn("Indexing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}"),
    )
    with Progress(*columns) as progress:
        task = progress.add_task("", total=len(files), name="")
        for file in files:
            progress.update(task, name=Path(file).name)
            yield file
            progress.advance(task)
