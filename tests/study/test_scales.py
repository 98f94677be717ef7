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


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({16: 1, 32: 1}, "1 learning rate a curve point"),
        ({16: 1, 32: 2}, "1 or 2 learning rates a curve point"),
        ({16: 3, 32: 3}, "3 learning rates a curve point"),
        ({16: 1, 32: 2, 64: 5}, "1 to 5 (3 values) learning rates a curve point"),
    ],
)
def test_how_many_rates_a_curve_point_has_is_said_as_one_says_it(rates, said) -> None:
    fields = {"dataset": "digits", "model": "digits-mlp", "epochs": 1.0}
    runs = [
        make_config(batch_size=size, learning_rate=2.0**-k, **fields)
        for size, count in rates.items()
        for k in range(count)
    ]
    assert scales.differences(runs, runs, (1, 1), stated=("data",)).split("; ")[-1] == said


def test_a_net_without_words_of_its_own_goes_by_its_name() -> None:
    fields = {"dataset": "cifar10", "batch_size": 16, "learning_rate": 0.1, "epochs": 1.0}
    assert scales.net_in_words([make_config(model="resnet44", **fields)]) == "ResNet-44"
