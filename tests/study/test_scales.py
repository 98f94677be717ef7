"""What a page says of a net agrees with the net."""

from __future__ import annotations

import re

import pytest
from torch import nn

from sgdnoise import models
from sgdnoise.config import make_config
from sgdnoise.study import scales

NUMBERS = {"one": 1, "two": 2, "three": 3, "five": 5, "six": 6}


@pytest.mark.parametrize("name", scales._AT_LENGTH)
def test_what_is_behind_a_nets_name_is_what_it_has(name: str) -> None:
    layers = list(models.build(name).modules())
    dense = [layer for layer in layers if isinstance(layer, nn.Linear)]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    # After the first one, a block has two of these; a shortcut's is smaller.
    blocks = (sum(layer.kernel_size == (3, 3) for layer in convolutions) - 1) / 2
    text = scales._AT_LENGTH[name]
    said = re.findall(r"(\w+) (hidden layer|convolution|block)", text)
    has = {"hidden layer": len(dense) - 1, "convolution": len(convolutions), "block": blocks}
    assert said
    assert [NUMBERS[number] for number, _ in said] == [has[what] for _, what in said]
    for units in re.findall(r"(\d+) units", text):
        assert {layer.out_features for layer in dense[:-1]} == {int(units)}


def test_a_net_without_words_of_its_own_goes_by_its_name() -> None:
    fields = {"dataset": "cifar10", "batch_size": 16, "learning_rate": 0.1, "epochs": 1.0}
    assert scales.net_in_words([make_config(model="resnet44", **fields)]) == "ResNet-44"
