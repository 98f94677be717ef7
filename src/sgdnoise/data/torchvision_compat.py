"""torchvision beside a torch that its compiled operators were not built for.

A CUDA wheel of torchvision beside a CPU build of torch cannot load its operators, and then fails
to import, because it registers shape functions for two of them, `nms` and `qnms`, that nobody has
declared. Declared here, without an implementation, they let data sets, transforms and models work;
only detection's non-maximum suppression stays out of reach. Where torchvision imports as it is,
nothing is done.

Import torchvision from here, and it is sound in every environment:
`from sgdnoise.data.torchvision_compat import torchvision, transforms` (these are its `v2`).
"""

from __future__ import annotations

import importlib

import torch

_library: torch.library.Library | None = None


def _import() -> None:
    global _library
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        # Kept for the life of the process: torch forgets the operators with the object.
        _library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            _library.define(
                f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
        importlib.import_module("torchvision")


_import()

import torchvision  # noqa: E402
from torchvision.transforms import v2 as transforms  # noqa: E402

__all__ = ["torchvision", "transforms"]
