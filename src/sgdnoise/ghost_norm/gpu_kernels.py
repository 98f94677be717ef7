"""Ghost batch norm as six Triton kernels, for channels-last images (and matrices) on a GPU.

A dense channels-last tensor *is* the matrix (ghosts, ghost size × H × W, C), row-major: no copy.
Each ghost's rows are cut into chunks, and C into blocks; a program takes one block of one chunk, so
that one ghost fills the chip as well as many do. Forward and backward have the same three steps:

1. each program reduces its chunk to two numbers a channel, in float32;
2. a small kernel merges a ghost's chunks, in a fixed order (no atomics: a run repeats to the bit);
   forward it also steps the running statistics, backward it sums over ghosts for weight and bias;
3. each program writes its chunk of the output, or of the gradient.

The data is all the traffic that counts, in bytes of x: forward 1 read, then 1 read and 1 write;
backward 2 reads (x, dy), then 2 reads and 1 write. Nothing but x is kept for the backward pass, not
even a fused ReLU's mask, which is recomputed. Step 3 takes the chunks in reverse, for what step 1
read last may still be in the cache.

Numerics. Statistics, sums and parameters are float32, and the output is rounded once. A chunk's
moments are taken about the mean of its first tile of b rows. No b of n numbers have a mean further
than sqrt(n / b) standard deviations from that of all n, so that a large mean costs no digits, and
no data more than a factor 1 + n / b of the rounding error. Chunks are merged by their means and
centred sums of squares (Chan et al. 1983).

Everything here is plain functions of tensors: `sgdnoise.ghost_norm` has the layer, the derivatives,
and the choice between this and PyTorch. Only launches on the current stream and allocations of
temporaries take place, so that a CUDA graph can capture it once a warm-up with the same shapes has
compiled it. Import fails where Triton is missing. With TRITON_INTERPRET=1 it runs on CPU tensors,
slowly.
"""

# A kernel's arguments have types of Triton's own making, for which there are no names.
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# Sized for an H100 or H200 (132 multiprocessors, 50-60 MB of cache, 3.4-4.8 TB/s) by arithmetic,
# and constants rather than the chip's own numbers, so that a sum is cut alike on every chip.
TILE = 4096
"""Elements in registers at once: 16 a thread, which are two loads of 16 bytes each in bfloat16."""
WARPS = 8
CHANNELS = 64
"""Most channels a program takes: 128 bytes of each row in bfloat16, a whole line of the cache."""
PROGRAMS = 1056
"""Programs wanted: eight for each of 132 multiprocessors, about two rounds."""
MOST_CHUNKS = 512
"""Chunks of a ghost at most: what one program of the merging kernels holds."""
MERGED_CHANNELS = 8
"""Channels that a merging program takes: 32 bytes, the least that memory moves."""


@dataclass(frozen=True)
class Running:
    """What one batch of ghosts does to running statistics; the tensors are changed in place.

    They become kept × running + Σ_l newest × 2^((G − l) log2_decay) × stat_l, l = 1..G.
    """

    mean: Tensor
    variance: Tensor
    steps_seen: Tensor
    steps: int
    kept: float
    newest: float
    log2_decay: float


@dataclass(frozen=True)
class Plan:
    """How (ghosts, rows, channels) is cut. All ghosts have `rows` rows but the last."""

    ghosts: int
    rows: int
    last_rows: int
    channels: int
    block_rows: int
    block_channels: int
    channel_blocks: int
    chunks: int
    chunk_rows: int

    @property
    def grid(self) -> tuple[int]:
        return (self.ghosts * self.chunks * self.channel_blocks,)

    @property
    def merge_grid(self) -> tuple[int]:
        return (triton.cdiv(self.channels, MERGED_CHANNELS),)

    @property
    def cut(self) -> tuple[int, ...]:
        """The arguments that all streaming kernels share."""
        return (
            self.ghosts, self.rows, self.last_rows, self.channels,
            self.channel_blocks, self.chunks, self.chunk_rows,
        )  # fmt: skip

    @property
    def blocks(self) -> dict[str, int]:
        return {
            "BLOCK_R": self.block_rows,
            "BLOCK_C": self.block_channels,
            "num_warps": WARPS,
        }

    @property
    def merge_blocks(self) -> dict[str, int]:
        ghosts = max(1, TILE // (self.chunks * MERGED_CHANNELS))
        return {
            "BLOCK_G": min(ghosts, triton.next_power_of_2(self.ghosts)),
            "BLOCK_P": self.chunks,
            "BLOCK_C": MERGED_CHANNELS,
            "num_warps": WARPS,
        }


@lru_cache(maxsize=1024)
def plan(ghosts: int, rows: int, last_rows: int, channels: int) -> Plan:
    """Blocks of `CHANNELS` channels or fewer, tiles of `TILE` elements, about `PROGRAMS` programs.

    The number of chunks is a power of two, at most `MOST_CHUNKS` and at most a ghost's tiles.
    """
    block_channels = min(CHANNELS, triton.next_power_of_2(channels))
    block_rows = TILE // block_channels
    channel_blocks = triton.cdiv(channels, block_channels)
    tiles = triton.cdiv(max(rows, last_rows), block_rows)
    wanted = min(triton.cdiv(PROGRAMS, ghosts * channel_blocks), MOST_CHUNKS, tiles)
    chunks = 1 << (wanted.bit_length() - 1)
    chunk_rows = triton.cdiv(tiles, chunks) * block_rows
    return Plan(
        ghosts, rows, last_rows, channels, block_rows, block_channels, channel_blocks, chunks,
        chunk_rows,
    )  # fmt: skip


def forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    sizes: list[int],
    *,
    relu: bool = False,
    running: Running | None = None,
) -> tuple[Tensor, Tensor]:
    """Normalises each ghost of x, and applies ReLU if asked to.

    Args:
        x: (batch, C), or channels-last images (batch, C, ...); dense; float32, bfloat16 or float16.
        weight, bias: (C,), float32.
        sizes: of the ghosts; all equal, but for the last. Each ghost has two rows or more.
        running: what to do to running statistics, if there are any.

    Returns:
        The output, laid out as x, and the statistics (3, ghosts, C): means, 1 / sqrt(variance +
        eps), and unbiased variances.
    """
    p = _plan_of(x, sizes)
    out = torch.empty_like(x)
    partial = x.new_empty((2, p.ghosts, p.chunks, p.channels), dtype=torch.float32)
    stats = x.new_empty((3, p.ghosts, p.channels), dtype=torch.float32)
    # A kernel takes pointers, whether or not it follows them.
    r = running or Running(stats, stats, stats, 0, 0.0, 0.0, 0.0)
    with _device_of(x):
        _partial_moments[p.grid](x, partial, *p.cut, **p.blocks)
        _merge_moments[p.merge_grid](
            partial, stats, r.mean, r.variance, r.steps_seen, *p.cut, eps,
            r.steps, r.kept, r.newest, r.log2_decay, RUNNING=running is not None, **p.merge_blocks,
        )  # fmt: skip
        _normalise[p.grid](x, out, stats, weight, bias, *p.cut, RELU=relu, **p.blocks)
    if running is not None:
        # Autograd has not seen these writes.
        for tensor in (r.mean, r.variance, r.steps_seen):
            torch.autograd.graph.increment_version(tensor)
    return out, stats


def backward(
    x: Tensor,
    dy: Tensor,
    weight: Tensor,
    bias: Tensor,
    stats: Tensor,
    sizes: list[int],
    *,
    relu: bool = False,
    need_dx: bool = True,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Gradients of `forward`'s output with respect to x, weight and bias, given its statistics.

    dy is laid out as x, and of its dtype; the gradients of weight and bias are float32 sums over
    all ghosts. need_dx = False saves half of the work.
    """
    p = _plan_of(x, sizes)
    partial = x.new_empty((2, p.ghosts, p.chunks, p.channels), dtype=torch.float32)
    means = x.new_empty((2, p.ghosts, p.channels), dtype=torch.float32)
    dweight, dbias = torch.empty_like(weight), torch.empty_like(bias)
    dx = torch.empty_like(x) if need_dx else None
    with _device_of(x):
        _partial_sums[p.grid](x, dy, partial, stats, weight, bias, *p.cut, RELU=relu, **p.blocks)
        _merge_sums[p.merge_grid](partial, means, dweight, dbias, *p.cut, **p.merge_blocks)
        if dx is not None:
            _input_gradient[p.grid](
                x, dy, dx, stats, means, weight, bias, *p.cut, RELU=relu, **p.blocks
            )
    return dx, dweight, dbias


def _plan_of(x: Tensor, sizes: list[int]) -> Plan:
    pixels = x.shape[2:].numel()
    return plan(len(sizes), sizes[0] * pixels, sizes[-1] * pixels, x.shape[1])


def _device_of(x: Tensor) -> Any:
    # Triton launches on the current device, whatever device the pointers are on.
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


# Numbers that a kernel is not compiled anew for. `channels` is not among them: that it is divisible
# by 16 makes loads wide.
_sizes = ["ghosts", "rows", "last_rows", "channel_blocks", "chunks", "chunk_rows"]


@triton.jit
def _place(
    ghosts, rows, last_rows, channels, channel_blocks, chunks, chunk_rows,
    BLOCK_C: tl.constexpr, REVERSED: tl.constexpr,
):  # fmt: skip
    """A program's ghost, chunk, first row of all (int64), number of rows, and channels (1, C)."""
    pid = tl.program_id(0)
    if REVERSED:
        pid = tl.num_programs(0) - 1 - pid
    # Blocks of channels are neighbours, so that whole rows are read at about the same time.
    channel = (pid % channel_blocks) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    chunk = (pid // channel_blocks) % chunks
    ghost = pid // (channel_blocks * chunks)
    height = tl.where(ghost == ghosts - 1, last_rows, rows)
    start = chunk * chunk_rows
    count = tl.minimum(tl.maximum(height - start, 0), chunk_rows)
    return ghost, chunk, ghost.to(tl.int64) * rows + start, count, channel


@triton.jit(do_not_specialize=_sizes)
def _partial_moments(
    x, partial,
    ghosts, rows, last_rows, channels, channel_blocks, chunks, chunk_rows,
    BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Mean, and sum of squares about it, of each channel of one chunk."""
    ghost, chunk, first, count, channel = _place(
        ghosts, rows, last_rows, channels, channel_blocks, chunks, chunk_rows, BLOCK_C, False
    )
    row = tl.arange(0, BLOCK_R)[:, None]
    inside = channel < channels
    offset = row * channels + channel
    x += first * channels
    here = (row < count) & inside
    tile = tl.load(x + offset, mask=here, other=0.0).to(tl.float32)
    shift = tl.sum(tile, 0, keep_dims=True) / tl.maximum(tl.minimum(count, BLOCK_R), 1).to(
        tl.float32
    )
    total = tl.where(here, tile - shift, 0.0)
    square = total * total
    for start in range(BLOCK_R, count, BLOCK_R):
        x += BLOCK_R * channels
        here = (row < count - start) & inside
        tile = tl.load(x + offset, mask=here, other=0.0).to(tl.float32)
        shifted = tl.where(here, tile - shift, 0.0)
        total += shifted
        square += shifted * shifted
    totals = tl.sum(total, 0, keep_dims=True)
    mean = totals / tl.maximum(count, 1).to(tl.float32)
    squares = tl.sum(square, 0, keep_dims=True) - totals * mean
    place = partial + (ghost * chunks + chunk) * channels + channel
    # Rounding may leave less than nothing; written so that NaN stays NaN.
    squares = tl.where(squares < 0.0, 0.0, squares)
    tl.store(place, shift + mean, mask=inside)
    tl.store(place + ghosts * chunks * channels, squares, mask=inside)


@triton.jit(do_not_specialize=[*_sizes, "steps"])
def _merge_moments(
    partial, stats, running_mean, running_variance, steps_seen,
    ghosts, rows, last_rows, channels, channel_blocks, chunks, chunk_rows,
    eps, steps, kept, newest, log2_decay,
    RUNNING: tl.constexpr, BLOCK_G: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """A ghost's statistics from those of its chunks; and the running statistics' step."""
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    chunk = tl.arange(0, BLOCK_P)
    inside = channel < channels
    step_mean = tl.zeros([BLOCK_C], tl.float32)
    step_variance = tl.zeros([BLOCK_C], tl.float32)
    for start in range(0, ghosts, BLOCK_G):
        ghost = start + tl.arange(0, BLOCK_G)
        height = tl.where(ghost == ghosts - 1, last_rows, rows)
        count = height[:, None] - chunk[None, :] * chunk_rows
        count = tl.minimum(tl.maximum(count, 0), chunk_rows).to(tl.float32)[:, :, None]
        height = height[:, None].to(tl.float32)

        here = (ghost < ghosts)[:, None] & inside[None, :]
        origin = partial + ghost[:, None] * chunks * channels + channel[None, :]
        place = origin[:, None, :] + chunk[None, :, None] * channels
        mean = tl.load(place, mask=here[:, None, :], other=0.0)
        squares = tl.load(place + ghosts * chunks * channels, mask=here[:, None, :], other=0.0)
        # About the first chunk's mean, for the sum of the means themselves would be rounded.
        shift = tl.load(origin, mask=here, other=0.0)
        merged = shift + tl.sum(count * (mean - shift[:, None, :]), 1) / height
        away = mean - merged[:, None, :]
        square = tl.sum(squares + count * away * away, 1)
        variance = square / (height - 1.0)

        place = stats + ghost[:, None] * channels + channel[None, :]
        tl.store(place, merged, mask=here)
        tl.store(place + ghosts * channels, 1.0 / tl.sqrt(square / height + eps), mask=here)
        tl.store(place + 2 * ghosts * channels, variance, mask=here)
        if RUNNING:
            age = (ghosts - 1 - ghost).to(tl.float32)
            share = tl.where(ghost < ghosts, newest * tl.exp2(age * log2_decay), 0.0)[:, None]
            step_mean += tl.sum(share * merged, 0)
            step_variance += tl.sum(share * variance, 0)
    if RUNNING:
        old = tl.load(running_mean + channel, mask=inside, other=0.0)
        tl.store(running_mean + channel, kept * old + step_mean, mask=inside)
        old = tl.load(running_variance + channel, mask=inside, other=0.0)
        tl.store(running_variance + channel, kept * old + step_variance, mask=inside)
        if tl.program_id(0) == 0:
            tl.store(steps_seen, tl.load(steps_seen) + steps)


@triton.jit(do_not_specialize=_sizes)
def _normalise(
    x, out, stats, weight, bias,
    ghosts, rows, last_rows, channels, channel_blocks, chunks, chunk_rows,
    RELU: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """(x − mean) × (weight / std) + bias, and ReLU."""
    ghost, _, first, count, channel = _place(
        ghosts, rows, last_rows, channels, channel_blocks, chunks, chunk_rows, BLOCK_C, True
    )
    mean, _, scale, shift = _affine(stats, weight, bias, ghost, ghosts, channel, channels)
    row = tl.arange(0, BLOCK_R)[:, None]
    offset = row * channels + channel
    inside = channel < channels
    x += first * channels
    out += first * channels
    for start in range(0, count, BLOCK_R):
        here = (row < count - start) & inside
        tile = tl.load(x + offset, mask=here, other=0.0).to(tl.float32)
        y = (tile - mean) * scale + shift
        if RELU:
            # NaN stays NaN, as torch's ReLU has it.
            y = tl.where(y < 0.0, 0.0, y)
        tl.store(out + offset, y.to(out.dtype.element_ty), mask=here)
        x += BLOCK_R * channels
        out += BLOCK_R * channels


@triton.jit
def _affine(stats, weight, bias, ghost, ghosts, channel, channels):
    """Mean, 1/std, weight/std and bias of one ghost, as rows (1, C)."""
    inside = channel < channels
    place = stats + ghost * channels + channel
    mean = tl.load(place, mask=inside, other=0.0)
    inverse_std = tl.load(place + ghosts * channels, mask=inside, other=0.0)
    scale = inverse_std * tl.load(weight + channel, mask=inside, other=0.0)
    shift = tl.load(bias + channel, mask=inside, other=0.0)
    return mean, inverse_std, scale, shift


@triton.jit(do_not_specialize=_sizes)
def _partial_sums(
    x, dy, partial, stats, weight, bias,
    ghosts, rows, last_rows, channels, channel_blocks, chunks, chunk_rows,
    RELU: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Σ dy and Σ dy x̂ of each channel of one chunk, with x̂ = (x − mean) / std."""
    ghost, chunk, first, count, channel = _place(
        ghosts, rows, last_rows, channels, channel_blocks, chunks, chunk_rows, BLOCK_C, False
    )
    mean, inverse_std, scale, shift = _affine(stats, weight, bias, ghost, ghosts, channel, channels)
    row = tl.arange(0, BLOCK_R)[:, None]
    offset = row * channels + channel
    inside = channel < channels
    x += first * channels
    dy += first * channels
    total = tl.zeros([BLOCK_R, BLOCK_C], tl.float32)
    slope = tl.zeros([BLOCK_R, BLOCK_C], tl.float32)
    for start in range(0, count, BLOCK_R):
        here = (row < count - start) & inside
        centred = tl.load(x + offset, mask=here, other=0.0).to(tl.float32) - mean
        gradient = tl.load(dy + offset, mask=here, other=0.0).to(tl.float32)
        if RELU:
            gradient = tl.where(centred * scale + shift <= 0.0, 0.0, gradient)
        total += gradient
        slope += gradient * centred
        x += BLOCK_R * channels
        dy += BLOCK_R * channels
    place = partial + (ghost * chunks + chunk) * channels + channel
    totals = tl.sum(total, 0, keep_dims=True)
    slopes = tl.sum(slope, 0, keep_dims=True) * inverse_std
    tl.store(place, totals, mask=inside)
    tl.store(place + ghosts * chunks * channels, slopes, mask=inside)


@triton.jit(do_not_specialize=_sizes)
def _merge_sums(
    partial, means, dweight, dbias,
    ghosts, rows, last_rows, channels, channel_blocks, chunks, chunk_rows,
    BLOCK_G: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Each ghost's means of dy and dy x̂; and their sums over all ghosts."""
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    chunk = tl.arange(0, BLOCK_P)
    inside = channel < channels
    total = tl.zeros([BLOCK_C], tl.float32)
    slope = tl.zeros([BLOCK_C], tl.float32)
    for start in range(0, ghosts, BLOCK_G):
        ghost = start + tl.arange(0, BLOCK_G)
        height = tl.where(ghost == ghosts - 1, last_rows, rows)[:, None].to(tl.float32)
        here = (ghost < ghosts)[:, None] & inside[None, :]
        place = partial + (ghost[:, None] * chunks + chunk[None, :])[:, :, None] * channels
        place += channel[None, None, :]
        totals = tl.sum(tl.load(place, mask=here[:, None, :], other=0.0), 1)
        place += ghosts * chunks * channels
        slopes = tl.sum(tl.load(place, mask=here[:, None, :], other=0.0), 1)
        place = means + ghost[:, None] * channels + channel[None, :]
        tl.store(place, totals / height, mask=here)
        tl.store(place + ghosts * channels, slopes / height, mask=here)
        total += tl.sum(totals, 0)
        slope += tl.sum(slopes, 0)
    tl.store(dbias + channel, total, mask=inside)
    tl.store(dweight + channel, slope, mask=inside)


@triton.jit(do_not_specialize=_sizes)
def _input_gradient(
    x, dy, dx, stats, means, weight, bias,
    ghosts, rows, last_rows, channels, channel_blocks, chunks, chunk_rows,
    RELU: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """(dy − its mean − x̂ × the mean of dy x̂) × weight / std."""
    ghost, _, first, count, channel = _place(
        ghosts, rows, last_rows, channels, channel_blocks, chunks, chunk_rows, BLOCK_C, True
    )
    mean, inverse_std, scale, shift = _affine(stats, weight, bias, ghost, ghosts, channel, channels)
    place = means + ghost * channels + channel
    level = tl.load(place, mask=channel < channels, other=0.0)
    slope = tl.load(place + ghosts * channels, mask=channel < channels, other=0.0) * inverse_std
    row = tl.arange(0, BLOCK_R)[:, None]
    offset = row * channels + channel
    inside = channel < channels
    x += first * channels
    dy += first * channels
    dx += first * channels
    for start in range(0, count, BLOCK_R):
        here = (row < count - start) & inside
        centred = tl.load(x + offset, mask=here, other=0.0).to(tl.float32) - mean
        gradient = tl.load(dy + offset, mask=here, other=0.0).to(tl.float32)
        if RELU:
            gradient = tl.where(centred * scale + shift <= 0.0, 0.0, gradient)
        gradient = (gradient - level - centred * slope) * scale
        tl.store(dx + offset, gradient.to(dx.dtype.element_ty), mask=here)
        x += BLOCK_R * channels
        dy += BLOCK_R * channels
        dx += BLOCK_R * channels
