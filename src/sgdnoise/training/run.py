"""Trains one bundle of run configs, by whichever engine fits it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from sgdnoise import data, models
from sgdnoise.config import ENGINE_VERSION, RunConfig
from sgdnoise.data import Corpus, Dataset
from sgdnoise.errors import FailureError, InputError, shown
from sgdnoise.training.checkpoints import checkpoint_of
from sgdnoise.training.devices import arithmetic, require_cuda
from sgdnoise.training.graphed import train_graphed
from sgdnoise.training.result import Result, bundle_key, is_side_by_side, is_stacked
from sgdnoise.training.single import train_single
from sgdnoise.training.state import MICRO_BATCH, Stopped
from sgdnoise.training.streams import stream


def train(
    configs: list[RunConfig],
    *,
    device: torch.device | str = "cpu",
    checkpoints: Path | None = None,
    on_step: Callable[[int], None] | None = None,
    deadline: float | None = None,
) -> list[Result]:
    """Trains the runs of one bundle, as `bundles` groups them.

    Args:
        configs: runs with the same `bundle_key`.
        device: where runs train; but bundles of stacked runs train on the CPU.
        checkpoints: a folder for the state of a long run, from which it goes on when it was killed.
        on_step: called with the number of steps just done, for a progress bar.
        deadline: `time.time()` from which on runs stop, each with its checkpoint written; a bundle
            of stacked runs is short enough to be finished.

    Returns:
        One result a run, in order, without the runs that the deadline stopped. A run that runs out
        of memory, or whose arithmetic fails on the way, is `failed` and tells its reason: the
        others go on. On a GPU, runs that fail side by side are tried again one at a time, and one
        that runs out of memory is tried again with half the micro-batch.

    Raises:
        InputError: for what cannot be trained, before any training: no list of configs, a device
            that is not there, or a config of another engine among it.
        FailureError: when the GPU no longer answers.
        ValueError: for runs that do not share a bundle.
    """
    if not isinstance(configs, list | tuple) or not configs:
        raise InputError(f"train takes a list of run configs, at least one, got {_kind(configs)}")
    for config in configs:
        if not isinstance(config, RunConfig):
            raise InputError(f"train takes run configs, as make_config makes: got {_kind(config)}")
        if config.engine_version != ENGINE_VERSION:
            raise InputError(
                f"run {config.id} is of engine {config.engine_version}, and this is engine "
                f"{ENGINE_VERSION}: make its config anew, or train it with the code that made it"
            )
    device = _checked_device(device)
    if len({bundle_key(config, device.type) for config in configs}) != 1:
        raise ValueError("these runs do not share a bundle: group them with `bundles`")
    first = configs[0]
    if is_stacked(first):
        # Imported here: it needs numba, which a machine that trains on its GPU may do without.
        from sgdnoise.training.stacked import train_stacked

        images = data.load(first.dataset, train_size=first.train_size)
        return train_stacked(configs, images, partial(build_model, dataset=images), on_step)
    load = _load if device.type == "cpu" else _load_and_keep
    work = partial(
        _train_together,
        dataset=load(first.dataset, first.train_size, device),
        checkpoints=checkpoints,
        on_step=on_step,
        deadline=deadline,
    )
    if device.type != "cuda":
        return _guarded(work, configs, device)
    with arithmetic():
        results = _guarded(work, configs, device)
    return [dataclasses.replace(result, device="cuda") for result in results]


def _kind(value: object) -> str:
    """What was given, in words of one line."""
    empty = isinstance(value, list | tuple) and not value
    return "an empty one" if empty else f"one of type {type(value).__name__}"


def _checked_device(device: torch.device | str) -> torch.device:
    """The device, refused unless it is the CPU or a GPU of this machine.

    Raises:
        InputError: another kind, or a GPU that is not there.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise InputError(f"device {shown(str(device))}: choose cpu or cuda")
    if found.type == "cuda":
        require_cuda("choose device cpu")
        if (found.index or 0) >= torch.cuda.device_count():
            raise InputError(
                f"device {found}: there are {torch.cuda.device_count()} GPUs here, counted from 0"
            )
    return found


def _load(name: str, train_size: int | None, device: torch.device) -> Dataset | Corpus:
    if name == "ptb":
        return data.load_text(name).to(device)  # its task takes the subset
    return data.load(name, train_size=train_size).to(device)


# On a GPU one process trains a whole sweep, bundle after bundle, on the same data.
_load_and_keep = functools.lru_cache(maxsize=1)(_load)


def _train_together(
    configs: list[RunConfig],
    micro_batch: int,
    *,
    dataset: Dataset | Corpus,
    checkpoints: Path | None,
    on_step: Callable[[int], None] | None,
    deadline: float | None,
) -> list[Result | None]:
    """One bundle by the engine that fits it; None for a run that the deadline stopped."""
    if isinstance(dataset, Dataset) and is_side_by_side(configs[0], dataset.device.type):
        return train_graphed(
            configs,
            dataset,
            partial(build_model, dataset=dataset),
            checkpoints=checkpoints,
            micro_batch=micro_batch,
            on_step=on_step,
            deadline=deadline,
        )
    (config,) = configs
    with contextlib.suppress(Stopped):
        result = train_single(
            config,
            dataset,
            build_model(config, dataset),
            checkpoint=checkpoint_of(checkpoints, config),
            micro_batch=micro_batch,
            on_step=on_step,
            deadline=deadline,
        )
        return [result]
    return [None]


def _guarded(
    work: Callable[[list[RunConfig], int], list[Result | None]],
    configs: list[RunConfig],
    device: torch.device,
) -> list[Result]:
    """The results of the work on a bundle, with what can be tried against a failure tried."""
    first = configs[0]
    # A run alone, out of memory, is tried once more with parts of half the size.
    tries = [MICRO_BATCH]
    if device.type == "cuda" and len(configs) == 1:
        tries.append(min(MICRO_BATCH, first.batch_size) // 2)
    reason = ""
    for micro_batch in tries:
        try:
            return [result for result in work(configs, micro_batch) if result is not None]
        except InputError:
            raise
        except (RuntimeError, MemoryError) as error:
            lines = str(error).strip().splitlines()
            reason = lines[0] if lines else type(error).__name__
            out_of_memory = _lacks_memory(error)
        # Outside of the clause above: the error holds on to the tensors of what failed.
        if device.type == "cuda":
            _clear(device, reason)
        if not out_of_memory:
            break
    if len(configs) > 1:
        return [result for config in configs for result in _guarded(work, [config], device)]
    return [Result(first, "failed", {}, reason=reason)]


def _lacks_memory(error: Exception) -> bool:
    """Whether a GPU's memory did not suffice: each library says it in words of its own.

    PyTorch's allocator has a class for it, CUDA (which instantiates graphs) a message, cuBLAS and
    cuDNN a status, and a convolution without room for any workspace finds "no engine".
    """
    words = ("out of memory", "ALLOC_FAILED", "unable to find an engine")
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(w in str(error) for w in words)


def _clear(device: torch.device, reason: str) -> None:
    """Frees what a failed run left on the GPU, if that still answers."""
    gc.collect()
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        raise FailureError(
            f"the GPU no longer answers after: {reason}; what was finished is kept, "
            "run again to go on"
        ) from None
    torch.cuda.empty_cache()


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
        ghost_batch_size=min(config.ghost_batch_size, config.largest_batch_size),
        generator=stream(config.seed, "init"),
    )
