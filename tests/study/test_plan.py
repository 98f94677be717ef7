"""What became of runs: the status decides, whatever else a record says."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from made_up import record

from sgdnoise.config import make_config
from sgdnoise.study.plan import outcomes

CONFIG = make_config(
    dataset="digits", model="digits-mlp", batch_size=8, learning_rate=0.5, epochs=1
)


@pytest.mark.parametrize("status", ["done", "diverged", "failed"])
def test_only_a_run_that_is_done_has_final_numbers(status: str) -> None:
    one = replace(record(CONFIG, lambda config: {"test_accuracy": 90.0}), status=status)
    found = outcomes({one.id: one}, ["test_accuracy", "test_loss"])
    if status == "failed":
        assert found == {}
        return
    accuracy, loss = found[one.id].values()
    assert math.isnan(loss)  # of which the record knows nothing
    assert accuracy == 90.0 if status == "done" else math.isnan(accuracy)
