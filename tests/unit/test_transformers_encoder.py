"""Other encoders of Transformers under our pooling: small random models of every class that the docs name."""

import copy
import logging
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional as F
from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    ClapFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
)
from transformers.utils import logging as transformers_logging

from helpers.encoders import CONVOLUTIONS, DEPENDENT, ENCODERS, SIZES, SMALL, TARGET_MODULES, make
from helpers.models import make_model, pad, random_clips, tiny_config
from modeling_audio_branch import (
    AudioBranchConfig,
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
    AudioBranchModel,
)


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


@pytest.mark.parametrize("name", DEPENDENT)
def test_an_encoder_that_sees_padding_says_so_once_and_is_exact_on_demand(name, caplog):
    model = make(name)
    clips = [clip.numpy() for clip in random_clips([16000, 9000, 16000, 4000])]
    transformers_logger = transformers_logging.get_logger("transformers")
    transformers_logger.warning_once.cache_clear()
    transformers_logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        exact = model.encode(clips, sampling_rate=16000, same_length_batches=True)
        assert not caplog.records
        for _ in range(2):
            padded = model.encode(clips, sampling_rate=16000)
    transformers_logging.disable_propagation()
    assert len([record for record in caplog.records if "same_length_batches=True" in record.message]) == 1
    alone = torch.stack([model.encode(clip, sampling_rate=16000).segment_features for clip in clips])
    torch.testing.assert_close(exact.segment_features, alone, atol=1e-5, rtol=0)
    assert (padded.segment_features - alone).abs().max() > 1e-3


@pytest.mark.parametrize("name", ENCODERS)
def test_parts_of_an_encoder_freeze_by_the_same_names_as_ours(name):
    model = make(name)
    encoder = model.encoder
    at_first = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    model.freeze("front_end")
    trains = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert any("layers" in key or ".layer." in key for key in trains)
    assert all(not parameter.requires_grad for module in encoder.input_modules for parameter in module.parameters())
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
def test_lora_trains_with_the_target_modules_of_the_docs(name):
    if name == "ours":
        model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3, dropout=0.0))
    else:
        model = make(name, AudioBranchForAudioClassification, num_labels=3, dropout=0.0)
    targets = TARGET_MODULES[name.split(",")[0]] if name in ENCODERS else ["qkv_proj", "o_proj"]

    table = (Path(__file__).parents[2] / "docs" / "pretrained-encoders.md").read_text()
    assert all(f"`{target}`" in table for target in targets)
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


def test_frames_that_do_not_follow_the_known_rule_are_refused():
    model = make("wav2vec2")
    model.encoder.model._get_feat_extract_output_lengths = lambda steps, add_adapter=None: steps // 400
    with pytest.raises(ValueError, match="made 49 frames of 16000 input frames"):
        model(torch.zeros(1, 16000))


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


def test_a_shorter_window_of_whisper_keeps_the_first_positions_and_is_saved_with_the_model(repositories, tmp_path):
    whole = AudioBranchModel.from_encoder(repositories["whisper"], **SMALL)
    short = AudioBranchModel.from_encoder(repositories["whisper"], max_seconds=1, **SMALL)
    short.save_pretrained(tmp_path)
    loaded = AudioBranchModel.from_pretrained(tmp_path)
    theirs = AutoModel.from_pretrained(repositories["whisper"]).get_encoder().eval()
    theirs.embed_positions = torch.nn.Embedding.from_pretrained(theirs.embed_positions.weight.data[:50])
    theirs.config.max_source_positions = 50
    extractor = AutoFeatureExtractor.from_pretrained(repositories["whisper"], chunk_length=1)
    clips = random_clips([16000, 7000])
    inputs = extractor([clip.numpy() for clip in clips], sampling_rate=16000, return_tensors="pt").input_features
    with torch.no_grad():
        expected = theirs(inputs).last_hidden_state
        for model in (short, loaded):
            output = model(*pad(clips))
            assert output.last_hidden_state.shape[1] == 50 and output.attention_mask.sum(1).tolist() == [50, 22]
            torch.testing.assert_close(output.last_hidden_state[0], expected[0], atol=1e-6, rtol=1e-6)
            alone = model(clips[1][None])
            torch.testing.assert_close(output.last_hidden_state[1], alone.last_hidden_state[0], atol=1e-5, rtol=0)
    assert whole.encoder.model.config.max_source_positions == 100
    with pytest.raises(ValueError, match="encoder takes at most 16000; cut it"):
        short.encode(random_clips([16001])[0], 16000)


@pytest.mark.parametrize(
    ("name", "seconds", "message"),
    [
        ("whisper", 3, "max_seconds=3 was given; give whole seconds from 1 to 2"),
        ("whisper", 0.5, "max_seconds=0.5 was given; give whole seconds"),
        ("ast", 1, "max_seconds=1 was given for ASTModel; leave it out"),
    ],
)
def test_an_impossible_window_is_a_sentence(repositories, name, seconds, message):
    with pytest.raises(ValueError, match=message):
        AudioBranchModel.from_encoder(repositories[name], max_seconds=seconds, **SMALL)
