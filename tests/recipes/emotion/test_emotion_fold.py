"""recipes/emotion/fold.py: the options reach another library's encoder, or are refused."""

import pytest
from huggingface_hub.errors import StrictDataclassFieldValidationError

from recipes.emotion.fold import load_classifier
from recipes.emotion.recordings import DataError
from recipes.emotion.settings import TrainingSettings


def test_options_reach_other_encoders_or_are_refused(wav2vec2):
    for asked in (True, False):
        settings = TrainingSettings(str(wav2vec2), spec_augment=asked)
        model = load_classifier(["a", "b", "c"], settings)
        assert model.audio_branch.encoder.model.config.apply_spec_augment is asked
        assert model.classifier.out_features == 3
    for wrong, sentence in (({"lora": True}, "--lora supports only"), ({"freeze_epochs": -1.0}, "stays frozen")):
        with pytest.raises(DataError, match=sentence):
            load_classifier(["a", "b"], TrainingSettings(str(wav2vec2), spec_augment=True, **wrong))


def test_a_setting_of_another_type_is_refused():
    with pytest.raises(StrictDataclassFieldValidationError, match="batch_size"):
        TrainingSettings("checkpoint", batch_size="16")
