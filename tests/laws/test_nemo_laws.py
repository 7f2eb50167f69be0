"""NeMo's archives give NeMo's outputs, and obey the laws of padding. Goldens: fixtures/nemo, written by NeMo 3.0.0."""

import pytest
import torch
from safetensors.torch import load_file

from helpers.assertions import assert_same_clips
from helpers.models import pad, random_clips
from helpers.nemo_archives import ARCHIVES, NEMO
from modeling_audio_branch import AudioBranchModel

TOLERANCE = {"atol": 2e-5, "rtol": 0}


@pytest.fixture(scope="module", params=ARCHIVES)
def converted(request):
    return AudioBranchModel.from_nemo(NEMO / request.param / "model.nemo"), load_file(
        NEMO / request.param / "batch.safetensors"
    )


def shared_clips(lengths=None):
    """The clips that NeMo was given, whole or cut to these lengths, and their mask."""
    tensors = load_file(NEMO / "waveforms.safetensors")
    lengths = tensors["lengths"] if lengths is None else lengths
    mask = torch.arange(lengths.max()) < lengths[:, None]
    return tensors["waveforms"][:, : lengths.max()] * mask, mask


@pytest.fixture(scope="module")
def audio():
    return shared_clips()


def assert_valid_frames_equal(states, golden, lengths, tolerance=2e-5):
    for got, expected, length in zip(states, golden, lengths.tolist(), strict=True):
        # Where input scaling makes numbers around 50, 2e-5 is a few units in the last place: allow it per unit of size.
        size = max(1.0, expected[:length].square().mean().sqrt().item())
        torch.testing.assert_close(got[:length], expected[:length], atol=tolerance * size, rtol=0)


def test_an_archive_gives_nemos_frames_at_every_stage(converted):
    model, golden = converted
    stages = {}

    def keep(name):
        return lambda module, args, output: stages.update({name: output[0] if isinstance(output, tuple) else output})

    model.encoder.packs_frames = False  # to see the stages clip by clip
    first = model.encoder.layers[0]
    model.encoder.subsampling.register_forward_hook(keep("after_xscale"))
    first.feed_forward1.register_forward_hook(keep("layer_0.feed_forward1"))
    first.norm_self_attn.register_forward_hook(keep("layer_0.norm_self_att"))
    first.self_attn.register_forward_hook(keep("layer_0.self_attn"))
    first.conv.register_forward_hook(keep("layer_0.conv"))
    first.feed_forward2.register_forward_hook(keep("layer_0.feed_forward2"))
    for i, layer in enumerate(model.encoder.layers):
        layer.register_forward_hook(keep(f"layer_{i}"))
    mel = golden["mel"].transpose(1, 2)
    with torch.no_grad():
        output = model(mel, attention_mask=torch.arange(mel.shape[1]) < golden["mel_lengths"][:, None])
    lengths = golden["encoded_lengths"]
    assert output.attention_mask.sum(-1).tolist() == lengths.tolist()
    assert_valid_frames_equal(output.last_hidden_state, golden["encoded"].transpose(1, 2), lengths)
    compared = [name for name in stages if name in golden]
    assert len(compared) >= len(model.encoder.layers) + 1
    for name in compared:
        assert_valid_frames_equal(stages[name], golden[name], lengths)


def test_an_archive_gives_nemos_output_for_raw_audio(converted):
    model, golden = converted
    waveforms, mask = shared_clips(golden.get("lengths"))
    with torch.no_grad():
        output = model(waveforms, attention_mask=mask)
    # The log-mel frames depend on the CPU (see test_log_mel.py): 6e-5 on one of Intel.
    expected = golden["encoded"].transpose(1, 2)
    assert_valid_frames_equal(output.last_hidden_state, expected, golden["encoded_lengths"], tolerance=1e-4)


@pytest.mark.parametrize("name", [name for name in ARCHIVES if (NEMO / name / "edge.safetensors").exists()])
def test_edge_lengths_and_silence_give_nemos_output_and_stay_finite(name):
    model = AudioBranchModel.from_nemo(NEMO / name / "model.nemo")
    golden = load_file(NEMO / name / "edge.safetensors")
    with torch.no_grad():
        for waveform, length in zip(golden["batch.waveforms"], golden["lengths"].tolist(), strict=True):
            output = model(waveform[None, :length])
            frames = golden[f"n{length}.encoded_lengths"]
            assert output.attention_mask.sum(-1).tolist() == frames.tolist()
            assert_valid_frames_equal(output.last_hidden_state, golden[f"n{length}.encoded"].transpose(1, 2), frames)
        for clip in (torch.zeros(1, 12000), torch.full((1, 12000), 0.5), torch.zeros(1, 100)):
            assert model(clip).segment_features.isfinite().all()


def test_converted_models_obey_the_laws_of_padding(converted):
    model, _ = converted
    clips = random_clips([16000, 30000, 7000])
    with torch.no_grad():
        alone = [model(clip[None]) for clip in clips]
        for value in (0.0, float("nan")):
            waveform, mask = pad(clips, value)
            assert_same_clips(model(waveform, attention_mask=mask), alone, tolerance=2e-5)


def test_a_window_no_shorter_than_the_clip_equals_full_attention(audio):
    waveforms, mask = audio
    full = AudioBranchModel.from_nemo(NEMO / "fc_ctc_bpe/model.nemo")
    wide = AudioBranchModel.from_nemo(NEMO / "fc_ctc_bpe/model.nemo", attention_window=[60, 49])
    with torch.no_grad():
        expected, got = full(waveforms, mask), wide(waveforms, mask)
    torch.testing.assert_close(got.last_hidden_state, expected.last_hidden_state, **TOLERANCE)
