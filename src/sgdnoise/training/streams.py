"""Every random draw of a run, from its seed alone: one stream for each purpose.

Draws happen on the CPU, so that a device never changes what a run is, and are addressed by epoch
or step, so that a run resumed in the middle draws what an uninterrupted one would have.
"""

from __future__ import annotations

import hashlib

import torch

from sgdnoise.config import RunConfig


def stream(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose of one run, unrelated to other purposes and seeds.

    Torch's CPU generator takes 32 bits of a seed, so that among very many steps two may draw the
    same crops; no two runs can share more than that.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def batch_indices(config: RunConfig, train_size: int, start: int, stop: int) -> torch.Tensor:
    """The examples of steps `start` to `stop` − 1, as S20-E1 draws them.

    With `reshuffle` sampling, the permutations of successive epochs are joined end to end and cut
    into batches, so that no example is dropped and a batch may straddle two epochs. With
    `independent` sampling each batch is a fresh draw without replacement from the whole set.

    Returns:
        Indices into the training set, shape (stop − start, batch size), int64.

    Raises:
        ValueError: for steps of several batch sizes, which have no such shape.
    """
    batches = config.batches(train_size)
    size = batches.at(start).batch_size
    if batches.at(stop - 1) != batches.at(start):
        raise ValueError(f"steps {start} to {stop - 1} lie in phases of several batch sizes")
    if config.sampling == "independent":
        draws = (stream(config.seed, f"batch/{step}") for step in range(start, stop))
        # A slice alone would keep its whole permutation until all steps are drawn.
        rows = [torch.randperm(train_size, generator=draw)[:size].clone() for draw in draws]
        return torch.stack(rows)
    first = batches.seen(start)
    last = first + (stop - start) * size
    epochs = range(first // train_size, -(-last // train_size))
    joined = torch.cat(
        [
            torch.randperm(train_size, generator=stream(config.seed, f"epoch/{epoch}"))
            for epoch in epochs
        ]
    )
    offset = first - epochs.start * train_size
    return joined[offset : offset + last - first].view(stop - start, size)
