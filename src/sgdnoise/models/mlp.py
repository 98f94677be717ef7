"""Fully connected nets: the digits MLP, H17's F1, and the deep autoencoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

DIGITS_SIZES = (64, 64, 10)
AUTOENCODER_SIZES = (1000, 500, 250, 30)


def he_normal_mlp_init(
    sizes: Sequence[int], generator: Generator | None = None
) -> dict[str, Tensor]:
    """Weights N(0, 2 / fan-in) and zero biases of a ReLU net of these layer sizes.

    Keys are those of `DigitsMLP`'s state_dict: `layers.i.weight` (out, in), then `layers.i.bias`,
    layer by layer in forward order, which is also the order of the draws. float32 on CPU; the
    global generator where none is given. He et al. 2015, eq. 10.
    """
    state = {}
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        draw = torch.randn(fan_out, fan_in, generator=generator)
        state[f"layers.{i}.weight"] = draw * math.sqrt(2 / fan_in)
        state[f"layers.{i}.bias"] = torch.zeros(fan_out)
    return state


class DigitsMLP(nn.Module):
    """ReLU net without normalisation, 64-64-10 by default; input (batch, ...) is flattened.

    Small enough that a whole grid of runs trains as one bundle: `he_normal_mlp_init` gives any
    engine the initialisation that `build("digits-mlp", generator=g)` has.
    """

    def __init__(self, sizes: Sequence[int] = DIGITS_SIZES) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b, device="meta") for a, b in pairwise(sizes))
        # assign: the meta layers drew nothing, so these are the only draws.
        self.load_state_dict(he_normal_mlp_init(sizes), assign=True)
        self.requires_grad_()

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)


class F1(nn.Sequential):
    """H17's F1 for MNIST: five layers of 512 with batch norm and ReLU, then the classes.

    1,462,794 parameters at 784 inputs and 10 classes. Torch's default initialisation, as in H17's
    code. Input (batch, ...) is flattened. A smaller `width` makes it fit smaller images.
    """

    def __init__(
        self,
        inputs: int = 784,
        num_classes: int = 10,
        batch_norm: bool = True,
        width: int = 512,
    ) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        for fan_in in (inputs, *[width] * 4):
            layers.append(nn.Linear(fan_in, width))
            if batch_norm:
                layers.append(nn.BatchNorm1d(width))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers, nn.Linear(width, num_classes))


class Autoencoder(nn.Module):
    """784-1000-500-250-30 and back: logistic units, a linear code, logistic outputs.

    Hinton & Salakhutdinov 2006; the net of Martens 2010 and of Sutskever et al. 2013, which S20's
    appendix takes up. S20's own variant and recipe were not to be had. Initialisation is
    Sutskever's sparse one: each unit has 15 incoming weights from N(0, 1), all others and the
    biases are zero.

    `forward` gives the reconstruction in [0, 1], (batch, inputs); `logits` what stands before the
    last logistic, for a cross-entropy that does not overflow.
    """

    def __init__(self, inputs: int = 784) -> None:
        super().__init__()
        widths = [inputs, *AUTOENCODER_SIZES, *reversed(AUTOENCODER_SIZES[:-1]), inputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.code_layer = len(AUTOENCODER_SIZES) - 1
        with torch.no_grad():
            for weight, bias in zip(*[iter(self.parameters())] * 2, strict=True):
                kept = torch.rand(weight.shape).topk(min(15, weight.shape[1]), dim=1).indices
                weight.zero_().scatter_(1, kept, torch.randn(kept.shape))
                bias.zero_()

    def logits(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for i, layer in enumerate(self.layers[:-1]):
            x = layer(x)
            if i != self.code_layer:
                x = x.sigmoid()
        return self.layers[-1](x)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x).sigmoid()
