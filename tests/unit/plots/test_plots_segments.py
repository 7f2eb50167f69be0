"""The picture of one clip: its panels, its title, and what it refuses."""

import pytest
import torch
from transformers import ASTConfig, WhisperConfig

from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.plots import plot_segments

RATE = 16000
PANELS = ["Waveform", "Log-mel (kHz)", "Pooling weight\n(1: plain mean)"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def labels(figure):
    return [axes.get_ylabel() for axes in figure.axes]


def title(figure):
    return figure.axes[0].get_title(loc="left")


@pytest.mark.parametrize("pooling_type", ["attention", "max", "avg", "learnable"])
def test_a_clip_has_a_panel_for_each_stage_and_max_pooling_has_no_weights(pooling_type):
    model = make_model(AudioBranchModel, tiny_config(pooling_type=pooling_type, subsampling_factor=4))
    figure = plot_segments(model, random_clips([RATE])[0], RATE)
    assert labels(figure) == (PANELS[:2] if pooling_type == "max" else PANELS)
    assert title(figure) == "clip: 1.0 s in 4 segments"
    numbers = [text.get_text() for text in figure.axes[0].texts]
    assert numbers == ["1", "2", "3", "4"]
    borders = [line for line in figure.axes[0].lines if len(set(line.get_xdata())) == 1]
    assert [line.get_xdata()[0] for line in borders] == pytest.approx([0.25, 0.5, 0.75])


def test_learned_segments_have_the_borders_that_the_model_found():
    model = make_model(AudioBranchModel, tiny_config(segmentation="learned", subsampling_factor=4))
    clip = random_clips([RATE])[0]
    figure = plot_segments(model, clip, RATE)
    borders = [line.get_xdata()[0] for line in figure.axes[0].lines if len(set(line.get_xdata())) == 1]
    found = model.encode(clip, sampling_rate=RATE).segment_times[1:, 0].tolist()
    assert borders == pytest.approx(found, abs=1e-5) and found != pytest.approx([0.25, 0.5, 0.75], abs=1e-3)
    assert labels(figure) == PANELS


def test_average_pooling_has_the_weight_1_of_a_plain_mean_everywhere():
    model = make_model(AudioBranchModel, tiny_config(pooling_type="avg", subsampling_factor=4))
    lines = plot_segments(model, random_clips([RATE])[0], RATE).axes[2].lines
    drawn = [line.get_ydata() for line in lines[: model.config.num_segments]]
    assert all(torch.as_tensor(weights).sub(1).abs().max() < 1e-6 for weights in drawn)


def test_a_classifier_in_training_mode_is_plotted_without_dropout_and_stays_in_it():
    model = make_model(AudioBranchForAudioClassification, tiny_config(dropout=0.5))
    clip = random_clips([RATE])[0]
    evaluated = plot_segments(model, clip, RATE).axes[2].lines[0].get_ydata()
    trained = plot_segments(model.train(), clip, RATE).axes[2].lines[0].get_ydata()
    assert model.training and (evaluated == trained).all()


def test_a_long_clip_is_plotted_in_part_and_the_title_says_so():
    model = make_model(AudioBranchModel, tiny_config())
    assert title(plot_segments(model, torch.zeros(3 * RATE), RATE, "song", max_seconds=1)) == (
        "song: its first 1 s in 4 segments"
    )


def test_a_clip_without_a_log_mel_frame_is_refused():
    model = make_model(AudioBranchModel, tiny_config())
    with pytest.raises(ValueError, match="^short is shorter than one log-mel frame, .*; give a longer clip.$"):
        plot_segments(model, torch.zeros(10), RATE, "short")


def test_an_encoder_of_transformers_has_no_log_mel_panel_and_is_plotted_up_to_its_limit():
    ast = ASTConfig(**SIZES, max_length=102, num_mel_bins=32, frequency_stride=16, time_stride=16)
    whisper = WhisperConfig(
        **{"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "vocab_size": 60, "pad_token_id": 0},
        **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32},
    )
    for encoder, seconds in ((ast, "its first 1 s"), (whisper, "1.5 s")):
        settings = {"encoder_config": encoder, "num_segments": 4, "feature_dim": 12, "num_heads": 2}
        model = make_model(AudioBranchModel, tiny_config(**settings))
        figure = plot_segments(model, random_clips([int(1.5 * RATE)])[0], RATE)
        assert labels(figure) == [PANELS[0], PANELS[2]]
        assert seconds in title(figure)
        assert figure.axes[1].lines[-2].get_xdata()[-1] < 1.5
