"""Data order: no example dropped, resumable at any step, and the law each sampling has."""

from __future__ import annotations

import pytest
import torch

from sgdnoise.config import make_config
from sgdnoise.training.streams import batch_indices, stream


def config(**changes):
    base = {"dataset": "digits", "model": "digits-mlp", "learning_rate": 0.1, "epochs": 3.0}
    return make_config(**{**base, "batch_size": 7, **changes})


def test_reshuffling_drops_nothing_and_repeats_nothing_in_an_epoch():
    n = 20
    drawn = batch_indices(config(), n, 0, 20).reshape(-1)
    for epoch in drawn.view(7, n):
        assert sorted(epoch.tolist()) == list(range(n))
    assert not torch.equal(drawn[:n], drawn[n : 2 * n])


@pytest.mark.parametrize("sampling", ["reshuffle", "independent"])
def test_any_slice_is_what_an_uninterrupted_run_draws(sampling):
    c = config(sampling=sampling)
    whole = batch_indices(c, 20, 0, 12)
    for start, stop in [(0, 1), (3, 7), (11, 12), (5, 12)]:
        assert torch.equal(batch_indices(c, 20, start, stop), whole[start:stop])


def test_independent_batches_hold_no_example_twice_but_epochs_do():
    drawn = batch_indices(config(sampling="independent"), 10, 0, 200)
    assert all(len(set(row.tolist())) == 7 for row in drawn)
    counts = torch.bincount(drawn[:10].reshape(-1), minlength=10)
    assert counts.min() != counts.max()
    # Each example is in a batch with probability 7/10: within 5 standard errors of 200 draws.
    share = torch.bincount(drawn.reshape(-1), minlength=10) / 200
    assert torch.allclose(share, torch.full((10,), 0.7), atol=5 * (0.7 * 0.3 / 200) ** 0.5)


def test_independent_batches_keep_no_more_memory_than_they_are(monkeypatch):
    kept, stack = [], torch.stack

    def measured(rows):
        kept.extend(row.untyped_storage().nbytes() for row in rows)
        return stack(rows)

    monkeypatch.setattr(torch, "stack", measured)
    drawn = batch_indices(config(sampling="independent"), 1000, 0, 50)
    assert sum(kept) == drawn.numel() * drawn.element_size()


def test_seeds_and_purposes_are_streams_of_their_own():
    draws = {
        torch.rand(1, generator=stream(seed, purpose)).item()
        for seed in range(3)
        for purpose in ("init", "epoch/0", "epoch/1")
    }
    assert len(draws) == 9
    assert torch.equal(
        torch.rand(3, generator=stream(1, "init")), torch.rand(3, generator=stream(1, "init"))
    )
