"""The arithmetic that stands beside a row of the training bench, and the row at a small size."""

from __future__ import annotations

import re

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import bench_training
from sgdnoise import models


def test_the_operations_of_f1_are_those_that_pytorch_counts():
    net = models.build("f1", input_shape=(1, 28, 28), norm="batch", seed=0)
    images, labels = torch.randn(4, 1, 28, 28), torch.zeros(4, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(net(images), labels).backward()
    assert bench_training.flops_an_image(net) == counter.get_total_flops() / 4


def test_the_peak_is_the_operations_of_the_product_over_its_time(monkeypatch):
    called = []
    monkeypatch.setattr(
        bench_training, "best_seconds", lambda work, *_: called.append(work().shape) or 1e-3
    )
    assert bench_training.peak_of_a_layer(64, 16) == 2 * 16 * 64 * 64 / 1e-3
    assert called == [(16, 64)]


def test_the_share_of_the_peak_is_told_of_what_is_reached_and_of_what_is_wanted():
    assert bench_training.of_the_peak(speed=3_000, flops=8e6, peak=100e9) == (
        "8.00 MFLOP an image, and a bare product of a hidden layer's shape does 100 GFLOP/s: so at "
        "most 12,500 images/s, of which this is 24%; 20,000 on 2 cores would be 80% of both cores' "
        "peak"
    )


def test_the_row_of_the_small_batch_rung_says_what_share_of_the_peak_it_is(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(bench_training, "peak_of_a_layer", lambda: 100e9)
    row = bench_training._ladder(steps=8)
    speed = int(re.search(r"(\d+) images/s, one thread", row.note)[1])
    assert speed == pytest.approx(3 * 128 / row.ours_s, abs=0.5)
    share = int(re.search(r"of which this is (\d+)%", row.note)[1])
    assert share == pytest.approx(100 * speed * 7.93e6 / 100e9, abs=0.6)
    assert "7.93 MFLOP an image" in row.note
    assert row.required == 0.75
