"""recipes/audio_visual/model/processing_audio_visual.py: video files, frames and audio to a batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.audio_visual.model import AudioVisualProcessor
from recipes.audio_visual.write_video import write_video


def pictures(count, size=8, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 255, (count, size, size, 3), dtype=np.uint8))


@settings(max_examples=10)
@given(seconds=st.floats(0.1, 2.0), seed=st.integers(0, 99))
def test_the_model_sees_the_same_of_the_frames_that_are_kept_as_of_all(av, seconds, seed):
    model = av.model("liquid", seed=seed)
    samples = 0.1 * torch.randn(round(seconds * av.rate))
    frames = pictures(max(1, round(seconds * av.frame_rate)), seed=seed)
    outputs = []
    for count in (model.config.frames_per_segment, None):
        processor = AudioVisualProcessor.from_model_config(model.config, frames_per_segment=count)
        for audio in (samples, None):
            batch = processor(frames=frames, frame_rate=av.frame_rate, audio=audio, sampling_rate=av.rate)
            outputs.append(model(**batch))
    for some, all_of_them in zip(outputs[:2], outputs[2:], strict=True):
        assert torch.equal(some.logits, all_of_them.logits)
        torch.testing.assert_close(some.visual_segment_times, all_of_them.visual_segment_times)


def test_with_learned_segments_all_frames_are_kept_since_the_model_alone_knows_the_borders(av):
    config = av.config()
    config.audio_config.segmentation = "learned"
    assert AudioVisualProcessor.from_model_config(config).frames_per_segment is None


def test_sound_too_short_for_a_frame_does_not_shorten_the_picture(av):
    processor, frames = AudioVisualProcessor.from_model_config(av.config()), pictures(50)
    short = processor(frames=frames, frame_rate=25, audio=torch.ones(3), sampling_rate=av.rate)
    without = processor(frames=frames, frame_rate=25)
    assert torch.equal(short["frame_times"], without["frame_times"])
    assert torch.equal(short["pixel_values"], without["pixel_values"])


def test_a_batch_holds_both_sides_and_masks_what_is_missing(av):
    processor = AudioVisualProcessor.from_model_config(av.config())
    batch = processor(
        frames=[pictures(20), None, pictures(5)],
        frame_rate=[25, None, 10.0],
        audio=[torch.ones(12800), torch.ones(4000), None],
        sampling_rate=av.rate,
    )
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "input_features": (3, 12800),
        "attention_mask": (3, 12800),
        "pixel_values": (3, 8, 3, 8, 8),
        "frame_times": (3, 8, 2),
        "video_mask": (3, 8),
    }
    assert batch["attention_mask"].sum(1).tolist() == [12800, 4000, 0]
    assert batch["video_mask"].sum(1).tolist() == [8, 0, 5]
    assert batch["frame_times"][2, 4].tolist() == pytest.approx([0.4, 0.5])
    assert list(batch) == processor.model_input_names


def test_pixels_are_scaled_and_normalized_with_the_settings_of_the_encoder(av):
    settings = {"image_mean": [0.2, 0.4, 0.6], "image_std": [0.1, 0.2, 0.4]}
    processor = AudioVisualProcessor.from_model_config(av.config(), **settings)
    grey = torch.full((4, 16, 24, 3), 102, dtype=torch.uint8)  # 0.4
    pixels = processor(frames=grey, frame_rate=25)["pixel_values"]
    assert pixels.shape == (1, 4, 3, 8, 8)
    torch.testing.assert_close(pixels[0, 0, :, 0, 0], torch.tensor([2.0, 0.0, -0.5]), atol=1e-5, rtol=0)


def test_files_and_frames_give_the_same_classification_and_a_file_may_lack_a_side(av, tmp_path):
    model = av.model("gated")
    processor = AudioVisualProcessor.from_model_config(model.config)
    frames, tone = pictures(25, 8), 0.2 * np.sin(np.arange(16000) * 0.1)
    clips = {"both": (frames.numpy(), tone), "video": (frames.numpy(), None), "audio": (None, tone)}
    for name, (picture, sound) in clips.items():
        codecs = ("ffv1", "pcm_s16le")  # lossless, so that both ways give the same numbers
        write_video(tmp_path / f"{name}.mkv", picture, 25, sound, av.rate, codecs)
    batch = processor([tmp_path / f"{name}.mkv" for name in clips])
    expected = processor(
        frames=[frames, frames, None],
        frame_rate=25,
        audio=[tone.astype(np.float32), None, tone.astype(np.float32)],
        sampling_rate=av.rate,
    )
    assert torch.equal(batch["attention_mask"], expected["attention_mask"])
    assert torch.equal(batch["video_mask"], expected["video_mask"])
    torch.testing.assert_close(batch["input_features"], expected["input_features"], atol=1e-4, rtol=0)
    torch.testing.assert_close(batch["frame_times"], expected["frame_times"], atol=1e-3, rtol=0)
    assert model(**batch).modality_mask.tolist() == [[1, 1], [0, 1], [1, 0]]
    whole = processor((tmp_path / "both.mkv").read_bytes())
    assert torch.equal(whole["pixel_values"], batch["pixel_values"][:1])


def test_two_calls_agree_and_no_input_is_changed(av, tmp_path):
    processor = AudioVisualProcessor.from_model_config(av.config())
    frames, samples = pictures(9), torch.randn(5000)
    before = frames.clone(), samples.clone()
    first, second = (processor(frames=frames, frame_rate=25, audio=samples, sampling_rate=av.rate) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(frames, before[0]) and torch.equal(samples, before[1])
    processor.save_pretrained(tmp_path)
    assert AudioVisualProcessor.from_pretrained(tmp_path).to_dict() == processor.to_dict()


def test_wrong_inputs_are_one_sentence(av, tmp_path):
    processor = AudioVisualProcessor.from_model_config(av.config())
    (tmp_path / "text.mp4").write_text("This is text.")
    for arguments, sentence in (
        ({}, "Give either videos, or frames"),
        ({"videos": str(tmp_path / "none.mp4")}, "none.mp4 does not exist"),
        ({"videos": str(tmp_path / "text.mp4")}, r"text.mp4 can't be decoded \("),
        ({"videos": b""}, "can't be decoded"),
        ({"frames": pictures(3)}, "frame_rate=None; give frames per second"),
        ({"frames": pictures(3).float(), "frame_rate": 25}, "are torch.float32 of the shape"),
        ({"frames": [pictures(3), None], "frame_rate": 25}, "neither frames nor audio"),
        ({"frames": [pictures(3)], "audio": [None, None], "frame_rate": 25}, "There are 1 clips of frames, 2 of audio"),
        ({"audio": torch.zeros(1000)}, "without a sampling rate"),
        ({"frames": pictures(3), "frame_rate": 25, "return_tensors": "tf"}, "return_tensors='tf'"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=sentence) as error:
            processor(**arguments)
        assert str(error.value).count("\n") == 0 and str(error.value).endswith(".")
    with pytest.raises(TypeError, match="give a path or the bytes"):
        processor(videos=3)
    with pytest.raises(ValueError, match="image_std"):
        AudioVisualProcessor(image_std=[0.0, 1.0, 1.0])
