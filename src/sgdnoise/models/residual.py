"""Residual nets for small images: Wide ResNets (pre-activation) and ResNets (post-activation).

Both come with batch norm, or without any norm and with Regularized SkipInit in its place (De &
Smith 2020; S20 use it for their runs without batch norm): a learnable scalar, zero at first, at
the end of each residual branch; a bias in every convolution; dropout before the final layer; He
initialisation. At initialisation each block is then its shortcut alone. The L2 term is to be
kept, and reaches the scalars too. Ghost batch norm is the batch-norm net converted by
`sgdnoise.ghost_norm`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgdnoise.ghost_norm import norm_relu

SKIPINIT_DROPOUT = 0.6
"""Drop probability before the final layer: from memory of De & Smith for CIFAR-10, not verified."""


def _norm(channels: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()


def _branch_scale(batch_norm: bool) -> nn.Parameter | None:
    return None if batch_norm else nn.Parameter(torch.zeros(()))


def _he_init(model: nn.Module, batch_norm: bool) -> None:
    """He et al. 2015: fan-out with batch norm, as the nets' own codes have it; fan-in without.

    Without a norm the forward pass has nothing else to keep its scale, so it is fan-in that
    matters.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out" if batch_norm else "fan_in", nonlinearity="relu"
            )
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class _Head(nn.Module):
    """Global average pooling, dropout in a net without norm, linear classes."""

    def __init__(self, channels: int, num_classes: int, batch_norm: bool) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.0 if batch_norm else SKIPINIT_DROPOUT)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.dropout(x.mean((2, 3))))


class PreActivationBlock(nn.Module):
    """norm-ReLU-conv3-norm-ReLU-conv3, plus the shortcut.

    Where shape changes the shortcut is a 1×1 convolution of the *activated* input and has no
    norm, as in the WRN code; else it is the raw input.
    """

    def __init__(self, channels: int, width: int, stride: int, batch_norm: bool) -> None:
        super().__init__()
        bias = not batch_norm
        self.norm1 = _norm(channels, batch_norm)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=bias)
        self.norm2 = _norm(width, batch_norm)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=bias)
        self.shortcut = (
            nn.Conv2d(channels, width, 1, stride, bias=bias)
            if stride != 1 or channels != width
            else None
        )
        self.scale = _branch_scale(batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        active = norm_relu(self.norm1, x)
        shortcut = x if self.shortcut is None else self.shortcut(active)
        branch = self.conv2(norm_relu(self.norm2, self.conv1(active)))
        return shortcut + (branch if self.scale is None else self.scale * branch)


class WideResNet(nn.Module):
    """WRN-d-k of Zagoruyko & Komodakis 2016, as S20 use it: 3×3 stem of 16, widths 16k, 32k, 64k.

    WRN-16-4 with batch norm and 10 classes has 2,748,890 parameters. Any image size
    divisible by 4. Convolutions have no bias with batch norm.

    Args:
        depth: 6 n + 4, with n blocks a stage.
        widen: k.
        batch_norm: False for Regularized SkipInit.

    Raises:
        ValueError: depth is not 6 n + 4 with n >= 1, or widen < 1.
    """

    def __init__(
        self,
        depth: int,
        widen: int,
        num_classes: int = 10,
        in_channels: int = 3,
        batch_norm: bool = True,
    ) -> None:
        if depth < 10 or (depth - 4) % 6 or widen < 1:
            raise ValueError(
                f"no WRN-{depth}-{widen}: the depth is 10, 16, 22, 28, ... (6 n + 4), "
                "the widening factor at least 1"
            )
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 16, 3, 1, 1, bias=not batch_norm)
        blocks, channels = [], 16
        for stage, width in enumerate((16 * widen, 32 * widen, 64 * widen)):
            for i in range((depth - 4) // 6):
                stride = 2 if stage > 0 and i == 0 else 1
                blocks.append(PreActivationBlock(channels, width, stride, batch_norm))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.norm = _norm(channels, batch_norm)
        self.head = _Head(channels, num_classes, batch_norm)
        _he_init(self, batch_norm)
        nn.init.zeros_(self.head.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(norm_relu(self.norm, self.blocks(self.stem(x))))


class PostActivationBlock(nn.Module):
    """ReLU(conv3-norm-ReLU-conv3-norm + shortcut), the shortcut conv1-norm on a change of shape."""

    def __init__(self, channels: int, width: int, stride: int, batch_norm: bool) -> None:
        super().__init__()
        bias = not batch_norm
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=bias)
        self.norm1 = _norm(width, batch_norm)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=bias)
        self.norm2 = _norm(width, batch_norm)
        self.shortcut = (
            nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=bias), _norm(width, batch_norm)
            )
            if stride != 1 or channels != width
            else None
        )
        self.scale = _branch_scale(batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        branch = self.norm2(self.conv2(norm_relu(self.norm1, self.conv1(x))))
        return F.relu(shortcut + (branch if self.scale is None else self.scale * branch))


class ResNet(nn.Module):
    """ResNet for small images: 3×3 stem of widths[0], stages of equal blocks, strides 1, 2, 2, ...

    - ResNet-44 of H17's code: widths (16, 32, 64), 7 blocks each; 661,338 parameters.
    - H17's WResNet16-4: widths (64, 128, 256), 2 blocks each. Not a WRN: post-activation, and its
      stem is 64 wide already.
    - ResNet-18 for CIFAR (kuangliu's): widths (64, 128, 256, 512), 2 blocks each; 11,173,962
      parameters.

    Args:
        he_init: fan-out He initialisation of the convolutions (H17's code); False leaves torch's
            default, as kuangliu's code does. Without norm it is always fan-in He.
    """

    def __init__(
        self,
        widths: Sequence[int],
        blocks_per_stage: int,
        num_classes: int = 10,
        in_channels: int = 3,
        batch_norm: bool = True,
        he_init: bool = True,
    ) -> None:
        super().__init__()
        channels = widths[0]
        self.stem = nn.Conv2d(in_channels, channels, 3, 1, 1, bias=not batch_norm)
        self.norm = _norm(channels, batch_norm)
        blocks = []
        for stage, width in enumerate(widths):
            for i in range(blocks_per_stage):
                stride = 2 if stage > 0 and i == 0 else 1
                blocks.append(PostActivationBlock(channels, width, stride, batch_norm))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.head = _Head(channels, num_classes, batch_norm)
        if he_init or not batch_norm:
            _he_init(self, batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(norm_relu(self.norm, self.stem(x))))
