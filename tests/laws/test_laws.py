"""The laws of the model. Each is a sentence that holds for every length, pooling, position, window and norm."""

import copy

import pytest
import torch
from helpers.assertions import assert_same_clips
from helpers.models import make_model, pad, random_clips, tiny_config
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch import attention as attention_module
from modeling_audio_branch import subsampling as subsampling_module
from modeling_audio_branch.attention import mask_value, compute_position_embeddings
from modeling_audio_branch.layers import Linear
from modeling_audio_branch.packing import Packing
from modeling_audio_branch.pooling import SegmentPooling

POOLINGS = ["attention", "max", "avg", "learnable"]
EDGE_LENGTHS = [0, 1, 159, 160, 399, 400]  # samples

lengths = st.lists(
    st.one_of(st.integers(160, 12000), st.sampled_from([160, 319, 320, 1279, 1280])), min_size=2, max_size=4
)
architectures = st.fixed_dictionaries(
    {
        "pooling_type": st.sampled_from(POOLINGS),
        "position_embedding": st.sampled_from(["relative", "rotary", "none"]),
        "subsampling_factor": st.sampled_from([1, 2, 4, 8]),
        "attention_window": st.sampled_from([None, 1, 5, 200]),
        "conv_norm": st.sampled_from(["batch", "layer"]),
        "use_bias": st.booleans(),
        "scale_input": st.booleans(),
        "use_weighted_layer_sum": st.booleans(),
    }
)
architectures = st.builds(
    lambda choices, full: choices | ({"subsampling": "striding"} if full and choices["subsampling_factor"] > 1 else {}),
    architectures,
    st.booleans(),
)


@given(architectures, lengths)
@settings(max_examples=60)
def test_a_clip_is_embedded_the_same_alone_and_in_any_batch(choices, lengths):
    model = make_model(AudioBranchModel, tiny_config(**choices))
    extractor = AudioBranchFeatureExtractor.from_model_config(model.config)
    clips = random_clips(lengths)
    waveform, mask = pad(clips)
    with torch.no_grad():
        alone = [model(clip[None]) for clip in clips]
        assert_same_clips(model(waveform, attention_mask=mask), alone)
        features = extractor(clips, sampling_rate=16000, return_tensors="pt")
        assert_same_clips(model(**features), alone)


@pytest.mark.parametrize("pooling_type", POOLINGS)
@pytest.mark.parametrize("position_embedding", ["relative", "rotary", "none"])
@pytest.mark.parametrize("subsampling_factor", [1, 4, 8])
@pytest.mark.parametrize("attention_window", [None, 3])
@pytest.mark.parametrize("conv_norm", ["batch", "layer"])
def test_padding_changes_nothing_in_any_architecture(
    pooling_type, position_embedding, subsampling_factor, attention_window, conv_norm
):
    config = tiny_config(
        pooling_type=pooling_type,
        position_embedding=position_embedding,
        subsampling_factor=subsampling_factor,
        attention_window=attention_window,
        conv_norm=conv_norm,
    )
    model = make_model(AudioBranchModel, config)
    clips = random_clips([5000, 12345, 1600])
    with torch.no_grad():
        alone = [model(clip[None]) for clip in clips]
        for padding in (0.0, 1e4, float("nan")):
            waveform, mask = pad(clips, padding)
            assert_same_clips(model(waveform, attention_mask=mask), alone)


@pytest.mark.parametrize("preset", ["lightweight", "large"])
def test_a_full_size_preset_embeds_a_clip_the_same_alone_and_in_a_batch(preset):
    torch.manual_seed(0)
    config = tiny_config()
    config = getattr(type(config), preset)(num_layers=4)
    model = make_model(AudioBranchModel, config)
    clips = random_clips([16000, 40000])
    waveform, mask = pad(clips, float("inf"))
    with torch.no_grad():
        assert_same_clips(model(waveform, attention_mask=mask), [model(clip[None]) for clip in clips], tolerance=1e-4)


@given(architectures, lengths, st.sampled_from([1.0, 1e30, float("nan"), float("inf"), -float("inf")]))
def test_what_lies_in_the_padding_never_matters(choices, lengths, value):
    model = make_model(AudioBranchModel, tiny_config(**choices))
    clips = random_clips(lengths)
    waveform, mask = pad(clips)
    dirty = waveform.masked_fill(mask == 0, value)
    with torch.no_grad():
        clean_output, dirty_output = model(waveform, attention_mask=mask), model(dirty, attention_mask=mask)
        for name, expected in clean_output.items():
            torch.testing.assert_close(dirty_output[name], expected, atol=0, rtol=0, msg=name)
        frames, frame_mask = model.log_mel(waveform, mask)
        dirty = frames.masked_fill(~frame_mask[..., None], value)
        for name, got in model(dirty, attention_mask=frame_mask).items():
            torch.testing.assert_close(got, clean_output[name], atol=0, rtol=0, msg=name)


@given(architectures, lengths)
def test_the_raw_door_equals_the_extractor_door(choices, lengths):
    model = make_model(AudioBranchModel, tiny_config(**choices))
    extractor = AudioBranchFeatureExtractor.from_model_config(model.config)
    clips = random_clips(lengths)
    waveform, mask = pad(clips)
    with torch.no_grad():
        raw = model(waveform, attention_mask=mask)
        named = model(input_values=waveform, attention_mask=mask)
        extracted = model(**extractor(clips, sampling_rate=16000, return_tensors="pt"))
    for name, expected in raw.items():
        torch.testing.assert_close(extracted[name], expected, atol=1e-6, rtol=0, msg=name)
        torch.testing.assert_close(named[name], expected, atol=0, rtol=0, msg=name)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 20))
def test_avg_and_max_equal_torchs_adaptive_pooling_of_the_clip_alone(num_frames, num_segments, padding):
    hidden_states = torch.randn(1, num_frames, 16)
    padded = F.pad(hidden_states, (0, 0, 0, padding))
    mask = torch.arange(num_frames + padding)[None] < num_frames
    for kind, oracle in (("avg", F.adaptive_avg_pool1d), ("max", F.adaptive_max_pool1d)):
        config = tiny_config(pooling_type=kind, num_segments=num_segments, use_temporal_encoding=False)
        segments, _ = SegmentPooling(config)(padded, mask)
        expected = oracle(hidden_states.transpose(1, 2), num_segments).transpose(1, 2)
        torch.testing.assert_close(segments, expected, atol=1e-6, rtol=0)


@given(st.integers(1, 40), st.integers(1, 9))
def test_attention_without_scores_and_a_new_learnable_profile_equal_avg(num_frames, num_segments):
    hidden_states = torch.randn(1, num_frames, 16)
    mask = torch.ones(1, num_frames, dtype=torch.bool)
    expected = F.adaptive_avg_pool1d(hidden_states.transpose(1, 2), num_segments).transpose(1, 2)

    def pooling(kind):
        config = tiny_config(pooling_type=kind, num_segments=num_segments, use_temporal_encoding=False)
        return make_model(AudioBranchModel, config).pooling

    learnable = AudioBranchModel(
        tiny_config(pooling_type="learnable", num_segments=num_segments, use_temporal_encoding=False)
    ).pooling
    torch.testing.assert_close(learnable(hidden_states, mask)[0], expected, atol=1e-6, rtol=0)
    attention = pooling("attention")
    with torch.no_grad():
        attention.q_proj.weight.zero_()
        attention.q_proj.bias.zero_()
        expected = attention.o_proj(attention.v_proj(expected))
    torch.testing.assert_close(attention(hidden_states, mask)[0], expected, atol=1e-5, rtol=0)


def test_attention_pooling_tends_to_the_frame_its_query_asks_for():
    pooling = make_model(AudioBranchModel, tiny_config(use_temporal_encoding=False)).pooling
    hidden_states, mask = torch.randn(1, 12, 16), torch.ones(1, 12, dtype=torch.bool)
    with torch.no_grad():
        for parameter in (pooling.q_proj.weight, pooling.q_proj.bias):
            parameter *= 1e4  # scores so far apart that the softmax picks one frame
        weights = pooling(hidden_states, mask)[1]
    assert ((weights > 0.999).sum(-1) == 1).all()


@given(st.integers(0, 20000), st.integers(1, 9), st.sampled_from([1, 2, 4, 8]))
def test_segments_tile_the_clip(num_samples, num_segments, factor):
    model = make_model(AudioBranchModel, tiny_config(num_segments=num_segments, subsampling_factor=factor))
    waveform, mask = pad([torch.randn(num_samples), torch.randn(20000)])
    with torch.no_grad():
        output = model(waveform, attention_mask=mask)
    start, end = output.segment_times[0].unbind(-1)
    assert start[0] == 0
    assert end[-1].item() == pytest.approx(num_samples // 160 * 0.01, abs=1e-6)
    assert torch.equal(start[1:], end[:-1])
    assert (end > start).all() if num_samples >= 160 else (end == 0).all()
    assert output.segment_mask[0].tolist() == [int(num_samples >= 160)] * num_segments


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("pooling_type", POOLINGS)
@pytest.mark.parametrize("conv_norm", ["batch", "layer"])
@pytest.mark.parametrize("position_embedding", ["relative", "rotary"])
@pytest.mark.parametrize("attention_window", [None, 2])
def test_outputs_and_gradients_are_finite_on_the_edges(
    dtype, pooling_type, conv_norm, position_embedding, attention_window
):
    config = tiny_config(
        pooling_type=pooling_type,
        conv_norm=conv_norm,
        position_embedding=position_embedding,
        attention_window=attention_window,
        subsampling_factor=4,
        problem_type="regression",
        num_labels=2,
        use_weighted_layer_sum=True,
    )
    model = make_model(AudioBranchForAudioClassification, config).to(dtype)
    clips = [0.1 * torch.randn(length) for length in EDGE_LENGTHS]
    clips += [torch.zeros(4000), torch.full((4000,), 0.5), torch.randn(700)]
    batches = [pad(clips), *(pad([clip]) for clip in clips)]
    waveform, mask = pad(clips)
    batches.append((waveform, torch.zeros_like(mask)))  # nothing is valid
    for training in (False, True):
        model.train(training)
        for waveform, mask in batches:
            model.zero_grad()
            waveform = waveform.clone().requires_grad_()
            output = model(waveform, attention_mask=mask, labels=torch.zeros(len(mask), 2))
            output.loss.backward()
            assert output.logits.isfinite().all()
            assert waveform.grad is None or waveform.grad.isfinite().all()  # None: no clip has a frame
            for name, parameter in model.named_parameters():
                assert parameter.grad is None or parameter.grad.isfinite().all(), name
            for name, buffer in model.named_buffers():
                assert buffer.isfinite().all(), name


@given(architectures, lengths)
def test_eager_attention_equals_sdpa(choices, lengths):
    model = make_model(AudioBranchModel, tiny_config(**choices))
    waveform, mask = pad(random_clips(lengths))
    with torch.no_grad():
        sdpa = model(waveform, attention_mask=mask)
        model.set_attn_implementation("eager")
        eager = model(waveform, attention_mask=mask)
    for name, expected in eager.items():
        torch.testing.assert_close(sdpa[name], expected, atol=1e-5, rtol=0, msg=name)


def reference_attention(attention, hidden_states, mask, window):
    """Dense self-attention with a band of ones, written with loops over (i, j) for the position scores."""
    batch, frames, _ = hidden_states.shape
    query, key, value = attention.qkv_proj(hidden_states).view(batch, frames, 3, attention.num_heads, -1).unbind(2)
    scores = torch.zeros(batch, attention.num_heads, frames, frames)
    for i in range(frames):
        for j in range(frames):
            if attention.position_embedding == "relative":
                divisor = 10000.0 ** (-torch.arange(0, 16, 2) / 16)
                sinusoid = torch.stack([((i - j) * divisor).sin(), ((i - j) * divisor).cos()], -1).flatten()
                relative_key = attention.relative_k_proj(sinusoid).view(attention.num_heads, -1)
                score = ((query[:, i] + attention.bias_u) * key[:, j]).sum(-1)
                score = score + ((query[:, i] + attention.bias_v) * relative_key).sum(-1)
            else:
                score = (query[:, i] * key[:, j]).sum(-1)
            scores[:, :, i, j] = score / attention.head_dim**0.5
    distance = (torch.arange(frames)[:, None] - torch.arange(frames)).abs()
    seen = mask[:, None, None, :] & (distance <= (frames if window is None else window))
    probabilities = scores.masked_fill(~seen, mask_value(torch.float32)).softmax(-1)
    return attention.o_proj((probabilities @ value.transpose(1, 2)).transpose(1, 2).flatten(2))


@given(st.integers(1, 90), st.sampled_from(["relative", "none"]), st.sampled_from([None, 1, 4, 30]))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_attention_equals_its_definition(monkeypatch, num_frames, position_embedding, window):
    attention = (
        make_model(AudioBranchModel, tiny_config(position_embedding=position_embedding, attention_window=window))
        .encoder.layers[0]
        .self_attn
    )
    hidden_states = torch.randn(2, num_frames, 16)
    mask = torch.arange(num_frames) < torch.tensor([[num_frames], [max(1, num_frames // 2)]])
    packing = Packing(mask)
    monkeypatch.setattr(attention_module, "BLOCK", 32)  # so that clips of up to 90 frames take several blocks
    with torch.no_grad():
        expected = reference_attention(attention, hidden_states, mask, window)
        padded, packed = (
            compute_position_embeddings(attention.config, num_frames, hidden_states, in_blocks)
            for in_blocks in (False, True)
        )
        got = attention(hidden_states, mask, padded)[0]
        torch.testing.assert_close(got[mask], expected[mask], atol=1e-5, rtol=0)
        clips = [hidden_states[clip, :length] for clip, length in zip(packing.clips, packing.lengths, strict=True)]
        got = packing.pad(attention(torch.cat(clips).unsqueeze(0), None, packed, packing)[0])
        torch.testing.assert_close(got[mask], expected[mask], atol=1e-5, rtol=0)


def test_packed_clips_of_one_length_attend_together(monkeypatch):
    model = make_model(AudioBranchModel, tiny_config())
    calls = []
    attend = attention_module.ConformerAttention._clips
    monkeypatch.setattr(
        attention_module.ConformerAttention,
        "_clips",
        lambda self, *given, **named: calls.append(len(given[0])) or attend(self, *given, **named),
    )
    clips = random_clips([8000, 16000, 8000, 100, 16000, 8000])  # the fourth has no frame
    with torch.no_grad():
        model(*pad(clips))
    layers = model.config.num_layers
    assert sorted(calls) == sorted([2, 3] * layers)


@given(architectures, st.integers(160, 6000))
def test_a_window_no_shorter_than_the_clip_equals_full_attention(choices, num_samples):
    model = make_model(AudioBranchModel, tiny_config(**choices | {"attention_window": None}))
    frames = -(-(num_samples // 160) // model.config.subsampling_factor)
    (clip,) = random_clips([num_samples])
    # Beside a clip far beyond the window.
    waveform, mask = pad([clip, torch.randn(num_samples + 20000)])
    with torch.no_grad():
        full = model(clip[None])
        model.config.attention_window = [frames, frames]
        windowed = model(waveform, attention_mask=mask)
    valid = int(full.attention_mask.sum())
    torch.testing.assert_close(
        windowed.last_hidden_state[0, :valid], full.last_hidden_state[0, :valid], atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("position_embedding", ["relative", "rotary", "none"])
@pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
def test_windowed_attention_of_a_longer_clip_costs_linear_memory(position_embedding, attn_implementation):
    config = tiny_config(position_embedding=position_embedding, attention_window=4)
    encoder = make_model(AudioBranchModel, config).encoder
    config._attn_implementation = attn_implementation

    def largest_tensor(num_frames):
        """Most bytes that any operation of the forward or backward pass returns at once."""
        largest = 0

        class Watch(torch.utils._python_dispatch.TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                nonlocal largest
                result = func(*args, **(kwargs or {}))
                for tensor in torch.utils._pytree.tree_leaves(result):
                    if isinstance(tensor, torch.Tensor):
                        largest = max(largest, tensor.untyped_storage().nbytes())
                return result

        features = torch.randn(1, num_frames, config.n_mels, requires_grad=True)
        with Watch():
            encoder(features, torch.ones(1, num_frames, dtype=torch.bool))[0].sum().backward()
        return largest

    assert largest_tensor(4096) <= 4.2 * largest_tensor(1024)


windows = st.sampled_from(
    [
        {},
        {"attention_window": 3},
        {"attention_window": [2, 0]},
        {"attention_window": [-1, 1]},
        {"attention_window": [7, 2], "attention_chunked": True},
        {"attention_window": [-1, 3], "attention_chunked": True},
        {"attention_window": 2, "global_attention": "shared"},
        {"attention_window": 2, "global_attention": "separate"},
    ]
)
convolutions = st.sampled_from(
    [{}, {"causal_subsampling": True}, {"conv_context": [4, 0]}, {"conv_context": [0, 4]}, {"conv_context": [1, 3]}]
)


@given(architectures, windows, convolutions, st.lists(st.integers(0, 9000), min_size=1, max_size=4), st.integers(4, 40))
@example({}, {"attention_window": [7, 2], "attention_chunked": True}, {}, [9000, 4000], 5)  # chunks across blocks
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_packed_frames_equal_padded_ones_in_outputs_gradients_and_statistics(
    monkeypatch, choices, window, convolution, lengths, block
):
    config = tiny_config(**(choices | window | convolution), dropout=0.0)
    monkeypatch.setattr(attention_module, "BLOCK", block)
    monkeypatch.setattr(subsampling_module, "CHUNK", 8 * block)
    clips = random_clips(lengths)
    waveform, mask = pad([F.pad(clip, (0, max(0, 160 - len(clip)))) for clip in clips])
    mask = torch.arange(mask.shape[1]) < torch.tensor(lengths)[:, None]
    for training in (False, True):
        outputs, gradients, states = [], [], []
        for packs in (True, False):
            model = make_model(AudioBranchModel, config).double().train(training)
            model.encoder.packs_frames = packs
            features, frame_mask = model.log_mel(waveform, mask)
            output = model(features.double(), attention_mask=frame_mask)
            (output.segment_features.sin().sum() + output.last_hidden_state.sin().sum()).backward()
            outputs.append(output)
            gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
            states.append(model.state_dict())
        for name, value in outputs[0].items():
            torch.testing.assert_close(value, outputs[1][name], atol=1e-9, rtol=1e-9, msg=name)
        for name, value in gradients[0].items():
            expected = gradients[1][name]
            if value is None or expected is None:  # a batch without any frame leaves the encoder out
                assert value is expected or not mask.any(), name
                continue
            torch.testing.assert_close(value, expected, atol=1e-7, rtol=1e-7, msg=name)
        for name, value in states[0].items():
            torch.testing.assert_close(value, states[1][name], atol=1e-9, rtol=1e-9, msg=name)


@given(architectures, lengths, st.randoms())
def test_two_calls_agree_in_any_order_of_the_batch_and_no_input_is_modified(choices, lengths, random):
    model = make_model(AudioBranchModel, tiny_config(**choices))
    clips = random_clips(lengths)
    waveform, mask = pad(clips, 3.0)
    inputs = waveform.clone(), mask.clone()
    order = list(range(len(clips)))
    random.shuffle(order)
    with torch.no_grad():
        first, second = model(waveform, attention_mask=mask), model(waveform, attention_mask=mask)
        shuffled = model(waveform[order], attention_mask=mask[order])
    assert torch.equal(waveform, inputs[0]) and torch.equal(mask, inputs[1])
    for name, expected in first.items():
        assert torch.equal(second[name], expected), name
        torch.testing.assert_close(shuffled[name], expected[order], atol=1e-5, rtol=0, msg=name)


@given(architectures)
def test_dropping_the_mask_of_a_padded_batch_changes_the_output(choices):
    model = make_model(AudioBranchModel, tiny_config(**choices))
    waveform, mask = pad(random_clips([6000, 12000]))
    with torch.no_grad():
        masked, unmasked = model(waveform, attention_mask=mask), model(waveform)
    assert (masked.segment_features[0] - unmasked.segment_features[0]).abs().max() > 1e-3
    torch.testing.assert_close(masked.segment_features[1], unmasked.segment_features[1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("position_embedding", ["relative", "rotary"])
@pytest.mark.parametrize("attention_window", [None, 8])
def test_the_compiled_model_equals_the_eager_one(position_embedding, attention_window):
    config = tiny_config(
        position_embedding=position_embedding,
        attention_window=attention_window,
        subsampling_factor=2,
        conv_norm="batch",
    )
    model = make_model(AudioBranchModel, config)
    torch._dynamo.reset()
    compiled = torch.compile(copy.deepcopy(model), dynamic=True, fullgraph=True)
    with torch.no_grad():
        for lengths in ([9000, 16000], [20000, 12345, 5000]):
            waveform, mask = pad(random_clips(lengths))
            expected, got = model(waveform, attention_mask=mask), compiled(waveform, attention_mask=mask)
            for name, value in expected.items():
                torch.testing.assert_close(got[name], value, atol=1e-5, rtol=0, msg=name)


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"position_embedding": "relative", "subsampling_factor": 4, "pooling_type": "avg"},
        {"position_embedding": "relative", "subsampling_factor": 2, "attention_window": 4, "pooling_type": "max"},
        {"position_embedding": "relative", "attention_window": 4, "global_attention": "shared"},
        {"attention_window": [4, 3], "attention_chunked": True, "pooling_type": "learnable"},
        {"subsampling": "striding", "subsampling_factor": 4, "conv_context": [4, 0], "attention_window": [8, 0]},
    ],
)
@pytest.mark.parametrize("door", ["raw", "extractor"])
def test_the_exported_model_equals_the_eager_one_for_other_lengths_and_batches(choices, door):
    model = make_model(AudioBranchModel, tiny_config(**choices))
    extractor = AudioBranchFeatureExtractor.from_model_config(model.config)

    def batch(lengths):
        clips = random_clips(lengths)
        if door == "raw":
            return dict(zip(("input_features", "attention_mask"), pad(clips), strict=True))
        return dict(extractor(clips, sampling_rate=16000, return_tensors="pt"))

    free = {axis: torch.export.Dim.DYNAMIC for axis in (0, 1)}
    example = batch([8000, 5000])
    shapes = {name: free for name in example}
    exported = torch.export.export(model, (), example, dynamic_shapes=shapes).module()
    for lengths in ([2400, 1600], [12345, 160, 7000], [16000]):  # odd and even numbers of frames
        inputs = batch(lengths)
        with torch.no_grad():
            expected, got = model(**inputs), exported(**inputs)
        for name, value in expected.items():
            torch.testing.assert_close(got[name], value, atol=1e-5, rtol=0, msg=name)


@pytest.mark.parametrize("conv_norm", ["batch", "layer"])
def test_a_prepared_model_gives_the_same_and_follows_every_change_of_its_weights(conv_norm):
    config = tiny_config(position_embedding="relative", subsampling_factor=4, conv_norm=conv_norm)
    model, other = make_model(AudioBranchModel, config).prepare_for_inference(), make_model(AudioBranchModel, config, 1)
    linears = [module for module in model.modules() if isinstance(module, Linear)]
    assert len(linears) > 10 and all(linear.packed is not None for linear in linears)

    def assert_as_unprepared():
        plain = copy.deepcopy(model)
        assert not any(linear.packed is not None for linear in plain.modules() if isinstance(linear, Linear))
        for lengths in ([4000], [9000, 3000], [2000]):  # the keys kept for the longest serve the others
            waveform, mask = pad(random_clips(lengths))
            with torch.no_grad():
                got, expected = model(waveform, mask), plain(waveform, mask)
            torch.testing.assert_close(got.last_hidden_state, expected.last_hidden_state, atol=1e-5, rtol=0)
        model(waveform, mask).segment_features.sum().backward()
        plain(waveform, mask).segment_features.sum().backward()
        for parameter, same in zip(model.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, same.grad, atol=1e-5, rtol=1e-4)
        model.zero_grad()

    with torch.no_grad():
        assert linears[0].is_prepacked
    assert not linears[0].is_prepacked
    assert_as_unprepared()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.9)
        assert not linears[0].is_prepacked
    assert_as_unprepared()
    model.prepare_for_inference()
    model.load_state_dict(other.state_dict())
    assert_as_unprepared()
    model.prepare_for_inference()
    assert_as_unprepared()
    model.double().float()
    with torch.no_grad():
        assert not linears[0].is_prepacked
    assert_as_unprepared()
