"""C++ with onnxruntime: the library is that of PyPI's onnxruntime; the headers come from a package of npm, which alone
has them.
"""

import subprocess
import tarfile
from pathlib import Path

import onnxruntime
from filelock import FileLock

from helpers.node import FOLDER, npm

PACKAGE = "com.github.asus4.onnxruntime@0.4.9"  # for Unity; with the headers of onnxruntime 1.29 for iOS
INSIDE = "ios-arm64_x86_64-simulator/onnxruntime.framework/Headers/"
HEADERS = FOLDER / "onnxruntime_headers"


def install_headers() -> Path:
    """Downloads the package once (150 MB), and keeps its headers alone; returns their folder."""
    FOLDER.mkdir(exist_ok=True)
    with FileLock(FOLDER / "lock_headers"):
        if not (HEADERS / "done").exists():
            HEADERS.mkdir(exist_ok=True)
            npm("pack", PACKAGE, "--pack-destination", HEADERS)
            (archive,) = HEADERS.glob("*.tgz")
            with tarfile.open(archive) as files:
                for member in files:
                    if INSIDE in member.name:
                        (HEADERS / Path(member.name).name).write_bytes(files.extractfile(member).read())
            archive.unlink()
            (HEADERS / "done").touch()
    return HEADERS


def run_cpp(code: str, folder: Path, build: Path) -> str:
    """Compiles C++ in the folder `build`, and returns the standard output of the program, which runs in `folder`."""
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*.*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (build / name).symlink_to(library)
    (build / "main.cpp").write_text(code)
    command = ["c++", "-std=c++17", "main.cpp", "-I", install_headers(), "-L", ".", "-lonnxruntime", "-o", "main"]
    done = subprocess.run([*command, f"-Wl,-rpath,{build}"], cwd=build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([build / "main"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
