"""README.md and docs/*.md: every command, file, link and number that they name is real."""

import ast
import importlib
import inspect
import json
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
import typer
import yaml
from transformers import PreTrainedConfig

import modeling_audio_branch
from helpers.models import tiny_config
from modeling_audio_branch import AudioBranchConfig, AudioBranchModel
from modeling_audio_branch.cli import app

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.glob("*.md"))]
PACKAGE = ROOT / "modeling_audio_branch"
FOLDERS = "benchmarks checkpoints docs examples modeling_audio_branch recipes tests".split()
PATH = re.compile(rf"(?<![\w./-])(?:(?:{'|'.join(FOLDERS)})/[\w./-]*\w|\w+\.py\b)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(text: str) -> str:
    return FENCE.sub("", text)


def code_of(text: str) -> list[str]:
    """Inline code, and the lines of shell blocks without their comments."""
    lines = [
        line.split(" #")[0]
        for language, block in FENCE.findall(text)
        if language == "bash"
        for line in block.splitlines()
    ]
    return re.findall(r"`([^`\n]+)`", prose(text)) + [line.strip() for line in lines if line.strip()]


def tables(text: str) -> list[list[list[str]]]:
    """The cells of each table, row by row, without the rule below the header."""
    found = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    rows = [[[cell.strip() for cell in line.strip("|").split(" | ")] for line in each.splitlines()] for each in found]
    return [[row for row in each if set("".join(row)) - set("-| ")] for each in rows]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def options(command: typer.core.TyperCommand) -> set[str]:
    return {"--help", *(name for each in command.params for name in (*each.opts, *each.secondary_opts))}


def command_of(module: str) -> typer.core.TyperCommand:
    """The command line of a module that is run by `python -m`."""
    module = importlib.import_module(module)
    single = getattr(module, "app", None)
    if single is None:
        single = typer.Typer()
        single.command()(module.main)
    return typer.main.get_command(single)


def test_the_readme_has_at_most_1000_words():
    words = [word for word in prose(README.read_text()).split() if re.search(r"\w", word)]
    assert len(words) <= 1000


@every_page
def test_every_file_that_is_named_exists(page):
    for code in code_of(page.read_text()):
        for path in PATH.findall(code):
            assert (ROOT / path).exists() or (PACKAGE / path).exists(), path


@every_page
def test_every_command_exists_with_the_options_that_are_named(page):
    for code in code_of(page.read_text()):
        words = shlex.split(code) if re.match(r"(python|accelerate|make|audio-branch) \S", code) else []
        named = {word for word in words if word.startswith("--")}
        if words[:1] == ["make"]:
            assert re.search(rf"^{re.escape(words[1])}:.*##", (ROOT / "Makefile").read_text(), re.MULTILINE), code
        elif words[:1] == ["audio-branch"] and words[1] != "COMMAND":
            commands = typer.main.get_command(app).commands
            assert words[1] in commands, code
            assert named <= options(commands[words[1]]), code
        elif "-m" in words:
            module = words[words.index("-m") + 1]
            assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), code
            own = {word for word in words[words.index("-m") :] if word.startswith("--")}
            assert own <= options(command_of(module)), code
        elif words[:1] == ["python"]:
            assert named <= options(command_of(words[1].removesuffix(".py"))), code


@every_page
def test_the_python_code_names_what_exists(page):
    text = page.read_text()
    sources = [block for language, block in FENCE.findall(text) if language == "python"]
    sources += [code for code in code_of(text) if re.match(r"model\.|encode\(|AudioBranch", code)]
    known = vars(modeling_audio_branch) | {"model": AudioBranchModel(tiny_config())}
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in known:
            assert hasattr(known[ast.unparse(node.value)], node.attr), ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("encode", "model.encode"):
            given = {keyword.arg for keyword in node.keywords}
            assert given <= inspect.signature(AudioBranchModel.encode).parameters.keys(), ast.unparse(node)


def test_every_command_of_audio_branch_is_in_the_readme():
    for name in typer.main.get_command(app).commands:
        assert f"`audio-branch {name} " in README.read_text()


@every_page
def test_every_link_leads_to_a_file_and_a_heading(page):
    text = page.read_text()
    for target in LINK.findall(prose(text)):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.is_file(), target
        assert page == README or file.parent == DOCS, f"{target} is not in docs/, so the built pages lack it"
        assert not anchor or anchor in anchors(file.read_text()), target


def test_every_page_is_in_the_navigation():
    navigation = re.search(r"^nav:\n(?:  - .*\n)+", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)[0]
    pages = [name for entry in yaml.safe_load(navigation)["nav"] for name in entry.values()]
    assert sorted(pages) == [page.name for page in PAGES[1:]]
    index = (DOCS / "index.md").read_text() + README.read_text()
    assert all(f"{name})" in index for name in pages if name != "index.md")


def test_the_readmes_speeds_and_gaps_are_those_of_the_docs():
    readme = next(table for table in tables(README.read_text()) if "exactness gap" in table[0])
    speeds = next(table for table in tables((DOCS / "performance.md").read_text()) if "NeMo" in table[0][2])
    gaps = next(table for table in tables((DOCS / "pretrained-encoders.md").read_text()) if "gap" in table[0])
    for row in readme[1:]:
        peer = dict(zip(readme[0], row, strict=True))
        for name in readme[0][2:]:
            measured = dict(zip(speeds[0], next(row for row in speeds if row[0] == name), strict=True))
            expected = "1" if "`large()`" in row[0] else measured.get(row[0], "not measured")
            assert peer[name] == expected, (row[0], name)
        if re.search(r"\d", peer["exactness gap"]):
            key = {"Audio Branch, `large()`": "ours, `large()`", "Parakeet": "parakeet-ctc-0.6b"}
            key |= {"Whisper": "whisper-small", "WavLM large": "wavlm-large", "WavLM base": "wavlm-base"}
            key = next(encoder for start, encoder in key.items() if row[0].startswith(start))
            assert peer["exactness gap"] in next(row[4] for row in gaps if key in row[0]), row[0]


def test_the_prepared_speeds_of_the_two_tables_of_parakeet_are_the_same():
    pages = tables((DOCS / "performance.md").read_text())
    quartiles = next(table for table in pages if "as it is" in table[0])
    speeds = next(table for table in pages if "NeMo" in table[0][2])
    assert [row[2].split()[0] + "x" for row in quartiles[1:]] == [row[1] for row in speeds[1:]]


def test_the_readmes_results_of_the_checkpoints_are_those_of_their_page():
    readme = next(table for table in tables(README.read_text()) if "Italian" in table[0])
    page = next(table for table in tables((DOCS / "checkpoint.md").read_text()) if "Italian" in table[0])
    assert len(readme) == 5 and readme == page[:5]


def test_every_setting_is_in_the_configuration_page_with_its_default():
    documented = {}
    for table in tables((DOCS / "configuration.md").read_text()):
        if table[0][:2] == ["setting", "default"]:
            for names, defaults, _ in table[1:]:
                names, defaults = re.findall(r"`([^`]+)`", names), re.findall(r"`([^`]+)`", defaults)
                documented |= dict(zip(names, map(ast.literal_eval, defaults), strict=True))
    config = AudioBranchConfig()
    own = {field.name for field in fields(config)} - {field.name for field in fields(PreTrainedConfig)}
    assert documented == {name: getattr(config, name) for name in own}


def test_every_hop_of_the_architecture_page_is_a_function_of_its_file():
    hops = next(table for table in tables((DOCS / "architecture.md").read_text()) if table[0][0] == "hop")
    assert len(hops) > 10
    for _, file, functions, *_ in hops[1:]:
        tree = ast.parse((PACKAGE / file.strip("`")).read_text())
        definitions = {}
        for node in tree.body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                definitions[node.name] = node
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef):
                        definitions[f"{node.name}.{inner.name}"] = inner
        for name in re.findall(r"`([^`]+)`", functions):
            assert name in definitions, (file, name)


def test_every_file_that_ships_is_in_the_architecture_page():
    text = (DOCS / "architecture.md").read_text()
    files = [path for path in PACKAGE.glob("[a-z]*.py")]
    assert files and all(f"`{path.name}`" in text for path in files)


def test_the_example_of_results_json_is_one(tmp_path):
    from modeling_audio_branch.hub.results import read_results

    blocks = dict(FENCE.findall((DOCS / "publishing.md").read_text()))
    (tmp_path / "results.json").write_text(blocks["json"])
    assert read_results(tmp_path / "results.json")
    assert json.loads(blocks["json"])["folds"] == 6
