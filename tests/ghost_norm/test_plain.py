"""How a batch is cut into ghosts."""

from __future__ import annotations

import pytest

from sgdnoise.ghost_norm import ghost_sizes


@pytest.mark.parametrize(
    ("batch", "ghost", "sizes"),
    [
        (128, 64, [64, 64]),
        (60, 64, [60]),
        (95, 64, [95]),
        (96, 64, [64, 32]),
        (200, 64, [64, 64, 72]),
        (848, 128, [128] * 6 + [80]),
        (7, 3, [3, 4]),
        (5, 2, [2, 2, 1]),
    ],
)
def test_the_remainder_rule(batch: int, ghost: int, sizes: list[int]) -> None:
    assert ghost_sizes(batch, ghost) == sizes
