"""Two clips on the page."""

import soundfile
from PIL import Image

from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.app.comparison import compare_clips


def test_a_clip_and_itself_are_alike(tmp_path):
    files = []
    for number, clip in enumerate(random_clips([16000, 12000])):
        files.append(str(tmp_path / f"{number}.wav"))
        soundfile.write(files[-1], clip.numpy(), 16000)
    model = make_model(AudioBranchModel, tiny_config())
    picture, sentence = compare_clips(model, files[0], files[0], tmp_path)
    assert sentence.count("1.00") == 2 and Image.open(picture).width > 400
    assert "1.00" not in compare_clips(model, *files, tmp_path)[1].split(";")[0]
