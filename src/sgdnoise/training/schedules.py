"""The learning-rate schedule that a config names, tabulated."""

from __future__ import annotations

import numpy as np

from sgdnoise import schedule as shapes
from sgdnoise.config import RunConfig
from sgdnoise.errors import InputError


def multipliers(config: RunConfig, total_steps: int) -> np.ndarray:
    """What the initial learning rate is multiplied with at each step, shape (total_steps,).

    Raises:
        InputError: for H17's schedule of a model that has none.
    """
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
    return shapes.tabulate(shapes.warm_up(shape, config.warmup_steps), total_steps)
