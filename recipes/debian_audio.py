"""Recordings from Debian packages: downloaded and unpacked below data/, without root and without installing them.

The packages are freely licensed and keep their names and contents, so that a recipe can be repeated anywhere where
apt-get is available. Run `apt-get update` once before.
"""

import subprocess
from pathlib import Path

from rich.progress import track

DATA = Path(__file__).parents[1] / "data"
PACKAGES = DATA / "root"  # one folder for each unpacked package
KAJONGG = "kajongg"  # names of tiles and calls of the game, spoken by 4 people in each of 2 languages; GPL-2+


def install(packages: list[str], root: Path) -> None:
    """Downloads Debian packages and unpacks each to `root/<package>`. Packages that are already there are skipped.

    Raises:
        FileNotFoundError: apt-get or dpkg-deb is missing.
        subprocess.CalledProcessError: A package is not available; `stderr` holds the reason given by apt-get.
    """
    root.mkdir(parents=True, exist_ok=True)
    for package in track(packages, "Unpacking packages"):
        if (root / package).exists():
            continue
        for partial_download in root.glob(f"{package}_*.deb"):
            partial_download.unlink()
        subprocess.run(["apt-get", "download", "-q", package], cwd=root, check=True, capture_output=True)
        archive = next(root.glob(f"{package}_*.deb"))
        # Unpacked under another name first: an interrupted call never leaves half a package under the final name.
        unpacked = root / f"{package}.part"
        subprocess.run(["dpkg-deb", "-x", archive.name, unpacked.name], cwd=root, check=True)
        unpacked.rename(root / package)
        archive.unlink()


def kajongg_phrases(root: Path = PACKAGES) -> dict[str, list[list[Path]]]:
    """Kajongg's recordings: language -> speaker -> files, one for each phrase, in the same order for every speaker.

    Only phrases that all four speakers of the language say are returned. "default" is the language of the game's
    default voices, "de" is German.
    """
    voices = root / KAJONGG / "usr/share/kajongg/voices"
    phrases = {}
    for language, folder in (("default", voices), ("de", voices / "de")):
        speakers = [folder / name for name in ("female1", "female2", "male1", "male2")]
        names = sorted(set.intersection(*({path.name for path in speaker.glob("*.ogg")} for speaker in speakers)))
        phrases[language] = [[speaker / name for name in names] for speaker in speakers]
    return phrases
