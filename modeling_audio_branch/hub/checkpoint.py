"""A local checkpoint folder: which files it may hold, and the model in it."""

import json
import re
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from modeling_audio_branch import (
    AudioBranchConfig,
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
    AudioBranchModel,
)

from ..sentence_transformers_files import FILES as SENTENCE_TRANSFORMERS_FILES
from .errors import UploadError, first_line

CLASSES = {each.__name__: each for each in (AudioBranchModel, AudioBranchForAudioClassification)}
WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json")
CODE = re.compile(r"[a-z_0-9]+\.py")
NAMED_FILES = (
    *("config.json", "preprocessor_config.json", "README.md", "LICENSE", "LICENSE-CODE", "results.json"),
    *("requirements.txt", "golden.safetensors", ".gitattributes", "search.safetensors", "rotation.safetensors"),
    *SENTENCE_TRANSFORMERS_FILES,
)
# The files of a checkpoint that are read, or written anew for the upload.
CHECKPOINT_FILES = re.compile("|".join([*map(re.escape, NAMED_FILES), WEIGHTS.pattern, CODE.pattern]))
# What training leaves in the folder is never uploaded; an exported model is exported anew.
TRAINING_FILES = re.compile(
    "|".join(
        [
            "onnx",
            *(r"checkpoint-\d+", "training", "runs", "logs", r"\.git", r"\.cache", "__pycache__", r"\.eval_results"),
            *(r"training_args\.bin", r"optimizer\.(pt|bin)", r"(scheduler|scaler)\.pt", r"rng_state(_\d+)?\.pth"),
            *(r"trainer_state\.json", r"\w+_results\.json"),
        ]
    )
)
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".nemo")
WRITTEN_BY_TRANSFORMERS = {
    *("architectures", "auto_map", "custom_pipelines", "dtype", "torch_dtype", "transformers_version", "_name_or_path"),
    *("id2label", "label2id", "num_labels", "problem_type", "return_dict", "feature_extractor_type", "processor_class"),
    *("use_cache", "_attn_implementation", "attn_implementation"),
}


def check_checkpoint(folder: Path) -> list[str]:
    """Checks the file names in a checkpoint folder. Returns the names that are not uploaded.

    Raises:
        UploadError: The folder has no configuration, no weights, pickled weights, or an unknown file.
    """
    if not (folder / "config.json").is_file():
        raise UploadError(f"{folder} holds no config.json; give a folder that save_pretrained or Trainer wrote.")
    names = sorted(path.name for path in folder.iterdir())
    left_out = [name for name in names if TRAINING_FILES.fullmatch(name)]
    others = [name for name in names if name not in left_out]
    if "adapter_config.json" in others:
        raise UploadError(f"{folder} holds an adapter; merge it first (merge_and_unload) and save the whole model.")
    if pickled := [name for name in others if name.endswith(PICKLE_SUFFIXES)]:
        raise UploadError(
            f"{folder} holds {', '.join(pickled)}, which is or may be a pickle and can run code when it is loaded; "
            f"save the model with save_pretrained, which writes safetensors, and move the file away."
        )
    if not any(WEIGHTS.fullmatch(name) for name in others):
        raise UploadError(f"{folder} holds no model.safetensors; give a folder with weights.")
    if unknown := [name for name in others if not CHECKPOINT_FILES.fullmatch(name)]:
        raise UploadError(f"{folder} holds {', '.join(unknown)}, which is not part of a model; move it elsewhere.")
    if links := [name for name in others if (folder / name).is_symlink() or not (folder / name).is_file()]:
        raise UploadError(f"{folder} holds {', '.join(links)}, which is not a regular file; copy the file there.")
    return left_out


def load_checkpoint(folder: Path):
    """Returns the model in eval mode and its feature extractor, which is made from the model if the folder has none.

    Raises:
        UploadError: The folder holds another model, or a weight is missing, unexpected, or has the wrong shape.
    """
    model_class = _model_class(folder / "config.json")
    has_extractor = (folder / "preprocessor_config.json").is_file()
    if has_extractor:
        _read_settings(folder / "preprocessor_config.json", {*AudioBranchFeatureExtractor().to_dict()})
    try:
        model, info = model_class.from_pretrained(folder, output_loading_info=True, local_files_only=True)
        if has_extractor:
            extractor = AudioBranchFeatureExtractor.from_pretrained(folder, local_files_only=True)
        else:
            extractor = AudioBranchFeatureExtractor.from_model(model)
    except Exception as error:  # whatever is wrong with the files, the user reads one sentence
        raise UploadError(f"{folder} cannot be loaded: {first_line(error)}") from error
    problems = {kind: sorted(map(str, keys)) for kind, keys in info.items() if keys and kind != "conversion_errors"}
    if problems:
        listed = "; ".join(f"{kind.replace('_', ' ')}: {', '.join(keys[:5])}" for kind, keys in problems.items())
        raise UploadError(f"{folder} has weights that do not fit its config.json ({listed}); save the model again.")
    return model.eval(), extractor


def copy_weights(source: Path, target: Path) -> torch.dtype:
    """Writes the weights of one checkpoint folder into another as they are stored, in place of the weights there.

    Saving the loaded model would write its weights in the dtype in which it computes. Only the tensors and the names of
    the files are taken over, no text that a file may hold besides.

    Returns:
        The dtype of most of the numbers.

    Raises:
        UploadError: The index of the weights is wrong.
    """
    for path in [*target.glob("model*.safetensors"), *target.glob("model.safetensors.index.json")]:
        path.unlink()
    counts, total = Counter(), 0
    weight_map = _weight_map(source)
    for name in dict.fromkeys(weight_map.values()):
        tensors = load_file(source / name)
        save_file(tensors, target / name, metadata={"format": "pt"})
        for tensor in tensors.values():
            counts[tensor.dtype] += tensor.numel()
            total += tensor.nbytes
    if len({*weight_map.values()}) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (target / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return counts.most_common(1)[0][0]


def _weight_map(folder: Path) -> dict[str, str]:
    """The file of each weight, as from_pretrained finds it: a single file has precedence over an index."""
    if (folder / "model.safetensors").is_file():
        return {"": "model.safetensors"}
    path = folder / "model.safetensors.index.json"
    weight_map = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    if not all(WEIGHTS.fullmatch(name) and (folder / name).is_file() for name in weight_map.values()):
        raise UploadError(f"{path} names files that are not weights of this folder; save the model again.")
    return weight_map


def _model_class(path: Path) -> type:
    """The class that config.json names."""
    settings = _read_settings(path, {*AudioBranchConfig().to_dict(), *AudioBranchConfig.attribute_map})
    name = settings.get("architectures")
    name = name[0] if isinstance(name, list) and name else name
    if not isinstance(name, str) or name not in CLASSES:
        raise UploadError(f"{path} is of a {name}; allowed are {' and '.join(CLASSES)}.")
    return CLASSES[name]


def _read_settings(path: Path, known: set[str]) -> dict:
    """Reads a configuration file. It may hold known settings only, because all of it is published."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UploadError(f"{path} is not a configuration ({first_line(error)}); save the model again.") from error
    if not isinstance(settings, dict):
        raise UploadError(f"{path} is not a configuration but a {type(settings).__name__}; save the model again.")
    if unknown := settings.keys() - known - WRITTEN_BY_TRANSFORMERS:
        raise UploadError(f"{path} holds {', '.join(sorted(unknown))}, which is not a setting of ours; remove it.")
    return settings
