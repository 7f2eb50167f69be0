"""Settings of all tests: reproducible examples, one thread for each of the two pytest workers."""

import os

import pytest
import torch
from hypothesis import settings

from helpers.encoders import write_repositories

# Fetched and run by make test-upstream.
collect_ignore = [] if os.environ.get("AUDIO_BRANCH_UPSTREAM") else ["integration/test_upstream.py"]

settings.register_profile("local", deadline=None, max_examples=25)
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")
torch.set_num_threads(1)  # two pytest workers share two cores


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def repositories(tmp_path_factory):
    """Folders of other encoders, as they come from the Hub; see `helpers.encoders`."""
    return write_repositories(tmp_path_factory)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Half of a surrogate pair, which a fuzz test made transformers log, would stop pytest-xdist."""
    report = yield
    report.sections = [(title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections]
    return report
