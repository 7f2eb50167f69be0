"""Weights take no more memory than their file has bytes, and are finite plain tensors."""

import copy
import io
import struct
import tarfile
import zipfile

import pytest
import torch

from helpers.nemo_archives import NEMO
from modeling_audio_branch.convert.nemo_tensors import NemoError, read_tensors

with tarfile.open(NEMO / "nest_pre_conv/model.nemo") as source:
    WEIGHTS = source.extractfile("./model_weights.ckpt").read()


def read(content):
    return read_tensors(io.BytesIO(content), len(content), "x.nemo")


def saved(value, **options):
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def with_pickle(content):
    """The weights with another pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(WEIGHTS)) as old, zipfile.ZipFile(file, "w") as new:
        for record in old.infolist():
            new.writestr(record.filename, content if record.filename.endswith("data.pkl") else old.read(record))
    return file.getvalue()


def overlapping(num_records, size):
    """Weights of which all records are the same bytes of the file."""
    pickled = saved({f"w{n}": torch.zeros(size) for n in range(num_records)})
    with zipfile.ZipFile(io.BytesIO(pickled)) as old:
        content = old.read(next(name for name in old.namelist() if name.endswith("data.pkl")))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as new:
        for name, data in {
            "data.pkl": content,
            "byteorder": "little",
            "version": "3\n",
            "data/0": bytes(4 * size),
        }.items():
            new.writestr(f"archive/{name}", data)
        for n in range(1, num_records):
            new.filelist.append(copy.copy(new.filelist[-1]))
            new.filelist[-1].filename = f"archive/data/{n}"
    return file.getvalue()


def called(name, size):
    """A pickle that calls a function with a number."""
    return b"\x80\x02c" + name.encode() + b"\n\x8a\x05" + size.to_bytes(5, "little") + b"\x85R."


COPIES = b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01(K\x01K\x02\x86e\x85R."
STATES = b"\x80\x02](" + b"ccollections\nOrderedDict\n)R}b" * 2 + b"e."
SHAPE = b"\x80\x02(" + b"K\x01" * 17 + b"t."


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (with_pickle(called("builtins\nbytearray", 3 * 10**9)), "has 'builtins bytearray', which is not a tensor"),
        (with_pickle(called("__builtin__\nbytearray", 3 * 10**9)), "has '__builtin__ bytearray', which is not"),
        (with_pickle(called("torch\nTensor", 10**9)), "has 'torch Tensor', which is not a tensor"),
        (with_pickle(COPIES), "copies a dictionary"),
        (with_pickle(STATES), "its pickle is too long"),
        (with_pickle(SHAPE), "a shape of more than 16 numbers"),
        (with_pickle(b"\x80\x02" + b"N0" * 500_001 + b"."), "its pickle is too long"),
        (overlapping(50, 100_000), "names the same bytes again and again"),
        (WEIGHTS + b"comment", "its end is not that of a zip file"),
        (WEIGHTS[:-2] + b"\x01\x00", "its end is not that of a zip file"),
        (saved({"x": torch.zeros(2, dtype=torch.complex64)}), "ComplexFloatStorage', which is not a tensor"),
        (saved({"x": torch.zeros(2, dtype=torch.bool)}), "BoolStorage', which is not a tensor"),
        (saved({"x": torch.full((2,), 1e300, dtype=torch.float64)}), "x has values that are NaN or infinite"),
        (saved({"a\nb": torch.zeros(2)}), "a name of a weight that can't be printed"),
        (saved({"x": torch.zeros(2), "y": 1}), "not a dictionary of tensors"),
    ],
)
def test_what_takes_more_memory_than_the_file_or_is_no_weight_is_refused(content, sentence):
    with pytest.raises(NemoError) as raised:
        read(content)
    assert sentence in str(raised.value) and "\n" not in str(raised.value) and len(str(raised.value)) < 400


def test_many_tensors_of_the_same_values_are_refused_but_two_are_read():
    values = torch.zeros(100_000)
    assert len(read(saved({"a": values, "b": values}))) == 2
    with pytest.raises(NemoError, match="has tensors of 1200000 bytes in a file of"):
        read(saved({name: values for name in "abc"}))


@pytest.mark.parametrize("field", ["32 bits", "64 bits", "locator"])
def test_a_second_directory_that_only_torch_would_read_is_refused(field):
    content = bytearray(WEIGHTS)  # torch writes the 64-bit record, its locator, and the 32-bit end
    if field == "32 bits":
        content[-6:-2] = struct.pack("<I", 30)
    elif field == "64 bits":
        content[-50:-42] = struct.pack("<Q", 30)
    else:
        content[-34:-26] = struct.pack("<Q", 30)
    with pytest.raises(NemoError, match="its directory is in two places"):
        read(bytes(content))


def test_a_second_directory_in_front_is_refused():
    with pytest.raises(NemoError, match="its directory is in two places"):
        read(WEIGHTS + WEIGHTS)  # the second one's places are off by the length of the first


def test_the_older_format_of_torch_is_read_and_checked_too():
    weights = read(WEIGHTS)
    older = read(saved(weights, _use_new_zipfile_serialization=False))
    assert older.keys() == weights.keys() and all(torch.equal(older[name], weights[name]) for name in weights)
    with pytest.raises(NemoError, match="bytearray', which is not a tensor"):
        read(saved({"x": bytearray(9)}, _use_new_zipfile_serialization=False))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_the_types_that_nemo_saves_are_read(dtype):
    assert torch.equal(
        read(saved({"x": torch.arange(6).view(2, 3).to(dtype)}))["x"], torch.arange(6).view(2, 3).to(dtype)
    )
    parameter = torch.nn.Parameter(torch.zeros(3))
    assert torch.equal(read(saved({"x": parameter}))["x"], parameter)
