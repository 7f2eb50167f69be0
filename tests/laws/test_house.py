"""The rules of the source tree: what ships with a checkpoint, who imports whom, how long files and functions are."""

import ast
import io
import os
import re
import tokenize
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from helpers.models import tiny_config
from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchForAudioClassification, AudioBranchModel

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "modeling_audio_branch"
SHIPPED = sorted(PACKAGE.glob("[a-z]*.py"))
IGNORED = {line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()}
DOCUMENTED = ("tests/laws", "tests/integration", "tests/ui")  # their docstrings name the files that they test
LONGEST_FUNCTION, LONGEST_FILE, LONGEST_EXAMPLE = 60, 400, 60  # lines

# Names that the vocabulary replaced. Plain English words among them may be local variables, but name no definition.
OLD_NAMES = {
    *("EncoderFeatures", "LikeBatches", "PretrainedEncoder", "Recorded", "Thaw", "DOWNLOAD"),
    *(
        "_keys_of",
        "_seen",
        "frames_of",
        "in_one_row",
        "load_as_a_stranger",
        "masked_score",
        "positions_for",
        "stranger",
    ),
    *("log_guard", "log_guard_type", "own_code", "own_mel_filters", "own_window", "step_mask"),
}
OLD_DEFINITIONS = {
    *("BLOCK", "CHUNK", "Development", "READ", "SENT", "found", "kept", "member", "percent", "places"),
    *("renderings", "rotate", "spread", "valid", "warping"),
}


def files_in(*folders: Path, ending: str = ".py") -> list[Path]:
    """The files with this ending below these folders, without those that git ignores and those in hidden folders."""
    paths = []
    for top in folders:
        for folder, inner, names in os.walk(top):
            inner[:] = [name for name in inner if name not in IGNORED and not name.startswith(".")]  # not walked
            paths += [Path(folder, name) for name in names if name.endswith(ending)]
    return sorted(paths)


ALL = files_in(ROOT)
SOURCE = [path for path in ALL if ROOT / "tests" not in path.parents]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), path)


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    """The dotted name by which the file is imported from the checkout."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in SOURCE}


def imports_of(path: Path, node: ast.AST | None = None, relative: bool = True) -> set[str]:
    """Dotted names of the modules that are imported anywhere in the file, or in a node of it.

    Imports inside functions and those for type checkers count. `relative=False` leaves relative imports out.
    """
    names = set()
    for each in ast.walk(node or parsed(path)):
        if isinstance(each, ast.Import):
            names.update(alias.name for alias in each.names)
        elif isinstance(each, ast.ImportFrom) and (relative or not each.level):
            folder = path.relative_to(ROOT).parts[: -each.level] if each.level else ()
            module = ".".join([*folder, *([each.module] if each.module else [])])
            members = [f"{module}.{alias.name}" for alias in each.names]
            names.update(member if member in MODULES else module for member in members)
    return names


def functions_in(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(parsed(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def lines_of_code(path: Path) -> set[int]:
    """Numbers of the lines that hold code, not only a comment, a docstring or nothing."""
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type not in layout:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(parsed(path)):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        if documented and ast.get_docstring(node) is not None:
            lines.difference_update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def number_of_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def assert_none(wrong: dict):
    """Fails with what is wrong in which file, one to a line."""
    if lines := [f"{name}: {value}" for name, value in wrong.items() if value]:
        pytest.fail("\n".join(lines), pytrace=False)


# ------------------------------------------------------------------------------------------------------- what ships


@pytest.mark.parametrize("model_class", [AudioBranchModel, AudioBranchForAudioClassification])
def test_the_code_in_a_checkpoint_is_exactly_the_flat_files_of_the_package(model_class, tmp_path):
    model_class(tiny_config()).save_pretrained(tmp_path)
    AudioBranchFeatureExtractor().save_pretrained(tmp_path)
    saved = {path.name: path.read_bytes() for path in tmp_path.rglob("*.py")}
    assert saved.keys() == {path.name for path in SHIPPED}
    for path in SHIPPED:
        assert saved[path.name] == path.read_bytes(), path.name


def test_shipped_files_import_only_their_siblings_relatively():
    """Transformers copies a sibling along only for an import of the form `from .sibling import name`."""
    siblings = {path.stem for path in SHIPPED}
    for path in SHIPPED:
        nodes = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.ImportFrom) and node.level]
        wrong = [node for node in nodes if node.level > 1 or node.module not in siblings]
        assert_none({f"{short(path)}:{node.lineno}": ast.unparse(node) for node in wrong})


def test_from_nemo_from_parakeet_and_from_onnx_alone_import_a_subpackage():
    """They do so by its absolute name, when they are called: a checkpoint loads without the package."""
    doors = {}
    for path in SHIPPED:
        for function in functions_in(path):
            if modules := imports_of(path, function, relative=False) & MODULES.keys():
                doors[path.stem, function.name] = modules
        anywhere = imports_of(path, relative=False) & MODULES.keys()
        assert anywhere == set().union(*(modules for (stem, _), modules in doors.items() if stem == path.stem)), path
    names = ("from_nemo", "from_parakeet", "from_onnx")
    assert doors.keys() == {("modeling_audio_branch", name) for name in names}
    packages = ("modeling_audio_branch.convert.", "modeling_audio_branch.export.")
    assert all(name.startswith(packages) for name in set.union(*doors.values()))


def test_the_top_level_modules_are_doors_of_a_few_lines_to_the_package():
    for path in ROOT.glob("*.py"):
        assert len(lines_of_code(path)) <= 20, path.name
        modules = imports_of(path) & MODULES.keys()
        assert modules and all(name.startswith("modeling_audio_branch.") for name in modules), path.name


# ---------------------------------------------------------------------------------------------------- who imports whom


def test_no_import_is_circular():
    """All imports count: those inside functions and those for type checkers too."""
    graph = {name: imports_of(path) & MODULES.keys() for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_the_package_imports_nothing_of_the_checkout():
    """An installed package has no recipes, no examples and no benchmarks next to it."""
    wrong = {}
    for path in files_in(PACKAGE):
        modules = imports_of(path) & MODULES.keys()
        wrong[short(path)] = [name for name in modules if name.split(".")[0] != PACKAGE.name]
    assert_none(wrong)


def test_no_example_imports_another_or_a_recipe():
    examples = files_in(ROOT / "examples")
    names = {"examples", "recipes", *(path.stem for path in examples)}
    assert_none({short(path): [name for name in imports_of(path) if name.split(".")[0] in names] for path in examples})


def test_no_file_changes_the_module_search_path():
    assert_none({short(path): re.findall(r"\bsys\.path\b", path.read_text(encoding="utf-8")) for path in ALL})


def test_no_file_parses_its_command_line_with_argparse():
    assert_none({short(path): imports_of(path) & {"argparse"} for path in ALL})


# ------------------------------------------------------------------------------------------------------------ how long


def test_no_function_is_longer_than_60_lines_of_code():
    too_long = {}
    for path in SOURCE:
        code = lines_of_code(path)
        for function in functions_in(path):
            length = len(code.intersection(range(function.lineno, function.end_lineno + 1)))
            too_long[f"{short(path)}:{function.lineno} {function.name}"] = length > LONGEST_FUNCTION and length
    assert_none(too_long)


def test_no_source_file_is_longer_than_400_lines():
    lengths = {short(path): number_of_lines(path) for path in SOURCE}
    assert_none({name: length > LONGEST_FILE and length for name, length in lengths.items()})


def test_no_example_is_longer_than_60_lines():
    lengths = {short(path): number_of_lines(path) for path in files_in(ROOT / "examples")}
    assert lengths
    assert_none({name: length > LONGEST_EXAMPLE and length for name, length in lengths.items()})


# --------------------------------------------------------------------------------------------------------------- tests


def test_every_file_of_the_package_has_a_test_file():
    """A mirror in tests/unit; or a file of `DOCUMENTED` whose docstring names the source file."""
    mirrors = {path.relative_to(ROOT / "tests/unit").as_posix() for path in files_in(ROOT / "tests/unit")}
    docs = [ast.get_docstring(parsed(path)) or "" for path in files_in(*map(ROOT.joinpath, DOCUMENTED))]
    untested = {}
    for path in PACKAGE.rglob("[a-z]*.py"):
        inside = path.relative_to(PACKAGE)
        folder, name = inside.parent, inside.stem
        names = {f"test_{name}.py", f"test_{folder.name}_{name}.py"}
        mirrored = any((folder / each).as_posix() in mirrors for each in names)
        named = any(re.search(rf"(?<![\w/]){re.escape(inside.as_posix())}\b", doc) for doc in docs)
        untested[short(path)] = "" if mirrored or named else "no test file"
    assert_none(untested)


def test_every_unit_test_file_mirrors_a_source_file():
    wrong = {}
    for path in ROOT.glob("tests/unit/**/test_*.py"):
        inside = path.relative_to(ROOT / "tests/unit")
        names = {inside.stem.removeprefix("test_"), inside.stem.removeprefix(f"test_{inside.parent.name}_")}
        mirrors = any((PACKAGE / inside.parent / f"{name}.py").exists() for name in names)
        wrong[short(path)] = "" if mirrors else "no source file of this name"
    assert_none(wrong)


# ----------------------------------------------------------------------------------------------------------- the words


def identifiers(tree: ast.AST) -> set[str]:
    """Every name that the code binds, reads, imports or passes an argument by."""
    fields = ("id", "attr", "arg", "name", "asname")
    values = {getattr(node, field, None) for node in ast.walk(tree) for field in fields}
    return {value for value in values if isinstance(value, str)}


def definitions(tree: ast.Module) -> set[str]:
    """Names of functions, methods and classes anywhere, and of the variables of the module."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    return {node.name for node in nodes} | set().union(*(identifiers(target) for target in targets))


def test_no_name_is_one_that_the_vocabulary_replaced():
    wrong = {}
    for path in ALL:
        names = {path.stem, *identifiers(parsed(path))} & OLD_NAMES
        wrong[short(path)] = names | definitions(parsed(path)) & OLD_DEFINITIONS
    assert_none(wrong)


def test_the_texts_are_plain_english():
    """Phrases that a reader had to guess at; the vocabulary has plain ones."""
    phrases = re.compile(r"\b(likeness|in vain|to the bit|can't be had|what lies in|nobody can know|strangers?)\b")
    texts = [*SOURCE, *files_in(ROOT, ending=".md")]
    assert_none({short(path): phrases.findall(path.read_text(encoding="utf-8")) for path in texts})
