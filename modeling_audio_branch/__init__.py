"""Audio Branch: raw audio to a few segment embeddings. Importing it makes the Auto classes know its classes."""

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
)
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_audio_branch import AudioBranchConfig
from .feature_extraction import AudioBranchFeatureExtractor
from .modeling_audio_branch import (
    AudioBranchForAudioClassification,
    AudioBranchModel,
    AudioBranchOutput,
    AudioBranchPreTrainedModel,
)
from .pipeline_audio_branch import (
    AudioBranchClassificationPipeline,
    AudioFeatureExtractionPipeline,
    AudioSegmentEmbeddingPipeline,
)

__version__ = "0.1.0"
__all__ = [
    "AudioBranchClassificationPipeline",
    "AudioBranchConfig",
    "AudioBranchFeatureExtractor",
    "AudioBranchForAudioClassification",
    "AudioBranchModel",
    "AudioBranchOutput",
    "AudioBranchPreTrainedModel",
    "AudioFeatureExtractionPipeline",
    "AudioSegmentEmbeddingPipeline",
]

AutoConfig.register("audio_branch", AudioBranchConfig, exist_ok=True)
AutoFeatureExtractor.register(AudioBranchConfig, AudioBranchFeatureExtractor, exist_ok=True)
AutoModel.register(AudioBranchConfig, AudioBranchModel, exist_ok=True)
AutoModelForAudioClassification.register(AudioBranchConfig, AudioBranchForAudioClassification, exist_ok=True)
if "audio-segment-embedding" not in PIPELINE_REGISTRY.get_supported_tasks():
    PIPELINE_REGISTRY.register_pipeline(
        "audio-segment-embedding", pipeline_class=AudioSegmentEmbeddingPipeline, pt_model=AutoModel
    )
