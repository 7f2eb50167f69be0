"""Transformers' own test mixins on our classes: those of this package, and those that a checkpoint ships.

`make test-upstream` runs them. helpers/upstream_tests.py fetches the mixins, and prints the folder that PYTHONPATH must
name. pytest's import mode must not be importlib, which takes our folder `tests` for the package `tests` of the mixins.
PipelineTesterMixin is left out: it tests tiny models of the Hub, from a list that the source distribution lacks.
"""

import copy
import os
import sys
import tempfile
import types
import unittest
from contextlib import nullcontext

import pytest
import torch
from transformers import dynamic_module_utils
from transformers.models.auto import modeling_auto

import modeling_audio_branch as package
from helpers.models import tiny_config

pytestmark = pytest.mark.upstream

BATCH, FRAMES = 3, 24
ARCHITECTURES = {
    "Rotary": {},
    "Relative": {
        "position_embedding": "relative",
        "subsampling_factor": 2,
        "conv_norm": "batch",
        "use_weighted_layer_sum": True,
    },
}


def stand_in(name, **members):
    """Puts a module into the place of one that the mixins import and the source distribution lacks."""
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(members)


stand_in("tests.exporters.test_export", ExportTesterMixin=type("ExportTesterMixin", (), {}))
stand_in("tests.generation.test_utils", GenerationTesterMixin=type("GenerationTesterMixin", (), {}))
settings = {"return_dict": False, "output_hidden_states": True, "dtype": "float16", "problem_type": "regression"}
stand_in("tests.utils.test_configuration_utils", config_common_kwargs=settings)

import tests.test_modeling_common as upstream  # noqa: E402
from parameterized import parameterized  # noqa: E402
from tests.test_configuration_common import ConfigTester  # noqa: E402
from tests.test_sequence_feature_extraction_common import SequenceFeatureExtractionTestMixin  # noqa: E402

# The mixins know what a model is for by these names.
modeling_auto.MODEL_MAPPING_NAMES["audio_branch"] = "AudioBranchModel"
modeling_auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES["audio_branch"] = "AudioBranchForAudioClassification"


def remote_classes():
    """The package's classes, loaded from the code in a checkpoint."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = os.path.join(temporary, "audio_branch_tiny")  # the name that Transformers caches the code under
        package.AudioBranchForAudioClassification(tiny_config()).save_pretrained(folder)
        package.AudioBranchFeatureExtractor().save_pretrained(folder)
        references = [
            "configuration_audio_branch.AudioBranchConfig",
            "feature_extraction.AudioBranchFeatureExtractor",
            "modeling_audio_branch.AudioBranchModel",
            "modeling_audio_branch.AudioBranchForAudioClassification",
        ]
        classes = [dynamic_module_utils.get_class_from_dynamic_module(name, folder) for name in references]
    return types.SimpleNamespace(**{each.__name__: each for each in classes})


class ModelTester:
    """What the mixins need of a model: a tiny configuration and its inputs."""

    batch_size = BATCH
    is_training = True

    def __init__(self, config_class, choices):
        # Features wide enough that the mean of the classifier's weights is near 0, as a mixin test asks.
        self.config = config_class.from_dict(tiny_config(feature_dim=64, **choices).to_dict())
        self.seq_length = -(-FRAMES // self.config.subsampling_factor)
        self.hidden_size = self.config.d_model
        self.num_hidden_layers = self.config.num_layers
        self.num_attention_heads = self.config.num_heads

    def prepare_config_and_inputs_for_common(self):
        input_features = upstream.floats_tensor((BATCH, FRAMES, self.config.n_mels))
        lengths = torch.tensor([FRAMES - 5, FRAMES, FRAMES - 11], device=input_features.device)
        attention_mask = torch.arange(FRAMES, device=input_features.device) < lengths[:, None]
        return copy.deepcopy(self.config), {"input_features": input_features, "attention_mask": attention_mask.long()}


def model_tests(classes, choices):
    class ModelTest(upstream.ModelTesterMixin, unittest.TestCase):
        all_model_classes = (classes.AudioBranchModel, classes.AudioBranchForAudioClassification)
        test_resize_embeddings = False
        test_can_init_all_missing_weights_before_2023 = True  # don't skip: our files have no year for it to find

        def setUp(self):
            self.model_tester = ModelTester(classes.AudioBranchConfig, choices)

        def test_config(self):
            ConfigTester(self, classes.AudioBranchConfig, has_text_modality=False, feature_dim=12).run_common_tests()

        @parameterized.expand(upstream.TEST_EAGER_MATCHES_SDPA_INFERENCE_PARAMETERIZATION)
        def test_eager_matches_sdpa_inference(self, name, dtype, padding_side, *options):
            # The mixin also pads on the left, which our models refuse: there, see that they do.
            left_mask = padding_side == "left" and options[0]
            with self.assertRaisesRegex(ValueError, "pad on the right") if left_mask else nullcontext():
                upstream._test_eager_matches_sdpa_inference(self, name, dtype, padding_side, *options)

        def test_model_get_set_embeddings(self):
            # The mixin expects a table of tokens; ours is a linear layer on mel bins.
            for model_class in self.all_model_classes:
                model = model_class(self.model_tester.config)
                self.assertIsInstance(model.get_input_embeddings(), torch.nn.Linear)
                self.assertIsNone(model.get_output_embeddings())

    return ModelTest


def extractor_tests(classes):
    class ExtractorTest(SequenceFeatureExtractionTestMixin, unittest.TestCase):
        feature_extraction_class = classes.AudioBranchFeatureExtractor
        feature_size, batch_size = 20, BATCH
        min_seq_length, seq_length_diff, max_seq_length = 10, 15, 25  # the mixin takes max + diff for the longest

        def setUp(self):
            self.feat_extract_tester = self

        def prepare_feat_extract_dict(self):
            return {"feature_size": self.feature_size, "padding_value": 0.5, "n_fft": 1024, "hop_length": 100}

        def prepare_inputs_for_common(self, equal_length=False, numpify=False):
            """Frames (T, M) of clips, short to long: what the mixin pads and truncates is not audio."""
            lengths = [25] * BATCH if equal_length else [10, 25, 40]
            clips = [upstream.floats_tensor((length, self.feature_size)) for length in lengths]
            return [clip.numpy() if numpify else clip.tolist() for clip in clips]

    return ExtractorTest


for origin, classes in {"Package": package, "Remote": remote_classes()}.items():
    for architecture, choices in ARCHITECTURES.items():
        globals()[f"Test{origin}{architecture}"] = model_tests(classes, choices)
    globals()[f"Test{origin}Extractor"] = extractor_tests(classes)
