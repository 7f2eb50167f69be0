"""Laws of tracing: the compiled and the exported model give what the eager one gives."""

import copy

import pytest
import torch

from helpers.models import make_model, pad, random_clips, tiny_config
from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchModel


@pytest.mark.parametrize("position_embedding", ["relative", "rotary"])
@pytest.mark.parametrize("attention_window", [None, 8])
def test_the_compiled_model_equals_the_eager_one(position_embedding, attention_window):
    config = tiny_config(
        num_layers=1,  # compiling takes most of the time, and two layers take half as long again
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


def test_lengths_in_place_of_a_mask_count_while_tracing_too():
    model = make_model(AudioBranchModel, tiny_config(num_layers=1))
    waveform, mask = pad(random_clips([9000, 16000]))
    torch._dynamo.reset()
    with torch.no_grad():
        got = torch.compile(copy.deepcopy(model), backend="eager")(waveform, lengths=[9000, 16000])
        expected = model(waveform, attention_mask=mask)
    torch.testing.assert_close(got.segment_features, expected.segment_features, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"position_embedding": "relative", "subsampling_factor": 4, "pooling_type": "avg"},
        {"position_embedding": "relative", "subsampling_factor": 2, "attention_window": 4, "pooling_type": "max"},
        {"position_embedding": "relative", "attention_window": 4, "global_attention": "shared"},
        {"attention_window": [4, 3], "attention_chunked": True, "pooling_type": "learnable"},
        {"segmentation": "learned", "subsampling_factor": 4},
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
