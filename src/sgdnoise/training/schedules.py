"""The learning-rate schedule that a config names, tabulated."""

from __future__ import annotations

import numpy as np

from sgdnoise import schedule as shapes
from sgdnoise.config import RunConfig
from sgdnoise.errors import InputError
from sgdnoise.schedule import BatchSchedule, Schedule


def multipliers(config: RunConfig, batches: BatchSchedule) -> np.ndarray:
    """What the initial learning rate is multiplied with at each step, shape (total steps,).

    Under phases, a budget of epochs goes by in examples: the schedule is asked for the number of
    the run's own batches that they would have made. Warm-up counts updates in any case.

    Raises:
        InputError: for H17's schedule of a model that has none.
    """
    in_epochs = bool(config.phases) and config.epochs is not None
    total_steps = batches.total_steps
    if in_epochs:
        total_steps = max(1, round(batches.examples / config.batch_size))
    if config.schedule == "hold-then-decay":
        shape = shapes.hold_then_decay(total_steps, config.decay_factor)
    elif config.schedule == "cosine":
        shape = shapes.cosine(total_steps)
    elif config.schedule == "h17":
        if config.model not in shapes.H17_REGIMES:
            raise InputError(
                f"H17 has no regime for {config.model}: choose another schedule, or one of "
                f"{', '.join(shapes.H17_REGIMES)}"
            )
        shape = shapes.H17_REGIMES[config.model].schedule(total_steps)
    else:
        shape = shapes.constant(total_steps)
    if config.phases:
        shape = _phased(shape, batches, config.batch_size if in_epochs else None)
    return shapes.tabulate(shapes.warm_up(shape, config.warmup_steps), batches.total_steps)


def _phased(shape: Schedule, batches: BatchSchedule, batch_size: int | None) -> Schedule:
    """The schedule times each phase's factor; with a batch size, on the clock of such batches."""

    def multiplier(step: int) -> float:
        time = step if batch_size is None else batches.seen(step) // batch_size
        return shape(time) * batches.at(step).rate_factor

    return multiplier
