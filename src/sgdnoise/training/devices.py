"""Where runs train: which device a scale needs, whether it is there, and whether it suffices."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sgdnoise import data, models
from sgdnoise.config import RunConfig, canonical_json
from sgdnoise.data.text import SEQUENCE
from sgdnoise.errors import InputError
from sgdnoise.training.graphed import CHUNK_BYTES
from sgdnoise.training.result import bundles, is_side_by_side
from sgdnoise.training.state import MICRO_BATCH, parts

GPU_SCALES = ("gpu", "paper")
"""Scales whose nets train on CUDA, unless they are dense; all others train on the CPU."""

LEAST_TORCH = (2, 5)
"""Graphs that hold a generator's state came shortly before; nothing older is counted on."""

_OVERHEAD = 1 << 30
"""Bytes of the CUDA context, of libraries and their workspaces."""

GIB = float(1 << 30)

# What the memory of a run does not depend on, set to anything.
_NO_SHAPE = dict.fromkeys(
    ("learning_rate", "momentum", "weight_decay", "seed", "epochs", "steps", "decay_factor")
)


def device_of(scale: str, config: RunConfig) -> str:
    """`cuda` or `cpu`: where a run trains.

    Dense nets train on the CPU whatever the scale, runs in bfloat16 always on `cuda`.
    """
    if config.precision == "bfloat16":
        return "cuda"
    large = scale in GPU_SCALES and not models.spec(config.model).dense
    return "cuda" if large else "cpu"


def require_cuda(instead: str) -> None:
    """Refuses a machine without a GPU, or with a torch that cannot use it as training does.

    Args:
        instead: what to do where there is none, as a clause.

    Raises:
        InputError: no CUDA, or a torch before 2.5.
    """
    require_torch(torch.__version__)
    if not torch.cuda.is_available():
        lacks = "is built without CUDA" if torch.version.cuda is None else "finds none to use"
        raise InputError(f"no CUDA GPU here: torch {torch.__version__} {lacks}; {instead}")


def require_memory(configs: Iterable[RunConfig], instead: str) -> None:
    """Refuses runs that the free memory of the GPU does not hold, before any of them is trained.

    Raises:
        InputError: says how much is needed.
    """
    needs = max((bytes_needed(bundle) for bundle in _largest(configs)), default=0)
    # What earlier runs of this process left to its allocator is free too.
    kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    free = torch.cuda.mem_get_info()[0] + kept
    if needs > free:
        raise InputError(
            f"too little GPU memory: about {needs / GIB:.1f} GiB are needed and {free / GIB:.1f} "
            f"of {torch.cuda.get_device_name()} are free; end what else runs on it, or {instead}"
        )


def _largest(configs: Iterable[RunConfig]) -> list[list[RunConfig]]:
    """A largest bundle of each shape."""
    largest: dict[str, list[RunConfig]] = {}
    for bundle in bundles(configs, "cuda"):
        key = canonical_json({**bundle[0].identity(), **_NO_SHAPE})
        largest[key] = max(largest.get(key, []), bundle, key=len)
    return list(largest.values())


def require_torch(version: str) -> None:
    """Refuses a torch that lacks what training on a GPU takes.

    Raises:
        InputError: before 2.5.
    """
    major, minor = (int(part) for part in version.split(".")[:2])
    if (major, minor) < LEAST_TORCH:
        raise InputError(
            f"torch {version} is too old for training on a GPU: "
            f"install {'.'.join(map(str, LEAST_TORCH))} or later"
        )


def bytes_needed(configs: list[RunConfig]) -> int:
    """About what the runs of one bundle take of a GPU's memory together.

    What autograd saves of one example is counted on the meta device, without computing, and half as
    much again is added for what passes in between. To it come the chunk of inputs, six copies of
    the parameters (weights, start, gradient, velocity, and two on the way), the data set as uint8,
    and a GiB of CUDA's own.
    """
    first = configs[0]
    model = models.build(
        first.model,
        norm=first.norm,
        ghost_batch_size=min(first.ghost_batch_size, first.largest_batch_size),
    )
    shape = models.spec(first.model).input_shape
    parameters = 4 * models.count_parameters(model)
    batch = parts(first, model, MICRO_BATCH, first.largest_batch_size)
    in_memory = max(part.stop - part.start for part in batch)
    half = first.precision == "bfloat16"
    activations = in_memory * saved_bytes(model, shape) // (2 if half else 1)
    chunk = CHUNK_BYTES if is_side_by_side(first, "cuda") else 0
    each = 3 * activations // 2 + 6 * parameters + chunk
    images = math.prod(shape) * data.images_of(first)
    return len(configs) * each + images + _OVERHEAD


def saved_bytes(model: nn.Module, input_shape: tuple[int, ...], examples: int = 4) -> int:
    """Bytes that autograd keeps of one example of a float32 training step, parameters left out."""
    model = copy.deepcopy(model).to("meta").train()
    saved: list[Tensor] = []  # held until they are counted, else one's place could be another's

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    # A net without a shape of its inputs reads sequences of words.
    x = (
        torch.empty(examples, *input_shape, device="meta")
        if input_shape
        else torch.zeros(examples, SEQUENCE, dtype=torch.int64, device="meta")
    )
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(x)
    storages = {tensor.untyped_storage()._cdata: tensor for tensor in saved}
    for parameter in model.parameters():
        storages.pop(parameter.untyped_storage()._cdata, None)
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values()) // examples


@contextlib.contextmanager
def arithmetic(tf32: bool = False, benchmark: bool = True) -> Iterator[None]:
    """How a GPU computes meanwhile; afterwards `torch.backends` has its own settings again.

    Args:
        tf32: whether float32 products are rounded to TF32's ten bits; training has true float32.
        benchmark: whether cuDNN takes the fastest kernel by trial.
    """
    settings: list[tuple[Any, str, bool]] = [
        (torch.backends.cuda.matmul, "allow_tf32", tf32),
        (torch.backends.cudnn, "allow_tf32", tf32),
        (torch.backends.cudnn, "benchmark", benchmark),
    ]
    before = [(where, name, getattr(where, name)) for where, name, _ in settings]
    for where, name, value in settings:
        setattr(where, name, value)
    try:
        yield
    finally:
        for where, name, value in before:
            setattr(where, name, value)
