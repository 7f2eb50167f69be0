"""Audio Branch: raw audio or log-mel frames to a few segment embeddings.

    raw audio (B, L) -> log-mel (B, T, M) -> Conformer (B, T', D) -> segment pooling (B, S, feature_dim)

B batch, L samples, T log-mel frames, T' encoder frames, M mel bins, D d_model, H heads, S segments.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple, logging
from transformers.utils.output_capturing import capture_outputs

from .attention import ConformerAttention
from .configuration_audio_branch import AudioBranchConfig
from .conformer import ConformerEncoder, ConformerLayer
from .disk import saving
from .encoding import EncodingMixin, input_device
from .freezing import FreezingMixin
from .front_end import make_front_end
from .inference import InferenceMixin
from .outputs import AnyOutput, AudioBranchOutput, sequence_embedding, times_of_segments
from .pooling import SegmentPooling
from .remote_code import allow_remote_code, hub_kwargs_in, save_remote_code, split_hub_kwargs
from .spans import find_spans, pool_spans
from .transformers_encoder import AttentionTap, HiddenStateTap, TransformersEncoder, build_from_encoder

if TYPE_CHECKING:  # never executed: saving then ships this file, which a checkpoint's users need
    from .pipeline_audio_branch import AudioSegmentEmbeddingPipeline  # noqa: F401
    from .segment_vectors import SegmentVectors  # noqa: F401

logger = logging.get_logger(__name__)


class AudioBranchPreTrainedModel(FreezingMixin, InferenceMixin, PreTrainedModel):
    """What both models share: initial weights, loading, saving, freezing, faster inference."""

    config: AudioBranchConfig
    base_model_prefix = "audio_branch"
    main_input_name = "input_features"
    input_modalities = ("audio",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["ConformerLayer"]
    _keep_in_fp32_modules_strict = ["log_mel"]
    _supports_sdpa = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {
        "hidden_states": [ConformerLayer, HiddenStateTap],
        "attentions": [ConformerAttention, AttentionTap],
    }

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            # Transformers' standard deviation of 0.02 fits one width only. He et al. (2015) keep the power of the
            # signal at any width; small models learn several times faster from it in their first steps.
            init.kaiming_normal_(module.weight, nonlinearity="relu")
            if hasattr(module, "initial_bias_std"):
                init.normal_(module.bias, std=module.initial_bias_std)
        elif hasattr(module, "init_parameters"):  # modules of ours know how their own parameters and buffers start
            module.init_parameters()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        if kwargs.get("tp_plan") is not None:
            raise ValueError("tp_plan is not supported: Audio Branch has no such plan; use device_map instead.")
        # An encoder with remote code has it in the same repository as this checkpoint.
        trusted = kwargs.get("trust_remote_code")
        with allow_remote_code(pretrained_model_name_or_path, trusted, **hub_kwargs_in(kwargs)):
            loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model._check_finite(pretrained_model_name_or_path)
        model._freeze_as_configured()  # loading replaces the frozen parameters by new ones, which train
        return loaded

    @torch.no_grad()
    def _check_finite(self, source):
        """Raises a ValueError that names the first weight with values that are NaN or infinite."""
        for name, value in [*self.named_parameters(), *self.named_buffers()]:
            if value.is_floating_point() and not value.is_meta and not value.float().sum().isfinite():
                if not value.isfinite().all():
                    raise ValueError(
                        f"{source} is damaged: its weight {name} has values that are NaN or infinite; give a whole one."
                    )

    def save_pretrained(self, save_directory, *args, push_to_hub: bool = False, **kwargs):
        self.config.validate()  # before anything is written: a setting changed by hand may be impossible to load
        remote_code = [*self.base_model.encoder.remote_code, *self.base_model.front_end.remote_code]
        if remote_code and push_to_hub:  # the upload would end before the code is written
            raise ValueError("push_to_hub=True leaves out the encoder's own code; use model.push_to_hub(repo_id).")
        # Transformers would give some encoders' weights (AST's) older names, which `from_pretrained` alone can read:
        # Trainer, which continues from such a folder, would silently leave them as they were.
        kwargs.setdefault("save_original_format", False)
        if kwargs.get("state_dict") is not None:  # which Transformers empties then, shard by shard
            kwargs["state_dict"] = dict(kwargs["state_dict"])
        with saving(save_directory):
            super().save_pretrained(save_directory, *args, push_to_hub=push_to_hub, **kwargs)
            save_remote_code(remote_code, save_directory)

    def get_input_embeddings(self) -> nn.Module:
        """The module whose output enters the encoder's layers (used by adapters with gradient checkpointing)."""
        return self.base_model.encoder.get_input_embeddings()

    def num_parameters_by_part(self) -> dict[str, int]:
        """Number of parameters of each part that has any, and their `total`."""
        counts = {}
        for name, parameter in self.base_model.named_parameters():
            part = name.split(".")[0]
            counts[part] = counts.get(part, 0) + parameter.numel()
        if self.base_model is not self:
            counts["classifier"] = sum(parameter.numel() for parameter in self.classifier.parameters())
        return counts | {"total": sum(counts.values())}


class AudioBranchModel(EncodingMixin, AudioBranchPreTrainedModel):
    """Segment features of audio. Takes raw audio as well as the log-mel frames of [`AudioBranchFeatureExtractor`]."""

    def __init__(self, config: AudioBranchConfig):
        super().__init__(config)
        self.front_end = make_front_end(config)
        if config.encoder_config:
            self.encoder = TransformersEncoder(config, self.front_end.adapter)
        else:
            self.encoder = ConformerEncoder(config)
        weighted = config.use_weighted_layer_sum
        self.layer_weights = nn.Parameter(torch.empty(config.num_layers + 1)) if weighted else None
        self.pooling = SegmentPooling(config)
        self.projection = nn.Sequential(
            nn.LayerNorm(config.d_model),
            nn.Linear(config.d_model, config.feature_dim),
            nn.GELU(),
            nn.Dropout(config.dropout),
        )
        self.post_init()
        self._freeze_as_configured()

    def init_parameters(self):
        if self.layer_weights is not None:
            init.zeros_(self.layer_weights)

    @classmethod
    def from_nemo(cls, path, **overrides) -> "AudioBranchModel":
        """The encoder and front end of an NVIDIA NeMo (Fast)Conformer checkpoint, exactly, without NeMo.

        Args:
            path: A .nemo archive.
            **overrides: Settings of [`AudioBranchConfig`] that the archive does not contain, such as `pooling_type`.

        Raises:
            ValueError, FileNotFoundError: One sentence on a setting that is not supported, on weights that don't fit,
                or on what is wrong with the archive.
        """
        try:  # a checkpoint's code must not require the package; imports in a try are not counted
            from modeling_audio_branch.convert.nemo import load_nemo
        except ImportError as error:
            raise ImportError("from_nemo needs the audio-branch package, not only a checkpoint's code.") from error
        return _warn_of_new_pooling(load_nemo(path, cls, **overrides), path)

    @classmethod
    def from_parakeet(cls, repository, **settings_and_hub_kwargs) -> "AudioBranchModel":
        """The encoder and front end of a Parakeet checkpoint in Transformers' format, as our own encoder.

        Args:
            repository: A Hub repository or a folder, such as nvidia/parakeet-ctc-1.1b.
            **settings_and_hub_kwargs: As in `from_encoder`.

        Raises:
            ValueError, OSError: As in `from_encoder`.
        """
        try:
            from modeling_audio_branch.convert.parakeet import load_parakeet
        except ImportError as error:
            raise ImportError("from_parakeet needs the audio-branch package, not only a checkpoint's code.") from error
        settings, hub_kwargs = split_hub_kwargs(settings_and_hub_kwargs)
        return _warn_of_new_pooling(load_parakeet(repository, cls, hub_kwargs, **settings), repository)

    @classmethod
    def from_encoder(
        cls,
        repository,
        feature_extractor=None,
        trust_remote_code: bool = False,
        max_seconds: int | None = None,
        **settings_and_hub_kwargs,
    ) -> "AudioBranchModel":
        """Segment pooling on another audio encoder of Transformers, with its weights and its feature extractor.

        Args:
            repository: A Hub repository or a folder with a model such as Wav2Vec2, HuBERT, WavLM, Wav2Vec2-BERT,
                Wav2Vec2-Conformer, Whisper (of which the encoder is taken), Parakeet or AST.
            feature_extractor: Transformers' feature extractor; by default the one in `repository`.
            trust_remote_code: Run the encoder's own code, if the repository holds any. It is saved with the model.
            max_seconds: For Whisper, which extends each clip to 30 s with silence: extend to so many whole seconds, at
                a cost in proportion. Longer clips are then an error. The features change a little, since Whisper was
                trained with the silence.
            **settings_and_hub_kwargs: Settings of [`AudioBranchConfig`], such as `pooling_type`, and `revision`,
                `token`, `cache_dir`, `local_files_only`, `force_download`.

        Raises:
            ValueError, OSError: One sentence on missing weights, or on what is not supported of the encoder.
        """
        settings, hub_kwargs = split_hub_kwargs(settings_and_hub_kwargs)
        model = build_from_encoder(
            cls, repository, feature_extractor, trust_remote_code, max_seconds, settings, hub_kwargs
        )
        return _warn_of_new_pooling(model, repository)

    @staticmethod
    def from_onnx(folder, file: str = "model.onnx"):
        """What `audio-branch export` wrote, with `encode` by onnxruntime or OpenVINO: an `OnnxModel`.

        Args:
            folder: Of the exported model.
            file: In it: model.onnx, model.xml (OpenVINO), or model_int8 in place of model.
        """
        try:
            from modeling_audio_branch.export.onnx_model import OnnxModel
        except ImportError as error:
            raise ImportError(
                "from_onnx needs the audio-branch package with its extra: audio-branch[export]."
            ) from error
        return OnnxModel(folder, file)

    @capture_outputs
    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_values: torch.Tensor | None = None,
        lengths: list[int] | None = None,
        spans: torch.Tensor | list | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> AnyOutput:
        """
        Args:
            input_features: Raw audio (B, L) at `config.sample_rate`, or what the feature extractor makes of it: log-mel
                frames (B, T, M).
            attention_mask: Its valid samples (B, L) or frames (B, T): ones, then zeros. None: all are valid.
            input_values: In place of `input_features`: raw audio (B, L), under the name that Transformers gives it.
                With an `encoder_config`, what its feature extractor makes under that name (wav2vec2's normalised
                waveform).
            lengths: The valid samples or frames of each clip, where they are known, so that no GPU has to be asked for
                them. They agree with the `attention_mask`, which may then be left out.
            spans: Start and end in seconds of the parts of each clip that are cut into segments in place of the whole,
                (B, N, 2), or B of (N, 2).

        Raises:
            ValueError, TypeError: One sentence about an input of the wrong shape or name.
        """
        if unknown := kwargs.keys() - TransformersKwargs.__annotations__.keys():
            names = ", ".join(sorted(unknown))
            raise TypeError(f"AudioBranchModel does not know {names}; give input_features and attention_mask.")
        if (input_features is None) == (input_values is None):
            raise ValueError("Give either input_features or input_values, and not both.")
        kwargs["output_attentions"] = bool(kwargs.get("output_attentions", self.config.output_attentions))

        inputs, frame_mask, lengths = self.front_end(input_features, input_values, attention_mask, lengths)
        seconds = frame_mask.sum(-1) * self.front_end.seconds_per_frame  # (B,)
        layer_weights = None if self.layer_weights is None else self.layer_weights.softmax(0)
        last_hidden_state, weighted_sum, frame_mask = self.encoder(
            inputs.to(self.dtype), frame_mask, layer_weights, lengths=lengths, **kwargs
        )  # (B, T', D), (B, T', D), (B, T')
        segments, pooling_attentions = self.pool_segments(weighted_sum, frame_mask, seconds, spans)
        return AudioBranchOutput(
            last_hidden_state=last_hidden_state,
            attention_mask=frame_mask.int(),
            pooling_attentions=pooling_attentions if kwargs["output_attentions"] else None,
            **segments,
        )

    def get_audio_features(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_values: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The output that `config.embedding_output` names, for input as `forward` takes it (Transformers' name)."""
        return self(input_features, attention_mask, input_values, return_dict=True)[self.config.embedding_output]

    def pool_segments(self, hidden_states, frame_mask, seconds, spans):
        """What the output says about segments, and the weights of the pooling (None for parts of clips).

        From encoder frames (B, T', D), their mask, the clips' durations (B,) and `spans` as `forward` takes them.
        """
        num_segments, found, weights = self.config.num_segments, None, None
        if spans is not None:
            frame_seconds = self.front_end.seconds_per_frame * self.config.subsampling_factor
            frame_seconds = None if self.config.encoder_config else frame_seconds
            found = find_spans(spans, seconds.tolist(), frame_mask.sum(-1).tolist(), frame_seconds)
        if found is None or found.are_clips:
            segments, weights, borders = self.pooling(hidden_states, frame_mask)  # (B, S, D), (B, H, S, T'), (B, S + 1)
        else:
            segments, borders = pool_spans(self.pooling, hidden_states, found.frames)  # (M, S, D), (M, S + 1)
        features = self.projection(segments)  # (B or M, S, feature_dim)
        if found is None:
            times = times_of_segments(torch.zeros_like(seconds), seconds, num_segments, borders)
            valid = frame_mask[:, 0]
        else:  # (B, N, S, .)
            times = times_of_segments(*found.borders(seconds.device), num_segments, borders)
            valid = found.are_valid(features.device)
            features, times, valid = (found.by_clip(each) for each in (features, times, valid))
        # Valid frames come first, so that all segments of a clip have one, or none has.
        mask = valid.unsqueeze(-1).expand(features.shape[:-1])
        features = features * mask.unsqueeze(-1)
        outputs = {"segment_features": features, "segment_mask": mask.int(), "segment_times": times}
        outputs["pooler_output"] = features.mean(-2)  # the masked mean: all segments of a span are valid, or none is
        return outputs | {"sequence_embedding": sequence_embedding(features)}, weights


def _warn_of_new_pooling(model, source):
    logger.warning(f"The segment pooling and the projection are not in {source}: they are new and random; train them.")
    return model


class AudioBranchForAudioClassification(AudioBranchPreTrainedModel):
    """A linear classifier (or regressor) on the mean of the segment features.

    `config.problem_type` chooses the loss: `single_label_classification` (labels (B,)), `multi_label_classification` or
    `regression` (labels (B, num_labels)).
    """

    accepts_loss_kwargs = False  # a mean over the batch: else Trainer's gradient accumulation would not divide it

    def __init__(self, config: AudioBranchConfig):
        super().__init__(config)
        self.audio_branch = AudioBranchModel(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.feature_dim, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        lengths: list[int] | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SequenceClassifierOutput:
        """`labels` as the class says; the rest as [`AudioBranchModel.forward`]. Gives `logits` (B, num_labels)."""
        output = self.audio_branch(input_features, attention_mask, input_values, lengths, **kwargs)
        logits = self.classifier(self.dropout(output.pooler_output))  # (B, num_labels)
        loss = None
        if labels is not None:
            if self.config.problem_type in ("multi_label_classification", "regression"):
                labels = labels.to(torch.float32)
            loss = self.loss_function(labels=labels, pooled_logits=logits.float(), config=self.config)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=output.hidden_states, attentions=output.attentions
        )

    def encode(self, audio: Any, sampling_rate: int | None = None, **kwargs) -> AudioBranchOutput:
        """As [`AudioBranchModel.encode`], with `logits` and `probabilities` (clips, num_labels) for each clip or span.

        They are NaN for a clip that was skipped. A regressor gives no probabilities.
        """
        output = self.audio_branch.encode(audio, sampling_rate, **kwargs)
        pooled = torch.atleast_2d(output.pooler_output).to(input_device(self), self.dtype)  # int8 layers need rows
        with torch.no_grad():
            logits = self.classifier(pooled).float().cpu()
        if output.pooler_output.ndim == 1:
            logits = logits[0]
        has_spans = any(kwargs.get(name) is not None for name in ("spans", "window_seconds", "segment_seconds"))
        for index in output.errors or ():
            logits[index if logits.ndim == 2 + has_spans else ...] = torch.nan
        probabilities = None
        if self.config.problem_type == "multi_label_classification":
            probabilities = logits.sigmoid()
        elif self.config.problem_type != "regression" and self.config.num_labels > 1:
            probabilities = logits.softmax(-1)
        return AudioBranchOutput(**output, logits=logits, probabilities=probabilities)


AudioBranchModel.register_for_auto_class("AutoModel")
AudioBranchForAudioClassification.register_for_auto_class("AutoModelForAudioClassification")
