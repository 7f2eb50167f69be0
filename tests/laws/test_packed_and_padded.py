"""The law of packing: packed frames give what padded ones give."""

import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from helpers.models import make_model, pad, random_clips, tiny_config
from helpers.strategies import architectures, convolutions, windows
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch import attention_blocks as blocks_module
from modeling_audio_branch import subsampling as subsampling_module

clip_lengths = st.lists(st.integers(0, 9000), min_size=1, max_size=4)
equal_lengths = st.tuples(st.integers(0, 9000), st.integers(1, 3)).map(lambda drawn: [drawn[0]] * drawn[1])


@given(
    architectures,
    windows,
    convolutions,
    clip_lengths | equal_lengths,
    st.integers(4, 40),
    st.sampled_from([0, 1, 20, 1000]),
    st.sampled_from([1, 3, 100]),
)
@example({}, {"attention_window": [7, 2], "attention_chunked": True}, {}, [9000, 4000], 5, 0, 1)  # chunks across blocks
@example({"position_embedding": "relative"}, {"attention_window": 3}, {}, [9000, 9000, 8000], 5, 1000, 100)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_packed_frames_equal_padded_ones_in_outputs_gradients_and_statistics(
    monkeypatch, choices, window, convolution, lengths, block, worth, at_once
):
    """With exact groups as on a CPU, and with padded groups and many blocks at once as on a GPU."""
    config = tiny_config(**(choices | window | convolution), dropout=0.0)
    monkeypatch.setattr(blocks_module, "QUERY_BLOCK", block)
    monkeypatch.setattr(blocks_module, "_queries_at_once", lambda *_: block * at_once)
    monkeypatch.setattr(subsampling_module, "SUBSAMPLING_CHUNK_FRAMES", 8 * block)
    clips = random_clips(lengths)
    waveform, mask = pad([F.pad(clip, (0, max(0, 160 - len(clip)))) for clip in clips])
    mask = torch.arange(mask.shape[1]) < torch.tensor(lengths)[:, None]
    for training in (False, True):
        outputs, gradients, states = [], [], []
        for packs in (True, False):
            model = make_model(AudioBranchModel, config).double().train(training)
            model.encoder.packs_frames = packs
            model.encoder.group_worth = worth
            features, frame_mask = model.front_end.log_mel(waveform, mask)
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
