"""The laws for other encoders of Transformers under our pooling."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn import functional as F

from helpers.assertions import assert_same_clips, rounding
from helpers.encoders import ENCODERS, INVARIANT, SMALL, make
from helpers.fresh_process import run_fresh
from helpers.models import pad, random_clips
from helpers.strategies import POOLING_CHOICES
from modeling_audio_branch import (
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
    AudioBranchModel,
)

lengths = st.lists(st.one_of(st.integers(900, 20000), st.sampled_from([0, 1, 800])), min_size=2, max_size=3)
poolings = st.sampled_from(POOLING_CHOICES)


@pytest.mark.parametrize("name", INVARIANT)
@given(lengths, poolings)
@settings(max_examples=6)
def test_a_clip_is_embedded_the_same_alone_and_in_any_batch(name, lengths, pooling):
    model = make(name, **pooling)
    extractor = AudioBranchFeatureExtractor.from_model(model)
    clips = random_clips(lengths)
    waveform, mask = pad([F.pad(clip, (0, max(0, 1 - len(clip)))) for clip in clips])
    mask[:, 0] *= torch.tensor([length > 0 for length in lengths])
    with torch.no_grad():
        alone = [model(clip[None]) for clip in clips]
        tolerance = 3 * rounding(pooling)  # random weights are larger than trained ones, and CPUs sum in unlike orders
        assert_same_clips(model(waveform, attention_mask=mask), alone, tolerance)
        inputs = extractor(clips, sampling_rate=16000, return_tensors="pt")
        assert_same_clips(model(**inputs), alone, tolerance)
        for single, length in zip(alone, lengths, strict=True):
            assert (single.segment_mask == int(length > 0)).all()


@pytest.mark.parametrize("name", INVARIANT)
@given(lengths, poolings)
@example([1024, 5200], {"pooling_type": "attention", "segmentation": "learned"})
@settings(max_examples=6)
def test_in_double_precision_a_clip_is_embedded_the_same_alone_and_in_any_batch_but_for_its_rounding(
    name, lengths, pooling
):
    model = make(name, **pooling).double()
    clips = [clip.double() for clip in random_clips([max(1, length) for length in lengths])]
    waveform, mask = pad(clips)
    with torch.no_grad():
        alone = [model(clip[None]) for clip in clips]
        assert_same_clips(model(waveform, attention_mask=mask), alone, tolerance=1e-7)  # Parakeet's frames are float32


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


def test_what_is_saved_loads_equal_to_the_bit_and_in_a_fresh_process(repositories, tmp_path):
    clip = random_clips([16000])[0]
    torch.save(clip, tmp_path / "clip.pt")
    expected = []
    for number, name in enumerate(ENCODERS):
        model = AudioBranchModel.from_encoder(repositories[name], **SMALL)
        extractor = AudioBranchFeatureExtractor.from_model(model)
        for saved in (model, extractor):
            saved.save_pretrained(tmp_path / f"saved_{number}")
        loaded = AudioBranchModel.from_pretrained(tmp_path / f"saved_{number}")
        assert loaded.state_dict().keys() == model.state_dict().keys()
        buffers = dict(model.named_buffers())
        for key, value in [*loaded.state_dict().items(), *loaded.named_buffers()]:
            assert torch.equal(value, buffers[key] if key in buffers else model.state_dict()[key]), (name, key)
        with torch.no_grad():
            expected += [model(clip[None]).segment_features.double().sum().item()] * 3
    code = f"""
    import torch
    from transformers import AutoFeatureExtractor, AutoModel, pipeline
    clip = torch.load({str(tmp_path / "clip.pt")!r})
    for number in range({len(ENCODERS)}):
        folder, again = f"{tmp_path}/saved_{{number}}", f"{tmp_path}/again_{{number}}"
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
    assert totals == pytest.approx(expected, abs=1e-5)


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
def test_weights_are_saved_under_the_names_that_a_trainer_continues_from(name, tmp_path):
    model = make(name)
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == model.state_dict().keys()
    for key, value in saved.items():
        assert torch.equal(value, model.state_dict()[key]), key
