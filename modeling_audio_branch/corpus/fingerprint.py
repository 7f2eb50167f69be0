"""What tells one model from another."""

import hashlib
import json
from collections.abc import Iterable

from torch import nn

# Settings that decide no number.
LABELS = (
    *("_name_or_path", "transformers_version", "dtype", "architectures", "auto_map", "custom_pipelines"),
    *("id2label", "label2id", "problem_type", "embedding_output"),
)


def fingerprint(modules: Iterable[nn.Module], config, ignored: Iterable[str] = ()) -> str:
    """A hash of what decides the numbers of a model: the weights of its modules and its settings but the `ignored`."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    settings = {name: value for name, value in config.to_dict().items() if name not in (*LABELS, *ignored)}
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return digest.hexdigest()
