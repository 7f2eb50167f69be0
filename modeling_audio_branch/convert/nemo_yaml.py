"""Reads the YAML configuration of a .nemo archive as plain values, within bounds on time and memory."""

from pathlib import Path

import yaml

from .errors import MALFORMED, NemoError, first_line

CONFIG = "model_config.yaml"
MAX_CONFIG_BYTES = 5_000_000
MAX_YAML_ALIASES = 20  # a few dozen nested ones stand for billions of values
MAX_YAML_DEPTH = 32
MAX_YAML_VALUES = 100_000  # with those that aliases and merges repeat; NeMo's longest lists of labels have 20,000
MAX_NUMBER_LENGTH = 100  # PyYAML needs minutes for a base-60 number of a megabyte


class _BoundedLoader(yaml.SafeLoader):
    """YAML's safe loader with few aliases, little nesting and short numbers."""

    def __init__(self, stream):
        super().__init__(stream)
        self.num_aliases = self.num_values = self.depth = 0
        self.anchored = {}  # number of values under each anchor that is complete

    def compose_node(self, parent, index):
        event, before = self.peek_event(), self.num_values
        self.num_aliases += isinstance(event, yaml.AliasEvent)
        if self.num_aliases > MAX_YAML_ALIASES:
            raise NemoError(f"more than {MAX_YAML_ALIASES} aliases")
        if self.depth >= MAX_YAML_DEPTH:
            raise NemoError(f"more than {MAX_YAML_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self.anchors and event.anchor not in self.anchored:
                raise NemoError("an alias inside what it stands for")
            self.num_values += self.anchored.get(event.anchor, 0)
        else:
            self.num_values += 1
        if self.num_values > MAX_YAML_VALUES:
            raise NemoError(f"more than {MAX_YAML_VALUES} values, with those that aliases repeat")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if not isinstance(event, yaml.AliasEvent) and event.anchor is not None:
            self.anchored[event.anchor] = self.num_values - before
        return node

    def short_number(self, node):
        if len(node.value) > MAX_NUMBER_LENGTH:
            raise NemoError(f"a number of more than {MAX_NUMBER_LENGTH} characters")
        kind = node.tag.rsplit(":", 1)[-1]
        return getattr(yaml.SafeLoader, f"construct_yaml_{kind}")(self, node)


for _kind in ("int", "float"):
    _BoundedLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _BoundedLoader.short_number)


def read_config(text: bytes, path: Path) -> dict:
    """The configuration, with the sections `preprocessor` and `encoder`.

    Raises:
        NemoError: The text is not plain YAML, exceeds a bound, or lacks a section.
    """
    try:
        config = yaml.load(text, _BoundedLoader)
    except NemoError as error:
        raise NemoError(f"{CONFIG} in {path} has {error}; give an archive that NeMo wrote.") from error
    except (yaml.YAMLError, *MALFORMED) as error:
        raise NemoError(f"{CONFIG} in {path} can't be read as plain YAML ({first_line(error)}).") from error
    if isinstance(config, dict) and isinstance(config.get("model"), dict):
        config = config["model"]
    sections = ("preprocessor", "encoder")
    if not isinstance(config, dict) or not all(isinstance(config.get(section), dict) for section in sections):
        raise NemoError(f"{CONFIG} in {path} has no sections 'preprocessor' and 'encoder': it is not a speech encoder.")
    return config
