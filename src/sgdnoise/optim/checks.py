"""Which hyperparameters are legal, for every optimizer alike."""

from __future__ import annotations

import math

from sgdnoise.errors import InputError


def check_hyperparameters(
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    trust_coefficient: float | None = None,
) -> None:
    """Refuses what no run should start with.

    Raises:
        InputError: one line, for a learning rate or trust coefficient that is not positive and
            finite, a momentum outside [0, 1), a weight decay that is negative or not finite.
    """
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise InputError(f"learning rate must be positive and finite, got {learning_rate}")
    if not 0 <= momentum < 1:
        raise InputError(
            f"momentum must be at least 0 and below 1, where velocities stop decaying, "
            f"got {momentum}"
        )
    if not (weight_decay >= 0 and math.isfinite(weight_decay)):
        raise InputError(f"weight decay must be 0 or positive and finite, got {weight_decay}")
    if trust_coefficient is not None and not (
        trust_coefficient > 0 and math.isfinite(trust_coefficient)
    ):
        raise InputError(f"trust coefficient must be positive and finite, got {trust_coefficient}")
