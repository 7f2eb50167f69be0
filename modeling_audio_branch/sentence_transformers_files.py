"""The files by which sentence-transformers opens a checkpoint and takes the right output of the model.

Without them it would average encoder frames. Formats: sentence-transformers 6.2, `Transformer.load_config` and
`BaseModel._load_config_modules`.
"""

import json
from pathlib import Path

FILES = MODULES, TRANSFORMER, MODEL = "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"


def save_sentence_transformers_files(config, folder: str | Path) -> None:
    """Writes what `SentenceTransformer(folder)` reads, or `MultiVectorEncoder(folder)` with several vectors a clip.

    What sentence-transformers itself has saved there of the whole model, such as prompts, stays.
    """
    folder = Path(folder)
    if config.embedding_output == "segment_features":
        kind, output, similarity = "MultiVectorEncoder", "token_embeddings", "maxsim"
        types = ["sentence_transformers.base.modules.transformer.Transformer", "segment_vectors.SegmentVectors"]
    else:
        kind, output, similarity = "SentenceTransformer", "sentence_embedding", "cosine"
        types = ["sentence_transformers.base.modules.transformer.Transformer"]
    _write(folder / MODULES, [{"idx": i, "name": str(i), "path": "", "type": each} for i, each in enumerate(types)])
    audio = {"method": "forward", "method_output_name": config.embedding_output}
    transformer = {"transformer_task": "feature-extraction", "modality_config": {"audio": audio}}
    _write(folder / TRANSFORMER, transformer | {"module_output_name": output})
    if _model_type(folder / MODEL) != kind:
        _write(folder / MODEL, {"model_type": kind, "prompts": {}, "similarity_fn_name": similarity})


def _model_type(path: Path) -> str | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, content: dict | list) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
