"""The learning-rate schedule that a config names, tabulated."""

from __future__ import annotations

import numpy as np

from sgdnoise import schedule as shapes
from sgdnoise.config import RunConfig


def multipliers(config: RunConfig, total_steps: int) -> np.ndarray:
    """What the initial learning rate is multiplied with at each step, shape (total_steps,)."""
    if config.schedule == "hold-then-decay":
        shape = shapes.hold_then_decay(total_steps, config.decay_factor)
    else:
        shape = shapes.constant(total_steps)
    return shapes.tabulate(shape, total_steps)
