"""Other encoders of Transformers under our pooling: small random models of every class that the README names."""

import copy
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers.models import make_model, pad, random_clips, tiny_config
from helpers.fresh_process import run_fresh
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from helpers.assertions import assert_same_clips
from torch.nn import functional as F
from transformers import (
    ASTConfig,
    AutoFeatureExtractor,
    AutoModel,
    ClapFeatureExtractor,
    DataCollatorWithPadding,
    HubertConfig,
    ParakeetCTCConfig,
    ParakeetEncoderConfig,
    ParakeetForCTC,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2Config,
    Wav2Vec2ConformerConfig,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
    WhisperConfig,
)
from transformers.utils import logging as transformers_logging

from modeling_audio_branch import (
    AudioBranchConfig,
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
    AudioBranchModel,
)
from modeling_audio_branch.feature_extractor_adapter import FeatureExtractorAdapter

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
TARGET_MODULES = {  # the README's table
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


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
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
        AudioBranchFeatureExtractor(encoder_extractor=settings)._encoder_features.extractor.save_pretrained(
            folders[name]
        )
    return folders


@pytest.mark.parametrize("name", ENCODERS)
def test_the_frames_are_those_of_the_encoder_and_extractor_in_the_repository(name, repositories):
    model = AudioBranchModel.from_encoder(repositories[name], **SMALL)
    theirs, extractor = [
        auto.from_pretrained(repositories[name]) for auto in (AutoModel, AutoFeatureExtractor)
    ]  # fmt: skip
    if name == "whisper" or name == "parakeet":
        theirs = theirs.get_encoder()
    clip = random_clips([20000])[0]
    with torch.no_grad():
        output = model(clip[None])
        inputs = extractor(clip.numpy(), sampling_rate=16000, return_tensors="pt", return_attention_mask=True)
        if name in ("whisper", "ast"):
            inputs.pop("attention_mask", None)
        expected = theirs.eval()(**inputs).last_hidden_state
    if name == "ast":  # (207 - 16) // 10 + 1 patches in time, of 3 bands
        expected = expected[:, 2:].unflatten(1, (3, 20)).mean(1)
    frames = int(output.attention_mask.sum())
    assert frames == {"whisper": 63, "parakeet": 16, "ast": 11, "wav2vec2-bert": 61, "wav2vec2, adapter": 8}.get(
        name, 62
    )
    got = output.last_hidden_state[0, :frames]
    torch.testing.assert_close(got, expected[0, :frames], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ENCODERS)
def test_shapes_and_times(name):
    model = make(name)
    clips = random_clips([16000, 30000])
    extractor = AudioBranchFeatureExtractor.from_model(model)
    with torch.no_grad():
        output = model(**extractor(clips, sampling_rate=16000, return_tensors="pt"), output_hidden_states=True)
    frames = output.attention_mask.shape[1]
    assert output.segment_features.shape == (2, 4, 12) and output.pooler_output.shape == (2, 12)
    assert output.last_hidden_state.shape == (2, frames, model.config.d_model)
    assert (output.last_hidden_state[output.attention_mask == 0] == 0).all()
    layer_frames = output.hidden_states[0].shape[1]  # an adapter has fewer frames than the layers
    assert [states.shape[1] for states in output.hidden_states] == [layer_frames, layer_frames, frames]
    assert layer_frames == frames or "adapter" in name
    torch.testing.assert_close(output.hidden_states[-1], output.last_hidden_state)
    times = output.segment_times
    assert (times[:, 0, 0] == 0).all() and torch.equal(times[:, 1:, 0], times[:, :-1, 1])
    expected = torch.tensor([1.0, 1.875])  # whole steps: 20 ms of W2V-BERT, and AST's and its window of 25 ms
    torch.testing.assert_close(times[:, -1, 1], expected, atol=0.036, rtol=0)


lengths = st.lists(st.one_of(st.integers(900, 20000), st.sampled_from([0, 1, 800])), min_size=2, max_size=3)


@pytest.mark.parametrize("name", INVARIANT)
@given(lengths, st.sampled_from(["attention", "avg", "max", "learnable"]))
@settings(max_examples=6)
def test_a_clip_is_embedded_the_same_alone_and_in_any_batch(name, lengths, pooling):
    model = make(name, pooling_type=pooling)
    extractor = AudioBranchFeatureExtractor.from_model(model)
    clips = random_clips(lengths)
    waveform, mask = pad([F.pad(clip, (0, max(0, 1 - len(clip)))) for clip in clips])
    mask[:, 0] *= torch.tensor([length > 0 for length in lengths])
    with torch.no_grad():
        alone = [model(clip[None]) for clip in clips]
        assert_same_clips(model(waveform, attention_mask=mask), alone)
        assert_same_clips(model(**extractor(clips, sampling_rate=16000, return_tensors="pt")), alone)
        for single, length in zip(alone, lengths, strict=True):
            assert (single.segment_mask == int(length > 0)).all()


@pytest.mark.parametrize("name", DEPENDENT)
def test_an_encoder_that_sees_padding_says_so_once_and_is_exact_on_demand(name, caplog):
    model = make(name)
    clips = [clip.numpy() for clip in random_clips([16000, 9000, 16000, 4000])]
    transformers_logger = transformers_logging.get_logger("transformers")
    transformers_logger.warning_once.cache_clear()
    transformers_logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        exact = model.encode(clips, sampling_rate=16000, exact=True)
        assert not caplog.records
        for _ in range(2):
            padded = model.encode(clips, sampling_rate=16000)
    transformers_logging.disable_propagation()
    assert len([record for record in caplog.records if "exact=True" in record.message]) == 1
    alone = torch.stack([model.encode(clip, sampling_rate=16000).segment_features for clip in clips])
    torch.testing.assert_close(exact.segment_features, alone, atol=1e-5, rtol=0)
    assert (padded.segment_features - alone).abs().max() > 1e-3


@pytest.mark.parametrize("name", ENCODERS)
def test_what_lies_in_the_padding_never_matters(name):
    model = make(name)
    extractor = AudioBranchFeatureExtractor.from_model(model)
    clips = random_clips([12000, 5000])
    with torch.no_grad():
        waveform, mask = pad(clips)
        inputs = extractor(clips, sampling_rate=16000, return_tensors="pt")
        doors = [({"input_features": waveform, "attention_mask": mask}, "input_features")]
        if name not in ("whisper", "ast"):  # of which what follows the clip is input, made by their extractors
            doors.append((inputs, next(iter(inputs))))
        for door, key in doors:
            clean = model(**door)
            for value in (1e4, float("nan"), -float("inf")):
                masked = door["attention_mask"] == 0
                masked = masked if door[key].ndim == 2 else masked[..., None]
                dirty = model(**(dict(door) | {key: door[key].masked_fill(masked, value)}))
                for output, expected in clean.items():
                    torch.testing.assert_close(dirty[output], expected, atol=0, rtol=0, msg=output)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_extractor_takes_every_form_of_audio(name, tmp_path):
    extractor = AudioBranchFeatureExtractor.from_model_config(AudioBranchConfig(encoder_config=ENCODERS[name]()))
    samples = (random_clips([9000])[0] * 2**14).to(torch.int16).numpy()
    soundfile.write(tmp_path / "clip.wav", samples, 16000)
    expected = extractor(samples.astype(np.float32) / 2**15, sampling_rate=16000, return_tensors="pt")
    forms = [
        str(tmp_path / "clip.wav"),
        (tmp_path / "clip.wav").read_bytes(),
        {"array": samples, "sampling_rate": 16000},
        {"array": np.stack([samples, samples]), "sampling_rate": 16000},
    ]
    for form in forms:
        got = extractor(form, return_tensors="pt")
        for key, value in expected.items():
            torch.testing.assert_close(got[key], value, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="pass sampling_rate="):
        extractor(samples)
    longer = extractor(samples, sampling_rate=16000, padding="max_length", max_length=16000, return_tensors="pt")
    assert torch.equal(longer["attention_mask"].sum(-1), expected["attention_mask"].sum(-1))


@pytest.mark.parametrize("name", ENCODERS)
def test_what_is_saved_loads_equal_to_the_bit_and_in_a_fresh_process(name, repositories, tmp_path):
    model = AudioBranchModel.from_encoder(repositories[name], **SMALL)
    extractor = AudioBranchFeatureExtractor.from_model(model)
    for saved in (model, extractor):
        saved.save_pretrained(tmp_path / "saved")
    loaded = AudioBranchModel.from_pretrained(tmp_path / "saved")
    assert loaded.state_dict().keys() == model.state_dict().keys()
    buffers = dict(model.named_buffers())
    for key, value in [*loaded.state_dict().items(), *loaded.named_buffers()]:
        assert torch.equal(value, buffers[key] if key in buffers else model.state_dict()[key]), key
    clip = random_clips([16000])[0]
    torch.save(clip, tmp_path / "clip.pt")
    code = f"""
    import torch
    from transformers import AutoFeatureExtractor, AutoModel, pipeline
    folder, again = {str(tmp_path / "saved")!r}, {str(tmp_path / "again")!r}
    clip = torch.load({str(tmp_path / "clip.pt")!r})
    for repeat in range(2):
        model = AutoModel.from_pretrained(folder, trust_remote_code=True)
        extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
        with torch.no_grad():
            features = model(**extractor(clip, sampling_rate=16000, return_tensors="pt")).segment_features
        print(features.double().sum().item())
        for saved in (model, extractor):
            saved.save_pretrained(again)
        folder = again
    embed = pipeline("audio-segment-embedding", model=again, trust_remote_code=True)
    print(embed({{"array": clip.numpy(), "sampling_rate": 16000}})["segment_features"].astype("float64").sum())
    """
    totals = [float(line) for line in run_fresh(code, tmp_path).split()]
    with torch.no_grad():
        expected = model(clip[None]).segment_features.double().sum().item()
    assert totals == pytest.approx([expected] * 3, abs=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_outputs_and_gradients_are_finite_for_edge_lengths_and_silence(name):
    model = make(name, AudioBranchForAudioClassification).train()
    clips = [torch.zeros(0), torch.ones(1), *random_clips([159, 160, 399, 400, 800]), torch.zeros(9000)]
    clips.append(torch.full((9000,), 0.5))
    waveform, mask = pad(clips)
    loss = model(waveform, attention_mask=mask, labels=torch.zeros(len(clips), dtype=torch.long)).loss
    loss.backward()
    assert loss.isfinite()
    for key, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), key
    with torch.no_grad():
        for clip in clips:
            assert model.eval()(clip[None]).logits.isfinite().all()
        output = model.to(torch.bfloat16).audio_branch(waveform, mask)
        assert output.segment_features.isfinite().all() and output.segment_features.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ENCODERS)
def test_eager_attention_equals_sdpa(name):
    model = make(name)
    waveform, mask = pad(random_clips([12000, 5000]))
    with torch.no_grad():
        model.set_attn_implementation("sdpa")
        expected = model(waveform, mask)
        model.set_attn_implementation("eager")
        assert model.encoder.model.config._attn_implementation == "eager"
        got = model(waveform, mask, output_attentions=True)
    torch.testing.assert_close(got.segment_features, expected.segment_features, atol=2e-5, rtol=0)
    assert len(got.attentions) == 2 and all(isinstance(each, torch.Tensor) for each in got.attentions)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("frozen", [False, True])
def test_a_training_step_moves_all_that_trains_and_nothing_frozen(name, frozen):
    model = make(name, AudioBranchForAudioClassification, freeze_encoder=frozen, num_labels=3, dropout=0.0).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    waveform, mask = pad(random_clips([9000, 20000]))
    model(waveform, mask, labels=torch.tensor([0, 2])).loss.backward()
    for key, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, key
    optimizer.step()
    for key, value in model.state_dict().items():
        if frozen and ".encoder." in key:
            assert torch.equal(value, before[key]), key
    moved = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert any(".encoder." in key for key in moved) != frozen
    assert any(".pooling." in key for key in moved) and any("classifier" in key for key in moved)


@pytest.mark.parametrize("name", ENCODERS)
def test_parts_of_an_encoder_freeze_by_the_same_words_as_ours(name):
    model = make(name)
    encoder = model.encoder
    at_first = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    model.freeze("front_end")
    trains = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert any("layers" in key or ".layer." in key for key in trains)
    assert all(not parameter.requires_grad for part in encoder.front_end for parameter in part.parameters())
    final_norm = ("layer_norm", "layernorm", "adapter")
    model.freeze(2)
    left = {key for key, parameter in encoder.model.named_parameters() if parameter.requires_grad}
    assert all(any(part in key for part in final_norm) for key in left), left
    assert len({key.rsplit(".", 1)[0] for key in left if "adapter" not in key}) <= 1
    model.unfreeze("encoder")
    model.freeze(1)
    model.train()
    assert not any(parameter.requires_grad for parameter in encoder.layers[0].parameters())
    assert not encoder.layers[0].training and encoder.layers[1].training
    model.unfreeze("encoder")
    assert {key for key, parameter in model.named_parameters() if parameter.requires_grad} == at_first
    assert encoder.layers[0].training and not model.frozen_modules


@pytest.mark.parametrize("name", [*ENCODERS, "ours"])
def test_lora_trains_by_the_readmes_target_modules(name):
    if name == "ours":
        model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3, dropout=0.0))
    else:
        model = make(name, AudioBranchForAudioClassification, num_labels=3, dropout=0.0)
    targets = TARGET_MODULES[name.split(",")[0]] if name in ENCODERS else ["qkv_proj", "o_proj"]

    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert all(f"`{target}`" in readme for target in targets)
    config = LoraConfig(
        target_modules=rf".*\.encoder\..*\.({'|'.join(targets)})",
        modules_to_save=["audio_branch.pooling", "audio_branch.projection", "classifier"],
        r=2,
    )
    model.freeze("encoder")  # so that no BatchNorm statistic moves that the adapter does not save
    tuned = get_peft_model(model, config).train()
    before = {name: buffer.clone() for name, buffer in tuned.named_buffers()}
    adapted = {key.split(".lora_")[0] for key, _ in tuned.named_parameters() if ".lora_" in key and ".encoder." in key}
    assert len(adapted) == 2 * len(targets)  # in both layers, and nowhere else in the encoder
    waveform, mask = pad(random_clips([9000, 20000]))
    tuned(input_features=waveform, attention_mask=mask, labels=torch.tensor([0, 2])).loss.backward()
    for key, parameter in tuned.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
    for key, buffer in tuned.named_buffers():
        assert torch.equal(buffer, before[key]), key


@pytest.mark.parametrize("name", ENCODERS)
def test_trainers_collator_pads_the_extractors_rows(name):
    model = make(name)
    extractor = AudioBranchFeatureExtractor.from_model(model)
    clips = random_clips([9000, 20000])
    rows = [{k: v[0] for k, v in extractor(clip, sampling_rate=16000).items()} for clip in clips]
    batch = DataCollatorWithPadding(extractor)(rows)
    expected = extractor(clips, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        got, expected = model(**batch), model(**expected)
    torch.testing.assert_close(got.segment_features, expected.segment_features, atol=1e-5, rtol=0)
    assert torch.equal(got.segment_mask, expected.segment_mask)


def test_segments_of_a_fixed_length_encoder_cover_the_clip_and_not_the_padding():
    for name in ("whisper", "ast"):
        model = make(name, pooling_type="avg", use_temporal_encoding=False)
        clip = random_clips([16000])[0]
        with torch.no_grad():
            output = model(clip[None])
            frames = int(output.attention_mask.sum())
            pooled = F.adaptive_avg_pool1d(output.last_hidden_state[:, :frames].transpose(1, 2), 4).transpose(1, 2)
            torch.testing.assert_close(output.segment_features, model.projection(pooled))
        assert frames < 0.6 * output.attention_mask.shape[1]


def test_a_weighted_layer_sum_starts_as_the_mean_of_all_hidden_states():
    model = make("wav2vec2", use_weighted_layer_sum=True, pooling_type="avg", use_temporal_encoding=False)
    with torch.no_grad():
        model.layer_weights.zero_()
        output = model(random_clips([16000])[0][None], output_hidden_states=True)
        mean = torch.stack(output.hidden_states).mean(0)
        pooled = F.adaptive_avg_pool1d(mean.transpose(1, 2), 4).transpose(1, 2)
        torch.testing.assert_close(output.segment_features, model.projection(pooled), atol=1e-5, rtol=0)


def test_spec_augment_is_the_encoders_own_and_off_by_default():
    quiet, loud = make("wav2vec2"), make("wav2vec2", apply_spec_augment=True)
    assert not quiet.encoder.model.config.apply_spec_augment and loud.encoder.model.config.apply_spec_augment
    assert not quiet.encoder.model.masked_spec_embed.requires_grad
    assert loud.encoder.model.masked_spec_embed.requires_grad
    for name in ("whisper", "parakeet", "ast"):
        with pytest.raises(ValueError, match="no SpecAugment of its own"):
            AudioBranchConfig(encoder_config=ENCODERS[name](), apply_spec_augment=True)


def test_the_given_configuration_is_not_changed():
    given_config = Wav2Vec2Config(**SIZES, **CONVOLUTIONS)
    before = copy.deepcopy(given_config.to_dict())
    AudioBranchModel(AudioBranchConfig(encoder_config=given_config, **SMALL))
    assert given_config.to_dict() == before


def test_a_clip_too_long_for_the_encoder_is_refused_by_its_number():
    model = make("whisper")
    extractor = AudioBranchFeatureExtractor.from_model(model)
    clips = [clip.numpy() for clip in random_clips([9000, 40000, 8000])]
    for call in (lambda: extractor(clips, sampling_rate=16000), lambda: model.encode(clips, sampling_rate=16000)):
        with pytest.raises(ValueError, match=r"^Clip 1 of the batch is 40000 samples .* at most 32000; cut it"):
            call()
    cut = extractor(clips, sampling_rate=16000, truncation=True, return_tensors="pt")
    assert cut["attention_mask"].sum(-1).tolist() == [57, 200, 50]


@pytest.mark.parametrize(("name", "limit"), [("whisper", 32000), ("ast", 400 + 208 * 160 - 1)])
def test_a_clip_of_just_the_greatest_length_passes(name, limit):
    extractor = AudioBranchFeatureExtractor.from_model_config(AudioBranchConfig(encoder_config=ENCODERS[name]()))
    rows = extractor(random_clips([limit, 9000]), sampling_rate=16000, padding=False)
    key = next(iter(rows))
    assert rows[key][0].shape == rows[key][1].shape  # such encoders are not given less, padded or not
    assert rows["attention_mask"][0].all()
    with pytest.raises(ValueError, match=f"at most {limit}"):
        extractor(random_clips([limit + 1]), sampling_rate=16000)


def test_frozen_and_unused_parameters_stay_so_through_saving(tmp_path):
    make("wav2vec2", freeze_encoder=True).save_pretrained(tmp_path / "frozen")
    loaded = AudioBranchModel.from_pretrained(tmp_path / "frozen").train()
    assert not any(parameter.requires_grad for parameter in loaded.encoder.parameters())
    make("wav2vec2").save_pretrained(tmp_path / "free")
    loaded = AudioBranchModel.from_pretrained(tmp_path / "free")
    assert not loaded.encoder.model.masked_spec_embed.requires_grad
    assert loaded.encoder.layers[0].attention.q_proj.weight.requires_grad


def test_attention_and_dtype_reach_the_encoder(tmp_path):
    make("wav2vec2").save_pretrained(tmp_path)
    loaded = AudioBranchModel.from_pretrained(tmp_path, attn_implementation="eager", dtype=torch.bfloat16)
    assert loaded.encoder.model.config._attn_implementation == "eager"
    assert loaded.encoder.model.dtype == torch.bfloat16 and loaded.encoder.model.config.dtype == torch.bfloat16


def test_a_half_precision_checkpoint_is_loaded_in_float32(tmp_path, repositories):
    AutoModel.from_pretrained(repositories["wav2vec2"]).half().save_pretrained(tmp_path)
    extractor = AutoFeatureExtractor.from_pretrained(repositories["wav2vec2"])
    assert AudioBranchModel.from_encoder(tmp_path, feature_extractor=extractor).dtype == torch.float32


def test_an_input_too_short_for_a_frame_beside_an_empty_one_gives_zeros():
    model = make("wav2vec2")
    mask = torch.zeros(2, 300, dtype=torch.long)
    mask[0] = 1
    with torch.no_grad():
        output = model(input_values=torch.randn(2, 300), attention_mask=mask)
    assert not output.attention_mask.any() and not output.segment_features.any()


def test_spec_augment_leaves_out_batches_shorter_than_its_spans():
    model = make("wav2vec2", apply_spec_augment=True).train()
    for samples in (1600, 20000):
        model(torch.randn(2, samples)).segment_features.sum().backward()
        assert model.encoder.model.config.apply_spec_augment


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"subfolder": "sub"}, TypeError, "subfolder: neither"),
        ({"num_layers": 1, "sample_rate": 8000}, ValueError, "num_layers, sample_rate from the encoder"),
        ({"feature_extractor": Wav2Vec2FeatureExtractor(padding_side="left")}, ValueError, "padding_side='left'"),
        ({"feature_extractor": ClapFeatureExtractor()}, ValueError, "fails on one second"),
        ({"feature_extractor": SeamlessM4TFeatureExtractor()}, ValueError, "fails on one second of audio"),
    ],
)
def test_from_encoder_refuses_what_it_would_ignore_or_fail_on(repositories, settings, error, message):
    with pytest.raises(error, match=message):
        AudioBranchModel.from_encoder(repositories["wav2vec2"], **settings)


def test_from_encoder_refuses_a_model_of_ours(tmp_path):
    model = make_model(AudioBranchModel, tiny_config())
    for saved in (model, AudioBranchFeatureExtractor.from_model(model)):
        saved.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="load it by from_pretrained"):
        AudioBranchModel.from_encoder(tmp_path)


def test_an_extractor_that_makes_no_mask_is_refused():
    features = FeatureExtractorAdapter(ClapFeatureExtractor(truncation="rand_trunc"))
    with pytest.raises(ValueError, match="makes no attention_mask"):
        features([torch.zeros(16000)])


def test_frames_that_do_not_follow_the_known_rule_are_refused():
    model = make("wav2vec2")
    model.encoder.model._get_feat_extract_output_lengths = lambda steps, add_adapter=None: steps // 400
    with pytest.raises(ValueError, match="made 49 frames of 16000 steps"):
        model(torch.zeros(1, 16000))


def test_an_encoder_at_another_sampling_rate_gets_audio_at_that_rate():
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=8000, do_normalize=False)
    config = AudioBranchConfig(encoder_config=ENCODERS["wav2vec2"](), encoder_extractor=extractor.to_dict(), **SMALL)
    assert config.sample_rate == 8000
    made = AudioBranchFeatureExtractor.from_model_config(config)
    assert made.sampling_rate == 8000
    assert made(random_clips([16000])[0], sampling_rate=16000, return_tensors="pt")["input_values"].shape == (1, 8000)


def test_missing_weights_are_not_replaced_by_random_ones(tmp_path, repositories):
    from safetensors.torch import load_file, save_file

    for file in repositories["wav2vec2"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.layers.1.attention.q_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"no weights for encoder\.layers\.1\.attention\.q_proj\.weight"):
        AudioBranchModel.from_encoder(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder_config": {"model_type": "unheard_of"}}, "from_encoder"),
        ({"encoder_config": Wav2Vec2Config(), "encoder_extractor": {"feature_extractor_type": "Nothing"}}, "Nothing"),
        ({"encoder_config": Wav2Vec2Config(), "encoder_extractor": {"feature_extractor_type": "os"}}, "'os'"),
    ],
)
def test_what_is_impossible_is_refused_in_a_sentence(settings, message):
    settings = copy.deepcopy(settings)
    if "encoder_extractor" in settings:
        settings["encoder_extractor"]["sampling_rate"] = 16000
    with pytest.raises(ValueError, match=message):
        AudioBranchModel(AudioBranchConfig(**settings))


CUSTOM_CODE = {
    "configuration_tiny_encoder.py": """
        from transformers import PreTrainedConfig

        class TinyEncoderConfig(PreTrainedConfig):
            model_type = "tiny_encoder"
            hidden_size: int = 16
            num_hidden_layers: int = 1
        """,
    "tiny_layer.py": """
        from torch import nn

        class TinyLayer(nn.Linear):
            pass
        """,
    "features_of_tiny_encoder.py": """
        from transformers import Wav2Vec2FeatureExtractor

        class TinyFeatureExtractor(Wav2Vec2FeatureExtractor):
            pass
        """,
    "modeling_tiny_encoder.py": """
        import torch
        from torch import nn
        from transformers import PreTrainedModel
        from transformers.modeling_outputs import BaseModelOutput
        from .configuration_tiny_encoder import TinyEncoderConfig
        from .tiny_layer import TinyLayer

        class TinyEncoder(PreTrainedModel):
            config_class = TinyEncoderConfig
            main_input_name = "input_values"

            def __init__(self, config):
                super().__init__(config)
                self.layers = nn.ModuleList([TinyLayer(320, config.hidden_size)])
                self.post_init()

            def _get_feat_extract_output_lengths(self, lengths):
                return lengths // 320

            def forward(self, input_values, attention_mask=None, output_hidden_states=False, **kwargs):
                frames = input_values[:, : input_values.shape[1] // 320 * 320].unflatten(1, (-1, 320))
                return BaseModelOutput(last_hidden_state=self.layers[0](frames))
        """,
    "save.py": """
        import sys
        sys.path.insert(0, sys.argv[1] + "/..")
        import torch
        from code_of_encoder.configuration_tiny_encoder import TinyEncoderConfig
        from code_of_encoder.modeling_tiny_encoder import TinyEncoder
        from code_of_encoder.features_of_tiny_encoder import TinyFeatureExtractor
        TinyFeatureExtractor.register_for_auto_class()
        TinyEncoderConfig.register_for_auto_class()
        TinyEncoder.register_for_auto_class("AutoModel")
        torch.manual_seed(0)
        TinyEncoder(TinyEncoderConfig()).save_pretrained(sys.argv[2])
        TinyFeatureExtractor(do_normalize=False).save_pretrained(sys.argv[2])
        """,
}


def test_an_encoder_with_its_own_code_runs_only_if_trusted_and_is_saved_with_its_code(tmp_path):
    import subprocess
    import sys
    import textwrap

    source, repository = tmp_path / "code_of_encoder", tmp_path / "repository"
    source.mkdir()
    for file, code in CUSTOM_CODE.items():
        (source / file).write_text(textwrap.dedent(code))
    subprocess.run([sys.executable, str(source / "save.py"), str(source), str(repository)], check=True)

    with pytest.raises(ValueError, match="trust_remote_code=True"):
        AudioBranchModel.from_encoder(repository)
    model = AudioBranchModel.from_encoder(repository, trust_remote_code=True, **SMALL)
    clip = random_clips([16000])[0]
    with torch.no_grad():
        output = model(clip[None])
    assert output.last_hidden_state.shape == (1, 50, 16)
    for saved in (model, AudioBranchFeatureExtractor.from_model(model)):
        saved.save_pretrained(tmp_path / "saved")
    assert CUSTOM_CODE.keys() - {"save.py"} <= {file.name for file in (tmp_path / "saved").iterdir()}
    for ours in (AudioBranchModel, AudioBranchFeatureExtractor):
        with pytest.raises(ValueError, match="brings its own code, .*trust_remote_code=True"):
            ours.from_pretrained(tmp_path / "saved")
    for saved in (model, AudioBranchFeatureExtractor.from_model(model)):
        with pytest.raises(ValueError, match="push_to_hub=True leaves out"):
            saved.save_pretrained(tmp_path / "pushed", push_to_hub=True)
    elsewhere = json.loads((tmp_path / "saved" / "config.json").read_text())
    elsewhere["encoder_config"]["auto_map"] = {
        name: f"{source}--{reference}" for name, reference in elsewhere["encoder_config"]["auto_map"].items()
    }
    (tmp_path / "elsewhere").mkdir()
    for file in (tmp_path / "saved").iterdir():
        if file.is_file():
            (tmp_path / "elsewhere" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "elsewhere" / "config.json").write_text(json.dumps(elsewhere))
    with pytest.raises(ValueError, match="another repository"):
        AudioBranchModel.from_pretrained(tmp_path / "elsewhere", trust_remote_code=True)
    again = AudioBranchModel.from_pretrained(tmp_path / "saved", trust_remote_code=True)
    with torch.no_grad():
        assert torch.equal(again(clip[None]).segment_features, output.segment_features)

    torch.save(clip, tmp_path / "clip.pt")
    for folder in (repository, source):
        for file in folder.iterdir():
            if file.is_file():
                file.unlink()  # all it needs is in the saved folder
    code = f"""
    import torch
    from transformers import AutoFeatureExtractor, AutoModel
    folder, clip = {str(tmp_path / "saved")!r}, torch.load({str(tmp_path / "clip.pt")!r})
    for repeat in range(2):
        model = AutoModel.from_pretrained(folder, trust_remote_code=True)
        extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
        with torch.no_grad():
            inputs = extractor(clip, sampling_rate=16000, return_tensors="pt")
            print(model(**inputs).segment_features.double().sum().item())
        folder = {str(tmp_path / "again")!r}
        for saved in (model, extractor):
            saved.save_pretrained(folder)
    """
    totals = [float(line) for line in run_fresh(code, tmp_path).split()]
    assert totals == pytest.approx([output.segment_features.double().sum().item()] * 2, abs=1e-5)
