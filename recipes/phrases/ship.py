r"""Puts the pretrained model into checkpoints/phrases: weights in half precision, their figures and a card.

    python examples/pretrain_phrases.py --start outputs/phrases --steps 60 --seconds 60 --learning-rate 3e-4 \
        --pooling avg --output outputs/poolings/avg    # and so on, and with --num-segments 1
    python examples/evaluate_phrases.py --no-warping --output outputs/poolings.json outputs/poolings/*
    python examples/ship_phrases.py

The folder holds no code: it loads where this package is installed, and hub_upload.py makes a repository of it that
loads anywhere.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import evaluate_phrases
from evaluate_phrases import cell, percent, with_interval
from phrases_data import development_phrases
from pretrain_phrases import embed, read

from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchModel

LANGUAGES = {"it": "Italian", "fr": "French", "es": "Spanish"}
CARD = Path(__file__).with_name("phrases_card.md")


def half(model) -> dict[str, torch.Tensor]:
    """The state, its parameters in half precision; buffers (windows, filters) stay as they are."""
    parameters = {name for name, _ in model.named_parameters()}
    return {name: value.half() if name in parameters else value for name, value in model.state_dict().items()}


def phrases_table(rows: list[dict]) -> str:
    lines = ["| language | method | all phrases | short phrases |", "| --- | --- | --- | --- |"]
    for row in rows:
        cells = [LANGUAGES[row["language"]], row["method"], *(cell(row.get(part)) for part in ("all", "short"))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def numbers_table(results: dict) -> str:
    right = {}
    for row in results["number_words"]:
        right.setdefault(row["method"], {}).setdefault(row["language"], []).extend(row["right"])
    languages = sorted({row["language"] for row in results["number_words"]})
    lines = [f"| method | {' | '.join(languages)} | all |", "| --- |" + " --- |" * (len(languages) + 1)]
    for method, by_language in right.items():
        cells = [f"{100 * sum(by_language[each]) / len(by_language[each]):.1f}" for each in languages]
        whole = [each for row in by_language.values() for each in row]
        lines.append(f"| {method} | {' | '.join(cells)} | {with_interval(percent(torch.tensor(whole)))} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path("outputs/phrases"))
    parser.add_argument("--others", type=Path, default=Path("outputs/poolings.json"), help="of other poolings")
    parser.add_argument("--target", type=Path, default=Path("checkpoints/phrases"))
    arguments = parser.parse_args()
    model = AudioBranchModel.from_pretrained(arguments.source).eval()
    arguments.target.parent.mkdir(parents=True, exist_ok=True)
    model.config.apply_spec_augment = False  # whoever fine-tunes it decides anew
    state = max((arguments.source / "training").glob("*/trainer_state.json"), key=lambda path: path.stat().st_mtime)
    others = ""
    if arguments.others.exists():
        compared = json.loads(arguments.others.read_text())["phrases"]
        compared = [row | {"method": Path(row["method"]).name} for row in compared if "/" in row["method"]]
        about = "What segments buy, and the four poolings: this model, trained on for 60 steps with each"
        others = f"\n{about}:\n\n{phrases_table(compared)}\n"

    with tempfile.TemporaryDirectory(dir=arguments.target.parent) as folder:
        made = Path(folder) / "made"  # takes the target's place when all of it is there
        model.save_pretrained(made, state_dict=half(model))
        AudioBranchFeatureExtractor.from_model(model).save_pretrained(made)
        for path in made.glob("*.py"):
            path.unlink()
        for path in made.glob("*.json"):
            settings = json.loads(path.read_text())
            settings = {name: value for name, value in settings.items() if name not in ("auto_map", "custom_pipelines")}
            path.write_text(json.dumps(settings, indent=2) + "\n")
        clips = [read(path) for people in development_phrases() for person in people for path in person]
        evaluate_phrases.main([str(made), "--output", str(made / "results.json")])
        results = json.loads((made / "results.json").read_text(encoding="utf-8"))
        for row in results["phrases"] + results["number_words"]:
            row["method"] = "this model" if row["method"] == str(made) else row["method"]
        shipped = AudioBranchModel.from_pretrained(made).eval()
        cosine = F.cosine_similarity(embed(shipped, clips), embed(model, clips), dim=-1).min().item()
        card = CARD.read_text(encoding="utf-8").format(
            parameters=model.num_parameters() / 1e6,
            phrases=phrases_table(results["phrases"]),
            numbers=numbers_table(results),
            others=others,
            steps=json.loads(state.read_text())["global_step"],
            cosine=cosine,
        )
        (made / "README.md").write_text(card, encoding="utf-8")
        (made / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        shutil.copyfile("/usr/share/common-licenses/GPL-2", made / "LICENSE")
        (made / "model.safetensors").chmod(0o644)
        shutil.rmtree(arguments.target, ignore_errors=True)
        made.rename(arguments.target)
    print(f"{arguments.target}: {model.num_parameters():,} parameters, cosine to float32 at least {cosine:.6f}")


if __name__ == "__main__":
    main()
