"""Trains one bundle of run configs, by whichever engine fits it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from sgdnoise import data, models
from sgdnoise.config import RunConfig
from sgdnoise.data import Corpus, Dataset
from sgdnoise.errors import InputError
from sgdnoise.training.result import Result, bundle_key, is_stacked
from sgdnoise.training.single import train_single
from sgdnoise.training.stacked import train_stacked
from sgdnoise.training.streams import stream


def train(
    configs: list[RunConfig],
    *,
    device: torch.device | str = "cpu",
    checkpoints: Path | None = None,
    on_step: Callable[[int], None] | None = None,
) -> list[Result]:
    """Trains the runs of one bundle, as `bundles` groups them.

    Args:
        configs: runs with the same `bundle_key`.
        device: where single runs train; bundles of stacked runs train on the CPU.
        checkpoints: a folder for the state of a long run, from which it goes on when it was killed.
        on_step: called with the number of steps just done, for a progress bar.

    Returns:
        One result a run, in order. A run that runs out of memory, or whose arithmetic fails on the
        way, is `failed` and tells its reason: the others go on.

    Raises:
        InputError: for what cannot be trained, before any training.
        ValueError: for runs that do not share a bundle.
    """
    if len({bundle_key(config) for config in configs}) != 1:
        raise ValueError("these runs do not share a bundle: group them with `bundles`")
    first = configs[0]
    if is_stacked(first):
        images = data.load(first.dataset, train_size=first.train_size)
        return train_stacked(configs, images, partial(build_model, dataset=images), on_step)
    (config,) = configs
    dataset: Dataset | Corpus
    if config.dataset == "ptb":
        dataset = data.load_text(config.dataset)  # its task takes the subset
    else:
        dataset = data.load(config.dataset, train_size=config.train_size)
    checkpoint = checkpoints / f"{config.id}.pt" if checkpoints is not None else None
    model = build_model(config, dataset)
    try:
        result = train_single(
            config, dataset.to(device), model, checkpoint=checkpoint, on_step=on_step
        )
    except InputError:
        raise
    except (RuntimeError, MemoryError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        result = Result(config, "failed", {}, reason=reason)
    return [result]


def build_model(config: RunConfig, dataset: Dataset | Corpus) -> nn.Module:
    """The freshly initialised module of a run, from its `init` stream."""
    classes: int | None
    shape: tuple[int, ...] | None
    if isinstance(dataset, Corpus):
        classes, shape = len(dataset.vocabulary), None
    else:
        classes, shape = len(dataset.classes), dataset.image_shape
    if models.spec(config.model).num_classes is None:
        classes = None  # an autoencoder has none, and takes none
    return models.build(
        config.model,
        num_classes=classes,
        input_shape=shape,
        norm=config.norm,
        ghost_batch_size=min(config.ghost_batch_size, config.batch_size),
        generator=stream(config.seed, "init"),
    )
