"""The experiments, each a folder with its grid and its findings.

Importing this loads grids only: a machine that only trains needs neither plotly nor papermill.
Grids are frozen: `tests/experiments/test_grids.py` holds them to their digests.
"""

from __future__ import annotations

import difflib
import importlib
from types import ModuleType

from sgdnoise.errors import InputError, shown
from sgdnoise.study.scales import SCALES
from sgdnoise.study.study import Experiment, Study

NAMES = (
    "constant-epoch",
    "constant-step",
    "unlimited-epochs",
    "layerwise-lr",
    "larger-gradients",
    "generalization-gap",
    "initial-final-lr",
    "discriminating",
    "random-walk",
    "gradient-statistics",
    "parts-checked",
    "training-set-size",
    "sharpness",
)
"""In the order in which they are worth having; where each stands in the book is for its contents
to say."""


def _module(name: str, part: str) -> ModuleType:
    path = f"{__name__}.{name.replace('-', '_')}.{part}"
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not path.startswith(error.name):
            raise
        raise InputError(f"experiment {name} has no {part}.py: write {path}") from None


EXPERIMENTS: dict[str, Experiment] = {name: _module(name, "grid").EXPERIMENT for name in NAMES}


def findings(name: str) -> ModuleType:
    """The findings of an experiment: its `CLAIMS`, and the figures that only it has."""
    return _module(name, "findings")


def experiment_named(name: str) -> Experiment:
    """The experiment of a name.

    Raises:
        InputError: for an unknown name; the legal ones are listed.
    """
    if name not in EXPERIMENTS:
        near = difflib.get_close_matches(name, EXPERIMENTS, n=1)
        hint = f"did you mean {near[0]}? There are" if near else "choose one of"
        raise InputError(
            f"no experiment is called {shown(name)}: {hint} {', '.join(EXPERIMENTS)}; "
            "`sgdnoise reproduce` takes all as well"
        )
    return EXPERIMENTS[name]


def check_scale(scale: str) -> None:
    """Refuses a scale that is not one.

    Raises:
        InputError: the legal ones are listed.
    """
    if scale not in SCALES:
        raise InputError(f"no scale is called {scale!r}: choose one of {', '.join(SCALES)}")


def study_of(name: str, scale: str, seeds: int | None = None) -> Study:
    """The study of an experiment at a scale: see `Study.of`.

    Raises:
        InputError: for an unknown experiment or scale, or fewer than one seed.
    """
    experiment = experiment_named(name)
    check_scale(scale)
    return Study.of(experiment, scale, seeds)


def studies(scale: str | None = None) -> list[Study]:
    """Every experiment at every scale that it stands at, or at one, with its own seeds."""
    return [
        Study.of(experiment, at)
        for experiment in EXPERIMENTS.values()
        for at in experiment.sweeps
        if scale in (None, at)
    ]
