"""The law of packing: packed frames give what padded ones give."""

import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from helpers.models import make_model, pad, random_clips, tiny_config
from helpers.strategies import architectures, convolutions, windows
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch import attention as attention_module
from modeling_audio_branch import conformer as conformer_module
from modeling_audio_branch import subsampling as subsampling_module


@given(architectures, windows, convolutions, st.lists(st.integers(0, 9000), min_size=1, max_size=4), st.integers(4, 40))
@example({}, {"attention_window": [7, 2], "attention_chunked": True}, {}, [9000, 4000], 5)  # chunks across blocks
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_packed_frames_equal_padded_ones_in_outputs_gradients_and_statistics(
    monkeypatch, choices, window, convolution, lengths, block
):
    config = tiny_config(**(choices | window | convolution), dropout=0.0)
    for module in (attention_module, conformer_module):
        monkeypatch.setattr(module, "QUERY_BLOCK", block)
    monkeypatch.setattr(subsampling_module, "SUBSAMPLING_CHUNK_FRAMES", 8 * block)
    clips = random_clips(lengths)
    waveform, mask = pad([F.pad(clip, (0, max(0, 160 - len(clip)))) for clip in clips])
    mask = torch.arange(mask.shape[1]) < torch.tensor(lengths)[:, None]
    for training in (False, True):
        outputs, gradients, states = [], [], []
        for packs in (True, False):
            model = make_model(AudioBranchModel, config).double().train(training)
            model.encoder.packs_frames = packs
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
