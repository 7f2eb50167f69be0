"""Configuration of the audio-visual classifier.

Transformers copies what the text of this file seems to import along with it. With the next line, that is all code:

    from .modeling_audio_visual import AudioVisualForClassification
"""

import copy
from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from modeling_audio_branch.configuration_audio_branch import AudioBranchConfig

from .shipped_code import save_code

AUTO_MAP = {
    "AutoConfig": "configuration_audio_visual.AudioVisualConfig",
    "AutoModel": "modeling_audio_visual.AudioVisualForClassification",
    "AutoModelForVideoClassification": "modeling_audio_visual.AudioVisualForClassification",
    "AutoProcessor": "processing_audio_visual.AudioVisualProcessor",
}


@strict
class AudioVisualConfig(PreTrainedConfig):
    """Configuration of [`AudioVisualForClassification`].

    Args:
        audio_config: [`AudioBranchConfig`] of the audio side, or its dictionary. It sets the number of segments.
        video_config: Configuration (or its dictionary) of an image encoder of Transformers (ViT, DINOv2, SigLIP's
            vision model), which sees one frame at a time, or of a video encoder (VideoMAE, TimeSformer), which sees all
            sampled frames of a segment together.
        fusion: `concat` (the means of both sides), `gated` (in each segment, one side against the other),
            `cross_attention` (each side looks at the segments of the other) or `liquid` (a closed-form continuous-time
            network over the segments, with their time steps; needs the package ncps).
        fusion_dim: Width of the fusion; both sides are projected to it.
        num_heads: Heads of `cross_attention`; must divide `fusion_dim`.
        frames_per_segment: Frames of each segment that an image encoder sees. With a video encoder, its own
            `num_frames`.
        video_pooling: How the frames of a segment become one vector: `attention`, `max`, `avg` or `learnable`.
        dropout: Dropout probability in the fusion and before the classifier, in [0, 1).
        modality_dropout: In training, the probability that a clip with both sides loses one of them, in [0, 1].
        freeze_audio: Build the model with its audio side frozen.
        freeze_video: Build the model with its image or video encoder frozen.
    """

    model_type = "audio_visual"
    keys_to_ignore_at_inference = [
        *("modality_weights", "segment_times", "visual_segment_times", "segment_mask", "modality_mask", "pooler_output")
    ]
    sub_configs = {"audio_config": AudioBranchConfig, "video_config": AutoConfig}

    audio_config: dict | PreTrainedConfig | None = None
    video_config: dict | PreTrainedConfig | None = None
    fusion: Literal["concat", "gated", "cross_attention", "liquid"] = "cross_attention"
    fusion_dim: int = 128
    num_heads: int = 4
    frames_per_segment: int = 4
    video_pooling: Literal["attention", "max", "avg", "learnable"] = "avg"
    dropout: float | int = 0.1
    modality_dropout: float | int = 0.0
    freeze_audio: bool = False
    freeze_video: bool = False

    def __post_init__(self, **kwargs):
        self.audio_config, self.video_config = copy.deepcopy((self.audio_config, self.video_config))
        if self.audio_config is None:
            self.audio_config = AudioBranchConfig()
        elif isinstance(self.audio_config, dict):
            self.audio_config = AudioBranchConfig.from_dict(self.audio_config)
        if self.video_config is None:
            self.video_config = AutoConfig.for_model("vit")
        elif isinstance(self.video_config, dict):
            if self.video_config.get("model_type") not in CONFIG_MAPPING:
                raise ValueError(
                    f"video_config has the model_type {self.video_config.get('model_type')!r:.40}, which Transformers "
                    f"does not know; give the configuration of an image or video encoder such as vit or videomae."
                )
            self.video_config = AutoConfig.for_model(**self.video_config)
        if self.sees_videos:
            self.frames_per_segment = self.video_config.num_frames
        super().__post_init__(**kwargs)
        self.auto_map = copy.deepcopy(AUTO_MAP)

    @property
    def num_segments(self) -> int:
        """Segments of a clip, on both sides."""
        return self.audio_config.num_segments

    @property
    def sees_videos(self) -> bool:
        """Whether the encoder takes several frames at a time."""
        return getattr(self.video_config, "num_frames", None) is not None

    def validate_settings(self):
        for name in ("fusion_dim", "num_heads", "frames_per_segment"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} was given; give a whole number of at least 1.")
        if self.fusion_dim % self.num_heads:
            raise ValueError(
                f"num_heads={self.num_heads} does not divide fusion_dim={self.fusion_dim}; give a number that does."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} was given; give a number from 0 to below 1.")
        if not 0 <= self.modality_dropout <= 1:
            raise ValueError(f"modality_dropout={self.modality_dropout} was given; give a number from 0 to 1.")
        if not isinstance(getattr(self.video_config, "hidden_size", None), int):
            raise ValueError(
                f"video_config of the model_type {self.video_config.model_type!r} has no hidden_size; give the "
                f"configuration of its vision encoder alone, such as config.vision_config."
            )

    def save_pretrained(self, save_directory, *args, **kwargs):
        super().save_pretrained(save_directory, *args, **kwargs)
        save_code(save_directory)  # here, so that every way to save a model writes the code

    def to_dict(self):
        # Plain names always: loading prefixes them with their repository, but the code is saved again with the weights.
        return super().to_dict() | {"auto_map": copy.deepcopy(AUTO_MAP)}
