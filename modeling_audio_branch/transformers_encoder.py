"""Any audio encoder of Transformers in place of our Conformer, with its own input features and frame rate.

B batch, T input frames (samples if the encoder takes the waveform), T' encoder frames, D the encoder's hidden size.
"""

import inspect
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoFeatureExtractor, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from .configuration_audio_branch import AudioBranchConfig
from .feature_extractor_adapter import FeatureExtractorAdapter
from .masks import is_tracing, length_mask
from .remote_code import (
    allow_remote_code,
    auto_model_class,
    is_remote_code,
    remote_code_class,
    remote_code_settings,
)

logger = logging.get_logger(__name__)

AST = "audio-spectrogram-transformer"
INPUT_MODULES = "feature_extractor feature_projection conv1 conv2 embed_positions subsampling embeddings".split()
LENGTH_RULES = ("_get_feat_extract_output_lengths", "_get_subsampling_output_length")


def encoder_part(model: PreTrainedModel) -> PreTrainedModel:
    """The audio encoder of a model that may have a decoder or a CTC head."""
    whole = model.config
    has_parts = getattr(whole, "is_encoder_decoder", False) or isinstance(
        getattr(whole, "encoder_config", None), PreTrainedConfig
    )
    return model.get_encoder() if has_parts else model


def load_encoder(repository, **hub_kwargs) -> PreTrainedModel:
    """The audio encoder in a repository or folder, in float32; a ValueError if it lacks some weights."""
    model_class = auto_model_class(repository, **hub_kwargs)
    whole, loading = model_class.from_pretrained(
        repository, dtype=torch.float32, output_loading_info=True, **hub_kwargs
    )
    if whole.config.model_type == "audio_branch":
        raise ValueError(f"{repository} is an Audio Branch model already; load it by from_pretrained.")
    encoder = encoder_part(whole)
    prefix = next(name for name, module in whole.named_modules() if module is encoder)
    # Checkpoints often lack the vector that SpecAugment writes over masked frames, which only training uses.
    missing = [key for key in loading["missing_keys"] if key.startswith(prefix) and "masked_spec_embed" not in key]
    if missing:
        raise ValueError(
            f"{repository} has no weights for {', '.join(sorted(missing))}; give a checkpoint that has all of them."
        )
    return encoder


def encoder_settings(encoder: PreTrainedModel) -> dict:
    """The settings of [`AudioBranchConfig`] that describe an encoder."""
    config = encoder.config
    if not is_remote_code(encoder):
        return {"encoder_config": config}
    sizes = [getattr(config, name, None) for name in ("hidden_size", "num_hidden_layers")]
    if None in sizes or not {"AutoConfig", "AutoModel"} <= getattr(config, "auto_map", {}).keys():
        raise ValueError(
            f"{type(encoder).__name__} must have hidden_size, num_hidden_layers and an auto_map with AutoConfig and "
            f"AutoModel in its configuration to be an encoder here."
        )
    return {"encoder_config": remote_code_settings(config.to_dict()), "d_model": sizes[0], "num_layers": sizes[1]}


def is_padding_invariant(encoder_config: PreTrainedConfig | dict) -> bool:
    """Whether this encoder is known to give a clip the same frames alone and in a padded batch.

    The tests check every type named here, and `python -m benchmarks.encoders` measures it. Group norm over time depends
    on the padding; so do Wav2Vec2-Conformer's depthwise convolutions, wav2vec2's adapters and the batch norm before
    HuBERT's positional convolution.
    """
    if isinstance(encoder_config, dict):
        return False
    if getattr(encoder_config, "add_adapter", False) or getattr(encoder_config, "conv_pos_batch_norm", False):
        return False
    kind = encoder_config.model_type
    if kind in ("wav2vec2", "hubert", "wavlm"):
        return encoder_config.feat_extract_norm == "layer"
    return kind in ("wav2vec2-bert", "whisper", "parakeet_encoder", AST)


class HiddenStateTap(nn.Module):
    """Shows the encoder's hidden states to the hooks by which Transformers collects those of our own layers."""

    def forward(self, previous, current):
        return current


class AttentionTap(nn.Module):
    """The same for attentions; the hooks take the second item."""

    def forward(self, attentions):
        return None, attentions


class TransformersEncoder(nn.Module):
    """Runs the encoder of `config.encoder_config`; called like [`ConformerEncoder`], with the same outputs."""

    def __init__(self, config, adapter: FeatureExtractorAdapter):
        super().__init__()
        self.config = config
        self.adapter = adapter
        self.model = self._build(config)
        self.is_padding_invariant = is_padding_invariant(config.encoder_config)
        parameters = inspect.signature(self.model.forward).parameters
        self.takes_mask = adapter.max_samples is None and "attention_mask" in parameters
        self.hidden_state_tap = HiddenStateTap()
        self.attention_tap = AttentionTap()

    @staticmethod
    def _build(config):
        settings = config.encoder_config
        if isinstance(settings, PreTrainedConfig):
            return encoder_part(AutoModel.from_config(settings))
        config_class, model_class = (remote_code_class(settings, name) for name in ("AutoConfig", "AutoModel"))
        return encoder_part(model_class(config_class.from_dict(settings)))

    @property
    def remote_code(self) -> list:
        """The instances whose source files are saved with the model."""
        return [self.model, self.model.config] if isinstance(self.config.encoder_config, dict) else []

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    @property
    def layers(self) -> nn.ModuleList:
        for name, module in self.model.named_modules():
            is_list = isinstance(module, nn.ModuleList) and len(module) == self.config.num_layers
            if is_list and name.split(".")[-1] in ("layers", "layer"):
                return module
        raise ValueError(f"{type(self.model).__name__} has no known list of layers; freeze 'encoder' as a whole.")

    @property
    def input_modules(self) -> list[nn.Module]:
        """The modules before the layers."""
        found = [getattr(self.model, name) for name in INPUT_MODULES if hasattr(self.model, name)]
        inner = getattr(self.model, "encoder", None)
        if hasattr(inner, "pos_conv_embed"):  # wav2vec2, HuBERT, WavLM
            found.append(inner.pos_conv_embed)
            if not getattr(self.model.config, "do_stable_layer_norm", False):  # else the norm follows the layers
                found.append(inner.layer_norm)
        if not found:
            raise ValueError(f"{type(self.model).__name__} has no known front end; freeze 'encoder' as a whole.")
        return found

    def freeze_unused(self):
        """Freezes parameters that never get a gradient, since data-parallel training waits for one."""
        kind = self.model.config.model_type
        for name, parameter in self.model.named_parameters():
            if (
                (name.endswith("masked_spec_embed") and not self.config.apply_spec_augment)
                or (kind == "whisper" and name.startswith("embed_positions."))  # fixed sinusoids
                or (kind == "wav2vec2-conformer" and ".pos_conv_embed." in name)  # created but not used
            ):
                parameter.requires_grad_(False)

    def forward(
        self,
        inputs: torch.Tensor,
        frame_mask: torch.Tensor,
        layer_weights: torch.Tensor | None = None,
        lengths: None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Args:
            inputs: What the encoder's feature extractor makes.
            frame_mask: (B, T), true on the input frames of the clip.
            layer_weights: (num_layers + 1,) weights for a sum of all hidden states.
            lengths: None; only our own encoder takes lengths.

        Returns:
            As [`ConformerEncoder`]: the last hidden state (B, T', D), zero where masked; the weighted sum, or the same
            again without weights; and the mask (B, T').
        """
        if not (self.is_padding_invariant or is_tracing() or frame_mask.all()):
            logger.warning_once(
                f"{type(self.model).__name__} is not known to ignore padding, so a clip's features may depend on its "
                f"batch; encode(..., same_length_batches=True) gives those of the clip alone."
            )
        shortest = self._shortest()
        if frame_mask.shape[1] < shortest:  # not enough samples for one encoder frame
            inputs = F.pad(inputs, (0, shortest - inputs.shape[1]))
            frame_mask = F.pad(frame_mask, (0, shortest - frame_mask.shape[1]))
        lengths = self._num_frames(frame_mask.sum(-1))  # (B,)

        call = {self.model.main_input_name: inputs, "output_attentions": kwargs["output_attentions"]}
        record = bool(kwargs.get("output_hidden_states", self.config.output_hidden_states))
        call["output_hidden_states"] = record or layer_weights is not None
        if self.takes_mask:
            # A clip without an encoder frame is passed without a mask, since masked keys alone can give NaN. Its frames
            # are masked below.
            call["attention_mask"] = (frame_mask | (lengths < 1)[:, None]).long()
        with self._spec_augment_that_fits(lengths):
            output = self.model(**call, return_dict=True)
        last_hidden_state = self._over_time(output.last_hidden_state)
        num_frames = last_hidden_state.shape[1]
        if not is_tracing() and num_frames != self._num_frames(torch.tensor([frame_mask.shape[1]])).item():
            raise ValueError(
                f"{type(self.model).__name__} made {num_frames} frames of {frame_mask.shape[1]} input frames, so that "
                f"it is not known which belong to the clip; only encoders with evenly spaced frames are supported."
            )
        frame_mask = length_mask(lengths, num_frames)  # (B, T')
        last_hidden_state = last_hidden_state * frame_mask.unsqueeze(-1)
        weighted_sum = last_hidden_state
        if output.hidden_states is not None:
            # The last one is taken after the final norm, if there is one.
            hidden_states = [*map(self._over_time, output.hidden_states[:-1]), last_hidden_state]
            for previous, current in zip(hidden_states, hidden_states[1:], strict=False):
                self.hidden_state_tap(previous, current)
            if layer_weights is not None:
                weighted_sum = sum(weight * each for weight, each in zip(layer_weights, hidden_states, strict=True))
                weighted_sum = weighted_sum * frame_mask.unsqueeze(-1)
        for attentions in output.attentions or ():
            self.attention_tap(attentions)
        return last_hidden_state, weighted_sum, frame_mask

    @contextmanager
    def _spec_augment_that_fits(self, lengths):
        """Turns the encoder's SpecAugment off for a batch that is shorter than one of its spans, on which it fails."""
        config = self.model.config
        fits = not (self.training and self.config.apply_spec_augment) or lengths.max() > config.mask_time_length
        if fits:
            yield
            return
        config.apply_spec_augment = False
        try:
            yield
        finally:
            config.apply_spec_augment = True

    def _shortest(self):
        """Samples under the first frame of a convolutional feature encoder (wav2vec2's 400)."""
        if not (self.adapter.is_waveform and hasattr(self.model.config, "conv_kernel")):
            return 1
        samples = 1
        kernels_and_strides = zip(self.model.config.conv_kernel, self.model.config.conv_stride, strict=True)
        for kernel, stride in reversed(list(kernels_and_strides)):
            samples = (samples - 1) * stride + kernel
        return samples

    def _num_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        """Encoder frames (B,) of clips of `lengths` (B,) input frames, by the encoder's own rule."""
        config = self.model.config
        if config.model_type == AST:  # one frame per whole patch, and one for a shorter clip
            frames = ((lengths - config.patch_size).div(config.time_stride, rounding_mode="floor") + 1).clamp(min=1)
            return frames * (lengths > 0)
        for rule in LENGTH_RULES:
            if hasattr(self.model, rule):
                return getattr(self.model, rule)(lengths).long().clamp(min=0)
        return lengths

    def _over_time(self, states):
        """Hidden states (B, T', D); AST's tokens are patches, which are averaged over all frequencies of a time."""
        config = self.model.config
        if config.model_type != AST:
            return states
        bands = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
        return states[:, 2:].unflatten(1, (bands, -1)).mean(1)  # the first two tokens represent the whole clip


def shorten_window(encoder: PreTrainedModel, feature_extractor, max_seconds: int):
    """Lets a Whisper encoder read windows of `max_seconds` in place of 30 s: it keeps the first of its positions.

    Returns:
        The feature extractor for such windows.

    Raises:
        ValueError: The encoder reads clips as they are, or its window is not longer.
    """
    if encoder.config.model_type != "whisper":
        raise ValueError(
            f"max_seconds={max_seconds} was given for {type(encoder).__name__}; leave it out, since only Whisper's "
            f"encoder extends each clip to 30 s."
        )
    extractor = getattr(feature_extractor, "feature_extractor", feature_extractor)  # of a processor
    longest = extractor.chunk_length
    if isinstance(max_seconds, bool) or not isinstance(max_seconds, int) or not 1 <= max_seconds <= longest:
        raise ValueError(f"max_seconds={max_seconds!r} was given; give whole seconds from 1 to {longest}.")
    positions = encoder.config.max_source_positions * max_seconds // longest
    weight = encoder.embed_positions.weight.data[:positions].clone()
    encoder.embed_positions = nn.Embedding.from_pretrained(weight)
    encoder.config.max_source_positions = positions
    return type(extractor).from_dict(extractor.to_dict() | {"chunk_length": max_seconds})


def build_from_encoder(
    model_class,
    repository,
    feature_extractor,
    trust_remote_code: bool,
    max_seconds: int | None,
    settings: dict,
    hub_kwargs: dict,
) -> PreTrainedModel:
    """A model of `model_class` on a pretrained encoder; see [`AudioBranchModel.from_encoder`]."""
    if decided := settings.keys() & {"d_model", "num_layers", "sample_rate", "encoder_config", "encoder_extractor"}:
        raise ValueError(f"from_encoder takes {', '.join(sorted(decided))} from the encoder; leave it out.")
    if feature_extractor is None:
        feature_extractor = AutoFeatureExtractor.from_pretrained(
            repository, trust_remote_code=trust_remote_code, **hub_kwargs
        )
    encoder = load_encoder(repository, trust_remote_code=trust_remote_code, **hub_kwargs)
    if max_seconds is not None:
        feature_extractor = shorten_window(encoder, feature_extractor, max_seconds)
    extractor = FeatureExtractorAdapter(feature_extractor).settings
    config = AudioBranchConfig(**encoder_settings(encoder), encoder_extractor=extractor, **settings)
    with allow_remote_code(repository, trust_remote_code, **hub_kwargs):
        model = model_class(config).eval()
    model.encoder.model.load_state_dict(encoder.state_dict())
    try:
        with torch.no_grad():
            model(torch.zeros(1, config.sample_rate))
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{type(encoder).__name__} with {extractor.get('feature_extractor_type')} fails on one second of audio "
            f"({reason}); docs/pretrained-encoders.md lists the encoders that are known to work."
        ) from error
    return model
