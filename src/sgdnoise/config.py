"""What a training run is: one frozen, hashed config. The config is the run's identity.

The identity is a hash of the fields that differ from their defaults, so that a field added later,
whose default changes nothing, leaves every identity as it was (`tests/test_config.py` holds golden
hashes). What may change results without standing in a config is `ENGINE_VERSION`, raised by hand.
Device, code digest, package versions and dates are provenance and stand in the record instead.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from sgdnoise.errors import InputError, shown
from sgdnoise.schedule import BatchSchedule, batch_schedule

ENGINE_VERSION = 1
"""Raised by hand whenever a run with an unchanged config may give other results than before."""

Probe = Literal[
    "weight-distance",
    "sharpness",
    "batch-sharpness",
    "ghost-sharpness",
    "ghost-batch-sharpness",
    "curvature-radius",
    "gradient-statistics",
    "random-draws",
    "batch-gradients",
    "epochs",
    "layer-curvature",
    "layer-gauss-newton",
    "epoch-loss",
]
"""What a run may measure on its way: `training.probes` says what each records."""

PROBE_EXAMPLES = 512
"""Training examples that probes measure curvature and noise on, at most."""

MOST_COUNT = 1 << 53
"""Bound on whole numbers: what float64 still counts."""

MOST_EPOCHS = 1e9
"""Bound on epochs, and on the factors of phases: their products with a data set are counts too."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=MOST_COUNT)]
Epochs = Annotated[float, Field(gt=0, le=MOST_EPOCHS, allow_inf_nan=False)]
Start = Annotated[float, Field(ge=0, le=MOST_EPOCHS, allow_inf_nan=False)]


Status = Literal["done", "diverged", "failed"]
"""How a run ended."""


class RunConfig(BaseModel):
    """One training run, complete: equal configs give equal runs.

    A learning rate is the raw ε of PyTorch's heavy ball, v ← m v + g, w ← w − ε v, so that the
    effective learning rate is ε / (1 − m) (S20 §3.3).

    Attributes:
        dataset: name of the data set, as `sgdnoise data` knows it.
        train_size: size of the fixed, class-balanced subset trained on; None for all.
        model: name of the model, as `sgdnoise.models.build` knows it.
        norm: the normalisation that replaces the model's batch norms; None for a model that has
            no choice. `none` is Regularized SkipInit where the model is a residual net;
            `ghost-noise` is over the whole batch, with the noise that ghosts would give it.
        ghost_batch_size: S20 and H17's ghost; the effective one is min(this, batch size).
        optimizer: name of the update rule, as `sgdnoise.optim` knows it.
        learning_rate: initial ε.
        momentum: m in [0, 1).
        nesterov: whether SGD's momentum looks ahead, as `torch.optim.SGD(nesterov=True)` has it.
        weight_decay: coefficient of the L2 term's gradient.
        trust_coefficient: η of the layer-wise rules, a pure number; None for the rule's own
            default. Their rate γ, as G20 has it, is `learning_rate`.
        batch_size: B, examples in an update.
        epochs: epoch budget; exactly one of `epochs` and `steps` is given.
        steps: step budget.
        schedule: shape of the learning rate over the budget. `hold-then-decay` is S20's §4.
        decay_factor: γ of S20's schedule.
        phases: (epoch, batch factor, rate factor) by increasing epoch, as `schedule.Phase`: from
            there on, batch size and learning rate are these multiples of the run's own, not of the
            phase before. The schedule itself keeps the budget's clock: epochs, or updates.
        warmup_steps: updates over which the learning rate rises linearly to its initial value.
        momentum_reset: whether the momentum starts from zero at each epoch's first update, the
            first whose examples begin in it, as in H17's released code.
        clip_norm: bound on the gradient's global norm.
        clip_steps: number of first updates that are clipped; None for all of them.
        gradient_noise: σ of multiplicative noise z ~ N(1, σ²) on each example's loss (H17).
        discard_fraction: part of each batch that is left out of its mean loss (G20 §3.1).
        discard_by: which part: `loss` leaves out the smallest losses, as G20 does, `random` as
            many examples at random.
        discard_epochs: epochs during which it is; None for all of them.
        sampling: `reshuffle` takes consecutive slices of a permutation drawn each epoch,
            permutations joined; `independent` draws each batch afresh without replacement.
        augment: name of the augmentation.
        probes: what is measured at the logged steps beside the curves, in any order.
        precision: of the forward and backward pass; master weights are float32 throughout.
        seed: of initialisation, data order, augmentation and noise, each its own stream.
        engine_version: of the code that interprets all this.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")

    dataset: str
    model: str
    batch_size: Count
    learning_rate: Positive
    train_size: Count | None = None
    norm: Literal["batch", "ghost", "ghost-noise", "none"] | None = None
    ghost_batch_size: Annotated[int, Field(ge=2, le=MOST_COUNT)] = 64
    optimizer: str = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    nesterov: bool = False
    weight_decay: NonNegative = 0.0
    trust_coefficient: Positive | None = None
    epochs: Epochs | None = None
    steps: Count | None = None
    schedule: Literal["constant", "hold-then-decay", "cosine", "h17"] = "hold-then-decay"
    decay_factor: Positive = 2.0
    phases: tuple[tuple[Start, Epochs, Positive], ...] = ()
    warmup_steps: Annotated[int, Field(ge=0, le=MOST_COUNT)] = 0
    momentum_reset: bool = False
    clip_norm: Positive | None = None
    clip_steps: Count | None = None
    gradient_noise: NonNegative = 0.0
    discard_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    discard_by: Literal["loss", "random"] = "loss"
    discard_epochs: Epochs | None = None
    sampling: Literal["reshuffle", "independent"] = "reshuffle"
    augment: str = "none"
    probes: tuple[Probe, ...] = ()
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: Annotated[int, Field(ge=0, le=MOST_COUNT)] = 0
    # What a later engine made is not this one's to read; what an earlier one made is not to train.
    engine_version: Annotated[int, Field(ge=1, le=ENGINE_VERSION)] = ENGINE_VERSION

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _numbers_are_no_truths(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        if info.field_name not in _TRUTHS and _has_truth(value):
            raise ValueError("Input should not be a truth value")
        return value

    @pydantic.field_validator("probes")
    @classmethod
    def _in_one_order(cls, probes: tuple[Probe, ...]) -> tuple[Probe, ...]:
        return tuple(sorted(set(probes)))

    @pydantic.model_validator(mode="after")
    def _one_budget(self) -> RunConfig:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        return self

    @pydantic.model_validator(mode="after")
    def _phases_in_order(self) -> RunConfig:
        starts = [epoch for epoch, _, _ in self.phases]
        if any(b <= a for a, b in itertools.pairwise(starts)):
            raise ValueError(f"phases must start at increasing epochs, got {shown(starts)}")
        if starts and self.epochs is not None and starts[-1] >= self.epochs:
            raise ValueError(
                f"a phase starts at epoch {starts[-1]:g}, at or after the end of {self.epochs:g}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _momentum_to_reset(self) -> RunConfig:
        if self.momentum_reset and self.optimizer == "lamb":
            raise ValueError("momentum_reset is of the heavy ball: lamb has none, leave it out")
        return self

    @pydantic.model_validator(mode="after")
    def _momentum_to_look_ahead(self) -> RunConfig:
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise ValueError("nesterov is of sgd with a momentum: give both, or leave it out")
        return self

    @pydantic.model_validator(mode="after")
    def _something_to_discard(self) -> RunConfig:
        if self.discard_by != "loss" and not self.discard_fraction:
            raise ValueError("discard_by says which examples: give a discard_fraction too")
        if self.discard_epochs is not None and not self.discard_fraction:
            raise ValueError("discard_epochs says for how long: give a discard_fraction too")
        return self

    @pydantic.model_validator(mode="after")
    def _something_to_clip(self) -> RunConfig:
        if self.clip_steps is not None and self.clip_norm is None:
            raise ValueError("clip_steps says for how long: give a clip_norm too")
        return self

    @functools.cached_property
    def id(self) -> str:
        """The run's identity: 16 hexadecimal digits of the hash of `identity`."""
        return id_of(self.identity())

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, and with an id of its own: fields are not checked; see `replace`."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("id", None)
        return copy

    @property
    def effective_learning_rate(self) -> float:
        """ε / (1 − m), S20 §3.3."""
        return self.learning_rate / (1 - self.momentum)

    def identity(self) -> dict[str, Any]:
        """The fields that differ from their defaults, and the engine version always."""
        defaults = _defaults()
        return {
            name: value
            for name, value in self.model_dump().items()
            if name not in defaults or value != defaults[name]
        }

    @property
    def largest_batch_size(self) -> int:
        """B, or that of the phase with the largest."""
        factors = [1.0, *(batch_factor for _, batch_factor, _ in self.phases)]
        return max(round(self.batch_size * factor) for factor in factors)

    def total_steps(self, train_size: int) -> int:
        """Number of updates on a training set of this size.

        Raises:
            InputError: as `batches`.
        """
        return self.batches(train_size).total_steps

    def batches(self, train_size: int) -> BatchSchedule:
        """The batch size of each update on a training set of this size.

        Raises:
            InputError: when a batch is larger than the training set, or a phase has no update.
        """
        if self.batch_size > train_size:
            raise InputError(
                f"batch size {self.batch_size} is larger than the training set of {train_size} "
                f"examples: choose at most {train_size}"
            )
        try:
            return batch_schedule(
                self.batch_size, train_size, self.phases, epochs=self.epochs, steps=self.steps
            )
        except ValueError as error:
            raise InputError(str(error)) from None

    def replace(self, **changes: Any) -> RunConfig:
        """The same run but for these fields, validated anew."""
        return make_config(**{**self.model_dump(), **changes})


_TRUTHS = {name for name, field in RunConfig.model_fields.items() if field.annotation is bool}


def _has_truth(value: object) -> bool:
    """Whether a value is a boolean, or has one: pydantic would take it for 0 or 1."""
    if isinstance(value, list | tuple):
        return any(map(_has_truth, value))
    return isinstance(value, bool)


@functools.cache
def _defaults() -> dict[str, Any]:
    """The fields that an identity leaves out at these values."""
    fields = RunConfig.model_fields.items()
    may_lack = {n: f for n, f in fields if not f.is_required() and n != "engine_version"}
    return {name: field.get_default() for name, field in may_lack.items()}


def make_config(**fields: Any) -> RunConfig:
    """A config from its fields.

    Raises:
        InputError: one line that names each field that is not legal, and why.
    """
    try:
        return RunConfig(**fields)
    except pydantic.ValidationError as error:
        raise InputError("not a legal run: " + "; ".join(map(_said, error.errors()))) from None


def _said(error: Any) -> str:
    """One of pydantic's errors in one line."""
    message = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return message
    name = ".".join(map(str, error["loc"]))
    where = name if len(name) <= 40 else f"{name[:39]}…"
    # The input of what is missing is all that was given.
    got = "" if error["type"] == "missing" else f", got {shown(error['input'])}"
    return f"{where}: {message}{got}"


def id_of(identity: Mapping[str, Any]) -> str:
    """The id of the run with these fields, those at their defaults left out."""
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:16]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces, and null for what is not finite: equal bytes for equals."""
    try:
        return _ENCODER.encode(value)
    except ValueError:  # something is not finite, which is rare: asking first takes longer
        return _ENCODER.encode(_finite(value))


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
"""Made once: making it anew takes as long as writing a config."""


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
