"""Configuration of Audio Branch: all settings of the network and its front end, checked on construction.

AutoModel remembers the model class of a configuration class. Transformers keeps the configuration classes of two
folders apart by a hash of this file and of all files that its text seems to import. With the next line, the hash covers
the model's code:

    from .modeling_audio_branch import AudioBranchModel
"""

import copy
import difflib
from dataclasses import dataclass, fields
from typing import Literal

import torch
import transformers
from huggingface_hub.dataclasses import strict
from transformers import CONFIG_MAPPING, FEATURE_EXTRACTOR_MAPPING, AutoConfig, PreTrainedConfig

from .configuration_checks import check_other_settings, check_settings, shown
from .sentence_transformers_files import save_sentence_transformers_files

AUTO_MAP = {
    "AutoConfig": "configuration_audio_branch.AudioBranchConfig",
    "AutoFeatureExtractor": "feature_extraction.AudioBranchFeatureExtractor",
    "AutoModel": "modeling_audio_branch.AudioBranchModel",
    "AutoModelForAudioClassification": "modeling_audio_branch.AudioBranchForAudioClassification",
}
CUSTOM_PIPELINES = {
    "audio-segment-embedding": {"impl": "pipeline_audio_branch.AudioSegmentEmbeddingPipeline", "pt": ["AutoModel"]},
    "feature-extraction": {"impl": "pipeline_audio_branch.AudioFeatureExtractionPipeline", "pt": ["AutoModel"]},
    "audio-classification": {
        "impl": "pipeline_audio_branch.AudioBranchClassificationPipeline",
        "pt": ["AutoModelForAudioClassification"],
    },
}


def _default_extractor(encoder: PreTrainedConfig) -> dict:
    """Settings of the feature extractor that Transformers pairs with this type of encoder, in the encoder's sizes."""
    sizes = {}
    if encoder.model_type == "wav2vec2-bert":  # the mapping has the extractor of wav2vec2, which no checkpoint uses
        return transformers.SeamlessM4TFeatureExtractor().to_dict()
    if type(encoder) not in FEATURE_EXTRACTOR_MAPPING:
        raise ValueError(
            f"Transformers has no feature extractor for encoder_config of the model_type {shown(encoder.model_type)}; "
            f"give encoder_extractor=extractor.to_dict()."
        )
    if encoder.model_type == "whisper":
        sizes = {"feature_size": encoder.num_mel_bins, "chunk_length": encoder.max_source_positions // 50}  # seconds
    elif encoder.model_type == "parakeet_encoder":
        sizes = {"feature_size": encoder.num_mel_bins}
    elif encoder.model_type == "audio-spectrogram-transformer":
        sizes = {"num_mel_bins": encoder.num_mel_bins, "max_length": encoder.max_length}
    return FEATURE_EXTRACTOR_MAPPING[type(encoder)](**sizes).to_dict()


@dataclass
class LogMelSettings:
    """Settings of the log-mel spectrogram, which the configuration, the feature extractor and [`LogMel`] share.

    Args:
        n_fft: FFT size in samples, even and at least `win_length`.
        hop_length: Samples from one log-mel frame to the next.
        win_length: Samples under the (symmetric Hann) window of a frame.
        preemphasis: Part of the previous sample that is subtracted from each sample; 0 is off.
        mag_power: Power of the magnitude spectrum before the mel filters.
        log_zero_guard_type: Before the logarithm, `add` log_zero_guard_value, or `clamp` to it.
        log_zero_guard_value: See `log_zero_guard_type`.
        normalize: Bring each clip's frames to zero mean and unit variance, `per_feature` (mel bin) or over
            `all_features`; by the `fixed` normalize_mean and normalize_deviation; or `none`.
        normalize_mean: With `fixed`, the mean of each mel bin.
        normalize_deviation: With `fixed`, the standard deviation of each mel bin.
    """

    n_fft: int = 512
    hop_length: int = 160
    win_length: int = 400
    preemphasis: float | int = 0.97
    mag_power: float | int = 2.0
    log_zero_guard_type: Literal["add", "clamp"] = "add"
    log_zero_guard_value: float = 2.0**-24
    normalize: Literal["per_feature", "all_features", "fixed", "none"] = "per_feature"
    normalize_mean: list[float] | None = None
    normalize_deviation: list[float] | None = None


def log_mel_settings(owner) -> LogMelSettings:
    """The log-mel settings of a configuration or of a feature extractor."""
    return LogMelSettings(**{field.name: getattr(owner, field.name) for field in fields(LogMelSettings)})


@strict
class AudioBranchConfig(LogMelSettings, PreTrainedConfig):
    """Configuration of [`AudioBranchModel`] and [`AudioBranchForAudioClassification`].

    Frames are log-mel frames, one per `hop_length` samples. Encoder frames are named so; there is one per
    `subsampling_factor` log-mel frames.

    The settings of the log-mel spectrogram (`n_fft` to `normalize_deviation`) are those of [`LogMelSettings`].

    Args:
        feature_dim: Size of each segment feature.
        num_layers: Number of Conformer layers.
        d_model: Width of the encoder.
        num_heads: Attention heads, in the encoder and in attention pooling; must divide `d_model`.
        num_segments: Segments per clip, whatever its length.
        pooling_type: How the frames of a segment become one vector: `attention`, `max`, `avg` or `learnable`.
        segmentation: Where a clip is cut into segments: `uniform`, at equal times, or `learned`, where a learned mass
            of its frames has passed, so that silence and noise move no border ([`LearnedSegmentation`]; with the
            poolings `attention` and `avg`).
        use_temporal_encoding: Add a learned vector to each segment that tells the first from the last.
        dropout: Dropout probability everywhere it is used, in [0, 1).
        sample_rate: Sampling rate of the audio in Hz.
        n_mels: Mel bins.
        freeze_encoder: Build the model with its encoder frozen (see [`AudioBranchModel.freeze`]).
        encoder_config: Configuration (or its dictionary) of another Transformers model, which replaces our own encoder
            and front end. `d_model`, `num_layers` and `sample_rate` then follow it, `num_heads` counts heads of pooling
            only, and the settings of our front end, subsampling, attention and layers have no effect.
        encoder_extractor: Settings (`to_dict()`) of the feature extractor that belongs to `encoder_config`; by default
            those of the feature extractor that Transformers maps to that type of model.
        subsampling: `none` (a linear layer), `striding` (full convolutions) or `dw_striding` (depthwise separable).
        subsampling_factor: Log-mel frames per encoder frame: 1 with `none`, else 2, 4 or 8.
        subsampling_channels: Channels of the subsampling convolutions.
        position_embedding: `relative` (Transformer-XL), `rotary` or `none`.
        causal_subsampling: Pad the convolutions of the subsampling on the left only (also in frequency, as NeMo does).
        attention_window: Encoder frames that a frame sees on each side, or [left, right], where -1 is all; None is full
            attention.
        attention_chunked: Apply the window in chunks of right + 1 frames: a frame sees its own whole chunk and the
            whole chunks within the `left` frames before it (NeMo's `chunked_limited`).
        global_attention: With `shared` or `separate`, all frames see the first frame and it sees all frames, in
            addition to the window, through the window's projections or its own (Longformer). Or `none`.
        ff_expansion_factor: Width of the feed-forward layers over `d_model`.
        conv_kernel_size: Kernel of the depthwise convolution in encoder frames, odd.
        conv_context: [before, after], the encoder frames on each side that the depthwise convolution sees; None is half
            the kernel on each side.
        conv_norm: Norm of the convolution module: `batch` or `layer`.
        use_bias: Biases in the feed-forward, attention and convolution layers.
        scale_input: Multiply the subsampled input by sqrt(d_model).
        use_weighted_layer_sum: Pool a learned weighted sum of the first layer's input and of every layer's output, in
            place of the last output alone.
        apply_spec_augment: In training, mask random spans of frames and of mel bins (SpecAugment). With an
            `encoder_config`, that encoder's own SpecAugment with its own settings.
        num_time_masks: Masked spans of frames.
        time_mask_ratio: Longest masked span, as a part of the clip.
        num_freq_masks: Masked spans of mel bins.
        freq_mask_width: Longest masked span in mel bins.
        embedding_output: The output that tools which want one vector of a clip take (sentence-transformers, MTEB):
            `pooler_output`, or `sequence_embedding` where the order of the segments matters. With `segment_features`
            the checkpoint is one of several vectors (a `MultiVectorEncoder`).
        trim_top_db: `encode` cuts off what is before and after the sound of a clip: all frames of 20 ms that are more
            than this below its loud frames, in dB. None cuts nothing. Spans, windows, clips of over two minutes and
            sounds of under 0.1 s are left as they are, and so is everything outside `encode`: the feature extractor,
            pipelines, exported models.
    """

    model_type = "audio_branch"
    attribute_map = {
        "hidden_size": "d_model",
        "num_hidden_layers": "num_layers",
        "num_attention_heads": "num_heads",
        "sampling_rate": "sample_rate",
        "num_mel_bins": "n_mels",
    }
    keys_to_ignore_at_inference = ["hidden_states", "attentions", "pooling_attentions"]

    feature_dim: int = 512
    num_layers: int = 4
    d_model: int = 512
    num_heads: int = 8
    num_segments: int = 8
    pooling_type: Literal["attention", "max", "avg", "learnable"] = "attention"
    segmentation: Literal["uniform", "learned"] = "uniform"
    use_temporal_encoding: bool = True
    dropout: float | int = 0.1
    sample_rate: int = 16000
    n_mels: int = 80
    freeze_encoder: bool = False
    encoder_config: dict | PreTrainedConfig | None = None
    encoder_extractor: dict | None = None
    subsampling: Literal["none", "striding", "dw_striding"] = "none"
    subsampling_factor: int = 1
    subsampling_channels: int = 256
    causal_subsampling: bool = False
    position_embedding: Literal["relative", "rotary", "none"] = "rotary"
    attention_window: int | list[int] | None = None
    attention_chunked: bool = False
    global_attention: Literal["none", "shared", "separate"] = "none"
    ff_expansion_factor: int = 4
    conv_kernel_size: int = 31
    conv_context: list[int] | None = None
    conv_norm: Literal["batch", "layer"] = "layer"
    use_bias: bool = True
    scale_input: bool = False
    use_weighted_layer_sum: bool = False
    apply_spec_augment: bool = False
    num_time_masks: int = 2
    time_mask_ratio: float | int = 0.05
    num_freq_masks: int = 2
    freq_mask_width: int = 27
    embedding_output: Literal["pooler_output", "sequence_embedding", "segment_features"] = "pooler_output"
    trim_top_db: float | int | None = None

    def __post_init__(self, **kwargs):
        known = [*type(self).__dataclass_fields__, *self.attribute_map]
        for name in sorted(kwargs.keys() - set(known)):
            if close := difflib.get_close_matches(name, known, n=1, cutoff=0.85):
                raise ValueError(f"AudioBranchConfig has no setting {name!r}; did you mean {close[0]!r}?")
        check_other_settings(type(self), kwargs)
        if self.encoder_config is not None:
            self._follow_encoder()
        try:
            super().__post_init__(**kwargs)
        except (AttributeError, TypeError) as error:  # of dtype, id2label and others, which it does not check
            raise ValueError(
                f"The configuration has a setting that Transformers does not take ({str(error)!a:.200})."
            ) from error
        if not isinstance(self.dtype, torch.dtype | None):
            raise ValueError(f"dtype={shown(self.dtype)} is impossible: give the name of a dtype of torch, or None.")
        # Always the full maps, so that a classification checkpoint opens with AutoModel, and an embedding checkpoint
        # with AutoModelForAudioClassification.
        self.auto_map = AUTO_MAP | (kwargs.get("auto_map") or {})
        self.custom_pipelines = copy.deepcopy(CUSTOM_PIPELINES) | (kwargs.get("custom_pipelines") or {})

    def _follow_encoder(self):
        """Makes objects of `encoder_config` and `encoder_extractor`, and takes over the settings that they decide."""
        encoder = self.encoder_config = copy.deepcopy(self.encoder_config)
        if isinstance(encoder, dict) and encoder.get("model_type") in CONFIG_MAPPING:
            encoder = self.encoder_config = AutoConfig.for_model(**encoder)
        if isinstance(encoder, dict):  # an encoder with remote code, which only the model may run
            if "auto_map" not in encoder or self.encoder_extractor is None:
                raise ValueError(
                    f"encoder_config has the model_type {shown(encoder.get('model_type'))}, which Transformers does "
                    f"not know; use AudioBranchModel.from_encoder(repository, trust_remote_code=True)."
                )
            encoder["apply_spec_augment"] = self.apply_spec_augment
        else:
            self.d_model = getattr(encoder, "hidden_size", None)
            self.num_layers = getattr(encoder, "num_hidden_layers", None)
            if self.d_model is None or self.num_layers is None:
                raise ValueError(
                    f"encoder_config of the model_type {shown(encoder.model_type)} has no hidden_size and "
                    f"num_hidden_layers; give the configuration of an audio encoder."
                )
            if getattr(encoder, "add_adapter", False):
                self.d_model = encoder.output_hidden_size
            # In training, layers that are skipped at random leave parameters without a gradient, which stops
            # data-parallel training, and leave holes in the weighted sum of layers.
            for name in ("layerdrop", "encoder_layerdrop"):
                if hasattr(encoder, name):
                    setattr(encoder, name, 0.0)
            augments = hasattr(encoder, "apply_spec_augment") and not encoder.is_encoder_decoder
            if augments:
                encoder.apply_spec_augment = self.apply_spec_augment
            elif self.apply_spec_augment:
                raise ValueError(
                    f"apply_spec_augment=True is impossible with encoder_config: {encoder.model_type} has no "
                    f"SpecAugment of its own."
                )
            if self.use_weighted_layer_sum and getattr(encoder, "add_adapter", False):
                raise ValueError(
                    "use_weighted_layer_sum=True is impossible with an encoder_config that has add_adapter=True: the "
                    "adapter's frames are fewer than the layers'."
                )
            if self.encoder_extractor is None:
                self.encoder_extractor = _default_extractor(encoder)
        if not self.encoder_extractor.get("sampling_rate"):
            raise ValueError("encoder_extractor has no sampling_rate; give extractor.to_dict().")
        self.sample_rate = self.encoder_extractor["sampling_rate"]

    @property
    def sub_configs(self) -> dict:
        """Nested configurations, which Transformers also gives the dtype and the attention implementation."""
        return {"encoder_config": AutoConfig} if isinstance(self.encoder_config, PreTrainedConfig) else {}

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        try:
            return super().from_pretrained(*args, **kwargs)
        except RecursionError as error:
            raise ValueError("The configuration has too many levels; give the config.json of Audio Branch.") from error

    @classmethod
    def lightweight(cls, **overrides) -> "AudioBranchConfig":
        """25.6 M parameters: 4 layers at the log-mel frame rate, rotary positions. The published original design."""
        return cls(**overrides)

    @classmethod
    def large(cls, **overrides) -> "AudioBranchConfig":
        """About 110 M parameters: 17 layers at 80 ms per frame, the geometry of NeMo's FastConformer-Large."""
        geometry = {
            "num_layers": 17,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "position_embedding": "relative",
            "conv_kernel_size": 9,
            "conv_norm": "batch",
            "scale_input": True,
        }
        return cls(**(geometry | overrides))

    @property
    def attention_context(self) -> tuple[int, int]:
        """Encoder frames that a frame sees to its left and right; -1 is all."""
        window = self.attention_window
        if window is None:
            return -1, -1
        return tuple(window) if isinstance(window, list) else (window, window)

    @property
    def projection_dim(self) -> int:
        """Size of the vector that `embedding_output` names. Sentence-transformers asks for it by this name."""
        return self.feature_dim * (self.num_segments if self.embedding_output == "sequence_embedding" else 1)

    @property
    def frame_rate(self) -> float:
        """Encoder frames per second (Hz)."""
        return self.sample_rate / (self.hop_length * self.subsampling_factor)

    def save_pretrained(self, save_directory, *args, **kwargs):
        super().save_pretrained(save_directory, *args, **kwargs)
        save_sentence_transformers_files(self, save_directory)  # here, so that every way to save a model writes them

    def to_dict(self):
        # Always the plain names, since the code is saved with the weights again. Loading prefixes the names with their
        # repository, and pipelines replace them by classes.
        return super().to_dict() | copy.deepcopy({"auto_map": AUTO_MAP, "custom_pipelines": CUSTOM_PIPELINES})

    def validate_settings(self):
        check_settings(self)


AudioBranchConfig.register_for_auto_class()
