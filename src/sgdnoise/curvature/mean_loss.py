"""The mean loss over a data set as a function of the parameters: value, gradient, H·v, GGN·v.

Everything in `sgdnoise.curvature` is built on `MeanLoss`, which refuses at the door whatever would
make curvature meaningless: data read in a random order, batch norm or dropout in train mode, a loss
that is not the mean of its examples' losses, or of its ghosts' losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from sgdnoise.errors import InputError

LossFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""`loss_fn(model(x), y)`: the mean over the batch, a scalar tensor."""

Data: TypeAlias = tuple[Tensor, Tensor] | Dataset | DataLoader | Iterable[tuple[Tensor, Tensor]]
"""All of x and y as two tensors; a Dataset; or batches (x, y) that can be read again and again."""


class MeanLoss:
    """The mean of `loss_fn(model(x), y)` over a data set, as a function of a flat vector.

    Use it for products with the Hessian or the generalised Gauss-Newton matrix at the model's
    present parameters. It reads every example once for each product, in the same order, and weights
    batches by their sizes. It does not change the model, its buffers or its `.grad`.
    It is not the training objective where that has weight decay β: add β to every eigenvalue.
    A ghost batch norm that keeps no running statistics takes those of its ghosts, and the loss is
    then the mean over ghosts; batches must be whole ghosts, but for the last.

    Shapes: vectors are (P,), P the number of elements of the parameters that require gradients, in
    the order of `model.named_parameters()`; dtype and device are the parameters' (call
    `model.double()` first for float64). Floating-point x and y are cast to that dtype; the first
    dimension of both counts examples.

    Args:
        batch_size: examples a pass where `data` is tensors or a Dataset; changes memory and time,
            not the result.

    Raises:
        InputError: shuffled or otherwise irreproducible data; a batch norm or dropout in train
            mode; a loss that is not scalar, not finite, or not the mean over the examples of a
            batch; batches that cut a ghost; empty data; no trainable parameter; half precision or
            mixed dtypes.
    """

    def __init__(
        self, model: nn.Module, loss_fn: LossFunction, data: Data, *, batch_size: int = 1024
    ) -> None:
        self.model, self.loss_fn = model, loss_fn
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        if not named:
            raise InputError("the model has no parameter that requires a gradient: nothing to do")
        self.names = tuple(name for name, _ in named)
        self.parameters = tuple(p for _, p in named)
        self.shapes = tuple(p.shape for p in self.parameters)
        self.size = sum(p.numel() for p in self.parameters)
        self.dtype, self.device = self.parameters[0].dtype, self.parameters[0].device
        kinds = {(p.dtype, p.device) for p in self.parameters}
        if len(kinds) > 1 or self.dtype not in (torch.float32, torch.float64):
            raise InputError(
                "curvature needs all parameters on one device, all float32 or all float64, got "
                f"{sorted(f'{d} on {v}' for d, v in kinds)}: call model.float() or model.double()"
            )
        _refuse_random_modules(model)
        self._ghost = _ghost_size(model)
        self._source = _readable_again(data, batch_size)
        self.products = 0
        """Passes over the data for a product with the Hessian or the Gauss-Newton matrix."""
        self.examples, self.value = self._read_through()

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches (x, y) in their fixed order, on the model's device and in its dtype."""
        for batch in self._source:
            if not (
                isinstance(batch, tuple | list)
                and len(batch) == 2
                and all(isinstance(t, Tensor) for t in batch)
            ):
                raise InputError(
                    "data must give batches (x, y) of two tensors, got "
                    f"{type(batch).__name__}: wrap the loader so that it yields such pairs"
                )
            x, y = (t.to(self.device, self.dtype if t.is_floating_point() else None) for t in batch)
            if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(x) == 0:
                raise InputError(
                    "x and y of a batch must have the same, non-zero number of examples in their "
                    f"first dimension, got shapes {tuple(x.shape)} and {tuple(y.shape)}"
                )
            yield x, y

    def gradient(self) -> Tensor:
        """Gradient of the mean loss, shape (P,)."""
        total = torch.zeros(self.size, dtype=self.dtype, device=self.device)
        for x, y in self.batches():
            total += self.batch_gradient(x, y) * (len(x) / self.examples)
        return total

    def batch_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """Gradient of the mean loss of one batch, shape (P,)."""
        with _twice_differentiable(self.model):
            return self._flat(_gradients(self._loss(x, y), self.parameters))

    def example_gradients(self, x: Tensor, y: Tensor) -> Tensor:
        """Gradient of each example's loss, shape (len(x), P), by `torch.func`.

        Raises:
            InputError: where an operation of the model has no batched derivative.
        """

        def loss(values: dict[str, Tensor], x_one: Tensor, y_one: Tensor) -> Tensor:
            return self.loss_fn(self.output(values, x_one), y_one[None])

        with self.one_by_one("use method='batches'"):
            each = vmap(grad(loss), in_dims=(None, 0, 0))(self.values, x, y)
        return torch.cat([each[name].reshape(len(x), -1) for name in self.names], dim=1)

    @property
    def values(self) -> dict[str, Tensor]:
        """The parameters by name, without a graph: what `output` is a function of."""
        return {n: p.detach() for n, p in zip(self.names, self.parameters, strict=True)}

    def output(self, values: dict[str, Tensor], x_one: Tensor) -> Tensor:
        """The model's output for one example, as a batch of one, at some values of parameters."""
        frozen = {n: p for n, p in self.model.named_parameters() if not p.requires_grad}
        others = {**frozen, **dict(self.model.named_buffers())}
        return functional_call(self.model, {**others, **values}, (x_one[None],))

    def refuse_ghosts(self) -> None:
        """For what takes each example by itself, or in groups of its own choice.

        Raises:
            InputError: where batch norm takes the statistics of ghosts.
        """
        if self._ghost > 1:
            raise InputError(
                "no example has a gradient of its own where batch norm takes the statistics of "
                "ghosts: use track_running_stats=True"
            )

    @contextmanager
    def one_by_one(self, instead: str) -> Iterator[None]:
        """For derivatives of single examples by `torch.func`, exact to the dtype's precision.

        Args:
            instead: what to do where the model has none.

        Raises:
            InputError: where an operation of the model has no batched derivative, or where it takes
                the statistics of ghosts.
        """
        self.refuse_ghosts()
        try:
            with _twice_differentiable(self.model):
                yield
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, NotImplementedError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"this model has no per-example gradients ({reason}): {instead}"
            ) from error

    def hessian_product(self, vector: Tensor) -> Tensor:
        """H·v, exact up to rounding, by differentiating the gradient along v (Pearlmutter 1994)."""
        return self.hessian_products(vector[None])[0]

    def hessian_products(self, vectors: Tensor) -> Tensor:
        """H·v for each row of `vectors`, shape (k, P); the gradient's graph is built once a batch.

        Counts as k products.
        """
        total = torch.zeros_like(vectors)
        for x, y in self.batches():
            with _twice_differentiable(self.model):
                loss = self._loss(x, y) * (len(x) / self.examples)
                gradients = _gradients(loss, self.parameters, create_graph=True)
                for row, vector in zip(total, vectors, strict=True):
                    row += self._flat(
                        _pull_back(gradients, self.parameters, self._unflat(vector), keep=True)
                    )
        self.products += len(vectors)
        return total

    def ggn_product(self, vector: Tensor) -> Tensor:
        """Jᵀ·(∂²loss/∂output²)·J·v: the Hessian with the network's own second derivative left out.

        Positive semi-definite for a loss convex in the output (squared error, cross-entropy), and
        equal to the Hessian where the output is linear in the parameters.

        Raises:
            InputError: where the model's output is not one tensor.
        """
        return self.ggn_products(vector[None])[0]

    def ggn_products(self, vectors: Tensor) -> Tensor:
        """GGN·v for each row of `vectors`, shape (k, P); each batch's graphs are built once.

        Counts as k products.

        Raises:
            InputError: where the model's output is not one tensor.
        """
        total = torch.zeros_like(vectors)
        for x, y in self.batches():
            with _twice_differentiable(self.model):
                output = self.model(x)
                if not isinstance(output, Tensor):
                    raise InputError(
                        "the Gauss-Newton matrix needs a model whose output is one tensor, got "
                        f"{type(output).__name__}: use matrix='hessian'"
                    )
                # J·v without forward mode: Jᵀu is linear in u, and its derivative in u is J.
                u = torch.zeros_like(output, requires_grad=True)
                pulled = torch.autograd.grad(
                    output, self.parameters, u, create_graph=True, materialize_grads=True
                )
                point = output.detach().requires_grad_()
                slope = _gradients(self.loss_fn(point, y), (point,), create_graph=True)
                for row, vector in zip(total, vectors, strict=True):
                    (pushed,) = _pull_back(pulled, (u,), self._unflat(vector), keep=True)
                    (bent,) = _pull_back(slope, (point,), (pushed.detach(),), keep=True)
                    row += self._flat(
                        _pull_back((output,), self.parameters, (bent,), keep=True)
                    ) * (len(x) / self.examples)
        self.products += len(vectors)
        return total

    def _loss(self, x: Tensor, y: Tensor) -> Tensor:
        loss = self.loss_fn(self.model(x), y)
        if not isinstance(loss, Tensor) or loss.ndim != 0:
            got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise InputError(
                f"the loss of a batch must be a scalar tensor, got {got}: "
                "use a loss with reduction='mean'"
            )
        return loss

    def _read_through(self) -> tuple[int, float]:
        """Number of examples and mean loss, after two passes that must agree."""
        single = self.dtype == torch.float32
        tolerance = {"rel_tol": 1e-4 if single else 1e-9, "abs_tol": 1e-6 if single else 1e-12}
        sizes: list[int] = []
        losses: list[float] = []
        with torch.no_grad(), _twice_differentiable(self.model):
            for x, y in self.batches():
                if sizes and (sizes[-1] % self._ghost or 2 * len(x) < self._ghost):
                    raise InputError(
                        f"batches of {sizes[-1]} and then {len(x)} examples cut a ghost of "
                        f"{self._ghost}: give batches of whole ghosts, the last with what is left "
                        "over if that is less than half a ghost"
                    )
                sizes.append(len(x))
                losses.append(self._loss(x, y).item())
                if not math.isfinite(losses[-1]):
                    raise InputError(
                        f"the mean loss of a batch is {losses[-1]}: the model has diverged or the "
                        "data are not finite"
                    )
                half = len(x) // 2 // self._ghost * self._ghost
                if half and max(sizes[:-1], default=self._ghost) == self._ghost:
                    parts = half * self._loss(x[:half], y[:half]).item()
                    parts += (len(x) - half) * self._loss(x[half:], y[half:]).item()
                    if not math.isclose(parts / len(x), losses[-1], **tolerance):
                        raise InputError(
                            "the loss of a batch is not the mean of its examples' losses (summed, "
                            "class-weighted, or computed with batch statistics), so batches "
                            "cannot be averaged: use a loss with reduction='mean'"
                        )
            if not sizes:
                raise InputError("the data are empty: curvature needs at least one example")
            mean = sum(n * v for n, v in zip(sizes, losses, strict=True)) / sum(sizes)
            again = [self._loss(x, y).item() for x, y in self.batches()]
        if len(again) != len(losses) or not all(
            math.isclose(a, b, **tolerance) for a, b in zip(losses, again, strict=True)
        ):
            raise InputError(
                "two passes over the data gave different losses: the loader shuffles or augments "
                "at random, or the model is random; give fixed data and call model.eval()"
            )
        return sum(sizes), mean

    def _flat(self, tensors: Iterable[Tensor]) -> Tensor:
        return torch.cat([t.detach().reshape(-1) for t in tensors])

    def _unflat(self, vector: Tensor) -> tuple[Tensor, ...]:
        if vector.shape != (self.size,):
            raise ValueError(
                f"a vector of shape ({self.size},), one entry a parameter, was expected, "
                f"got {tuple(vector.shape)}"
            )
        pieces = vector.to(self.device, self.dtype).split([s.numel() for s in self.shapes])
        return tuple(p.view(s) for p, s in zip(pieces, self.shapes, strict=True))

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """A flat vector as tensors by parameter name."""
        return dict(zip(self.names, self._unflat(vector), strict=True))


def _gradients(
    loss: Tensor, inputs: tuple[Tensor, ...], create_graph: bool = False
) -> tuple[Tensor, ...]:
    if not loss.requires_grad:
        raise InputError(
            "the loss does not depend on the parameters through autograd: "
            "model and loss must be differentiable and not under no_grad"
        )
    return torch.autograd.grad(loss, inputs, create_graph=create_graph, materialize_grads=True)


def _pull_back(
    outputs: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    vectors: tuple[Tensor, ...],
    keep: bool = False,
) -> tuple[Tensor, ...]:
    """Σ vector·∂output/∂input; outputs that do not depend on anything count as constants."""
    pairs = [(o, v) for o, v in zip(outputs, vectors, strict=True) if o.requires_grad]
    if not pairs:
        return tuple(torch.zeros_like(i) for i in inputs)
    live, along = zip(*pairs, strict=True)
    return torch.autograd.grad(live, inputs, along, retain_graph=keep, materialize_grads=True)


def is_batch_norm(module: nn.Module) -> bool:
    """Whether it is a batch norm, by name too: ghost batch norms need not derive from torch's."""
    return isinstance(module, _BatchNorm) or "batchnorm" in type(module).__name__.lower()


def _refuse_random_modules(model: nn.Module) -> None:
    for name, module in model.named_modules():
        where = f"{type(module).__name__} {name!r}"
        if is_batch_norm(module):
            if module.training:
                raise InputError(
                    f"{where} is in train mode, where the loss of one example depends on the "
                    "others of its batch: call model.eval() first"
                )
            if getattr(module, "running_mean", 0) is None and not _is_of_ghosts(module):
                raise InputError(
                    f"{where} keeps no running statistics, so the loss of one example depends on "
                    "the others of its batch: use track_running_stats=True"
                )
        rate = module.p if isinstance(module, _DropoutNd) else getattr(module, "dropout", 0)
        if module.training and isinstance(rate, int | float) and rate > 0:
            raise InputError(
                f"{where} drops at random in train mode, so that no two passes see the same "
                "loss: call model.eval() first"
            )


def _is_of_ghosts(module: nn.Module) -> bool:
    return is_batch_norm(module) and hasattr(module, "ghost_batch_size")


def _ghost_size(model: nn.Module) -> int:
    """Examples whose losses hang together: those of a ghost without running statistics, or 1."""
    sizes = {
        cast(int, module.ghost_batch_size)
        for module in model.modules()
        if _is_of_ghosts(module) and getattr(module, "running_mean", 0) is None
    }
    if len(sizes) > 1:
        raise InputError(
            f"the model's ghosts are of {', '.join(map(str, sorted(sizes)))} examples, so that no "
            "batch but the whole is made of whole ones: give them one size"
        )
    return sizes.pop() if sizes else 1


def _readable_again(data: Data, batch_size: int) -> Iterable[tuple[Tensor, Tensor]]:
    """`data` as an iterable of batches that gives the same batches each time it is read."""
    if batch_size < 1:
        raise InputError(f"the batch size must be at least 1, got {batch_size}")
    tensors = data.tensors if isinstance(data, TensorDataset) else data
    if (
        isinstance(tensors, tuple | list)
        and len(tensors) == 2
        and isinstance(x := tensors[0], Tensor)
        and isinstance(y := tensors[1], Tensor)
    ):
        if len(x) != len(y):
            raise InputError(f"x has {len(x)} examples and y has {len(y)}: they must be equal")
        if len(x) == 0:
            raise InputError("the data are empty: curvature needs at least one example")
        return list(zip(x.split(batch_size), y.split(batch_size), strict=True))
    if isinstance(data, DataLoader):
        for sampler in (data.sampler, getattr(data.batch_sampler, "sampler", None)):
            if isinstance(
                sampler, RandomSampler | SubsetRandomSampler | WeightedRandomSampler
            ) or getattr(sampler, "shuffle", False):
                raise InputError(
                    "the DataLoader shuffles, so that each pass would see other batches: "
                    "give one with shuffle=False"
                )
        return data
    if isinstance(data, IterableDataset):
        raise InputError(
            "an IterableDataset gives single examples: wrap it in a DataLoader that makes batches"
        )
    if isinstance(data, Dataset):
        return DataLoader(data, batch_size=batch_size, shuffle=False)
    if not isinstance(data, Iterable):
        raise InputError(
            f"data of type {type(data).__name__} cannot be read: give two tensors (x, y), a "
            "Dataset, or batches (x, y)"
        )
    if isinstance(data, Iterator):
        raise InputError(
            "the data can be read only once, and curvature reads them many times: give a list, "
            "for instance list(batches)"
        )
    return cast(Iterable[tuple[Tensor, Tensor]], data)


@contextmanager
def _twice_differentiable(model: nn.Module) -> Iterator[None]:
    """Arithmetic in which a second derivative exists and is right to the dtype's precision.

    cuDNN's recurrent nets and fused attention have no second derivative; autocast and TF32 carry
    3 digits only.
    """
    recurrent = any(isinstance(m, nn.RNNBase) for m in model.modules())
    device = next(model.parameters()).device.type
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("highest")
        if device == "cuda":
            stack.enter_context(
                torch.backends.cudnn.flags(
                    enabled=not recurrent, deterministic=True, allow_tf32=False
                )
            )
        yield
