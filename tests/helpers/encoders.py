"""Small random models of every class of encoder that docs/pretrained-encoders.md names."""

import torch
from transformers import (
    ASTConfig,
    AutoModel,
    HubertConfig,
    ParakeetCTCConfig,
    ParakeetEncoderConfig,
    ParakeetForCTC,
    Wav2Vec2BertConfig,
    Wav2Vec2Config,
    Wav2Vec2ConformerConfig,
    WavLMConfig,
    WhisperConfig,
)

from modeling_audio_branch import (
    AudioBranchConfig,
    AudioBranchFeatureExtractor,
    AudioBranchModel,
)

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


CONVOLUTIONS = {"conv_dim": [12] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}


LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}


ADAPTER = LAYER_NORM | {"add_adapter": True, "output_hidden_size": 24}


WHISPER = {
    **{"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 48, "num_mel_bins": 20},
    **{"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 48, "vocab_size": 8, "pad_token_id": 0},
    **{"bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "max_source_positions": 100},  # 2 s
}


INVARIANT = {
    "wav2vec2": lambda: Wav2Vec2Config(**SIZES, **CONVOLUTIONS, **LAYER_NORM),
    "hubert": lambda: HubertConfig(**SIZES, **CONVOLUTIONS, **LAYER_NORM),
    "wavlm": lambda: WavLMConfig(**SIZES, **CONVOLUTIONS, **LAYER_NORM),
    "wav2vec2-bert": lambda: Wav2Vec2BertConfig(**SIZES),
    "whisper": lambda: WhisperConfig(**WHISPER),
    "parakeet": lambda: ParakeetEncoderConfig(**SIZES, subsampling_conv_channels=8),
    "ast": lambda: ASTConfig(**SIZES, max_length=208, num_mel_bins=36),  # 2.08 s
}


DEPENDENT = {
    "wav2vec2, group norm": lambda: Wav2Vec2Config(**SIZES, **CONVOLUTIONS),
    "hubert, group norm": lambda: HubertConfig(**SIZES, **CONVOLUTIONS),
    "wavlm, group norm": lambda: WavLMConfig(**SIZES, **CONVOLUTIONS),
    "wav2vec2-conformer": lambda: Wav2Vec2ConformerConfig(**SIZES, **CONVOLUTIONS),
    "hubert, batch norm": lambda: HubertConfig(**SIZES, **CONVOLUTIONS, **LAYER_NORM, conv_pos_batch_norm=True),
    "wav2vec2, adapter": lambda: Wav2Vec2Config(
        **SIZES, **CONVOLUTIONS, **LAYER_NORM, add_adapter=True, output_hidden_size=24
    ),
}


ENCODERS = INVARIANT | DEPENDENT


TARGET_MODULES = {  # the table in docs/pretrained-encoders.md
    **dict.fromkeys(["wav2vec2", "hubert", "whisper"], ["q_proj", "k_proj", "v_proj", "out_proj"]),
    **dict.fromkeys(["wav2vec2-bert", "wav2vec2-conformer"], ["linear_q", "linear_k", "linear_v", "linear_out"]),
    "wavlm": ["intermediate_dense", "output_dense"],  # its attention reads weights past the adapters
    **dict.fromkeys(["parakeet", "ast"], ["q_proj", "k_proj", "v_proj", "o_proj"]),
}


SMALL = {"num_segments": 4, "feature_dim": 12, "num_heads": 2}


def make(name, model_class=AudioBranchModel, seed=0, **choices):
    """A model on a random encoder, in eval mode."""
    torch.manual_seed(seed)
    model = model_class(AudioBranchConfig(encoder_config=ENCODERS[name](), **(SMALL | choices))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def write_repositories(tmp_path_factory):
    """For each encoder a folder as it comes from the Hub: the whole model and its feature extractor."""
    folders = {}
    for name, make_config in ENCODERS.items():
        folders[name] = tmp_path_factory.mktemp("encoder")
        torch.manual_seed(1)
        config = make_config()
        if name == "parakeet":  # published with a CTC head
            model = ParakeetForCTC(ParakeetCTCConfig(encoder_config=config, vocab_size=8, pad_token_id=7))
        else:
            model = AutoModel.from_config(config)
        model.save_pretrained(folders[name])
        settings = AudioBranchConfig(encoder_config=make_config()).encoder_extractor
        AudioBranchFeatureExtractor(encoder_extractor=settings)._adapter.extractor.save_pretrained(folders[name])
    return folders
