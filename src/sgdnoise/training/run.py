"""Trains one bundle of run configs, by whichever engine fits it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from sgdnoise import data, models
from sgdnoise.config import RunConfig
from sgdnoise.data import Dataset
from sgdnoise.training.result import Result, bundle_key
from sgdnoise.training.stacked import train_stacked
from sgdnoise.training.streams import stream


def train(configs: list[RunConfig], on_step: Callable[[int], None] | None = None) -> list[Result]:
    """Trains the runs of one bundle, as `bundles` groups them.

    Args:
        configs: runs with the same `bundle_key`.
        on_step: called with the number of steps just done, for a progress bar.

    Returns:
        One result a run, in order.

    Raises:
        InputError: for what cannot be trained, before any training.
        ValueError: for runs that do not share a bundle.
    """
    if len({bundle_key(config) for config in configs}) != 1:
        raise ValueError("these runs do not share a bundle: group them with `bundles`")
    first = configs[0]
    dataset = data.load(first.dataset, train_size=first.train_size)
    return train_stacked(configs, dataset, partial(build_model, dataset=dataset), on_step)


def build_model(config: RunConfig, dataset: Dataset) -> nn.Module:
    """The freshly initialised module of a run, from its `init` stream."""
    return models.build(
        config.model,
        num_classes=len(dataset.classes),
        input_shape=dataset.image_shape,
        norm=config.norm,
        ghost_batch_size=min(config.ghost_batch_size, config.batch_size),
        generator=stream(config.seed, "init"),
    )
