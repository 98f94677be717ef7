"""Compiled steps of small MLPs: forward, backward and update of one run, then of the next.

A run this small lives in the first-level cache, so nothing may stand between two of its steps: no
call into Python, no pass over other runs' memory. Matrix products go to BLAS, a block of examples
at a time; all else is loops that the compiler vectorises. Runs share no arithmetic, so that a run's
numbers cannot depend on the others'.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numba import njit
from torch import nn

from sgdnoise.jit import compiled

_BLOCK = 64
"""Examples to a matrix product: enough for BLAS's speed, too few for it to start threads."""

# Sums may be reordered, but infinities and NaN keep their meaning: they tell of divergence.
_compiled = compiled("reassoc", "contract", "nsz", "arcp")


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Within, numbers below float32's normal range, 1.2e-38, count as zero in this thread.

    The velocity of a unit that died decays to there and stays, and weight decay brings the weights
    after it; the processor takes some hundred cycles for each such number.
    """
    before = np.float32(1e-39) * np.float32(1) == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(bool(before))


def pack(layers: list[nn.Linear]) -> torch.Tensor:
    """Parameters of one net as the flat vector that the functions below work on.

    Layer by layer, weights then biases. Weights stand as (inputs, outputs), but for the last layer
    as (outputs, inputs): the layouts in which BLAS is fastest on matrices this small.
    """
    weights = [layer.weight.T for layer in layers[:-1]] + [layers[-1].weight]
    parts = [(w.reshape(-1), layer.bias) for w, layer in zip(weights, layers, strict=True)]
    return torch.cat([tensor.detach() for part in parts for tensor in part])


@_compiled
def _layers(flat, sizes):  # type: ignore[no-untyped-def]
    """Views of one run's weights and biases, as `pack` lays them out."""
    weights, biases, at = [], [], 0
    for k in range(sizes.size - 1):
        rows, columns = sizes[k], sizes[k + 1]
        if k == sizes.size - 2:
            rows, columns = columns, rows
        weights.append(flat[at : at + rows * columns].reshape(rows, columns))
        at += rows * columns
        biases.append(flat[at : at + sizes[k + 1]])
        at += sizes[k + 1]
    return weights, biases


@_compiled
def _forward(weights, biases, hidden, x):  # type: ignore[no-untyped-def]
    """Fills `hidden[k]` with the outputs of layer k; returns the logits, (classes, examples).

    The logits stand transposed: what reduces over ten classes then runs along the examples.
    """
    count, last = x.shape[0], len(weights) - 1
    below = x
    for k in range(last):
        bias, out = biases[k], hidden[k][:count]
        np.dot(below, weights[k], out)
        for b in range(count):
            for j in range(bias.size):
                z = out[b, j] + bias[j]
                out[b, j] = np.float32(0) if z < 0 else z  # NaN passes
        below = out
    logits = np.dot(weights[last], below.T)
    for c in range(logits.shape[0]):
        for b in range(count):
            logits[c, b] += biases[last][c]
    return logits


# Not reordered, for the sake of the two parts of log 2.
@njit(fastmath={"contract"})
def _exp(x):  # type: ignore[no-untyped-def]
    """exp(x) for x ≤ 0 to two units in the last place, at least 1.6e-38; NaN stays.

    The library's takes one number at a time, this one is vectorised: x = n log 2 + r, with log 2 in
    two parts, a polynomial in r, and n put into the exponent's bits. Constants of Cephes' expf.
    """
    x = np.float32(-87) if x < -87 else x
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1)
    return p * np.int32((np.int32(n) + 127) << 23).view(np.float32)


@_compiled
def _exponentials(logits, top, total):  # type: ignore[no-untyped-def]
    """Replaces logits z by exp(z − max z); fills `top` with the maxima, `total` with the sums."""
    classes, count = logits.shape
    for b in range(count):
        top[b] = logits[0, b]
        total[b] = 0
    for c in range(1, classes):
        for b in range(count):
            top[b] = logits[c, b] if logits[c, b] > top[b] else top[b]
    for c in range(classes):
        for b in range(count):
            logits[c, b] = _exp(logits[c, b] - top[b])
            total[b] += logits[c, b]


@_compiled
def train_steps(  # type: ignore[no-untyped-def]
    flat, velocity, sizes, x, labels, batches, order_of, rates, momentum, decay, running, nesterov
):
    """Takes steps of SGD with momentum and weight decay, as torch.optim.SGD defines them, in place.

    Args:
        flat: parameters of each run as `pack` gives them, float32, shape (runs, parameters).
        velocity: the momentum buffer, of the same shape.
        sizes: widths of the net: inputs, hidden layers, classes.
        x: training inputs, float32, shape (examples, inputs).
        labels: their classes.
        batches: examples of each step, shape (orders, steps, B).
        order_of: which of the orders each run follows, shape (runs,).
        rates: learning rates, float32, shape (runs, steps).
        momentum: float32, shape (runs,).
        decay: coefficient of weight decay, float32, shape (runs,).
        running: whether the run takes part, shape (runs,).
        nesterov: whether the momentum of all runs looks ahead.
    """
    steps, batch_size = batches.shape[1:]
    block, size = min(_BLOCK, batch_size), np.float32(batch_size)
    # The input of each layer, and the gradient by it.
    values = [np.empty((block, width), np.float32) for width in sizes[:-1]]
    deltas = [np.empty((block, width), np.float32) for width in sizes[:-1]]
    hidden = values[1:]
    top, total = np.empty(block, np.float32), np.empty(block, np.float32)
    gradient, pull = np.empty(flat.shape[1], np.float32), np.empty(flat.shape[1], np.float32)
    d_weights, d_biases = _layers(gradient, sizes)
    last = len(d_weights) - 1
    for run in range(flat.shape[0]):
        if not running[run]:
            continue
        w, v = flat[run], velocity[run]
        weights, biases = _layers(w, sizes)
        m, d = momentum[run], decay[run]
        for step in range(steps):
            batch, rate = batches[order_of[run], step], rates[run, step]
            for start in range(0, batch_size, block):
                examples = batch[start : start + block]
                count = examples.size
                inputs = values[0][:count]
                for b in range(count):
                    inputs[b] = x[examples[b]]
                # The gradient by the logits of the mean cross-entropy: (softmax - one-hot) / B.
                error = _forward(weights, biases, hidden, inputs)
                _exponentials(error, top, total)
                for b in range(count):
                    error[labels[examples[b]], b] -= total[b]
                for c in range(error.shape[0]):
                    for b in range(count):
                        error[c, b] /= size * total[b]
                np.dot(error, values[last][:count], d_weights[last])
                for c in range(error.shape[0]):
                    d_biases[last][c] = error[c].sum()
                for k in range(last, 0, -1):
                    h, delta, d_bias = values[k][:count], deltas[k][:count], d_biases[k - 1]
                    if k == last:
                        np.dot(error.T, weights[k], delta)
                    else:
                        np.dot(deltas[k + 1][:count], weights[k].T, delta)
                    d_bias[:] = 0
                    for b in range(count):
                        for j in range(d_bias.size):
                            delta[b, j] = np.float32(0) if h[b, j] <= 0 else delta[b, j]
                            d_bias[j] += delta[b, j]
                    np.dot(values[k - 1][:count].T, delta, d_weights[k - 1])
                if nesterov:
                    for i in range(w.size):
                        before = d * w[i] if start == 0 else pull[i]
                        pull[i] = before + gradient[i]
                elif start == 0:
                    for i in range(w.size):
                        v[i] = m * v[i] + d * w[i] + gradient[i]
                else:
                    for i in range(w.size):
                        v[i] += gradient[i]
            if nesterov:
                for i in range(w.size):
                    v[i] = m * v[i] + pull[i]
                    w[i] -= rate * (pull[i] + m * v[i])
            else:
                for i in range(w.size):
                    w[i] -= rate * v[i]


@_compiled
def evaluate(flat, sizes, x, labels, running):  # type: ignore[no-untyped-def]
    """Mean cross-entropy in nats and accuracy in percent of each run, float64, shape (runs,).

    Arguments are those of `train_steps`; runs that do not take part get NaN.
    """
    runs, examples = flat.shape[0], labels.size
    losses, accuracies = np.full(runs, np.nan), np.full(runs, np.nan)
    hidden = [np.empty((_BLOCK, width), np.float32) for width in sizes[1:-1]]
    top, total = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    for run in range(runs):
        if not running[run]:
            continue
        weights, biases = _layers(flat[run], sizes)
        loss, right = 0.0, 0
        for start in range(0, examples, _BLOCK):
            y = labels[start : start + _BLOCK]
            logits = _forward(weights, biases, hidden, x[start : start + _BLOCK])
            own = np.empty(y.size, np.float32)
            for b in range(y.size):
                own[b] = logits[y[b], b]
            guess, highest = np.zeros(y.size, np.int32), logits[0].copy()
            for c in range(1, logits.shape[0]):
                for b in range(y.size):
                    higher = logits[c, b] > highest[b]
                    highest[b] = logits[c, b] if higher else highest[b]
                    guess[b] = c if higher else guess[b]
            _exponentials(logits, top, total)
            product = 1.0  # of at most 64 numbers between 1 and the number of classes
            for b in range(y.size):
                right += guess[b] == y[b]
                loss += top[b] - own[b]
                product *= total[b]
            loss += math.log(product)
        losses[run], accuracies[run] = loss / examples, 100 * right / examples
    return losses, accuracies
