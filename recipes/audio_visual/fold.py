"""One fold: a new fusion on two trained sides, its training, and the predictions of the test clips."""

from pathlib import Path

import numpy as np
import torch
from transformers import Trainer, TrainingArguments, set_seed
from transformers.image_processing_base import ImageProcessingMixin

from recipes.audio_visual.collator import VideoCollator
from recipes.audio_visual.model import AudioVisualForClassification, AudioVisualProcessor
from recipes.audio_visual.settings import TrainingSettings
from recipes.emotion.metrics import classification_metrics
from recipes.emotion.recordings import DataError, Recording
from recipes.emotion.resume import last_checkpoint
from recipes.emotion.splits import Splits

SIDES = ("both", "audio", "video")


def train_fold(
    splits: Splits, labels: list[str], seed: int, settings: TrainingSettings, output: Path
) -> dict[str, np.ndarray]:
    """Trains on one fold, and saves model and processor to `output`.

    Trainer's checkpoints are in `output`/training. If there are any, the training continues from the last one.

    Returns:
        The predicted label numbers (N,) of the test clips from `both` sides, from `audio` alone and from `video` alone.
    """
    set_seed(seed)
    model, processor = load_sides(labels, settings)
    trainer = Trainer(
        model,
        training_arguments(output / "training", seed, settings),
        VideoCollator(processor),
        train_dataset=to_rows(splits.train, labels),
        eval_dataset=to_rows(splits.validation, labels),
        compute_metrics=lambda result: classification_metrics(result.label_ids, result.predictions.argmax(-1)),
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(output / "training"))
    found = {side: trainer.predict(to_rows(splits.test, labels, side)).predictions.argmax(-1) for side in SIDES}
    if trainer.is_world_process_zero():
        model.save_pretrained(output)
        processor.save_pretrained(output)
    return found


def to_rows(recordings: list[Recording], labels: list[str], side: str = "both") -> list[dict]:
    """Rows for [`VideoCollator`]."""
    return [{"path": str(each.audio), "labels": labels.index(each.label), "sides": side} for each in recordings]


def load_sides(
    labels: list[str], settings: TrainingSettings
) -> tuple[AudioVisualForClassification, AudioVisualProcessor]:
    """A classifier of these labels on the two checkpoints, and its processor with the encoder's own normalization.

    Raises:
        DataError: A checkpoint can't be loaded, or can't be trained with these settings.
    """
    try:
        model = AudioVisualForClassification.from_branches(
            settings.audio,
            settings.video,
            fusion=settings.fusion,
            fusion_dim=settings.fusion_dim,
            frames_per_segment=settings.frames_per_segment,
            modality_dropout=settings.modality_dropout,
            freeze_audio=settings.freeze_audio,
            freeze_video=settings.freeze_video,
            id2label=dict(enumerate(labels)),
            label2id={name: number for number, name in enumerate(labels)},
        )
        pixels, _ = ImageProcessingMixin.get_image_processor_dict(settings.video)
    except (OSError, ValueError) as error:
        names = f"{settings.audio} and {settings.video}"
        raise DataError(f"{names} can't be loaded as two sides: {' '.join(str(error).split())}") from error
    names = {name: pixels[name] for name in ("image_mean", "image_std") if pixels.get(name)}
    return model, AudioVisualProcessor.from_model_config(model.config, **names)


def training_arguments(folder: Path, seed: int, settings: TrainingSettings) -> TrainingArguments:
    """Trainer's arguments: it keeps the epoch with the best unweighted accuracy on the validation clips."""
    return TrainingArguments(
        str(folder),
        num_train_epochs=settings.epochs,
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        weight_decay=0.01,
        warmup_steps=0.1,  # share of all steps
        label_smoothing_factor=settings.label_smoothing,
        bf16=settings.bf16,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="UA",
        logging_steps=10,
        dataloader_num_workers=settings.workers,
        remove_unused_columns=False,
        label_names=["labels"],
        report_to="none",
        seed=seed,
        use_cpu=not torch.cuda.is_available(),
    )
