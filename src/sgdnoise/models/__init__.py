"""The networks of the three papers, by name: `build("wrn-16-4", norm="ghost", seed=0)`."""

from sgdnoise.models.mlp import DigitsMLP, he_normal_mlp_init
from sgdnoise.models.registry import ModelSpec, build, count_parameters, names, spec

__all__ = [
    "DigitsMLP",
    "ModelSpec",
    "build",
    "count_parameters",
    "he_normal_mlp_init",
    "names",
    "spec",
]
