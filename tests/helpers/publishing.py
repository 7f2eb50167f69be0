"""Checkpoints and results that the tests of publishing share."""

from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchModel

from .models import make_model, tiny_config

RESULTS = {
    "dataset": {"name": "RAVDESS speech", "id": "alice/ravdess", "license": "cc-by-nc-sa-4.0", "language": ["en"]},
    "protocol": "6 speaker-disjoint folds",
    "folds": 6,
    "interval": "95 % bootstrap, clustered by speaker",
    "hardware": "2 CPU cores",
    "metrics": {"unweighted_accuracy": {"value": 0.71, "low": 0.66, "high": 0.75}},
    "training_data": {"name": "RAVDESS speech", "id": "alice/ravdess", "license": "cc-by-nc-sa-4.0"},
}


def save_checkpoint(folder, model_class=AudioBranchModel, **choices):
    """Saves a tiny model and its feature extractor to a folder, which is returned."""
    model = make_model(model_class, tiny_config(**choices))
    model.save_pretrained(folder)
    AudioBranchFeatureExtractor.from_model(model).save_pretrained(folder)
    return folder
