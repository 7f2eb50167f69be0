"""A configuration is plain values, few of them, whatever YAML could make of a short text."""

import resource
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from helpers.nemo_archives import ARCHIVES, NEMO
from modeling_audio_branch.convert.nemo_archive import NemoArchive
from modeling_audio_branch.convert.nemo_yaml import NemoError, read_config

SECTIONS = "preprocessor: {a: 1}\nencoder: {b: 2.5}\n"


def merges(levels, width):
    """Nested merges: each level has `width` times the values of the one before."""
    lines = ["a0: &a0 {" + ", ".join(f"k{n}: 1" for n in range(5000)) + "}"]
    lines += [f"a{n}: &a{n} {{<<: [" + ", ".join([f"*a{n - 1}"] * width) + "]}" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x: 1" + ":1" * 1_000_000, "has a number of more than 100 characters"),  # minutes in PyYAML
        ("x: 0x" + "f" * 400, "has a number of more than 100 characters"),  # larger than any float
        ("x: !!float " + "1" * 400, "has a number of more than 100 characters"),
        ("x: [" + "a," * 1_000_000 + "]", "has more than 100000 values, with those that aliases repeat"),
        (merges(9, 2), "has more than 100000 values, with those that aliases repeat"),
        ("x: &x [*x]", "has an alias inside what it stands for"),
        ("x: &x {y: {<<: *x}}", "has an alias inside what it stands for"),
        ("x: *y", "can't be read as plain YAML"),
    ],
)
def test_a_short_text_that_stands_for_much_is_refused_at_once(text, sentence):
    started, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NemoError) as raised:
        read_config((SECTIONS + text).encode(), "x.nemo")
    assert sentence in str(raised.value) and "\n" not in str(raised.value)
    assert time.process_time() - started < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 400_000  # kB


@given(
    st.recursive(st.integers() | st.floats(allow_nan=False) | st.text(max_size=9) | st.none(), st.lists, max_leaves=9)
)
def test_what_is_within_the_bounds_is_read_as_pyyaml_reads_it(value):
    text = yaml.safe_dump({"preprocessor": {"a": value}, "encoder": {"b": [value, value]}}).encode()
    assert read_config(text, "x.nemo") == yaml.safe_load(text)


@pytest.mark.parametrize("name", ARCHIVES)
def test_nemos_configurations_are_read_as_pyyaml_reads_them(name):
    config = NemoArchive(NEMO / name / "model.nemo").config()
    assert read_config(yaml.safe_dump(config).encode(), "x.nemo") == config
