"""What a user's function gives for a diagnosis: a model, its loss, its data, how it is trained."""

from __future__ import annotations

import copy
import importlib
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    default_collate,
)

from sgdnoise.curvature import LossFunction
from sgdnoise.errors import FailureError, InputError, shown
from sgdnoise.phrases import enumerated

PARTS = ("model", "loss_fn", "data", "optimizer")

WANTED = "(model, loss_fn, data) or (model, loss_fn, data, optimizer)"


@dataclass(frozen=True)
class Setting:
    """How a model is trained, as far as it is known.

    Attributes:
        batch_size: B in examples.
        learning_rate: ε.
        momentum: m of heavy ball, v' = m v + g.
        weight_decay: β, added to the gradient as β w.
    """

    batch_size: int | None = None
    learning_rate: float | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Problem:
    """A model, its loss and its training set.

    Attributes:
        model: a copy of the user's, in evaluation mode: batch norm with its running statistics and
            no dropout, for else there is no loss of one example.
        loss_fn: the mean loss of a batch.
        size: N, the examples of the training set.
        read: gives the examples of some indices as two tensors (x, y).
        setting: what the data and the optimizer tell of the training.
    """

    model: nn.Module
    loss_fn: LossFunction
    size: int
    read: Callable[[Sequence[int]], tuple[Tensor, Tensor]]
    setting: Setting

    def batch(self, index: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Some examples on the model's device, their real numbers in its precision."""
        like = next(self.model.parameters(), torch.empty(0))
        x, y = (
            t.to(like.device, like.dtype if t.is_floating_point() else None)
            for t in self.read(index)
        )
        return x, y

    def check(self) -> None:
        """Tries the model and its loss on two examples.

        Raises:
            InputError: names what they raised.
        """
        x, y = self.batch(range(2))
        try:
            with torch.no_grad():
                self.loss_fn(self.model(x), y)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            told = raised("the model or its loss, tried on two examples,", error)
            raise InputError(f"{told}: they have to take what the data give") from error

    @cached_property
    def changes(self) -> bool:
        """Whether an example differs from one reading to the next, as augmentation makes it."""
        first = range(min(8, self.size))
        once, again = self.read(first), self.read(first)
        return not all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


def load(name: str) -> Problem:
    """The problem that `MODULE:FUNCTION` names; modules of the current folder are found, too.

    Raises:
        InputError: for a name of another form, a module or a function that is not there, or a
            result that is not a problem.
        FailureError: names the error that the module or the function raised, and its line.
    """
    module_name, colon, function_name = name.partition(":")
    if module_name.endswith(".py"):
        raise InputError(
            f"{shown(name)} names a file: name the module, "
            f"{Path(module_name).stem}:{function_name or 'FUNCTION'}, from the file's folder"
        )
    if not (colon and function_name.isidentifier() and module_name):
        raise InputError(f"{shown(name)} is not MODULE:FUNCTION, as train:problem: name both")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise InputError(
                f"there is no module {module_name!r} in {here} or among the installed ones: "
                "run in its folder, or install it"
            ) from error
        raise raised(f"importing {module_name}", error) from error
    except (Exception, SystemExit) as error:
        raise raised(f"importing {module_name}", error) from error
    function = getattr(module, function_name, None)
    if function is None:
        raise InputError(
            f"the module {module_name!r} has no {function_name!r}: "
            f"define it there, to return {WANTED}"
        )
    if not callable(function):
        raise InputError(f"{name} is no function: it must be one that returns {WANTED}")
    try:
        given = function()
    except (InputError, FailureError):
        raise
    except (Exception, SystemExit) as error:
        raise raised(name, error) from error
    return problem_of(given, name)


def raised(what: str, error: BaseException) -> FailureError:
    """The user's own error on one line, with the place where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    return FailureError(f"{what} raised {type(error).__name__}{place}: {text or 'no message'}")


def problem_of(given: Any, name: str = "the function") -> Problem:
    """A problem from what a user's function returned.

    Args:
        given: (model, loss_fn, data) or (model, loss_fn, data, optimizer), or these by name in a
            dictionary. The data are two tensors, a Dataset, a DataLoader (its batch size is then
            B), or batches (x, y). Only `torch.optim.SGD` tells a learning rate.
        name: what errors call the function.

    Raises:
        InputError: says which part is not of this form.
    """
    if isinstance(given, Mapping):
        if unknown := [shown(key) for key in given if key not in PARTS]:
            raise InputError(
                f"{name} gave {enumerated(unknown)}, which is none of {', '.join(PARTS)}"
            )
        if lacking := [key for key in PARTS[:3] if key not in given]:
            raise InputError(f"{name} gave no {enumerated(lacking)}: return {WANTED}")
        given = tuple(given[key] for key in PARTS if given.get(key) is not None)
    if not isinstance(given, tuple | list) or len(given) not in (3, 4):
        got = f"{len(given)} values" if isinstance(given, tuple | list) else type(given).__name__
        raise InputError(f"{name} must return {WANTED}, got {got}")
    model, loss_fn, data, *more = given
    if not isinstance(model, nn.Module):
        raise InputError(
            f"the model must be a torch.nn.Module, {name} gave {type(model).__name__}: "
            f"return {WANTED} in this order"
        )
    if not callable(loss_fn):
        raise InputError(
            f"the loss must be a function of (model(x), y), {name} gave {type(loss_fn).__name__}"
        )
    size, read, batch_size = _readable(data, name)
    own = copy.deepcopy(model).eval()
    optimizer = more[0] if more else None
    return Problem(own, loss_fn, size, read, _setting(batch_size, optimizer))


def _setting(batch_size: int | None, optimizer: Any) -> Setting:
    if optimizer is None:
        return Setting(batch_size)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise InputError(f"the optimizer must be torch's, got {type(optimizer).__name__}")
    if not isinstance(optimizer, torch.optim.SGD):
        raise InputError(
            f"the regimes are those of SGD, with or without momentum, and not of "
            f"{type(optimizer).__name__}: return no optimizer, and give --lr and --momentum to ask "
            "about SGD on this model"
        )
    groups = optimizer.param_groups
    kinds = {(float(g["lr"]), g["momentum"], g["weight_decay"]) for g in groups}
    if len(kinds) > 1:
        raise InputError(
            "the optimizer's groups differ in learning rate, momentum or weight decay, and a "
            "diagnosis is of one of each: return no optimizer, and give --lr and --momentum"
        )
    if any(g["nesterov"] or g["dampening"] or g["maximize"] for g in groups):
        raise InputError(
            "the theory here is that of SGD without dampening, Nesterov's momentum or maximize: "
            "return an optimizer without them, or none and --lr and --momentum"
        )
    ((rate, momentum, decay),) = kinds
    return Setting(batch_size, rate, float(momentum), float(decay))


Read = Callable[[Sequence[int]], tuple[Tensor, Tensor]]


def _readable(data: Any, name: str) -> tuple[int, Read, int | None]:
    """How many examples there are, how to read some of them, and the batch size if it is told."""
    if isinstance(data, DataLoader):
        return _of_loader(data, name)
    tensors = data.tensors if isinstance(data, TensorDataset) else data
    if (
        isinstance(tensors, tuple | list)
        and len(tensors) == 2
        and all(isinstance(t, Tensor) for t in tensors)
    ):
        x, y = tensors
        if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
            raise InputError(
                "x and y must have one example a row, and as many of them, got shapes "
                f"{tuple(x.shape)} and {tuple(y.shape)}"
            )
        return _counted(len(x), lambda index: (x[list(index)], y[list(index)]), None)
    if isinstance(data, IterableDataset):
        raise InputError("an IterableDataset has no index: give two tensors or a list of batches")
    if isinstance(data, Dataset):
        return _counted(*_indexed(data, default_collate, name), None)
    if isinstance(data, Iterable):
        batches = [*data]
        if batches and all(_is_pair(batch) for batch in batches):
            try:
                x, y = (torch.cat(column) for column in zip(*batches, strict=True))
            except RuntimeError as error:
                raise InputError(
                    f"the batches do not fit together ({str(error).splitlines()[0]}): "
                    "examples must have one shape"
                ) from error
            return _readable((x, y), name)
    raise InputError(
        f"the data must be two tensors (x, y), a Dataset, a DataLoader or batches (x, y), "
        f"{name} gave {type(data).__name__}"
    )


def _of_loader(loader: DataLoader, name: str) -> tuple[int, Read, int | None]:
    """Of a loader's own examples: all of them, or those that a subset's sampler draws from."""
    if isinstance(loader.dataset, IterableDataset):
        raise InputError(
            "the loader's data set can only be read from its beginning: give a Dataset with an "
            "index, two tensors, or a list of batches"
        )
    sampler: Any = loader.sampler
    batches: Any = loader.batch_sampler
    if loader.batch_size is None:  # the loader was given a batch_sampler, or makes no batches
        sampler = getattr(batches, "sampler", None)
    chosen: Any = loader.dataset
    if isinstance(sampler, SubsetRandomSampler):
        chosen = Subset(loader.dataset, [int(i) for i in sampler.indices])
    elif not isinstance(sampler, SequentialSampler | RandomSampler):
        raise InputError(
            f"the loader draws by a {type(sampler or batches).__name__}, which a diagnosis does "
            "not follow: give the Dataset, or a Subset of it"
        )
    told = loader.batch_size or getattr(batches, "batch_size", None)
    return _counted(*_indexed(chosen, loader.collate_fn, name), told)


def _is_pair(batch: Any) -> bool:
    return (
        isinstance(batch, tuple | list)
        and len(batch) == 2
        and all(isinstance(part, Tensor) for part in batch)
    )


def _indexed(data: Any, collate: Callable[[list[Any]], Any], name: str) -> tuple[int, Read]:
    """Of a data set with an index and a length."""
    try:
        size = len(data)
    except (TypeError, NotImplementedError):
        raise InputError("the Dataset has no length: define its __len__") from None

    def read(index: Sequence[int]) -> tuple[Tensor, Tensor]:
        try:
            batch = collate([data[i] for i in index])
        except (Exception, SystemExit) as error:
            raise raised(f"reading the data of {name}", error) from error
        if not _is_pair(batch):
            raise InputError(
                "an example must be a pair (x, y) that makes two tensors, the Dataset gave "
                f"{type(batch).__name__}: give one that does"
            )
        return batch[0], batch[1]

    return size, read


def _counted(size: int, read: Read, batch_size: int | None) -> tuple[int, Read, int | None]:
    if size < LEAST:
        raise InputError(f"a diagnosis needs at least {LEAST} examples, the data have {size}")
    return size, read, batch_size


LEAST = 16
"""Examples without which nothing is said: groups of two, for an interval."""
