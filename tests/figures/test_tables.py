"""Numbers and lists as text."""

from __future__ import annotations

import pytest

from sgdnoise.figures.tables import runs_outside
from sgdnoise.phrases import enumerated


@pytest.mark.parametrize(
    ("parts", "said"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_parts_become_one_phrase(parts, said):
    assert enumerated(iter(parts)) == said


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 runs lie"), (1, "1 run lies"), (1200, "1,200 runs lie")]
)
def test_runs_outside_of_a_frame_are_counted_in_grammar(count, said):
    assert runs_outside(count) == f"{said} outside of this frame"
