"""Any Transformers audio encoder in the place of our Conformer, with its own features and its own frame rate.

B batch, N input steps (samples or spectrogram frames), T' encoder frames, D the encoder's hidden size.
"""

import inspect
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from .feature_extractor_adapter import FeatureExtractorAdapter, remote_code_class, remote_code_settings

logger = logging.get_logger(__name__)

AST = "audio-spectrogram-transformer"
FRONT_ENDS = "feature_extractor feature_projection conv1 conv2 embed_positions subsampling embeddings".split()
LENGTH_RULES = ("_get_feat_extract_output_lengths", "_get_subsampling_output_length")


def encoder_part(model: PreTrainedModel) -> PreTrainedModel:
    """The audio encoder of a model that may have a decoder or a CTC head."""
    whole = model.config
    has_parts = getattr(whole, "is_encoder_decoder", False) or isinstance(
        getattr(whole, "encoder_config", None), PreTrainedConfig
    )
    return model.get_encoder() if has_parts else model


def load_encoder(repository, **download) -> PreTrainedModel:
    """The audio encoder in a repository or folder, in float32; a ValueError if it lacks some weights."""
    whole, loading = AutoModel.from_pretrained(repository, dtype=torch.float32, output_loading_info=True, **download)
    if whole.config.model_type == "audio_branch":
        raise ValueError(f"{repository} is an Audio Branch model already; load it by from_pretrained.")
    encoder = encoder_part(whole)
    prefix = next(name for name, module in whole.named_modules() if module is encoder)
    # What SpecAugment writes over masked frames is often left out, for it is learned in training alone.
    missing = [key for key in loading["missing_keys"] if key.startswith(prefix) and "masked_spec_embed" not in key]
    if missing:
        raise ValueError(f"{repository} holds no weights for {', '.join(sorted(missing))}; random ones are of no use.")
    return encoder


def encoder_settings(encoder: PreTrainedModel) -> dict:
    """What [`AudioBranchConfig`] must know of an encoder; one with its own code says it in this way alone."""
    config = encoder.config
    if not type(encoder).__module__.startswith("transformers_modules."):
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

    Known: tests/test_encoders.py checks it for every type named here, and `python -m benchmarks.encoders` measures it.
    Group norm over time sees the padding; so do Wav2Vec2-Conformer's depthwise convolutions, wav2vec2's adapters and
    HuBERT's batch norm before its positional convolution.
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
    """Passes the encoder's own hidden states and attentions to where Transformers' hooks collect ours."""

    def forward(self, previous, current):
        return current


class AttentionTap(nn.Module):
    """See [`HiddenStateTap`]; hooks take the second item."""

    def forward(self, attentions):
        return None, attentions


class TransformersEncoder(nn.Module):
    """Runs the encoder of `config.encoder_config`; the same call and results as [`ConformerEncoder`]."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.features = FeatureExtractorAdapter(config.encoder_extractor)
        self.model = self._build(config)
        self.is_padding_invariant = is_padding_invariant(config.encoder_config)
        parameters = inspect.signature(self.model.forward).parameters
        self.takes_mask = self.features.max_samples is None and "attention_mask" in parameters
        self.recorded = HiddenStateTap()
        self.recorded_attention = AttentionTap()

    @staticmethod
    def _build(config):
        settings = config.encoder_config
        if isinstance(settings, PreTrainedConfig):
            return encoder_part(AutoModel.from_config(settings))
        config_class, model_class = (remote_code_class(settings, name) for name in ("AutoConfig", "AutoModel"))
        return encoder_part(model_class(config_class.from_dict(settings)))

    @property
    def layers(self) -> nn.ModuleList:
        for name, module in self.model.named_modules():
            is_list = isinstance(module, nn.ModuleList) and len(module) == self.config.num_layers
            if is_list and name.split(".")[-1] in ("layers", "layer"):
                return module
        raise ValueError(f"{type(self.model).__name__} has no list of layers that we know; freeze 'encoder' whole.")

    @property
    def front_end(self) -> list[nn.Module]:
        found = [getattr(self.model, name) for name in FRONT_ENDS if hasattr(self.model, name)]
        inner = getattr(self.model, "encoder", None)
        if hasattr(inner, "pos_conv_embed"):  # wav2vec2 and its kin
            found.append(inner.pos_conv_embed)
            if not getattr(self.model.config, "do_stable_layer_norm", False):  # else the norm follows the layers
                found.append(inner.layer_norm)
        if not found:
            raise ValueError(f"{type(self.model).__name__} has no front end that we know; freeze 'encoder' whole.")
        return found

    def freeze_unused(self):
        """Stops training parameters that get no gradient, for which data-parallel training would wait in vain."""
        kind = self.model.config.model_type
        for name, parameter in self.model.named_parameters():
            if (
                (name.endswith("masked_spec_embed") and not self.config.apply_spec_augment)
                or (kind == "whisper" and name.startswith("embed_positions."))  # fixed sinusoids
                or (kind == "wav2vec2-conformer" and ".pos_conv_embed." in name)  # made, but not used
            ):
                parameter.requires_grad_(False)

    def forward(
        self, inputs: torch.Tensor, step_mask: torch.Tensor, layer_weights: torch.Tensor | None = None, **kwargs
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Args:
            inputs: What the encoder's feature extractor makes.
            step_mask: (B, N), true on steps of the clip.
            layer_weights: (num_layers + 1,) weights for a sum of all hidden states.

        Returns:
            As [`ConformerEncoder`]: the last hidden state (B, T', D), zero where masked, what to pool, and the mask.
        """
        if not (self.is_padding_invariant or torch.compiler.is_compiling() or step_mask.all()):
            logger.warning_once(
                f"{type(self.model).__name__} is not known to ignore padding, so a clip's features may depend on its "
                f"batch; encode(..., exact=True) gives those of the clip alone."
            )
        shortest = self._shortest()
        if step_mask.shape[1] < shortest:  # the first frame's samples are not all there
            inputs = F.pad(inputs, (0, shortest - inputs.shape[1]))
            step_mask = F.pad(step_mask, (0, shortest - step_mask.shape[1]))
        lengths = self._frames(step_mask.sum(-1))  # (B,)

        call = {self.model.main_input_name: inputs, "output_attentions": kwargs["output_attentions"]}
        record = bool(kwargs.get("output_hidden_states", self.config.output_hidden_states))
        call["output_hidden_states"] = record or layer_weights is not None
        if self.takes_mask:
            # A clip without a frame is shown whole, as nothing but masked keys can give NaN; its frames don't count.
            call["attention_mask"] = (step_mask | (lengths < 1)[:, None]).long()
        with self._spec_augment_that_fits(lengths):
            output = self.model(**call, return_dict=True)
        last_hidden_state = self._over_time(output.last_hidden_state)
        num_frames = last_hidden_state.shape[1]
        if num_frames != self._frames(torch.tensor([step_mask.shape[1]])).item():
            raise ValueError(
                f"{type(self.model).__name__} made {num_frames} frames of {step_mask.shape[1]} steps, and it is not "
                f"known which are whose; only encoders whose frames follow the input evenly are supported."
            )
        valid = torch.arange(num_frames, device=lengths.device) < lengths[:, None]  # (B, T')
        zero_padding = valid.unsqueeze(-1)
        last_hidden_state = last_hidden_state * zero_padding
        to_pool = last_hidden_state
        if output.hidden_states is not None:
            # The last is what follows the final norm, if there is one.
            hidden_states = [*map(self._over_time, output.hidden_states[:-1]), last_hidden_state]
            for previous, current in zip(hidden_states, hidden_states[1:], strict=False):
                self.recorded(previous, current)
            if layer_weights is not None:
                to_pool = sum(w * states for w, states in zip(layer_weights, hidden_states, strict=True)) * zero_padding
        for attentions in output.attentions or ():
            self.recorded_attention(attentions)
        return last_hidden_state, to_pool, valid

    @contextmanager
    def _spec_augment_that_fits(self, lengths):
        """Transformers' SpecAugment fails on a batch that is shorter than one of its spans: it is left out there."""
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
        if not (self.features.is_waveform and hasattr(self.model.config, "conv_kernel")):
            return 1
        samples = 1
        kernels_and_strides = zip(self.model.config.conv_kernel, self.model.config.conv_stride, strict=True)
        for kernel, stride in reversed(list(kernels_and_strides)):
            samples = (samples - 1) * stride + kernel
        return samples

    def _frames(self, steps: torch.Tensor) -> torch.Tensor:
        """Encoder frames (B,) of clips of this many steps (B,), by the encoder's own rule."""
        config = self.model.config
        if config.model_type == AST:  # a frame for each whole patch, and one for less
            frames = ((steps - config.patch_size).div(config.time_stride, rounding_mode="floor") + 1).clamp(min=1)
            return frames * (steps > 0)
        for rule in LENGTH_RULES:
            if hasattr(self.model, rule):
                return getattr(self.model, rule)(steps).long().clamp(min=0)
        return steps

    def _over_time(self, states):
        """Hidden states (B, T', D); AST's tokens are patches, of which all frequencies at a time are averaged."""
        config = self.model.config
        if config.model_type != AST:
            return states
        bands = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
        return states[:, 2:].unflatten(1, (bands, -1)).mean(1)  # the first two stand for the whole clip
