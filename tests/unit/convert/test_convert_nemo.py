"""`AudioBranchModel.from_nemo`."""

from transformers.utils import logging

from helpers.nemo_archives import NEMO
from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchModel


def test_the_new_parts_are_said_to_be_random(caplog):
    logging.enable_propagation()
    AudioBranchModel.from_nemo(NEMO / "fc_local4/model.nemo", pooling_type="max", num_segments=3)
    logging.disable_propagation()
    assert "they are new and random" in caplog.text


def test_the_extractor_of_a_model_has_the_models_settings():
    model = AudioBranchModel.from_nemo(NEMO / "nest_post_conv/model.nemo")
    extractor = AudioBranchFeatureExtractor.from_model(model)
    assert extractor.normalize == model.config.normalize and extractor.custom_mel_filters is None
