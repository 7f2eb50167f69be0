"""FFmpeg for torchcodec, which MTEB decodes with: the libraries in PyAV's wheel, under the names that it looks for.

Prints a folder for LD_LIBRARY_PATH; `make test` sets it.
"""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(sys.prefix) / "ffmpeg"


def link_libraries(folder: Path) -> Path:
    """Fills a folder with links: libavutil-1a2b3c.so.60.8.100 as itself and as libavutil.so.60."""
    folder.mkdir(exist_ok=True)
    for library in (Path(find_spec("av").origin).parents[1] / "av.libs").iterdir():
        plain = re.sub(r"^(lib(?:av|sw)\w+)-[0-9a-f]+(\.so\.\d+).*", r"\1\2", library.name)
        for name in {library.name, plain}:
            if not (folder / name).exists():
                (folder / name).symlink_to(library)
    return folder


if __name__ == "__main__":
    print(link_libraries(FOLDER))
