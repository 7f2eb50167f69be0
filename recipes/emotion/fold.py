"""One fold: load the checkpoint as a classifier, train it, and predict the labels of the test clips."""

from pathlib import Path

import datasets
import numpy as np
import torch
from transformers import TrainerCallback, TrainingArguments, set_seed

from modeling_audio_branch import AudioBranchConfig, AudioBranchFeatureExtractor, AudioBranchForAudioClassification
from recipes.emotion.collator import Collator, make_dataset
from recipes.emotion.metrics import classification_metrics
from recipes.emotion.recordings import DataError, Recording
from recipes.emotion.resume import last_checkpoint
from recipes.emotion.settings import TrainingSettings
from recipes.emotion.splits import Splits
from recipes.emotion.trainer import DISTRIBUTED_ARGUMENTS, SpeechTrainer, UnfreezeEncoderCallback, layer_groups

LORA_TARGETS = r".*\.encoder\..*\.(qkv_proj|o_proj)"
TRAINED_WITH_LORA = ["audio_branch.pooling", "audio_branch.projection", "classifier"]


def train_fold(splits: Splits, labels: list[str], seed: int, settings: TrainingSettings, output: Path) -> np.ndarray:
    """Trains on one fold and saves the model to `output`; returns the predicted label numbers (N,) of the test clips.

    Trainer's checkpoints are in `output`/training. If there are any, the training continues from the last one.
    """
    set_seed(seed)
    model = load_classifier(labels, settings)
    rate = model.config.sample_rate
    extractor = AudioBranchFeatureExtractor.from_model(model)
    model, callbacks = freeze_or_adapt(model, settings)
    trainer = SpeechTrainer(
        model,
        training_arguments(output / "training", seed, settings),
        Collator(rate),
        train_dataset=make_dataset(splits.train, labels, rate, settings.augment),
        eval_dataset=make_dataset(splits.validation, labels, rate),
        processing_class=extractor,
        compute_metrics=lambda result: classification_metrics(result.label_ids, result.predictions.argmax(-1)),
        callbacks=callbacks,
        class_weights=inverse_frequencies(splits.train, labels) if settings.class_weights else None,
        layer_decay=settings.layer_decay,
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(output / "training"))
    predictions = predict(trainer, make_dataset(splits.test, labels, rate))
    trained = model.merge_and_unload() if settings.lora else model
    if trainer.is_world_process_zero():
        trained.save_pretrained(output)
        extractor.save_pretrained(output)
    return predictions


def load_classifier(labels: list[str], settings: TrainingSettings) -> AudioBranchForAudioClassification:
    """A classifier of these labels with the weights of the checkpoint.

    Raises:
        DataError: The checkpoint can't be loaded, or can't be trained with these settings.
    """
    changes = {
        "id2label": dict(enumerate(labels)),
        "label2id": {name: index for index, name in enumerate(labels)},
        "apply_spec_augment": settings.spec_augment,
    }
    name = settings.checkpoint
    try:
        # A new configuration passes apply_spec_augment on to another library's encoder, which may refuse it.
        config = AudioBranchConfig.from_dict(AudioBranchConfig.from_pretrained(name).to_dict() | changes)
        model = AudioBranchForAudioClassification.from_pretrained(name, config=config, ignore_mismatched_sizes=True)
        layer_groups(model, 1.0, settings.layer_decay, 0.0)  # refuses an encoder whose layers are unknown
    except (OSError, ValueError) as error:
        raise DataError(f"{name} can't be loaded: {' '.join(str(error).split())}") from error
    if config.encoder_config and settings.lora:
        raise DataError(
            "--lora supports only Audio Branch's own encoder; for others, use peft as docs/fine-tuning.md shows."
        )
    if config.encoder_config and settings.spec_augment and settings.freeze_epochs < 0:
        raise DataError(
            "--spec-augment has no effect on another library's encoder that stays frozen; leave one of the two out."
        )
    return model


def freeze_or_adapt(model, settings: TrainingSettings) -> tuple[torch.nn.Module, list[TrainerCallback]]:
    """The model, wrapped by peft for LoRA, with its encoder frozen as the settings say, and the callbacks for that."""
    if settings.lora:
        from peft import LoraConfig, get_peft_model

        model.freeze("encoder")  # for the whole training: only its adapters learn
        lora = LoraConfig(target_modules=LORA_TARGETS, modules_to_save=TRAINED_WITH_LORA)
        return get_peft_model(model, lora), []
    if settings.freeze_epochs < 0:
        model.freeze("encoder")
    elif settings.freeze_epochs > 0:
        return model, [UnfreezeEncoderCallback(model, settings.freeze_epochs)]
    return model, []


def inverse_frequencies(recordings: list[Recording], labels: list[str]) -> torch.Tensor:
    """(number of labels,) weights with a mean of 1 over the recordings."""
    counts = np.bincount([labels.index(recording.label) for recording in recordings], minlength=len(labels))
    return torch.tensor(len(recordings) / (len(labels) * counts), dtype=torch.float32)


def training_arguments(folder: Path, seed: int, settings: TrainingSettings) -> TrainingArguments:
    """Trainer's arguments: it keeps the epoch with the best unweighted accuracy on the validation clips."""
    return TrainingArguments(
        str(folder),
        num_train_epochs=settings.epochs,
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulate,
        gradient_checkpointing=settings.checkpointing,
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
        **DISTRIBUTED_ARGUMENTS,
        label_names=["labels"],
        report_to="none",
        seed=seed,
        use_cpu=not torch.cuda.is_available(),
    )


def predict(trainer: SpeechTrainer, dataset: datasets.Dataset) -> np.ndarray:
    """The predicted label numbers (N,), in the order of the data set."""
    trainer.args.train_sampling_strategy = "random"  # grouping by length would shuffle the evaluation, too
    result = trainer.predict(dataset)
    if result.label_ids.tolist() != dataset["labels"][:]:
        raise RuntimeError("Trainer returned the predictions in another order than that of the test clips.")
    return result.predictions.argmax(-1)
