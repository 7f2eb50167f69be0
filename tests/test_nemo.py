"""NeMo's archives give NeMo's outputs, or are refused by name. Goldens: fixtures/nemo, written by NeMo 3.0.0."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
import torch
import yaml
from conftest import pad, random_clips
from fresh_process import run_fresh
from safetensors.torch import load_file
from test_laws import assert_same_clips
from transformers.utils import logging

from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchModel, convert_nemo

NEMO = Path(__file__).parent / "fixtures" / "nemo"
ARCHIVES = sorted(folder.name for folder in NEMO.iterdir() if (folder / "model.nemo").exists())
TOLERANCE = {"atol": 2e-5, "rtol": 0}


@pytest.fixture(scope="module", params=ARCHIVES)
def converted(request):
    return AudioBranchModel.from_nemo(NEMO / request.param / "model.nemo"), load_file(
        NEMO / request.param / "batch.safetensors"
    )


@pytest.fixture(scope="module")
def audio():
    tensors = load_file(NEMO / "waveforms.safetensors")
    return tensors["waveforms"], torch.arange(tensors["waveforms"].shape[1]) < tensors["lengths"][:, None]


def assert_valid_frames_equal(states, golden, lengths):
    for got, expected, length in zip(states, golden, lengths.tolist(), strict=True):
        # Where input scaling makes numbers around 50, 2e-5 is a few units in the last place: allow it per unit of size.
        size = max(1.0, expected[:length].square().mean().sqrt().item())
        torch.testing.assert_close(got[:length], expected[:length], atol=2e-5 * size, rtol=0)


def test_the_archives_are_there():
    assert {"conformer_striding4", "fc_ctc_bpe", "fc_local4", "nest_post_conv"} <= set(ARCHIVES)


def test_an_archive_gives_nemos_frames_at_every_stage(converted):
    model, golden = converted
    stages = {}

    def keep(name):
        return lambda module, args, output: stages.update({name: output[0] if isinstance(output, tuple) else output})

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


def test_an_archive_gives_nemos_output_for_raw_audio(converted, audio):
    model, golden = converted
    waveforms, mask = audio
    with torch.no_grad():
        output = model(waveforms, attention_mask=mask)
    assert_valid_frames_equal(output.last_hidden_state, golden["encoded"].transpose(1, 2), golden["encoded_lengths"])


def test_edge_lengths_and_silence_give_nemos_output_and_stay_finite():
    model = AudioBranchModel.from_nemo(NEMO / "fc_ctc_bpe/model.nemo")
    golden = load_file(NEMO / "fc_ctc_bpe/edge.safetensors")
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


def change(archive, target, change_config=None, change_weights=None, mode="w"):
    """A copy of an archive with another configuration or other weights."""
    with tarfile.open(archive) as source, tarfile.open(target, mode) as copy:
        for member in filter(tarfile.TarInfo.isreg, source):
            data = source.extractfile(member).read()
            if member.name.endswith("model_config.yaml") and change_config:
                config = yaml.safe_load(data)
                change_config(config)
                data = yaml.safe_dump(config).encode()
            if member.name.endswith("model_weights.ckpt") and change_weights:
                weights = torch.load(io.BytesIO(data), weights_only=True)
                change_weights(weights)
                buffer = io.BytesIO()
                torch.save(weights, buffer)
                data = buffer.getvalue()
            member.size = len(data)
            copy.addfile(member, io.BytesIO(data))
    return target


def test_a_converted_folder_loads_in_a_fresh_process_with_the_archives_own_filters(tmp_path, audio):
    """Some archives hold the window and filters rounded to bfloat16: these, not ours, are what the encoder knows."""

    def round_filters(weights):
        for name in ("window", "fb"):
            weights[f"preprocessor.featurizer.{name}"] = weights[f"preprocessor.featurizer.{name}"].bfloat16()

    archive = change(NEMO / "fc_ctc_bpe/model.nemo", tmp_path / "model.nemo", change_weights=round_filters)
    model = AudioBranchModel.from_nemo(archive)
    assert not torch.equal(model.log_mel.mel_filters, model.log_mel.constants()["mel_filters"])
    assert convert_nemo.main([str(archive), str(tmp_path / "new" / "folder")]) == 0
    code = f"""
    import torch
    from transformers import AutoFeatureExtractor, AutoModel
    from safetensors.torch import load_file
    folder = {str(tmp_path / "new" / "folder")!r}
    model = AutoModel.from_pretrained(folder, trust_remote_code=True)
    extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
    clip = load_file({str(NEMO / "waveforms.safetensors")!r})["waveforms"][0, :16000]
    with torch.no_grad():
        raw, extracted = model(clip[None]), model(**extractor(clip, sampling_rate=16000, return_tensors="pt"))
    print((raw.last_hidden_state - extracted.last_hidden_state).abs().max().item() < 1e-6)
    print(raw.last_hidden_state.double().sum().item())
    """
    same_doors, total = run_fresh(code, tmp_path).split()
    with torch.no_grad():
        expected = model(audio[0][:1, :16000]).last_hidden_state.double().sum().item()
    assert same_doors == "True" and float(total) == pytest.approx(expected, abs=1e-4)


def test_a_gzip_archive_equals_the_plain_one(tmp_path):
    plain = NEMO / "fc_local4/model.nemo"
    (tmp_path / "old.nemo").write_bytes(gzip.compress(plain.read_bytes(), 1))
    states = [AudioBranchModel.from_nemo(path).encoder.state_dict() for path in (plain, tmp_path / "old.nemo")]
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value)


@pytest.mark.parametrize(
    ("section", "settings", "named"),
    [
        ("encoder", {"self_attention_model": "abs_pos"}, "self_attention_model='abs_pos'"),
        ("encoder", {"conv_norm_type": "group_norm4"}, "conv_norm_type='group_norm4'"),
        ("encoder", {"conv_norm_type": "instance_norm"}, "conv_norm_type='instance_norm'"),
        ("encoder", {"subsampling": "stacking"}, "subsampling='stacking'"),
        ("encoder", {"subsampling": "vggnet"}, "subsampling='vggnet'"),
        ("encoder", {"reduction": "striding", "reduction_factor": 2}, "reduction='striding'"),
        ("encoder", {"feat_out": 128}, "feat_out=128"),
        ("encoder", {"global_tokens": 2, "self_attention_model": "rel_pos_local_attn"}, "global_tokens=2"),
        ("encoder", {"global_tokens": 1}, "global_tokens without local attention"),
        (
            "encoder",
            {"self_attention_model": "rel_pos_local_attn", "att_context_size": [4, 2]},
            "att_context_size=[4, 2]",
        ),
        ("encoder", {"self_attention_model": "rel_pos_local_attn"}, "att_context_size=[-1, -1]"),
        ("encoder", {"att_context_style": "chunked_limited_with_rc"}, "att_context_style='chunked_limited_with_rc'"),
        ("encoder", {"a_new_idea": 3}, "a_new_idea=3"),
        ("encoder", {"_target_": "nemo.collections.asr.modules.SqueezeformerEncoder"}, "SqueezeformerEncoder"),
        ("encoder", {"n_layers": None}, "n_layers=None"),
        ("preprocessor", {"_target_": "os.system"}, "os.system"),
        ("preprocessor", {"frame_splicing": 3}, "frame_splicing=3"),
        ("preprocessor", {"exact_pad": True}, "exact_pad=True"),
        ("preprocessor", {"log": False}, "log=False"),
        ("preprocessor", {"features": 64}, "makes 64 features, but its encoder takes feat_in=80"),
        ("preprocessor", {"log_zero_guard_type": "max"}, "log_zero_guard_type='max'"),
    ],
)
def test_what_is_not_carried_over_is_refused_by_name(section, settings, named, tmp_path):
    archive = change(
        NEMO / "fc_ctc_bpe/model.nemo", tmp_path / "model.nemo", lambda config: config[section].update(settings)
    )
    with pytest.raises(ValueError) as raised:
        AudioBranchModel.from_nemo(archive)
    assert named in str(raised.value)


def rename(old, new):
    return lambda weights: weights.update({new: weights.pop(old)})


@pytest.mark.parametrize(
    ("change_weights", "sentence"),
    [
        (lambda w: w.update({"encoder.extra.weight": torch.zeros(2)}), "unknown: extra.weight"),
        (lambda w: w.pop("encoder.layers.1.norm_out.bias"), "missing: layers.1.norm_out.bias"),
        (lambda w: w.pop("encoder.layers.1.self_attn.linear_k.bias"), "has only q, v of q, k and v"),
        (rename("encoder.pre_encode.out.bias", "encoder.pre_encode.bias"), None),
        (lambda w: w.update({"encoder.pre_encode.bias": torch.zeros(64)}), "two weights for subsampling.linear.bias"),
        (
            lambda w: w.update({"encoder.layers.0.norm_out.bias": torch.zeros(3)}),
            "of another shape: layers.0.norm_out.bias",
        ),
        (lambda w: w.update({"preprocessor.featurizer.window": torch.zeros(7)}), "window has the shape (7,)"),
    ],
)
def test_every_encoder_weight_is_used_exactly_once_or_named(change_weights, sentence, tmp_path):
    archive = change(NEMO / "fc_ctc_bpe/model.nemo", tmp_path / "model.nemo", change_weights=change_weights)
    if sentence is None:  # the same weight under the name that NeMo gives it without subsampling
        AudioBranchModel.from_nemo(archive)
        return
    with pytest.raises(ValueError) as raised:
        AudioBranchModel.from_nemo(archive)
    assert sentence in str(raised.value)


class Exploit:
    """Unpickling it would leave a file behind."""

    def __reduce__(self):
        return (os.mkdir, ("exploited",))


def hostile(folder, kind):
    path = folder / "hostile.nemo"
    good = NEMO / "fc_local4/model.nemo"
    if kind == "truncated":
        path.write_bytes(good.read_bytes()[:700_000])
    elif kind == "truncated gzip":
        path.write_bytes(gzip.compress(good.read_bytes(), 1)[:300_000])
    elif kind == "foreign":
        path.write_bytes(b"RIFF....WAVEfmt " * 100)
    elif kind == "empty":
        path.touch()
    else:
        members = {"./model_config.yaml": b"encoder: {}\npreprocessor: {}\n", "./model_weights.ckpt": b""}
        if kind == "parent path":
            members["../../escape"] = b"x"
        elif kind == "absolute path":
            members["/tmp/escape"] = b"x"
        elif kind == "no config":
            del members["./model_config.yaml"]
        elif kind == "no sections":
            members["./model_config.yaml"] = b"decoder: {}\n"
        elif kind == "unsafe yaml":
            members["./model_config.yaml"] = b"encoder: !!python/object/apply:os.mkdir [exploited]\n"
        elif kind == "model parallel":
            members["./mp_rank_00/model_weights.ckpt"] = b"x"
        buffer = io.BytesIO()
        torch.save(Exploit() if kind == "pickle" else [1] if kind == "no dictionary" else {"a": torch.zeros(1)}, buffer)
        members["./model_weights.ckpt"] = b"garbage" if kind == "garbage weights" else buffer.getvalue()
        with tarfile.open(path, "w") as archive:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                if kind == "link" and name == "./model_weights.ckpt":
                    member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
                archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("truncated", "can't be read as a tar archive"),
        ("truncated gzip", "can't be read as a tar archive"),
        ("foreign", "can't be read as a tar archive"),
        ("empty", "can't be read as a tar archive"),
        ("parent path", "'../../escape', which points outside"),
        ("absolute path", "'/tmp/escape', which points outside"),
        ("no config", "has no file model_config.yaml"),
        ("no sections", "has no sections 'preprocessor' and 'encoder'"),
        ("unsafe yaml", "can't be read as plain YAML"),
        ("pickle", "can't be read as plain tensors"),
        ("garbage weights", "can't be read as plain tensors"),
        ("no dictionary", "is no dictionary of tensors"),
        ("link", "has no file model_weights.ckpt"),
        ("model parallel", "holds model-parallel weights"),
    ],
)
def test_a_broken_archive_gives_one_sentence_and_runs_nothing(kind, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = hostile(tmp_path, kind)
    with pytest.raises(ValueError) as raised:
        AudioBranchModel.from_nemo(path)
    assert sentence in str(raised.value) and "\n" not in str(raised.value)
    assert convert_nemo.main([str(path), "new"]) == 1
    assert sentence in capsys.readouterr().err
    assert {entry.name for entry in tmp_path.iterdir()} == {"hostile.nemo"}


def test_the_converter_overwrites_nothing_and_misses_politely(tmp_path, capsys):
    (tmp_path / "kept").touch()
    assert convert_nemo.main([str(NEMO / "fc_local4/model.nemo"), str(tmp_path)]) == 1
    assert "is not an empty folder; give another" in capsys.readouterr().err
    assert convert_nemo.main([str(tmp_path / "no.nemo"), str(tmp_path / "new")]) == 1
    assert "is not a file; give the path of a .nemo archive" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]


def test_the_new_parts_are_said_to_be_random(caplog):
    logging.enable_propagation()
    AudioBranchModel.from_nemo(NEMO / "fc_local4/model.nemo", pooling_type="max", num_segments=3)
    logging.disable_propagation()
    assert "they are new, and random" in caplog.text


def test_the_extractor_of_a_model_has_the_models_settings():
    model = AudioBranchModel.from_nemo(NEMO / "nest_post_conv/model.nemo")
    extractor = AudioBranchFeatureExtractor.from_model(model)
    assert extractor.normalize == model.config.normalize and extractor.own_mel_filters is None
