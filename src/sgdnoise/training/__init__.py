"""Training: run configs in, results out.

`train` owns devices, precision, seeds, data order and augmentation. It imports nothing of theory.
"""

from sgdnoise.training.result import Result, bundles
from sgdnoise.training.run import train

__all__ = ["Result", "bundles", "train"]
