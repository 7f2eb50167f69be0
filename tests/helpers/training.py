"""A classifier of tones, trained in seconds."""

import torch
from transformers import (
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from helpers.models import tiny_config
from modeling_audio_branch import (
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
)

PROBLEMS = ["single_label_classification", "multi_label_classification", "regression"]


def labels_for(problem_type, count):
    """Labels of 3 classes for a type of problem."""
    if problem_type == "single_label_classification":
        return torch.arange(count) % 3
    labels = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    return (labels > 0).long() if problem_type == "multi_label_classification" else labels


def tones(extractor, count, seed=0):
    """Rows of features of tones of 0.2 to 1 s, labelled by their pitch."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for i in range(count):
        length = int(torch.randint(3200, 16000, (), generator=generator))
        phase, volume = torch.rand(2, generator=generator)
        tone = volume * torch.sin(2 * torch.pi * ((300, 900, 2700)[i % 3] * torch.arange(length) / 16000 + phase))
        features = extractor(tone, sampling_rate=16000)
        rows.append({name: value[0] for name, value in features.items()} | {"labels": i % 3})
    return rows


def make_trainer(folder, **arguments):
    torch.manual_seed(0)
    config = tiny_config(
        num_labels=3, d_model=32, feature_dim=32, n_mels=80, subsampling_factor=4, subsampling_channels=16
    )
    extractor = AudioBranchFeatureExtractor.from_model_config(config)
    defaults = {"max_steps": 20, "per_device_train_batch_size": 16, "learning_rate": 1e-3, "logging_steps": 1}
    defaults |= {"report_to": "none", "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"}
    return Trainer(
        model=AudioBranchForAudioClassification(config),
        args=TrainingArguments(output_dir=str(folder), **(defaults | arguments)),
        train_dataset=tones(extractor, 96),
        eval_dataset=tones(extractor, 24, seed=1),
        data_collator=DataCollatorWithPadding(extractor),
        processing_class=extractor,
        compute_metrics=lambda prediction: {
            "accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())
        },
    )
