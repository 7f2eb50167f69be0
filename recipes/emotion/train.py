"""Fine-tunes a classifier of labelled speech with Trainer, and measures it on speakers that it never heard.

    python examples/finetune.py ravdess RAVDESS --checkpoint CHECKPOINT     # EmoBox's 6 folds, on a CPU or a GPU
    python examples/finetune.py ravdess RAVDESS --checkpoint CHECKPOINT --fold 1 --steps 20 --output outputs/look
    python examples/finetune.py crema-d AudioWAV --checkpoint CHECKPOINT --lora --bf16
    python examples/finetune.py csv clips.csv --checkpoint CHECKPOINT --label-column emotion --speaker-column actor
    python examples/finetune.py hub USER/DATASET --checkpoint CHECKPOINT
    accelerate launch --num_processes 2 examples/finetune.py ravdess RAVDESS --checkpoint CHECKPOINT     # two GPUs

Writes OUTPUT/fold-N (the model that was best on the validation speakers), results.json, report.md and confusion.png.
A second call goes on where the first one ended. `--push USER/NAME` publishes the first fold's model, with its card,
after showing what is sent and asking; so does, later:

    python hub_upload.py OUTPUT/fold-1 --repo-id USER/NAME --metrics OUTPUT/results.json
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Annotated

import datasets
import numpy as np
import torch
import typer
from accelerate import PartialState
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch.nn import functional as F
from torchaudio.functional import speed
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

sys.path.insert(0, str(Path(__file__).parents[1]))
import speech_data
import speech_metrics

import hub_upload
from modeling_audio_branch import (
    AudioBranchConfig,
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
    AudioBranchModel,
)
from modeling_audio_branch.audio_input import load_audio, pad_batch
from modeling_audio_branch.hub.card import CardError

console = Console(stderr=True)


class Augmentation:
    """Speed, noise and a lost band, drawn anew for each clip; (L,) samples to (L',)."""

    def __init__(self, rate: int):
        self.rate = rate

    def __call__(self, samples: torch.Tensor) -> torch.Tensor:
        chance = torch.rand(6).tolist()
        if chance[0] < 0.5:
            samples = speed(samples, self.rate, (0.9, 1.1)[chance[1] < 0.5])[0]
        if chance[2] < 0.5:
            noise = torch.randn_like(samples)
            samples = samples + noise * samples.square().mean().sqrt() * 10 ** (-(10 + 25 * chance[3]) / 20)
        if chance[4] < 0.3:
            spectrum = torch.fft.rfft(samples)
            kept = int(len(spectrum) * (0.4 + 0.6 * chance[5]))  # as through a telephone, or a lossy file
            samples = torch.fft.irfft(F.pad(spectrum[:kept], (0, len(spectrum) - kept)), len(samples))
        return samples


def make_dataset(rows: list[dict], labels: list[str], rate: int, augment: bool = False) -> datasets.Dataset:
    """Rows for `Collator`. Their `length` in samples is known, so that grouping by it reads no audio."""
    columns = {
        "path": [None if isinstance(row["audio"], bytes) else str(row["audio"]) for row in rows],
        "bytes": [row["audio"] if isinstance(row["audio"], bytes) else None for row in rows],
        "labels": [labels.index(row["label"]) for row in rows],
        "length": [int(rate * row["length"]) for row in rows],
        "augment": [augment] * len(rows),
    }
    return datasets.Dataset.from_dict(columns)


class Collator:
    """Decodes, augments and pads: raw audio (B, L), its mask (B, L), and labels (B,)."""

    def __init__(self, rate: int):
        self.rate, self.augmentation = rate, Augmentation(rate)

    def __call__(self, items: list[dict]) -> dict[str, torch.Tensor]:
        waves = [load_audio(item["bytes"] or item["path"], self.rate) for item in items]
        waves = [self.augmentation(wave) if item["augment"] else wave for wave, item in zip(waves, items, strict=True)]
        waveform, mask = pad_batch(waves)
        mask = torch.ones_like(waveform, dtype=torch.bool) if mask is None else mask
        labels = torch.tensor([item["labels"] for item in items])
        return {"input_features": waveform, "attention_mask": mask, "labels": labels}


class SpeechTrainer(Trainer):
    """Class weights, label smoothing, and learning rates that fall towards the input."""

    def __init__(self, *arguments, class_weights=None, layer_decay=1.0, **kwargs):
        super().__init__(*arguments, **kwargs)
        self.class_weights, self.layer_decay = class_weights, layer_decay

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        labels = inputs["labels"]
        out = model(**{name: value for name, value in inputs.items() if name != "labels"})
        smoothing = self.args.label_smoothing_factor if model.training else 0.0
        losses = F.cross_entropy(out.logits.float(), labels, label_smoothing=smoothing, reduction="none")
        if self.class_weights is not None:
            # Not divided by the weights of the batch: so batches can be accumulated, and are what one large one is.
            losses = losses * self.class_weights.to(losses.device)[labels]
        loss = losses.mean()
        return (loss, out) if return_outputs else loss

    def create_optimizer(self, model=None):
        """AdamW over all parameters, also those that are thawed later."""
        if self.optimizer is None:
            groups = layer_groups(self.model, self.args.learning_rate, self.layer_decay, self.args.weight_decay)
            self.optimizer = torch.optim.AdamW(groups)
        return self.optimizer


def layer_groups(model, learning_rate: float, decay: float, weight_decay: float) -> list[dict]:
    """Parameter groups whose rate shrinks by `decay` with each layer towards the input (Howard and Ruder 2018)."""
    encoder = next(each for each in model.modules() if isinstance(each, AudioBranchModel)).encoder  # in peft's, too
    depths = {id(parameter): 0 for parameter in encoder.parameters()}
    for depth, layer in enumerate(encoder.layers, start=1):
        depths |= {id(parameter): depth for parameter in layer.parameters()}
    head, groups = len(encoder.layers) + 1, {}
    for parameter in model.parameters():
        key = (depths.get(id(parameter), head), 0.0 if parameter.ndim < 2 else weight_decay)
        groups.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "lr": learning_rate * decay ** (head - depth), "weight_decay": weight}
        for (depth, weight), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


class UnfreezeEncoderCallback(TrainerCallback):
    """Trains the frozen encoder from this epoch on.

    Until then its gradients are computed and dropped: DistributedDataParallel averages only those of parameters that
    need one when the training begins, so that an encoder which is thawed later would differ from process to process.
    """

    def __init__(self, model, epoch: float):
        self.epoch, self.is_frozen = epoch, True
        model.freeze("encoder")
        self.parameters = [*model.base_model.encoder.parameters()]
        for parameter in self.parameters:
            parameter.requires_grad_(True)
            parameter.register_hook(lambda gradient: torch.zeros_like(gradient) if self.is_frozen else None)

    def on_step_begin(self, arguments, state, control, model=None, **_):
        if self.is_frozen and state.epoch >= self.epoch:
            self.is_frozen = False
            model.unfreeze("encoder")

    def on_pre_optimizer_step(self, arguments, state, control, **_):
        if self.is_frozen:  # a gradient of 0 would still decay the weights
            for parameter in self.parameters:
                parameter.grad = None


def load_model(labels: list[str], settings: dict):
    """A classifier of these labels that begins from the checkpoint.

    Raises:
        DataError: The checkpoint can't be loaded, or can't be trained as the settings say.
    """
    changed = {"id2label": dict(enumerate(labels)), "apply_spec_augment": settings["spec_augment"]}
    changed["label2id"] = {name: index for index, name in enumerate(labels)}
    name = settings["checkpoint"]
    try:
        # Made anew, so that an encoder of another kind hears of apply_spec_augment, or refuses it.
        config = AudioBranchConfig.from_dict(AudioBranchConfig.from_pretrained(name).to_dict() | changed)
        model = AudioBranchForAudioClassification.from_pretrained(name, config=config, ignore_mismatched_sizes=True)
        layer_groups(model, 1.0, settings["layer_decay"], 0.0)  # refuses an encoder whose layers aren't known
    except (OSError, ValueError) as error:
        raise speech_data.DataError(f"{name} can't be loaded: {' '.join(str(error).split())}") from error
    if config.encoder_config and settings["lora"]:
        raise speech_data.DataError("--lora knows our own encoder alone; the README names what others need.")
    if config.encoder_config and settings["spec_augment"] and settings["freeze_epochs"] < 0:
        raise speech_data.DataError("--spec-augment does nothing in a foreign encoder that stays frozen; leave it out.")
    return model


def begin(output: Path, run: dict) -> None:
    """Notes in OUTPUT/training/run.json what is trained there; a DataError if it was something else."""
    file = output / "training" / "run.json"
    text = json.dumps(run, indent=1, sort_keys=True)
    if file.exists() and file.read_text(encoding="utf-8") != text:
        before = json.loads(file.read_text(encoding="utf-8"))
        other = ", ".join(sorted(name for name in run if before.get(name) != run[name]))
        raise speech_data.DataError(f"{output} holds a run with other {other}; give another --output, or delete it.")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def train_fold(splits, labels, seed, settings, output: Path) -> np.ndarray:
    """Trains on one fold; returns the labels (N,) that the model gave the test rows."""
    set_seed(seed)
    model = load_model(labels, settings)
    rate = model.config.sample_rate
    extractor = AudioBranchFeatureExtractor.from_model(model)
    callbacks = []
    if settings["lora"]:
        from peft import LoraConfig, get_peft_model

        model.freeze("encoder")  # for good: only the adapters in it learn
        whole = ["audio_branch.pooling", "audio_branch.projection", "classifier"]
        model = get_peft_model(
            model, LoraConfig(target_modules=r".*\.encoder\..*\.(qkv_proj|o_proj)", modules_to_save=whole)
        )
    elif settings["freeze_epochs"] < 0:
        model.freeze("encoder")
    elif settings["freeze_epochs"] > 0:
        callbacks.append(UnfreezeEncoderCallback(model, settings["freeze_epochs"]))
    weights = None
    if settings["class_weights"]:
        counts = np.bincount([labels.index(row["label"]) for row in splits["train"]], minlength=len(labels))
        weights = torch.tensor(len(splits["train"]) / (len(labels) * counts), dtype=torch.float32)
    data = {
        name: make_dataset(part, labels, rate, settings["augment"] and name == "train") for name, part in splits.items()
    }
    training = output / "training"
    trainer = SpeechTrainer(
        model,
        TrainingArguments(
            str(training),
            num_train_epochs=settings["epochs"],
            max_steps=settings["steps"],
            per_device_train_batch_size=settings["batch_size"],
            per_device_eval_batch_size=settings["batch_size"],
            gradient_accumulation_steps=settings["accumulate"],
            gradient_checkpointing=settings["checkpointing"],
            learning_rate=settings["learning_rate"],
            weight_decay=0.01,
            warmup_steps=0.1,
            label_smoothing_factor=settings["label_smoothing"],
            bf16=settings["bf16"],
            eval_strategy="epoch",
            save_strategy="epoch",
            save_total_limit=2,
            load_best_model_at_end=True,
            metric_for_best_model="UA",
            logging_steps=10,
            **DISTRIBUTED,
            label_names=["labels"],
            report_to="none",
            seed=seed,
            use_cpu=not torch.cuda.is_available(),
        ),
        Collator(rate),
        data["train"],
        data["validation"],
        processing_class=extractor,
        compute_metrics=lambda made: speech_metrics.figures(made.label_ids, made.predictions.argmax(-1)),
        callbacks=callbacks,
        class_weights=weights,
        layer_decay=settings["layer_decay"],
    )
    states = training.glob("checkpoint-*/trainer_state.json")  # it is written last
    checkpoints = sorted((path.parent for path in states), key=lambda path: int(path.name.split("-")[1]))
    trainer.train(resume_from_checkpoint=str(checkpoints[-1]) if checkpoints else None)
    trainer.args.train_sampling_strategy = "random"  # grouping by length shuffles what is evaluated, too
    made = trainer.predict(data["test"])
    if made.label_ids.tolist() != data["test"]["labels"][:]:
        raise RuntimeError("Trainer gave its predictions in another order than the test clips.")
    final = model.merge_and_unload() if settings["lora"] else model
    if trainer.is_world_process_zero():
        final.save_pretrained(output)
        extractor.save_pretrained(output)
    return made.predictions.argmax(-1)


SETTINGS = ("checkpoint", "epochs", "steps", "batch_size", "accumulate", "learning_rate", "layer_decay", "lora")
SETTINGS += ("freeze_epochs", "class_weights", "label_smoothing", "augment", "spec_augment", "bf16", "checkpointing")
DISTRIBUTED = {  # what several processes must agree on
    "train_sampling_strategy": "group_by_length",
    "length_column_name": "length",
    "remove_unused_columns": False,
    "ddp_find_unused_parameters": False,
    "accelerator_config": {"use_seedable_sampler": False},  # which would let each process group the clips differently
}
LOADERS = {"ravdess": speech_data.ravdess, "crema-d": speech_data.crema_d, "folder": speech_data.audio_folder}


def main(
    kind: Annotated[str, typer.Argument(help="ravdess, crema-d, folder, csv or hub.")],
    source: Annotated[str, typer.Argument(help="The folder, the file, or the name of the data set.")],
    checkpoint: Annotated[str, typer.Option(help="Audio Branch checkpoint to begin from: a folder or a Hub id.")],
    output: Annotated[Path, typer.Option(help="Where everything is written.")] = Path("outputs/finetune"),
    fold: Annotated[int, typer.Option(help="1 to 6 (fewer with few speakers); 0 for all.")] = 0,
    epochs: float = 20,
    steps: Annotated[int, typer.Option(help="In place of epochs.")] = -1,
    batch_size: int = 16,
    accumulate: Annotated[int, typer.Option(help="Batches for one step.")] = 1,
    learning_rate: float = 3e-4,
    layer_decay: Annotated[float, typer.Option(help="Learning rate of a layer by that of the next.")] = 0.8,
    freeze_epochs: Annotated[float, typer.Option(help="The encoder is frozen so long; -1: always, as in --lora.")] = 1,
    lora: Annotated[bool, typer.Option("--lora", help="Train adapters of the frozen encoder's attention.")] = False,
    class_weights: Annotated[bool, typer.Option(help="Weigh rare labels more.")] = True,
    label_smoothing: float = 0.1,
    augment: Annotated[bool, typer.Option(help="Speed, noise, lost bands.")] = True,
    spec_augment: Annotated[bool, typer.Option(help="Blank spans of time and frequency.")] = False,
    bf16: bool = False,
    checkpointing: Annotated[bool, typer.Option(help="Compute activations twice, to save memory.")] = False,
    seed: int = 0,
    split: Annotated[str, typer.Option(help="Of a data set of the Hub.")] = "train",
    audio_column: str | None = None,
    label_column: str = "label",
    speaker_column: Annotated[str | None, typer.Option(help="'speaker', if there is one.")] = None,
    dataset_license: Annotated[str, typer.Option(help="Of the data, for results.json.")] = "unknown",
    push: Annotated[str | None, typer.Option(help="USER/NAME on the Hub, to publish the first fold's model.")] = None,
    license: Annotated[str | None, typer.Option(help="Of the published weights, as the Hub names it.")] = None,
):
    """Fine-tune on labelled speech, and write the figures on unheard speakers."""
    given = locals()
    settings = {name: given[name] for name in SETTINGS}
    is_main = PartialState().is_main_process
    try:
        columns = {"label": label_column, "speaker": speaker_column}
        if kind in LOADERS:
            rows = LOADERS[kind](Path(source))
        elif kind == "csv":
            rows = speech_data.table(Path(source), audio_column or "path", **columns)
        elif kind == "hub":
            rows = speech_data.hub_dataset(source, split, audio_column or "audio", **columns)
        else:
            raise speech_data.DataError(f"{kind!r} is no kind of data; give {', '.join(LOADERS)}, csv or hub.")
        if push and not license:
            raise speech_data.DataError("--push needs --license: that of the weights, such as gpl-2.0.")
        rows, left_out = speech_data.usable(rows)
        for name, reason in left_out if is_main else []:
            console.print(f"Left out: {name} {reason}.", markup=False, soft_wrap=True)
        count = speech_data.count_folds(rows)
        if not 0 <= fold <= count:
            raise speech_data.DataError(f"--fold {fold} is impossible; give 1 to {count}, or 0 for all.")
        labels = sorted({row["label"] for row in rows})
        folds = [fold] if fold else [*range(1, count + 1)]
        # All before the first is trained: a fold may turn out to be impossible.
        splits = {each: speech_data.split_by_speaker(rows, each, seed, kind == "ravdess") for each in folds}
        # Other weights in the same folder are another run; a repository of the Hub is taken to stay as it is.
        files = sorted(Path(settings["checkpoint"]).glob("*.safetensors"))
        weights = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
        for each in folds:
            run = {"settings": settings, "weights": weights, "seed": seed, "labels": labels}
            run["clips"] = {
                part: [row.get("name") or str(row["audio"]) for row in splits[each][part]] for part in splits[each]
            }
            if is_main:
                begin(output / f"fold-{each}", run)
        predicted = {each: train_fold(splits[each], labels, seed, settings, output / f"fold-{each}") for each in folds}
    except speech_data.DataError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None
    if not is_main:
        return
    tested = [row for each in folds for row in splits[each]["test"]]
    right = [labels.index(row["label"]) for row in tested]
    made = np.concatenate([*predicted.values()])
    speakers = [row["speaker"] for row in tested]
    is_known = speakers[0] is not None
    split_by = "speakers parted at random" if is_known else "CLIPS parted at random, speakers unknown"
    split_by = "EmoBox's folds of RAVDESS" if kind == "ravdess" else split_by
    name = {"ravdess": "RAVDESS speech", "crema-d": "CREMA-D"}.get(kind, Path(source).name)
    data = {"name": name, "license": dataset_license}
    about = {"dataset": data, "training_data": data, "folds": len(folds), "seeds": [seed], "settings": settings}
    best = f"the best epoch on other {'speakers' if is_known else 'clips'}"
    about["protocol"] = f"{split_by}, fold {', '.join(map(str, folds))}; {best}"
    results = speech_metrics.write_report(output, right, made, speakers, labels, about)
    table = Table("figure", "value", "95 % interval", title=f"{name}: {len(right)} clips, {len(folds)} folds")
    for metric, numbers in results["metrics"].items():
        table.add_row(metric, f"{numbers['value']:.3f}", f"{numbers['low']:.3f} to {numbers['high']:.3f}")
    for speaker, accuracy in results["accuracy_by_speaker"].items():
        table.add_row(Text(f"accuracy of {speaker}"), f"{accuracy:.3f}")
    Console(width=max(80, console.width)).print(table)
    console.print(f"Written to {output / 'report.md'}", markup=False, soft_wrap=True)
    if push:
        try:
            hub_upload.run(output / f"fold-{folds[0]}", push, metrics=output / "results.json", license=license)
        except (hub_upload.UploadError, CardError) as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
