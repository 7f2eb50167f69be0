"""Mutated files, and what must happen to each: it loads, or one sentence says why it does not."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

ANSWERS = (ValueError, TypeError, OSError)  # the kinds of error that tell a user what is wrong with a file


def fuzz(max_examples: int):
    """Settings of a fuzzer; AUDIO_BRANCH_FUZZ_EXAMPLES replaces the number of examples (`make fuzz`)."""
    examples = int(os.environ.get("AUDIO_BRANCH_FUZZ_EXAMPLES", max_examples))
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, suppress_health_check=checks)


@st.composite
def mutations(draw, samples: list[bytes]):
    """One of the samples after a few changes: bytes that are flipped, cut, repeated, inserted, or all random."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, 4))):
        place = int(draw(st.floats(0, 1)) ** 3 * len(data))  # headers, which say most, are hit most
        kind = draw(st.sampled_from(["flip", "cut", "drop", "repeat", "insert", "number", "random"]))
        size = draw(st.integers(1, 64))
        if kind == "flip" and data:
            data[min(place, len(data) - 1)] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del data[place:]
        elif kind == "drop":
            del data[place : place + size]
        elif kind == "repeat":
            data[place:place] = data[place : place + size] * draw(st.integers(1, 20))
        elif kind == "insert":
            data[place:place] = draw(st.binary(max_size=64))
        elif kind == "number":  # sizes and counts that a header may claim
            number = draw(st.sampled_from([0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
            data[place : place + 4] = number.to_bytes(4, draw(st.sampled_from(["little", "big"])))
        elif kind == "random":
            data[:] = draw(st.binary(max_size=300))
    return bytes(data)


def loads_or_says_why(load, *arguments, max_length: int = 600):
    """What `load` returns; or None, if it raises an error that is one sentence."""
    try:
        return load(*arguments)
    except ANSWERS as error:
        message = str(error)
        assert message.strip() and "\n" not in message and len(message) <= max_length, repr(error)
        message.encode()  # it can be printed
        return None
