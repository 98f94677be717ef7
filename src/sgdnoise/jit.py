"""Loops compiled by numba, kept on disk for later processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(*fastmath: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: compiles at the first call, and keeps the code where there is a place for it.

    Args:
        *fastmath: the liberties that the compiler may take with floating point, by LLVM's names.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return njit(cache=True, fastmath=set(fastmath))(function)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written to
            return njit(fastmath=set(fastmath))(function)

    return decorate
