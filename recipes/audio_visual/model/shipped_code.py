"""The source files that a checkpoint carries: those in this folder and the flat ones of the audio-branch package.

Transformers' own saving copies siblings only, and would leave out the package. So the files are written here, flat,
with imports of the package made imports of siblings. The code then loads where neither the recipe nor the package is
installed.
"""

import inspect
import re
from pathlib import Path

from modeling_audio_branch.disk import DiskError

PACKAGE_IMPORT = re.compile(r"^(\s*)from modeling_audio_branch\.(\w+) import", re.MULTILINE)


def shipped_code() -> dict[str, str]:
    """The text of each file by its name.

    In a process that loaded a checkpoint, these are the files of that checkpoint.
    """
    here, package = Path(__file__).parent, Path(inspect.getfile(DiskError)).parent
    files = [*package.glob("[a-z]*.py"), *here.glob("[a-z]*.py")]
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    if here == package:  # of a checkpoint: the imports are those of siblings already
        return texts
    own = {path.name for path in here.glob("[a-z]*.py")}
    return {
        name: PACKAGE_IMPORT.sub(r"\1from .\2 import", text) if name in own else text for name, text in texts.items()
    }


def save_code(folder) -> None:
    """Writes the source files to the folder, which is made if it does not exist."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in shipped_code().items():
        (Path(folder) / name).write_text(text, encoding="utf-8")
