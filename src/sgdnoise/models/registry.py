"""Models by name: what a run config's `model` and `norm` mean, initialised the same everywhere."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Generator, nn

from sgdnoise.errors import InputError
from sgdnoise.ghost_norm import to_ghost_batch_norm, to_ghost_noise_norm
from sgdnoise.models.convnets import VGG, VGG_LAYERS, AlexNetCifar, ShallowConvNet
from sgdnoise.models.lstm import LSTM_SIZES, ZarembaLSTM
from sgdnoise.models.mlp import DIGITS_SIZES, F1, Autoencoder, DigitsMLP
from sgdnoise.models.residual import ResNet, WideResNet

Norm = Literal["batch", "ghost", "ghost-noise", "none"]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class ModelSpec:
    """One entry of the registry.

    Attributes:
        make: (num_classes, input_shape, batch_norm) to the module, drawing from the global
            generator.
        input_shape: of one example, by default. Images are (channels, height, width).
        num_classes: by default; of a language model, its words; None where there are none.
        norms: the legal ones, the default first.
        smallest_image: least height and width; 0 for models that do not take images.
    """

    make: Callable[[int, Shape, bool], nn.Module]
    input_shape: Shape = (3, 32, 32)
    num_classes: int | None = 10
    norms: tuple[Norm, ...] = ("batch", "ghost", "ghost-noise", "none")
    smallest_image: int = 1

    @property
    def dense(self) -> bool:
        """Whether it has neither convolutions nor recurrence, so that a CPU trains it well."""
        return self.smallest_image == 0 and self.input_shape != ()


def _wide_resnet(depth: int, widen: int, classes: int, shape: Shape, batch_norm: bool) -> nn.Module:
    return WideResNet(depth, widen, classes, shape[0], batch_norm)


def _resnet(
    widths: tuple[int, ...], blocks: int, he: bool, classes: int, shape: Shape, batch_norm: bool
) -> nn.Module:
    return ResNet(widths, blocks, classes, shape[0], batch_norm, he_init=he)


def _shallow(keskar: bool, classes: int, shape: Shape, batch_norm: bool) -> nn.Module:
    return ShallowConvNet(classes, (shape[0], shape[1], shape[2]), keskar, batch_norm)


def _vgg(depth: int, classes: int, shape: Shape, batch_norm: bool) -> nn.Module:
    return VGG(depth, classes, shape[0], batch_norm)


def _torchvision(name: str, classes: int, shape: Shape, batch_norm: bool) -> nn.Module:
    # Imported here: most runs need no torchvision, and it takes a second.
    from sgdnoise.data.torchvision_compat import torchvision

    if shape[0] != 3:
        raise InputError(f"{name} takes images of 3 channels, not {shape[0]}")
    return getattr(torchvision.models, name)(weights=None, num_classes=classes)


_CIFAR_WIDTHS = (16, 32, 64)

MODELS: dict[str, ModelSpec] = {
    "digits-mlp": ModelSpec(
        lambda classes, shape, _: DigitsMLP((math.prod(shape), *DIGITS_SIZES[1:-1], classes)),
        (64,),
        norms=("none",),
        smallest_image=0,
    ),
    "f1": ModelSpec(
        lambda classes, shape, bn: F1(math.prod(shape), classes, bn), (1, 28, 28), smallest_image=0
    ),
    "f1-64": ModelSpec(
        lambda classes, shape, bn: F1(math.prod(shape), classes, bn, width=64),
        (64,),
        smallest_image=0,
    ),
    "autoencoder": ModelSpec(
        lambda _, shape, __: Autoencoder(math.prod(shape)),
        (1, 28, 28),
        num_classes=None,
        norms=("none",),
        smallest_image=0,
    ),
    "c1": ModelSpec(partial(_shallow, False), smallest_image=8),
    "c3": ModelSpec(partial(_shallow, False), num_classes=100, smallest_image=8),
    "c1-keskar": ModelSpec(partial(_shallow, True), smallest_image=8),
    "c3-keskar": ModelSpec(partial(_shallow, True), num_classes=100, smallest_image=8),
    "alexnet-cifar": ModelSpec(
        lambda classes, shape, _: AlexNetCifar(classes, shape[0]),
        norms=("none",),
        smallest_image=16,
    ),
    "alexnet-cifar-512": ModelSpec(
        lambda classes, shape, _: AlexNetCifar(classes, shape[0], hidden=512),
        norms=("none",),
        smallest_image=16,
    ),
    "alexnet": ModelSpec(
        partial(_torchvision, "alexnet"), (3, 224, 224), 1000, ("none",), smallest_image=63
    ),
    "resnet18": ModelSpec(partial(_resnet, (64, 128, 256, 512), 2, False)),
    "resnet50": ModelSpec(
        partial(_torchvision, "resnet50"), (3, 224, 224), 1000, ("batch", "ghost", "ghost-noise")
    ),
    "h17-wrn-16-4": ModelSpec(partial(_resnet, (64, 128, 256), 2, True), num_classes=100),
}
for _depth in (20, 32, 44, 56, 110):
    MODELS[f"resnet{_depth}"] = ModelSpec(partial(_resnet, _CIFAR_WIDTHS, (_depth - 2) // 6, True))
for _depth in VGG_LAYERS:
    MODELS[f"vgg{_depth}"] = ModelSpec(partial(_vgg, _depth), smallest_image=32)
for _name, _size in LSTM_SIZES.items():
    MODELS[f"lstm-{_name}"] = ModelSpec(
        lambda words, _, __, size=_size: ZarembaLSTM(words, size),  # type: ignore[misc]
        (),
        10_000,
        ("none",),
        smallest_image=0,
    )
"""Every model but the Wide ResNets, which go by the pattern wrn-DEPTH-WIDTH: see `spec`."""


def names() -> list[str]:
    """The legal names, with `wrn-D-K` for the Wide ResNets."""
    return [*sorted(MODELS), "wrn-D-K (D = 10, 16, 22, 28, ...; K >= 1)"]


def spec(name: str) -> ModelSpec:
    """The registry's entry of this name.

    Raises:
        InputError: there is no such model; the message lists those there are.
    """
    wide = re.fullmatch(r"wrn-([1-9]\d*)-([1-9]\d*)", name)
    if wide:
        depth, widen = int(wide[1]), int(wide[2])
        if depth < 10 or (depth - 4) % 6:
            raise InputError(f"no {name}: the depth of a WRN is 10, 16, 22, 28, ... (6 n + 4)")
        return ModelSpec(partial(_wide_resnet, depth, widen))
    if name not in MODELS:
        raise InputError(f"unknown model {name!r}: choose from {', '.join(names())}")
    return MODELS[name]


def build(
    name: str,
    *,
    num_classes: int | None = None,
    input_shape: Shape | None = None,
    norm: Norm | None = None,
    ghost_batch_size: int = 64,
    seed: int | None = None,
    generator: Generator | None = None,
) -> nn.Module:
    """The model of this name, float32 on CPU, initialised by a seed or a CPU generator alone.

    The same seed gives the same weights on every machine and for "batch" and "ghost" alike; the
    global generator is left as it was. A given generator moves on by what was drawn. Move the
    model to its device afterwards.

    Args:
        name: see `names()`.
        num_classes: outputs, or words of a language model; the model's own default for None.
        input_shape: of one example, images as (channels, height, width); likewise.
        norm: "batch", "ghost" (`ghost_batch_size` examples each), "ghost-noise" (the noise of such
            ghosts alone), or "none", which in residual nets means Regularized SkipInit; None for
            the model's own default.
        seed: 0 if neither it nor a generator is given.

    Raises:
        InputError: an unknown name; a norm that the model has not; a ghost below 2; fewer than 2
            classes; an input shape that does not fit; a seed and a generator both, or one not on
            CPU.
    """
    model = spec(name)
    classes = _checked_classes(name, model, num_classes)
    shape = _checked_shape(name, model, input_shape)
    norm = model.norms[0] if norm is None else norm
    if norm not in model.norms:
        raise InputError(f"{name} has no norm {norm!r}: choose from {', '.join(model.norms)}")
    if seed is not None and generator is not None:
        raise InputError("give a seed or a generator, not both")
    if generator is None:
        generator = torch.Generator().manual_seed(0 if seed is None else seed)
    elif generator.device.type != "cpu":
        raise InputError("initialisation needs a CPU generator, so that devices do not change it")
    # Layers draw from the global generator: lend it the given one's state, and take that back.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.set_rng_state(generator.get_state())
        module = model.make(classes, shape, norm != "none")
        generator.set_state(torch.get_rng_state())
    if norm == "ghost-noise":
        return to_ghost_noise_norm(module, ghost_batch_size)
    return to_ghost_batch_norm(module, ghost_batch_size) if norm == "ghost" else module


def count_parameters(module: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _checked_classes(name: str, model: ModelSpec, num_classes: int | None) -> int:
    if model.num_classes is None:
        if num_classes is not None:
            raise InputError(f"{name} has no classes: leave num_classes out")
        return 0
    if num_classes is not None and num_classes < 2:
        raise InputError(f"{num_classes} classes: a classifier needs at least 2")
    return model.num_classes if num_classes is None else num_classes


def _checked_shape(name: str, model: ModelSpec, shape: Shape | None) -> Shape:
    if shape is None:
        return model.input_shape
    shape = tuple(shape)
    if any(n < 1 for n in shape) or (not shape and model.input_shape):
        raise InputError(f"input shape {shape}: {name} takes e.g. {model.input_shape}")
    if model.smallest_image and (len(shape) != 3 or min(shape[1:]) < model.smallest_image):
        least = model.smallest_image
        raise InputError(
            f"input shape {shape}: {name} takes (channels, height, width) of at least "
            f"{least}×{least} pixels"
        )
    return shape
