"""The tests of pages need packages and a browser that `make test-ui` installs: other runs leave them out."""


def pytest_ignore_collect(config):
    return None if config.getoption("markexpr") == "ui" else True
