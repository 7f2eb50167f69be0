"""What is frozen does not move."""

import copy

import pytest
import torch

from helpers.models import make_model, pad, random_clips, tiny_config
from modeling_audio_branch import (
    AudioBranchForAudioClassification,
    AudioBranchModel,
)

FROZEN = {
    "encoder": ("encoder.",),
    "front_end": ("encoder.subsampling.",),
    1: ("encoder.subsampling.", "encoder.layers.0."),
}


@pytest.mark.parametrize("part", list(FROZEN))
@pytest.mark.parametrize("head", [True, False])
def test_what_is_frozen_does_not_move(part, head):
    config = tiny_config(num_labels=3, conv_norm="batch", dropout=0.5, use_weighted_layer_sum=True)
    model = make_model(AudioBranchForAudioClassification if head else AudioBranchModel, config)
    model.freeze(part)
    model.train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    waveform, mask = pad(random_clips([4000, 9000]))
    for _ in range(2):
        optimizer.zero_grad()
        output = model(waveform, attention_mask=mask)
        (output.logits if head else output.segment_features).square().sum().backward()
        optimizer.step()
    for name, value in model.state_dict().items():
        if "log_mel" in name:
            continue
        is_frozen = name.removeprefix("audio_branch.").startswith(FROZEN[part])
        assert torch.equal(value, before[name]) == is_frozen, name
    model.eval()
    model.train()
    for module in model.base_model.frozen_modules:
        assert not any(child.training for child in module.modules())
    model.unfreeze(part)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())


def test_unfreezing_the_first_layers_leaves_the_rest_frozen():
    model = make_model(AudioBranchModel, tiny_config())
    model.freeze("encoder")
    model.unfreeze(1)
    model.train()
    assert model.encoder.layers[0].training and not model.encoder.layers[1].training
    assert not any(parameter.requires_grad for parameter in model.encoder.layers[1].parameters())


def test_the_config_can_freeze_the_encoder_also_in_a_loaded_model(tmp_path):
    built = AudioBranchForAudioClassification(tiny_config(freeze_encoder=True, use_weighted_layer_sum=True))
    built.save_pretrained(tmp_path)
    for model in (built, AudioBranchForAudioClassification.from_pretrained(tmp_path)):
        model.train()
        trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert "audio_branch.layer_weights" in trainable
        assert not any(".encoder." in name for name in trainable)
        assert not any(layer.training for layer in model.audio_branch.encoder.layers)


@pytest.mark.parametrize("part", ["pooling", 3, -1, True, None])
def test_an_unknown_part_gives_one_sentence(part):
    with pytest.raises(ValueError, match="give 'encoder', 'front_end' or a number of layers from 0 to 2"):
        AudioBranchModel(tiny_config()).freeze(part)
