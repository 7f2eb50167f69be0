"""NeMo archives with hostile settings, pickles and directories: each loads or is refused, in little time and memory."""

import io
import resource
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from transformers.utils import logging

from helpers.fuzzing import fuzz, loads_or_says_why
from helpers.nemo_archives import NEMO
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.convert.nemo_tensors import read_tensors

MAX_GROWTH = 400_000  # kB that one fuzzer may add to this process
NAMES = ("model_config.yaml", "model_weights.ckpt")
with tarfile.open(NEMO / "nest_pre_conv/model.nemo") as source:
    CONFIG, WEIGHTS = (source.extractfile(f"./{name}").read() for name in NAMES)


@pytest.fixture(autouse=True)
def quiet_and_small():
    logging.set_verbosity_error()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    logging.set_verbosity_warning()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MAX_GROWTH


def write(path, config, weights=WEIGHTS):
    with tarfile.open(path, "w") as archive:
        for name, content in zip(NAMES, (config, weights), strict=True):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


numbers = st.sampled_from([0, -1, 1, 2, 3, 7, 10**3, 10**6, 2**30, 2**31, 2**63, 10**99, 0.5, 1e-300, 1e308, -1e308])
scalars = st.none() | st.booleans() | numbers | st.floats() | st.integers() | st.text(max_size=4)
settings = scalars | st.lists(scalars, max_size=3) | st.lists(st.lists(numbers, max_size=2), max_size=2)


@given(data=st.data())
@fuzz(400)
def test_an_archive_with_any_value_of_its_settings_loads_or_is_refused(data, tmp_path):
    config = yaml.safe_load(CONFIG)
    for _ in range(data.draw(st.integers(1, 3))):
        section = config[data.draw(st.sampled_from(["encoder", "preprocessor"]))]
        section[data.draw(st.sampled_from(sorted(section)))] = data.draw(settings)
    path = write(tmp_path / "model.nemo", yaml.safe_dump(config).encode())
    model = loads_or_says_why(AudioBranchModel.from_nemo, path)
    assert model is None or all(value.isfinite().all() for value in model.state_dict().values())


PIECES = [
    *(b"ccollections\nOrderedDict\n", b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n"),
    *(b"cbuiltins\nbytearray\n", b"ctorch\nTensor\n", b"ctorch\nSize\n", b"cos\nsystem\n"),
    *(b"(", b"t", b"R", b"b", b"u", b"s", b"e", b"a", b")", b"}", b"]", b"N", b"\x88", b"Q", b"\x85", b"\x86", b"\x87"),
    *(
        b"q\x00",
        b"q\x01",
        b"h\x00",
        b"h\x01",
        b"K\x00",
        b"K\x03",
        b"J\xff\xff\xff\x7f",
        b"\x8a\x05\x00\x5e\xd0\xb2\x00",
    ),
    *(b"X\x07\x00\x00\x00storage", b"X\x01\x00\x00\x000", b"X\x03\x00\x00\x00cpu"),
]
TENSOR = b"".join(
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
    b"X\x03\x00\x00\x00cpuK\x03tQK\x00K\x03\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR".splitlines(True)
)


@st.composite
def pickles(draw):
    """The pickle of one tensor of 3 numbers, with pieces put between its steps or in place of them."""
    state = bytearray(b"}X\x01\x00\x00\x00w" + TENSOR + b"s")
    for _ in range(draw(st.integers(0, 6))):
        place, length = draw(st.integers(0, len(state))), draw(st.sampled_from([0, 0, 0, 1, 2]))
        state[place : place + length] = draw(st.sampled_from(PIECES)) * draw(st.sampled_from([1, 1, 1, 2, 50]))
    return b"\x80\x02" + bytes(state) + b"."


def weights_with(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in {"data.pkl": content, "byteorder": "little", "version": "3\n", "data/0": bytes(12)}.items():
            archive.writestr(f"archive/{name}", data)
    return file.getvalue()


def read(content):
    return read_tensors(io.BytesIO(content), len(content), "x.nemo")


def test_the_pickle_that_is_changed_is_that_of_a_tensor():
    weights = read(weights_with(b"\x80\x02}X\x01\x00\x00\x00w" + TENSOR + b"s."))
    assert weights["w"].tolist() == [0, 0, 0]


@given(pickles())
@example(b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x5e\xd0\xb2\x00\x85R.")
@example(b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01\x85R.")
@example(b"\x80\x02}X\x01\x00\x00\x00w" + TENSOR[:-2] + b"ctorch\nFloatStorage\ntRs.")  # torch's AssertionError
@fuzz(1500)
def test_any_pickle_is_plain_tensors_or_is_refused(content):
    loads_or_says_why(read, weights_with(content))


@given(st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4))
@fuzz(400)
def test_any_directory_of_the_weights_is_read_or_refused(changes):
    content = bytearray(WEIGHTS)
    for place, new in changes:  # the directory and the three ends are the last tenth
        start = int(len(content) * (1 - 0.1 * place**3)) - len(new)
        content[start : start + len(new)] = new
    loads_or_says_why(read, bytes(content))


LIMITED = """
import resource, sys
from modeling_audio_branch import AudioBranchModel
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 500_000_000,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for path in sys.argv[1:]:
    try:
        AudioBranchModel.from_nemo(path)
    except ValueError as error:
        print(str(error))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux, to limit memory")
def test_hostile_archives_are_refused_within_500_mb_and_a_minute(tmp_path):
    merge = "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 9))
    keys = ", ".join(f"k{n}: 1" for n in range(20_000))
    configs = [
        CONFIG + b"x: 1" + b":1" * 500_000,
        CONFIG + f"a0: &a0 {{{keys}}}\n{merge}".encode(),
        CONFIG + b"x: [" + b"a," * 500_000 + b"]",
        *(
            yaml.safe_dump(
                yaml.safe_load(CONFIG) | {"preprocessor": yaml.safe_load(CONFIG)["preprocessor"] | change}
            ).encode()
            for change in ({"n_fft": 2**29}, {"window_size": 1e308}, {"n_window_size": 2**29, "n_fft": 2**30})
        ),
    ]
    calls = [b"cbuiltins\nbytearray\n", b"ctorch\nTensor\n"]
    paths = [write(tmp_path / f"config{n}.nemo", config) for n, config in enumerate(configs)]
    for n, call in enumerate(calls):
        weights = weights_with(b"\x80\x02" + call + b"\x8a\x05\x00\x5e\xd0\xb2\x00\x85R.")
        paths.append(write(tmp_path / f"call{n}.nemo", CONFIG, weights))
    result = subprocess.run([sys.executable, "-c", LIMITED, *paths], capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(result.stdout.splitlines()) == len(paths) and "MemoryError" not in result.stdout
