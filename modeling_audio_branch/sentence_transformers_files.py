"""The files by which sentence-transformers opens a checkpoint and takes the right output of the model.

Without them it would average encoder frames. Formats: sentence-transformers 6.2, `Transformer.load_config` and
`BaseModel._load_config_modules`.
"""

import json
from pathlib import Path

FILES = MODULES, TRANSFORMER, MODEL = "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"


def save_sentence_transformers_files(config, folder: str | Path) -> None:
    """Writes what `SentenceTransformer(folder)` reads, or `MultiVectorEncoder(folder)` with several vectors a clip.

    What sentence-transformers itself has saved there of the same kind of model stays: prompts, the similarity, and
    modules behind ours.
    """
    folder = Path(folder)
    if config.embedding_output == "segment_features":
        kind, output, similarity = "MultiVectorEncoder", "token_embeddings", "maxsim"
        types = ["sentence_transformers.base.modules.transformer.Transformer", "segment_vectors.SegmentVectors"]
    else:
        kind, output, similarity = "SentenceTransformer", "sentence_embedding", "cosine"
        types = ["sentence_transformers.base.modules.transformer.Transformer"]
    audio = {"method": "forward", "method_output_name": config.embedding_output}
    transformer = {"transformer_task": "feature-extraction", "modality_config": {"audio": audio}}
    transformer["module_output_name"] = output

    model, saved, modules = (_read(folder / name) for name in (MODEL, TRANSFORMER, MODULES))
    is_same_kind = isinstance(model, dict) and model.get("model_type") == kind
    has_ours = isinstance(saved, dict) and saved.get("module_output_name") == output
    if not (is_same_kind and has_ours and _begins_with(modules, types)):
        modules = [{"idx": i, "name": str(i), "path": "", "type": each} for i, each in enumerate(types)]
        _write(folder / MODULES, modules)
    _write(folder / TRANSFORMER, transformer)
    if not is_same_kind:
        _write(folder / MODEL, {"model_type": kind, "prompts": {}, "similarity_fn_name": similarity})


def _begins_with(modules, types: list[str]) -> bool:
    """Whether a modules.json begins with modules of these types."""
    if not isinstance(modules, list) or not all(isinstance(each, dict) for each in modules):
        return False
    return [each.get("type") for each in modules[: len(types)]] == types


def _read(path: Path):
    """What is in a JSON file; None if it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write(path: Path, content: dict | list) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
