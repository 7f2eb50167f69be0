"""Audio Branch: raw audio or log-mel frames to a few segment embeddings.

    raw audio (B, samples) -> log-mel (B, T, M) -> Conformer (B, T', D) -> segment pooling (B, S, feature_dim)

B batch, T log-mel frames, T' encoder frames, M mel bins, D d_model, S segments.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from tqdm.auto import tqdm
from transformers import AutoFeatureExtractor, PreTrainedModel
from transformers import initialization as init
from transformers.dynamic_module_utils import custom_object_save
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple, logging
from transformers.utils.output_capturing import capture_outputs

from .attention import ConformerAttention
from .audio_input import as_clips, load_audio, long_file, pad_batch
from .configuration_audio_branch import AudioBranchConfig
from .conformer import ConformerEncoder, ConformerLayer
from .feature_extractor_adapter import HUB_KWARGS, FeatureExtractorAdapter, allow_remote_code
from .layers import Linear
from .log_mel import SETTINGS, LogMel
from .pooling import SegmentPooling
from .transformers_encoder import (
    TransformersEncoder,
    HiddenStateTap,
    AttentionTap,
    encoder_settings,
    load_encoder,
)
from .spec_augment import spec_augment

if TYPE_CHECKING:  # never run: it makes saving ship the files that nothing here needs, but the checkpoint's users do
    from .pipeline_audio_branch import AudioSegmentEmbeddingPipeline  # noqa: F401

logger = logging.get_logger(__name__)
EMBEDDING_STD = 0.02  # initial pooling queries and temporal encodings
NEW_POOLING = "The segment pooling and the projection are not in %s: they are new, and random."
LONG_SECONDS = 120  # files that are longer, at the model's rate, are read block by block and encoded by themselves
READ_AHEAD = 32  # batches of clips that `encode` decodes at a time, to sort them by length


@dataclass
class AudioBranchOutput(ModelOutput):
    """Output of [`AudioBranchModel`].

    Args:
        last_hidden_state: (B, T', D) encoder frames, zero where masked.
        pooler_output: (B, feature_dim), the mean of the segments.
        segment_features: (B, S, feature_dim), zero for a clip without a valid frame.
        segment_mask: (B, S) int32, 0 only for a clip without a valid frame.
        segment_times: (B, S, 2) float32, start and end of each segment in seconds. The segments tile the clip, whose
            length is counted in whole log-mel frames (10 ms by default).
        attention_mask: (B, T') int32, the valid encoder frames.
        pooling_attentions: (B, H, S, T') weight of each frame in each segment, with `output_attentions`; None for
            `max`.
        hidden_states: With `output_hidden_states`, num_layers + 1 of (B, T', D).
        attentions: With `output_attentions`, num_layers of (B, H, T', T'), with a global frame one column more.
    """

    last_hidden_state: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None
    segment_features: torch.Tensor | None = None
    segment_mask: torch.Tensor | None = None
    segment_times: torch.Tensor | None = None
    attention_mask: torch.Tensor | None = None
    pooling_attentions: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class AudioBranchPreTrainedModel(PreTrainedModel):
    """What both models share: initial weights, freezing, counting parameters."""

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
        if isinstance(module, LogMel):
            for name, value in module.constants().items():
                init.copy_(getattr(module, name), value)
        elif isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            # Transformers' 0.02 fits one width only. He et al. (2015) keep the power of the signal at any width; small
            # models learn several times faster from it in their first steps.
            init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module is getattr(getattr(self.base_model.encoder, "subsampling", None), "linear", None):
                # No frame may be exactly 0 where the input is (silence, SpecAugment): there the slope of a LayerNorm is
                # 1 / sqrt(1e-5), and the gradient through a few in a row overflows.
                init.normal_(module.bias, std=0.5)
        elif isinstance(module, ConformerAttention) and module.position_embedding == "relative":
            init.zeros_(module.bias_u)
            init.zeros_(module.bias_v)
        elif isinstance(module, SegmentPooling):
            if module.pooling_type == "attention":
                init.normal_(module.query, std=EMBEDDING_STD)
            elif module.pooling_type == "learnable":
                init.zeros_(module.profile)
            if module.temporal_encoding is not None:
                init.normal_(module.temporal_encoding, std=EMBEDDING_STD)
        elif isinstance(module, AudioBranchModel) and module.layer_weights is not None:
            init.zeros_(module.layer_weights)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        # An encoder that brings its own code has it in the same repository as this checkpoint.
        download = {name: kwargs[name] for name in HUB_KWARGS if name in kwargs}
        with allow_remote_code(pretrained_model_name_or_path, kwargs.get("trust_remote_code"), **download):
            loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model._freeze_as_configured()  # loading puts new parameters, that train, in the place of the frozen ones
        return loaded

    def save_pretrained(self, save_directory, *args, push_to_hub: bool = False, **kwargs):
        self.config.validate()  # before anything is written: an impossible setting made by hand can't be loaded again
        remote_code = []
        if isinstance(self.config.encoder_config, dict):
            remote_code += [self.base_model.encoder.model, self.base_model.encoder.model.config]
        if self.config.encoder_config and self.base_model.encoder.features.has_remote_code:
            remote_code.append(self.base_model.encoder.features.extractor)
        if remote_code and push_to_hub:  # the upload would be over before the code is there
            raise ValueError("push_to_hub=True leaves out the encoder's own code; use model.push_to_hub(repo_id).")
        super().save_pretrained(save_directory, *args, push_to_hub=push_to_hub, **kwargs)
        for each in remote_code:
            custom_object_save(each, save_directory)

    def get_input_embeddings(self) -> nn.Module:
        """The module whose output enters the encoder's layers (used by adapters with gradient checkpointing)."""
        encoder = self.base_model.encoder
        return encoder.model.get_input_embeddings() if self.config.encoder_config else encoder.subsampling.linear

    def freeze(self, part: str | int = "encoder") -> None:
        """Stops training a part: its parameters get no gradient, and it stays in eval mode through `train()`.

        Args:
            part: `encoder`, `front_end` (what lies before the layers) or a number n (the front end and the first n
                layers).
        """
        for root in self._parts(part):
            root.requires_grad_(False).eval()
            self.base_model.frozen_modules.update(root.modules())

    def unfreeze(self, part: str | int = "encoder") -> None:
        """Trains a part (see `freeze`) again."""
        for root in self._parts(part):
            root.requires_grad_(True).train(self.training)
            self.base_model.frozen_modules.difference_update(root.modules())
        if self.config.encoder_config:
            self.base_model.encoder.freeze_unused()

    def _parts(self, part):
        encoder = self.base_model.encoder
        if part == "encoder":
            return [encoder]
        if part == "front_end":
            part = 0
        num_layers = self.config.num_layers
        if not isinstance(part, int) or isinstance(part, bool) or not 0 <= part <= num_layers:
            raise ValueError(
                f"{part!r} is no part to freeze; give 'encoder', 'front_end' or a number of layers from 0 to "
                f"{num_layers}."
            )
        return [*encoder.front_end, *encoder.layers[:part]]

    def _freeze_as_configured(self):
        if self.config.encoder_config:
            self.base_model.encoder.freeze_unused()
        if self.config.freeze_encoder:
            self.freeze("encoder")

    def num_parameters_by_part(self) -> dict[str, int]:
        """Number of parameters of each part that has any, and their `total`."""
        counts = {}
        for name, parameter in self.base_model.named_parameters():
            part = name.split(".")[0]
            counts[part] = counts.get(part, 0) + parameter.numel()
        if self.base_model is not self:
            counts["classifier"] = sum(parameter.numel() for parameter in self.classifier.parameters())
        return counts | {"total": sum(counts.values())}


def _split(settings_and_download: dict) -> tuple[dict, dict]:
    """Settings of [`AudioBranchConfig`], and those of the download; a TypeError about any other."""
    known = {*AudioBranchConfig.__dataclass_fields__, *AudioBranchConfig.attribute_map, "num_labels"}
    if unknown := settings_and_download.keys() - known - set(HUB_KWARGS):
        raise TypeError(
            f"{', '.join(sorted(unknown))}: neither a setting of AudioBranchConfig nor one of the download "
            f"({', '.join(HUB_KWARGS)})."
        )
    download = {name: value for name, value in settings_and_download.items() if name in HUB_KWARGS}
    return {name: value for name, value in settings_and_download.items() if name not in HUB_KWARGS}, download


class AudioBranchModel(AudioBranchPreTrainedModel):
    """Segment features of audio. Takes raw audio as well as the log-mel frames of [`AudioBranchFeatureExtractor`]."""

    def __init__(self, config: AudioBranchConfig):
        super().__init__(config)
        self.frozen_modules = set()
        if config.encoder_config:
            self.encoder = TransformersEncoder(config)
        else:
            settings = {name: getattr(config, name) for name in SETTINGS}
            self.log_mel = LogMel(config.sample_rate, config.n_mels, **settings)
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

    @classmethod
    def from_nemo(cls, path, **overrides) -> "AudioBranchModel":
        """The encoder and front end of an NVIDIA NeMo (Fast)Conformer checkpoint, exactly, without NeMo.

        Args:
            path: A .nemo archive.
            **overrides: Settings of [`AudioBranchConfig`] for what the archive doesn't say, such as `pooling_type`.

        Raises:
            ValueError, FileNotFoundError: One sentence on a setting that is not supported, on weights that don't fit,
                or on what is wrong with the archive.
        """
        try:  # in a try, so that checkpoints don't seem to require the package
            from modeling_audio_branch.convert.nemo import load_nemo
        except ImportError as error:
            raise ImportError("from_nemo needs the audio-branch package, not a checkpoint's code alone.") from error
        model = load_nemo(path, **overrides)
        logger.warning(NEW_POOLING, path)
        return model

    @classmethod
    def from_parakeet(cls, repository, **settings_and_download) -> "AudioBranchModel":
        """The encoder and front end of a Parakeet checkpoint in Transformers' format, as our own encoder.

        Args:
            repository: A Hub repository or a folder, such as nvidia/parakeet-ctc-1.1b.
            **settings_and_download: As in `from_encoder`.

        Raises:
            ValueError, OSError: As in `from_encoder`.
        """
        try:  # in a try, so that checkpoints don't seem to require the package
            from modeling_audio_branch.convert.parakeet import load_parakeet
        except ImportError as error:
            raise ImportError("from_parakeet needs the audio-branch package, not a checkpoint's code alone.") from error
        settings, download = _split(settings_and_download)
        model = load_parakeet(repository, download, **settings)
        logger.warning(NEW_POOLING, repository)
        return model

    @classmethod
    def from_encoder(
        cls, repository, feature_extractor=None, trust_remote_code: bool = False, **settings_and_download
    ) -> "AudioBranchModel":
        """Segment pooling on another audio encoder of Transformers, with its weights and its feature extractor.

        Args:
            repository: A Hub repository or a folder with a model such as Wav2Vec2, HuBERT, WavLM, Wav2Vec2-BERT,
                Wav2Vec2-Conformer, Whisper (of which the encoder is taken), Parakeet or AST.
            feature_extractor: Transformers' feature extractor; by default the one in `repository`.
            trust_remote_code: Run the encoder's own code, if that is what the repository holds. It is saved with the
                model.
            **settings_and_download: Settings of [`AudioBranchConfig`], such as `pooling_type`, and `revision`, `token`,
                `cache_dir`, `local_files_only`, `force_download`.

        Raises:
            ValueError, OSError: One sentence on missing weights, or on what of the encoder is not supported.
        """
        settings, download = _split(settings_and_download)
        if decided := settings.keys() & {"d_model", "num_layers", "sample_rate", "encoder_config", "encoder_extractor"}:
            raise ValueError(f"from_encoder takes {', '.join(sorted(decided))} from the encoder; leave it out.")
        if feature_extractor is None:
            feature_extractor = AutoFeatureExtractor.from_pretrained(
                repository, trust_remote_code=trust_remote_code, **download
            )
        encoder = load_encoder(repository, trust_remote_code=trust_remote_code, **download)
        extractor = FeatureExtractorAdapter(feature_extractor).settings
        config = AudioBranchConfig(**encoder_settings(encoder), encoder_extractor=extractor, **settings)
        with allow_remote_code(repository, trust_remote_code, **download):
            model = cls(config).eval()
        model.encoder.model.load_state_dict(encoder.state_dict())
        try:
            with torch.no_grad():
                model(torch.zeros(1, config.sample_rate))
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"{type(encoder).__name__} with {extractor.get('feature_extractor_type')} fails on one second of audio "
                f"({reason}); the README lists the encoders that are known to work."
            ) from error
        logger.warning(NEW_POOLING, repository)
        return model

    def prepare_for_inference(self) -> "AudioBranchModel":
        """Sorts the weights of our own encoder once for all calls without gradients: up to 1.7 times as fast on a CPU.

        Takes as much memory again. The numbers are the same up to rounding; after any change of the weights they are
        sorted anew with each call, as without it. Returns the model.
        """
        for module in self.modules():
            if isinstance(module, Linear):
                module.prepack()
        return self

    def train(self, mode: bool = True):
        super().train(mode)
        for module in self.frozen_modules:
            module.training = False
        return self

    @capture_outputs
    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_values: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> AudioBranchOutput:
        """
        Args:
            input_features: Raw audio (B, samples) at `config.sample_rate`, or what the extractor makes of it: log-mel
                frames (B, T, M).
            attention_mask: Its valid samples (B, samples) or frames (B, T): ones, then zeros. None: all are valid.
            input_values: In place of `input_features`: raw audio (B, samples), under the name that Transformers gives
                it. With an `encoder_config`, what its extractor makes and calls so (wav2vec2's scaled waveform).

        Raises:
            ValueError, TypeError: One sentence about an input of the wrong shape or name.
        """
        if unknown := kwargs.keys() - TransformersKwargs.__annotations__.keys():
            raise TypeError(
                f"AudioBranchModel does not know {', '.join(sorted(unknown))}; give input_features (or input_values) "
                f"and attention_mask."
            )
        if (input_features is None) == (input_values is None):
            raise ValueError("Give either input_features or input_values, and not both.")
        kwargs["output_attentions"] = bool(kwargs.get("output_attentions", self.config.output_attentions))
        if self.config.encoder_config:
            inputs, step_mask = self._encoder_inputs(input_features, input_values, attention_mask)
            samples_per_step = self.encoder.features.samples_per_step
        else:
            inputs = input_values if input_features is None else input_features
            inputs, step_mask = self._log_mel_frames(inputs, attention_mask)  # (B, T, M), (B, T)
            samples_per_step = self.config.hop_length
            if self.training and self.config.apply_spec_augment:
                inputs = spec_augment(inputs, step_mask, self.config)
        seconds = step_mask.sum(-1) * (samples_per_step / self.config.sample_rate)  # (B,)

        layer_weights = None if self.layer_weights is None else self.layer_weights.softmax(0)
        last_hidden_state, to_pool, frame_mask = self.encoder(inputs.to(self.dtype), step_mask, layer_weights, **kwargs)
        segments, pooling_attentions = self.pooling(to_pool, frame_mask)  # (B, S, D), (B, H, S, T')

        # A clip's frames are a prefix: its segments have some all, or none.
        segment_mask = frame_mask[:, :1].expand(-1, self.config.num_segments)
        segment_features = self.projection(segments) * segment_mask.unsqueeze(-1)  # (B, S, feature_dim)
        borders = torch.arange(self.config.num_segments + 1, device=seconds.device) / self.config.num_segments
        borders = seconds[:, None] * borders  # (B, S + 1)
        return AudioBranchOutput(
            last_hidden_state=last_hidden_state,
            pooler_output=segment_features.mean(1),  # the masked mean, as all of a clip's segments are valid or none is
            segment_features=segment_features,
            segment_mask=segment_mask.int(),
            segment_times=torch.stack([borders[:, :-1], borders[:, 1:]], dim=-1),
            attention_mask=frame_mask.int(),
            pooling_attentions=pooling_attentions if kwargs["output_attentions"] else None,
        )

    def _log_mel_frames(self, inputs, attention_mask):
        """Either door: log-mel frames (B, T, M), zero where masked, and their mask (B, T)."""
        if not inputs.is_floating_point() or not (
            inputs.ndim == 2 or (inputs.ndim == 3 and inputs.shape[-1] == self.config.n_mels)
        ):
            raise ValueError(
                f"The input is {inputs.dtype} of shape {tuple(inputs.shape)}; give floating-point raw audio (batch, "
                f"samples) or log-mel frames (batch, frames, {self.config.n_mels})."
            )
        if inputs.ndim == 2 and attention_mask is None:
            return self.log_mel(inputs)
        attention_mask = self._checked_mask(attention_mask, inputs.shape[:2], inputs.device)
        if inputs.ndim == 2:
            return self.log_mel(inputs, attention_mask)
        return inputs.where(attention_mask.unsqueeze(-1), 0.0), attention_mask  # where: padding may be NaN

    def _encoder_inputs(self, input_features, input_values, attention_mask):
        """Either door of another encoder: what its feature extractor makes, and the mask of its steps (B, N)."""
        features = self.encoder.features
        inputs = input_values if input_features is None else input_features
        is_raw = input_values is None and inputs.ndim == 2
        if not inputs.is_floating_point() or not (is_raw or inputs.ndim == (2 if features.is_waveform else 3)):
            made = "(batch, samples)" if features.is_waveform else "(batch, ., .)"
            raise ValueError(
                f"The input is {inputs.dtype} of shape {tuple(inputs.shape)}; give floating-point raw audio (batch, "
                f"samples) as input_features, or {features.input_name} {made} as the extractor makes it."
            )
        num_steps = inputs.shape[1 if is_raw else features.time_axis]
        mask = self._checked_mask(attention_mask, (len(inputs), num_steps), inputs.device)
        if is_raw:
            waves = [wave[:length].float().cpu() for wave, length in zip(inputs, mask.sum(-1).tolist(), strict=True)]
            inputs, mask = (made.to(inputs.device) for made in features(waves))
        elif features.max_samples is None:  # else what follows the clip is part of the input
            inputs = inputs.where(mask if inputs.ndim == 2 else mask.unsqueeze(-1), 0.0)
        return inputs, mask

    @staticmethod
    def _checked_mask(attention_mask, shape, device):
        if attention_mask is None:
            return torch.ones(shape, dtype=torch.bool, device=device)
        if attention_mask.shape != torch.Size(shape):
            raise ValueError(
                f"attention_mask has the shape {tuple(attention_mask.shape)}; give {tuple(shape)}, one number per "
                f"sample of raw audio or per frame of features."
            )
        attention_mask = attention_mask.bool()
        if not torch.compiler.is_compiling() and (attention_mask[:, 1:] & ~attention_mask[:, :-1]).any():
            raise ValueError("attention_mask has a 1 after a 0; pad on the right: ones, then zeros.")
        return attention_mask

    @torch.no_grad()
    def encode(
        self,
        audio: Any,
        sampling_rate: int | None = None,
        batch_size: int = 8,
        show_progress: bool | None = None,
        exact: bool = False,
    ) -> AudioBranchOutput:
        """Segment features of any form of audio, decoded, resampled, sorted by length and batched.

        Args:
            audio: A clip or a batch of clips, as [`AudioBranchFeatureExtractor`] takes them.
            sampling_rate: Rate in Hz of the clips that don't carry their own.
            batch_size: Clips per forward pass. The features don't depend on it (but see `exact`).
            show_progress: Show a progress bar; by default if there is a terminal and more than one batch.
            exact: Batch only clips of equal length, so that nothing is padded. Our own encoder ignores padding anyway;
                for some others (see `encoder_config`) this is the way to each clip's own features.

        Returns:
            `segment_features` (clips, S, feature_dim), `segment_times`, `segment_mask` and `pooler_output`, on the CPU,
            in the order of the input; without the first axis if a single clip was given.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} was given; give at least 1.")
        clips, is_batch = as_clips(audio)
        was_training, rate = self.training, self.config.sample_rate
        self.eval()
        results = [None] * len(clips)
        hide = (None if len(clips) > batch_size else True) if show_progress is None else not show_progress
        try:
            with tqdm(total=len(clips), desc="Encoding", unit="clip", disable=hide) as progress:
                for first in range(0, len(clips), batch_size * READ_AHEAD):
                    indices = []
                    for i in range(first, min(first + batch_size * READ_AHEAD, len(clips))):
                        blocks = None if self.config.encoder_config else long_file(clips[i], rate, LONG_SECONDS)
                        if blocks is None:
                            indices.append(i)
                            continue
                        results[i] = self._to_results(self(*self.log_mel.stream(blocks)))[0]
                        progress.update(1)
                    waves = {i: load_audio(clips[i], rate, sampling_rate, i if is_batch else None) for i in indices}
                    if self.config.encoder_config:
                        self.encoder.features.check_lengths(waves)
                    by_length = sorted(indices, key=lambda i: len(waves[i]))
                    groups = [by_length]
                    if exact:
                        groups = [list(group) for _, group in groupby(by_length, key=lambda i: len(waves[i]))]
                    for group in groups:
                        for at in range(0, len(group), batch_size):
                            batch = group[at : at + batch_size]
                            for i, result in zip(batch, self._encode_batch([waves[i] for i in batch]), strict=True):
                                results[i] = result
                            progress.update(len(batch))
        finally:
            self.train(was_training)
        names = ("pooler_output", "segment_features", "segment_mask", "segment_times")
        stacked = {name: torch.stack([result[name] for result in results]) for name in names}
        return AudioBranchOutput(**(stacked if is_batch else {name: value[0] for name, value in stacked.items()}))

    def _encode_batch(self, waves):
        """One forward pass; a list of each clip's outputs."""
        return self._to_results(self(*pad_batch(waves, device=self.device)))

    @staticmethod
    def _to_results(output):
        output = {name: value.cpu() for name, value in output.items() if name.startswith(("segment", "pooler"))}
        return [dict(zip(output, values, strict=True)) for values in zip(*output.values(), strict=True)]


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
        **kwargs: Unpack[TransformersKwargs],
    ) -> SequenceClassifierOutput:
        """`labels` as the class says; the rest as [`AudioBranchModel.forward`]. Gives `logits` (B, num_labels)."""
        output = self.audio_branch(input_features, attention_mask, input_values, **kwargs)
        logits = self.classifier(self.dropout(output.pooler_output))  # (B, num_labels)
        loss = None
        if labels is not None:
            if self.config.problem_type in ("multi_label_classification", "regression"):
                labels = labels.to(torch.float32)
            loss = self.loss_function(labels=labels, pooled_logits=logits.float(), config=self.config)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=output.hidden_states, attentions=output.attentions
        )


AudioBranchModel.register_for_auto_class("AutoModel")
AudioBranchForAudioClassification.register_for_auto_class("AutoModelForAudioClassification")
