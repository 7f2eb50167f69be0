"""RAVDESS' audio-visual speech, in the published layout, with the emotions and folds of recipes/emotion."""

from pathlib import Path

from rich.progress import track

from recipes.audio_visual.model.video_file import video_streams
from recipes.emotion.data import RAVDESS_EMOTIONS
from recipes.emotion.recordings import DataError, Recording

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov")


def load_ravdess_videos(folder: Path) -> list[Recording]:
    """RAVDESS speech with picture and sound: Actor_01/01-01-06-01-02-01-01.mp4 and so on.

    The numbers are modality (01 is picture and sound), channel (01 is speech), emotion, intensity, statement,
    repetition and actor. Songs (channel 02) and videos without sound (modality 02) are skipped.

    Raises:
        DataError: The folder of an actor is missing or contains no such video, or a file has another name.
    """
    recordings = []
    for actor in range(1, 25):
        actor_folder = Path(folder) / f"Actor_{actor:02d}"
        if not actor_folder.is_dir():
            raise DataError(
                f"{actor_folder} is missing; RAVDESS has a folder for each of 24 actors: unpack every archive."
            )
        paths = sorted(path for path in actor_folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
        videos = [recording for path in paths if (recording := _ravdess_video(path, actor))]
        if not videos:
            raise DataError(
                f"{actor_folder} contains no speech with picture and sound (01-01-*.mp4); unpack Video_Speech_Actor_*."
            )
        recordings += videos
    return recordings


def _ravdess_video(path: Path, actor: int) -> Recording | None:
    """A file in the folder of `actor`; None if it is a song or has no sound."""
    codes = path.stem.split("-")
    if len(codes) != 7 or not all(code.isdecimal() for code in codes) or int(codes[2]) not in RAVDESS_EMOTIONS:
        raise DataError(f"{path} has no file name of RAVDESS (01-01-06-01-02-01-12.mp4); move it elsewhere.")
    modality, channel, emotion, *_, speaker = codes
    if modality != "01" or channel != "01":
        return None
    if int(speaker) != actor:
        raise DataError(f"{path} is a video of actor {speaker}; move it to the folder of that actor.")
    return Recording(path, RAVDESS_EMOTIONS[int(emotion)], f"{actor:02d}")


def drop_unusable(recordings: list[Recording]) -> tuple[list[Recording], list[tuple[str, str]]]:
    """Opens every video and decodes its beginning, so that most bad files are found before the training.

    Returns:
        The videos with both streams, and (name, reason) of each one that is left out.

    Raises:
        DataError: Fewer than two labels are left.
    """
    usable, left_out = [], []
    for recording in track(recordings, "Reading the videos", transient=True):
        try:
            missing = {"video", "audio"} - video_streams(recording.audio)
        except (OSError, ValueError) as error:
            left_out.append((recording.name, f"can't be read: {error}"))
            continue
        if missing:
            left_out.append((recording.name, f"has no {missing.pop()}"))
        else:
            usable.append(recording)
    if len(labels := {recording.label for recording in usable}) < 2:
        raise DataError(f"The data has the labels {sorted(labels)}; give videos of at least two labels.")
    return usable, left_out
