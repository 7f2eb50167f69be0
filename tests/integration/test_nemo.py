"""NeMo's archives give NeMo's outputs, or are refused by name. Goldens: fixtures/nemo, written by NeMo 3.0.0."""

import gzip
import io
import os
import tarfile
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import torch
import yaml
from helpers.models import pad, random_clips
from helpers.fresh_process import run_fresh
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file
from helpers.assertions import assert_same_clips
from transformers.utils import logging

from modeling_audio_branch import AudioBranchConfig, AudioBranchFeatureExtractor, AudioBranchModel, convert_nemo

NEMO = Path(__file__).parent / "fixtures" / "nemo"
ARCHIVES = sorted(folder.name for folder in NEMO.iterdir() if (folder / "model.nemo").exists())
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


def assert_valid_frames_equal(states, golden, lengths):
    for got, expected, length in zip(states, golden, lengths.tolist(), strict=True):
        # Where input scaling makes numbers around 50, 2e-5 is a few units in the last place: allow it per unit of size.
        size = max(1.0, expected[:length].square().mean().sqrt().item())
        torch.testing.assert_close(got[:length], expected[:length], atol=2e-5 * size, rtol=0)


def test_the_archives_have_every_supported_setting():
    seen = {}
    for name in ARCHIVES:
        config, _ = convert_nemo.read_archive(NEMO / name / "model.nemo")
        settings = convert_nemo.front_end_settings(config["preprocessor"])
        for setting, value in (settings | convert_nemo.encoder_settings(config["encoder"])).items():
            seen.setdefault(setting, []).append(value)
    # Always relative; of no use at inference; with normalize "fixed" only.
    for setting in seen.keys() - {"position_embedding", "dropout", "normalize_mean", "normalize_deviation"}:
        choices = get_args(AudioBranchConfig.__annotations__[setting])
        if get_origin(AudioBranchConfig.__annotations__[setting]) is Literal:
            assert set(choices) == set(seen[setting]), setting
        else:
            assert len({str(value) for value in seen[setting]}) > 1, setting
    assert {1, 2, 4, 8} == set(seen["subsampling_factor"])


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
    assert_valid_frames_equal(output.last_hidden_state, golden["encoded"].transpose(1, 2), golden["encoded_lengths"])


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
        ("encoder", {"att_context_style": "chunked"}, "att_context_style='chunked'"),
        ("encoder", {"a_new_idea": 3}, "a_new_idea=3"),
        ("encoder", {"_target_": "nemo.collections.asr.modules.SqueezeformerEncoder"}, "SqueezeformerEncoder"),
        ("encoder", {"n_layers": None}, "n_layers=None"),
        ("preprocessor", {"_target_": "os.system"}, "os.system"),
        ("preprocessor", {"frame_splicing": 3}, "frame_splicing=3"),
        ("preprocessor", {"exact_pad": True}, "exact_pad=True"),
        ("preprocessor", {"log": False}, "log=False"),
        ("preprocessor", {"features": 64}, "makes 64 features, but its encoder takes feat_in=80"),
        ("preprocessor", {"log_zero_guard_type": "max"}, "log_zero_guard_type='max'"),
        ("preprocessor", {"use_grads": True}, "use_grads=True"),
        # What only AudioBranchConfig finds impossible, under NeMo's names.
        ("encoder", {"subsampling_factor": 3}, "subsampling_factor=3"),
        ("encoder", {"subsampling_factor": 16}, "subsampling_factor=16"),
        ("encoder", {"conv_kernel_size": 8}, "conv_kernel_size=8"),
        ("encoder", {"conv_context_size": [4, 5]}, "conv_context_size=[4, 5]"),
        ("encoder", {"conv_context_size": "both"}, "'conv_context_size'"),
        ("encoder", {"n_heads": 5}, "d_model=64 does not split over n_heads=5"),
        ("encoder", {"n_layers": 0}, "n_layers=0"),
        ("encoder", {"n_heads": 0}, "n_heads=0"),
        ("encoder", {"att_context_size": [5, -2]}, "att_context_size=[5, -2]"),
        (
            "encoder",
            {"att_context_style": "chunked_limited", "att_context_size": [4, -1]},
            "att_context_style='chunked_limited' with att_context_size=[4, -1]",
        ),
        ("encoder", {"ff_expansion_factor": 1.5}, "'ff_expansion_factor' expected int"),
        ("preprocessor", {"log_zero_guard_value": 0.0}, "log_zero_guard_value=0.0"),
        ("preprocessor", {"window_size": 0.05}, "n_fft=512 with n_window_size=800"),
        ("preprocessor", {"window_stride": None}, "n_window_stride=0"),
        # What no arithmetic can be done with.
        ("encoder", {"subsampling_factor": None}, "subsampling_factor=None; it must be a number"),
        ("encoder", {"att_context_size": 4}, "att_context_size=4"),
        ("encoder", {"att_context_size": [4]}, "att_context_size=[4]"),
        ("preprocessor", {"window_size": "wide"}, "window_size='wide'; it must be a number"),
        ("preprocessor", {"window_stride": float("inf")}, "window_stride=inf; it must be a number"),
        ("preprocessor", {"n_window_size": "400"}, "n_window_size='400'; it must be a number"),
        ("preprocessor", {"log_zero_guard_value": "small"}, "log_zero_guard_value='small'; it must be a number"),
        ("preprocessor", {"normalize": {"fixed_mean": "low", "fixed_std": [1.0]}}, "fixed_mean that is no list"),
        ("preprocessor", {"normalize": {"fixed_mean": [0.0], "fixed_std": [1.0]}}, "1 numbers in fixed_mean"),
    ],
)
def test_what_is_not_carried_over_is_refused_by_name(section, settings, named, tmp_path):
    archive = change(
        NEMO / "fc_ctc_bpe/model.nemo", tmp_path / "model.nemo", lambda config: config[section].update(settings)
    )
    with pytest.raises(convert_nemo.NemoError) as raised:
        AudioBranchModel.from_nemo(archive)
    assert named in str(raised.value) and "\n" not in str(raised.value)


def test_the_converter_says_in_one_sentence_that_a_setting_is_impossible(tmp_path, capsys):
    def change_kernel(config):
        config["encoder"]["conv_kernel_size"] = 8

    archive = change(NEMO / "fc_local4/model.nemo", tmp_path / "model.nemo", change_kernel)
    assert convert_nemo.main([str(archive), str(tmp_path / "new")]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "The archive has a setting that is not supported: conv_kernel_size=8 has no middle: give an odd number."
    ]


def test_bad_settings_of_the_caller_are_not_blamed_on_the_archive():
    with pytest.raises(StrictDataclassError, match="num_segments=0"):
        AudioBranchModel.from_nemo(NEMO / "fc_local4/model.nemo", num_segments=0)


@pytest.mark.parametrize(
    ("missing", "settings"),
    [
        ("window", {"window": "hamming"}),
        ("window", {"window": "none"}),
        ("fb", {"lowfreq": 60}),
        ("fb", {"highfreq": 7000}),
        ("fb", {"mel_norm": None}),
    ],
)
def test_a_window_or_filters_that_an_archive_lacks_are_the_usual_ones_or_refused(missing, settings, tmp_path):
    def forget(weights):
        del weights[f"preprocessor.featurizer.{missing}"]

    source = NEMO / "fc_local4/model.nemo"
    log_mel = AudioBranchModel.from_nemo(change(source, tmp_path / "usual.nemo", change_weights=forget)).log_mel
    for name, value in log_mel.constants().items():
        assert torch.equal(getattr(log_mel, name), value)
    archive = change(source, tmp_path / "own.nemo", lambda config: config["preprocessor"].update(settings), forget)
    with pytest.raises(convert_nemo.NemoError) as raised:
        AudioBranchModel.from_nemo(archive)
    ((name, value),) = settings.items()
    assert f"{name}={value!r}" in str(raised.value) and f"featurizer.{missing}" in str(raised.value)


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
    assert extractor.normalize == model.config.normalize and extractor.custom_mel_filters is None
