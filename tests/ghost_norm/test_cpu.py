"""The fast route on CPU against PyTorch's own kernel; `test_layer` has it against the loop."""

from __future__ import annotations

import pytest
import torch
from ghost_norm.test_layer import EPS

from sgdnoise.ghost_norm import cpu_loop, forced_route, ghost_batch_norm


def test_one_thread_gives_the_gradients_of_pytorchs_kernel_to_the_last_bits(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(3)
    make = {"generator": generator, "dtype": torch.float32}
    x, dy = (torch.randn(32, 16, 12, 12, **make) + 1 for _ in range(2))
    x, dy = (t.contiguous(memory_format=torch.channels_last) for t in (x, dy))
    weight, bias = torch.rand(16, **make) + 0.5, torch.zeros(16)
    calls = []
    monkeypatch.setattr(
        cpu_loop,
        "differentiate",
        lambda *args, inner=cpu_loop.differentiate: calls.append(1) or inner(*args),
    )

    leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
    out, *_ = ghost_batch_norm(*leaves, EPS, [16, 16])
    gradients = torch.autograd.grad(out, leaves, dy)

    assert len(calls) == (2 if threads == 1 else 0)
    with forced_route("plain"):
        plain, *_ = ghost_batch_norm(*leaves, EPS, [16, 16])
        expected = torch.autograd.grad(plain, leaves, dy)
    for ours, theirs in zip(gradients, expected, strict=True):
        # Equal on the machines of the committed records; processors without fused multiply-add may
        # round once more.
        torch.testing.assert_close(ours, theirs, rtol=5e-7, atol=1e-7)
