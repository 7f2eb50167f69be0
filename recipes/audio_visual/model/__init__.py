"""What ships with an audio-visual checkpoint. Importing it makes the Auto classes know its classes."""

from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoProcessor

from .configuration_audio_visual import AudioVisualConfig
from .modeling_audio_visual import AudioVisualForClassification, AudioVisualOutput
from .processing_audio_visual import AudioVisualProcessor

__all__ = ["AudioVisualConfig", "AudioVisualForClassification", "AudioVisualOutput", "AudioVisualProcessor"]

AutoConfig.register("audio_visual", AudioVisualConfig, exist_ok=True)
AutoModel.register(AudioVisualConfig, AudioVisualForClassification, exist_ok=True)
AutoModelForVideoClassification.register(AudioVisualConfig, AudioVisualForClassification, exist_ok=True)
AutoProcessor.register(AudioVisualConfig, AudioVisualProcessor, exist_ok=True)
