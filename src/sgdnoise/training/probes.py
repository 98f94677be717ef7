"""What a run measures on its way beside its curves: curvature, noise, distances, by name.

A config names its probes, and each logged step adds their numbers to the run's curves, beside
`step`. A probe reads the weights that the step has left. It changes nothing of the run: it draws
from streams of its own, addressed by step, and leaves weights, gradients, running statistics and
modes as they were.

Curvature and noise are those of the loss as the net is evaluated (running statistics, no dropout,
no augmentation, no weight decay, float32), on a fixed subset of the training set. Where a single
example has to have a loss, a net with batch norm leaves no other choice. The two probes named
`ghost-…` are of the loss that is trained in this respect: ghost batch norm takes the statistics of
its ghosts. A number that cannot be had is nan: the net has diverged, or all its gradients are zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sgdnoise import curvature
from sgdnoise.config import PROBE_EXAMPLES, Probe
from sgdnoise.curvature import MeanLoss
from sgdnoise.errors import InputError
from sgdnoise.schedule import log_spaced_steps
from sgdnoise.training.modes import OutputNet, ghost_statistics, modes_kept
from sgdnoise.training.result import significant
from sgdnoise.training.state import RunState, epoch_ends, evaluate, parts
from sgdnoise.training.streams import stream
from sgdnoise.training.tasks import NextWord

BATCHES = 8
"""Batches whose sharpness is averaged."""

DIAGONAL_PROBES = 32
"""Random vectors behind the diagonal of a Hessian that is too large to be had exactly."""

DRAWS = 1000
"""Random weights around the initial ones, as in H17's appendix B."""

DRAW_RANGE = 10.0
"""Their largest distance: H17's c, which is about as far as its runs went."""

POPULATION = 1024
"""Training examples that batches of every size are drawn from, at most: all of a small set, whose
mean gradient is then that of the loss which is trained."""

BATCH_DRAWS = 16
"""Batches of each size that are drawn at the same weights."""

CURVATURE_MOMENTS = 4
"""Ends of epochs, evenly spaced in log, at which the curvature of layers is measured."""

_LANCZOS_STEPS = 50
_GRADIENTS_IN_MEMORY = 1 << 26
"""Numbers that the gradients of single examples may take at once: 256 MiB."""

_LAYER_PROBES: frozenset[Probe] = frozenset({"layer-curvature", "layer-gauss-newton"})

_GHOST_PROBES: frozenset[Probe] = frozenset({"ghost-sharpness", "ghost-batch-sharpness"})

_LAYER_QUANTITIES = (
    "layer_radius",
    "layer_ratio",
    "layer_error_low",
    "layer_error",
    "layer_error_high",
    "layer_distance",
    "layer_negative",
)


class Probes:
    """The probes of one run.

    Args:
        state: the run, at its start or at its checkpoint.
        micro_batch: examples in memory at once.

    Raises:
        InputError: for a training set too small to have a noise scale, two probes of the same, or
            one of ghosts where the net has none.
    """

    def __init__(self, state: RunState, micro_batch: int) -> None:
        self.state, self.micro_batch = state, max(1, micro_batch)
        config, task = state.config, state.task
        self.names = [name for name, _ in state.model.named_parameters()]
        self.ends: dict[int, int] = {}
        if not config.probes:
            return
        if {"epochs", *_LAYER_PROBES} & set(config.probes):
            self.ends = epoch_ends(state)
        if set(config.probes) >= _LAYER_PROBES:
            raise InputError(
                f"the probes {' and '.join(sorted(_LAYER_PROBES))} measure the same: choose one"
            )
        if (of_ghosts := _GHOST_PROBES & set(config.probes)) and config.norm != "ghost":
            raise InputError(
                f"{', '.join(sorted(of_ghosts))}: the net has no ghost batch norm, choose "
                "sharpness and batch-sharpness"
            )
        if "gradient-statistics" in config.probes and state.size < 8:
            raise InputError(
                f"{state.size} training examples are too few for gradient-statistics: "
                "choose at least 8, or leave the probe out"
            )
        self.net = OutputNet(task, state.model)
        index = torch.randperm(state.size, generator=stream(config.seed, "probe/examples"))
        self.data = self._examples(index[:PROBE_EXAMPLES])
        if "batch-gradients" in config.probes:
            self.population = self._examples(index[:POPULATION])

    def start(self) -> None:
        """Measures what is measured at the initial weights."""
        probes = self.state.config.probes
        if self.state.progress.step:
            return
        if "random-draws" in probes:
            distances, changes = self._random_draws()
            self.state.progress.curves |= {
                "random_draw_distance": [significant(value, 4) for value in distances],
                "random_draw_loss_change": [significant(value, 4) for value in changes],
            }
        if "batch-gradients" in probes:
            self._add("batch-gradients", self._batch_gradients)
        self._measure_epoch(0)

    def before_update(self) -> None:
        """Keeps the weights that an update is about to change, where its length is asked for."""
        if "epochs" in self.state.config.probes:
            self.before = self._weights()

    def after_update(self) -> None:
        """Takes the length of the update, and at an epoch's end what is measured there."""
        progress = self.state.progress
        if "epochs" in self.state.config.probes:
            strides = progress.curves.setdefault("epoch_stride", [])
            # One epoch more than has ended: in the curves, so that a checkpoint holds it.
            if len(strides) < len(progress.curves["epoch_loss"]):
                strides.append(0.0)
            strides[-1] += float((self._weights() - self.before).abs().mean())
        if progress.step in self.ends:
            self._measure_epoch(self.ends[progress.step])

    def _measure_epoch(self, epoch: int) -> None:
        """Adds what is measured at the end of an epoch, 0 standing for the initial weights."""
        state = self.state
        if "epochs" in state.config.probes:
            with modes_kept(self.net):
                loss, _ = evaluate(state.task, state.task.train, state.model, state.config)
            state.progress.add(epoch_loss=significant(loss, 4))
            if epoch:
                strides = state.progress.curves["epoch_stride"]
                strides[-1] = significant(strides[-1], 4)
        for probe in _LAYER_PROBES & set(state.config.probes):
            moments = log_spaced_steps(max(self.ends.values()), CURVATURE_MOMENTS)
            if epoch in (0, *moments):
                state.progress.add(layer_curvature_epoch=epoch)
                self._add(probe, partial(self._layer_curvature, probe))

    def measure(self) -> None:
        """Adds the numbers of every probe at the step just logged to the run's curves."""
        measures: dict[Probe, Callable[[], dict[str, float]]] = {
            "weight-distance": self._weight_distance,
            "sharpness": self._sharpness,
            "batch-sharpness": self._batch_sharpness,
            "ghost-sharpness": self._ghost_sharpness,
            "ghost-batch-sharpness": self._ghost_batch_sharpness,
            "curvature-radius": self._curvature_radius,
            "gradient-statistics": self._gradient_statistics,
            "batch-gradients": self._batch_gradients,
        }
        for name in self.state.config.probes:
            if name in measures:
                self._add(name, measures[name])

    def _add(self, name: Probe, measure: Callable[[], dict[str, float]]) -> None:
        """Adds one probe's numbers at the present weights, of the net as it is evaluated."""
        with modes_kept(self.net):
            self.net.eval()
            try:
                numbers = measure()
            except InputError:
                numbers = dict.fromkeys(self.curves(name), math.nan)
        assert list(numbers) == self.curves(name)
        self.state.progress.add(**{k: significant(v, 4) for k, v in numbers.items()})

    def curves(self, probe: Probe) -> list[str]:
        """The names of the curves that a probe adds to."""
        layers = [name for quantity in _LAYER_QUANTITIES for name in self._for_each(quantity)]
        each = {
            "weight-distance": ["weight_distance", *self._for_each("weight_distance")],
            "sharpness": ["sharpness", "sharpness_residual"],
            "batch-sharpness": ["batch_sharpness", "batch_sharpness_error"],
            "ghost-sharpness": ["ghost_sharpness", "ghost_sharpness_residual"],
            "ghost-batch-sharpness": ["ghost_batch_sharpness", "ghost_batch_sharpness_error"],
            "curvature-radius": [
                *self._for_each("curvature_radius"),
                *self._for_each("curvature_radius_rms"),
                *self._for_each("approximate_radius"),
            ],
            "gradient-statistics": [
                "mean_gradient_norm",
                "gradient_covariance_trace",
                "noise_scale",
            ],
            "random-draws": ["random_draw_distance", "random_draw_loss_change"],
            "batch-gradients": [
                name
                for n in self.sizes
                for name in (
                    *self._for_each(f"batch_gradient_abs/{n}"),
                    f"batch_gradient_variance/{n}",
                    f"batch_loss_drop/{n}",
                    f"whole_loss_drop/{n}",
                )
            ],
            "epochs": ["epoch_loss", "epoch_stride"],
            "layer-curvature": layers,
            "layer-gauss-newton": layers,
            "epoch-loss": ["epoch_mean_loss"],
        }
        return each[probe]

    @property
    def sizes(self) -> list[int]:
        """The batch sizes that are drawn at the same weights: powers of two, and all there is."""
        most = min(self.state.size, POPULATION)
        return [*(2**k for k in range((most - 1).bit_length())), most]

    def _for_each(self, quantity: str) -> list[str]:
        return [f"{quantity}/{name}" for name in self.names]

    def _weight_distance(self) -> dict[str, float]:
        """‖w − w₀‖ (H17 figure 2) of all parameters, then of each tensor."""
        pairs = zip(self.state.model.parameters(), self.state.start, strict=True)
        each = [float((p.detach().double() - s.double()).norm()) for p, s in pairs]
        names = self.curves("weight-distance")
        return dict(zip(names, [math.hypot(*each), *each], strict=True))

    def _sharpness(self) -> dict[str, float]:
        """λmax of the Hessian, and its residual: an eigenvalue lies within it."""
        return self._top("sharpness", self.data)

    def _ghost_sharpness(self) -> dict[str, float]:
        """The same of the loss with the statistics of ghosts, each of the same examples always."""
        with ghost_statistics(self.net):
            return self._top("ghost-sharpness", self._whole_ghosts(*self.data))

    def _top(self, probe: Probe, data: curvature.Data) -> dict[str, float]:
        top = curvature.top_eigenvalues(
            self.net,
            self._loss,
            data,
            tolerance=1e-3,
            max_iterations=_LANCZOS_STEPS,
            seed=self._seed(probe),
            batch_size=self.micro_batch,
        )
        found = float(top.values[0]), float(top.residuals[0])
        return dict(zip(self.curves(probe), found, strict=True))

    def _batch_sharpness(self) -> dict[str, float]:
        """Mean over batches of gᵀHg / gᵀg, and its standard error.

        g and H are one batch's own. Batches are as large as the last step's, each drawn without
        replacement from the training set. Andreyev & Beneventano 2024 hold this, not λmax, to be
        what SGD brings to 2/ε.
        """
        return self._along_gradients("batch-sharpness", self._examples)

    def _ghost_batch_sharpness(self) -> dict[str, float]:
        """The same of the loss with the statistics of ghosts, which are cut from each batch."""

        def ghosts(index: Tensor) -> curvature.Data:
            return self._whole_ghosts(*self._examples(index))

        with ghost_statistics(self.net):
            return self._along_gradients("ghost-batch-sharpness", ghosts)

    def _along_gradients(
        self, probe: Probe, batch: Callable[[Tensor], curvature.Data]
    ) -> dict[str, float]:
        state = self.state
        size = state.batches.at(state.progress.step - 1).batch_size
        generator = torch.Generator().manual_seed(self._seed(probe))
        ratios = []
        for _ in range(BATCHES):
            index = torch.randperm(state.size, generator=generator)[:size]
            loss = MeanLoss(self.net, self._loss, batch(index), batch_size=self.micro_batch)
            g = loss.gradient()
            image = loss.hessian_product(g).double()
            g = g.double()
            ratios.append(torch.dot(g, image) / torch.dot(g, g))
        each = torch.stack(ratios)
        numbers = float(each.mean()), float(each.std()) / math.sqrt(BATCHES)
        return dict(zip(self.curves(probe), numbers, strict=True))

    def _whole_ghosts(self, x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
        rows = parts(self.state.config, self.state.model, self.micro_batch, len(y))
        return [(x[part], y[part]) for part in rows]

    def _curvature_radius(self) -> dict[str, float]:
        """Radii of curvature of each tensor, three ways (G20-E9, E17, figure 2).

        The median of (1 + g²)^1.5/|h|, 1/√(mean of h²), and the median of |w/g|. h, the Hessian's
        diagonal, is exact in small nets and estimated in others. There the first is too small where
        the estimate's noise exceeds h; the second has that noise taken out.
        """
        radii = curvature.curvature_radii(
            self.net,
            self._loss,
            self.data,
            probes=DIAGONAL_PROBES,
            seed=self._seed("curvature-radius"),
            batch_size=self.micro_batch,
        ).layers
        numbers = [
            *(layer.true[1] for layer in radii),
            *(layer.from_rms for layer in radii),
            *(layer.approximate[1] for layer in radii),
        ]
        return dict(zip(self.curves("curvature-radius"), numbers, strict=True))

    def _gradient_statistics(self) -> dict[str, float]:
        """|G|, trΣ and B_simple = trΣ/|G|² of the training set, unbiased (McCandlish et al. 2018).

        |G| is 0 and the noise scale infinite where the gradient cannot be told from zero.
        """
        parameters = sum(p.numel() for p in self.state.model.parameters())
        # Recurrent nets have no gradients of single examples: their noise is that of groups.
        recurrent = isinstance(self.state.task, NextWord)
        at_once = self.micro_batch if recurrent else _GRADIENTS_IN_MEMORY // parameters
        noise = curvature.gradient_noise_scale(
            self.net,
            self._loss,
            self.data,
            method="batches" if recurrent else "per-example",
            data_size=self.state.size,
            groups=min(32, len(self.data[1]) // 2),
            seed=self._seed("gradient-statistics"),
            batch_size=max(1, min(at_once, self.micro_batch, 128)),
        )
        return {
            "mean_gradient_norm": math.sqrt(max(0.0, noise.signal)),
            "gradient_covariance_trace": noise.noise,
            "noise_scale": noise.value,
        }

    def _batch_gradients(self) -> dict[str, float]:
        """What batches of every size have for a gradient at the present weights (G20 figure 3).

        Of `BATCH_DRAWS` batches of n examples, drawn without replacement from the `POPULATION`: the
        mean |g| over each tensor; the trace of their covariance, unbiased; and by how much a plain
        step at the run's present rate ε lowers the loss, over ε: the batch's own loss, and that of
        the whole population (G20-E8). The first point is at the initial weights, the others at the
        logged steps.
        """
        state = self.state
        x, y = self.population
        rate = float(state.rates[min(state.progress.step, state.total - 1)])
        loss = MeanLoss(self.net, self._loss, self.population, batch_size=self.micro_batch)
        generator = torch.Generator().manual_seed(self._seed("batch-gradients"))
        numbers: dict[str, float] = {}
        before = self._losses_at({})
        for n in self.sizes:
            gradients, own, whole = [], [], []
            for _ in range(BATCH_DRAWS if n < len(y) else 1):
                index = torch.randperm(len(y), generator=generator)[:n].to(x.device)
                pieces = index.split(self.micro_batch)
                g = sum(
                    (len(p) / n * loss.batch_gradient(x[p], y[p]) for p in pieces),
                    start=torch.zeros(loss.size, dtype=loss.dtype, device=loss.device),
                )
                moved = {
                    name: (p - rate * step).detach()
                    for (name, p), step in zip(
                        self.net.named_parameters(), loss.split(g).values(), strict=True
                    )
                }
                after = self._losses_at(moved)
                gradients.append(g)
                own.append(float((before[index] - after[index]).mean()) / rate)
                whole.append(float((before - after).mean()) / rate)
            stacked = torch.stack(gradients)
            sizes = [p.numel() for p in loss.parameters]
            each = [float(part.abs().mean()) for part in stacked.split(sizes, dim=1)]
            spread = float(stacked.double().var(dim=0).sum()) if len(gradients) > 1 else 0.0
            numbers |= dict(zip(self._for_each(f"batch_gradient_abs/{n}"), each, strict=True))
            numbers[f"batch_gradient_variance/{n}"] = spread
            numbers[f"batch_loss_drop/{n}"] = sum(own) / len(own)
            numbers[f"whole_loss_drop/{n}"] = sum(whole) / len(whole)
        return numbers

    @torch.no_grad()
    def _losses_at(self, parameters: dict[str, Tensor]) -> Tensor:
        """The loss of each of the population with these parameters in place of the net's."""
        x, y = self.population
        pieces = zip(x.split(self.micro_batch), y.split(self.micro_batch), strict=True)
        return torch.cat(
            [
                self.state.task.losses(functional_call(self.net, parameters, (a,)), b).double()
                for a, b in pieces
            ]
        )

    def _layer_curvature(self, probe: Probe) -> dict[str, float]:
        """Each tensor's radius of curvature beside |w/g|, and its distance to the minimum.

        Medians over its parameters (G20-E16, E17, E26); of the ratio of the two radii, parameter by
        parameter, the quartiles too; and the share along which the loss curves down. The gradient
        is that of the whole training set, the curvature that of the fixed subset. One of the two
        probes estimates the curvature of a large net from random vectors, the other has it exactly.
        """
        everything = self._examples(torch.arange(self.state.size))
        layers = curvature.curvature_radii(
            self.net,
            self._loss,
            self.data,
            diagonal="gauss-newton" if probe == "layer-gauss-newton" else None,
            probes=DIAGONAL_PROBES,
            seed=self._seed(probe),
            batch_size=self.micro_batch,
            whole=everything,
        ).layers
        rows = [
            (
                layer.true[1],
                layer.approximate[1],
                *layer.ratio,
                layer.distance[1],
                layer.negative,
            )
            for layer in layers
        ]
        numbers = [value for column in zip(*rows, strict=True) for value in column]
        return dict(zip(self.curves(probe), numbers, strict=True))

    def _weights(self) -> Tensor:
        return torch.cat([p.detach().reshape(-1) for p in self.state.model.parameters()])

    @torch.no_grad()
    def _random_draws(self) -> tuple[list[float], list[float]]:
        """Distances z and changes of the loss L(w₀ + z v) − L(w₀), of each draw (H17 appendix B).

        v is a random direction of norm one, z uniform in [0, c]. Norms take the statistics of the
        batch, because running statistics at the start are not yet the net's.
        """
        x, y = self.data
        buffers = {name: buffer.clone() for name, buffer in self.net.named_buffers()}
        parameters = dict(self.net.named_parameters())
        sizes = [p.numel() for p in parameters.values()]
        rows = parts(self.state.config, self.state.model, self.micro_batch, len(y))
        generator = stream(self.state.config.seed, "probe/random-draws")

        def loss(direction: Tensor, distance: float) -> float:
            steps = direction.to(x.device).split(sizes)
            moved = {
                name: p + distance * step.view(p.shape)
                for (name, p), step in zip(parameters.items(), steps, strict=True)
            }
            pieces = (functional_call(self.net, {**moved, **buffers}, (x[p],)) for p in rows)
            losses = [self.state.task.losses(o, y[p]) for o, p in zip(pieces, rows, strict=True)]
            return float(torch.cat(losses).mean())

        distances, changes = [], []
        with modes_kept(self.net):
            self.net.eval()
            for module in self.net.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.train()
            at_start = loss(torch.zeros(sum(sizes)), 0.0)
            for _ in range(DRAWS):
                v = torch.randn(sum(sizes), generator=generator)
                distances.append(DRAW_RANGE * float(torch.rand((), generator=generator)))
                changes.append(loss(v / v.norm(), distances[-1]) - at_start)
        return distances, changes

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.state.task.losses(outputs, targets).mean()

    def _examples(self, index: Tensor) -> tuple[Tensor, Tensor]:
        task, index = self.state.task, index.to(self.state.device)
        return task.inputs(task.train.examples[index]), task.train.targets[index]

    def _seed(self, probe: Probe) -> int:
        config, step = self.state.config, self.state.progress.step
        return stream(config.seed, f"probe/{probe}/{step}").initial_seed()
