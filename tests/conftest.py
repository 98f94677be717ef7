"""Without a GPU, Triton's kernels run in its interpreter: decided before a test imports Triton."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m gpu`, only files that hold such tests are read.

    A machine that is lent for its GPU may lack what all others import, to make the book with.
    """
    if config.getoption("markexpr") != "gpu":
        return None
    files = collection_path.rglob("test_*.py") if collection_path.is_dir() else [collection_path]
    has_one = any("pytest.mark.gpu" in file.read_text(encoding="utf-8") for file in files)
    return None if has_one else True
