"""The house: which room may import which, read off the syntax trees, and how large a file may be.

An import counts wherever it stands: in a function, under a condition, or for type checking.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sgdnoise

SOURCES = Path(sgdnoise.__file__).parent

GROUND = {"config", "errors", "progress", "phrases", "jit", "checkout", "provenance", "schedule"}
"""Modules outside of any room, which import each other and nothing else of the package."""

LONE = GROUND | {"claims", "reproduce", "exchange", "cli"}

PARTS = {"ground", "papers", "data", "models", "ghost_norm", "optim", "curvature"}
"""What training is made of."""

READ = {"ground", "papers", "records", "study", "theory", "analysis", "claims", "figures", "data"}

ALLOWED: dict[str, set[str]] = {
    "ground": set(),
    "papers": {"ground"},
    "theory": {"ground"},
    "data": {"ground"},
    "ghost_norm": {"ground"},
    # Models are built to the shape of a data set, and with ghost batch norm.
    "models": {"ground", "data", "ghost_norm"},
    "optim": {"ground"},
    "curvature": {"ground"},
    "training": PARTS,
    # A record is made of a result: its type, for the checker alone.
    "records": {"ground", "training"},
    "study": {"ground", "records"},
    "sweeps": {"ground", "data", "study", "training", "records"},
    "analysis": {"ground", "study", "records", "papers", "theory"},
    # What a claim is about is told by the keys of sweeps: a type.
    "claims": {"ground", "analysis", "papers", "study"},
    # The sizes of data sets turn epochs into updates.
    "figures": {"ground", "analysis", "theory", "papers", "study", "data"},
    "experiments": {"ground", "study"},
    # What a parts' check has to reach is judged on its record.
    "experiments.grid": {"ground", "study", "papers", "records"},
    # The parts, checked, builds its nets, and shows its runs in the tables of the chapters.
    "experiments.findings": READ
    | PARTS
    | {
        "experiments.grid",
        "experiments.measured",
        "experiments.ladder",
        "experiments.explanations",
        "experiments.walk",
        "experiments.curves",
        "chapters",
    },
    # What findings judge and draw: as numbers, and as figures.
    "experiments.curves": READ | {"experiments.grid", "records"},
    "experiments.measured": READ | {"experiments.grid", "records"},
    "experiments.ladder": READ - {"figures"} | {"experiments.grid"},
    "experiments.pictures": READ | {"experiments.grid", "experiments.measured"},
    "experiments.curvature_pictures": READ | {"experiments.measured", "experiments.pictures"},
    # What is left of an explanation follows from words alone.
    "experiments.explanations": {"claims", "experiments.grid", "experiments.measured"}
    | {"ground", "analysis", "study"},
    "experiments.walk": {"theory"},
    "experiments.sentences": READ
    | {
        "data",
        "experiments.curves",
        "experiments.grid",
        "experiments.ladder",
        "experiments.measured",
        "experiments.findings",
        "experiments.pictures",
    },
    "experiments.figures": READ
    | {
        "experiments.curves",
        "experiments.grid",
        "experiments.ladder",
        "experiments.measured",
        "experiments.findings",
        "chapters",
    },
    "experiments.comparisons": PARTS | {"chapters"},
    "chapters": {"ground", "theory", "data", "papers", "figures", "claims"},
}
"""For each room what it may import; what is not listed stands above all."""

OUTSIDE = {
    "theory": {"torch", "pandas", "plotly", "IPython", "joblib", "distributed", "papermill"},
    "study": {"torch", "plotly", "IPython", "joblib", "distributed", "papermill"},
    "analysis": {"torch", "plotly", "IPython", "joblib", "distributed", "papermill"},
    "claims": {"torch", "plotly", "IPython", "joblib", "distributed", "papermill"},
    "training": {"plotly", "pandas", "IPython", "joblib", "distributed", "papermill"},
    "figures": {"torch", "joblib", "distributed", "papermill"},
    "experiments": {"torch", "plotly", "IPython", "joblib", "distributed", "papermill"},
    "experiments.grid": {"torch", "plotly", "IPython", "joblib", "distributed", "papermill"},
    "sweeps": {"plotly", "IPython", "papermill"},
}
"""For some rooms what they may not import of other packages."""

LONGEST = 500
"""Lines of a file."""


def module(path: Path) -> str:
    """A module's name below the package."""
    parts = path.relative_to(SOURCES).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module(path): path for path in SOURCES.rglob("*.py")}


def room(name: str) -> str:
    """The room of a module."""
    first, *rest = name.split(".")
    if first in GROUND or not first:
        return "ground"
    if first == "experiments" and len(rest) == 2:
        return f"experiments.{rest[1]}"
    return first


def imported(path: Path) -> list[str]:
    """Full names that a source imports, a value's as if it were a module."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def own(name: str) -> str | None:
    """The module of the package that a full name is, or is of; None for other packages."""
    if name.split(".")[0] != "sgdnoise":
        return None
    below = name.removeprefix("sgdnoise").removeprefix(".")
    while below not in MODULES:
        below = below.rpartition(".")[0]
    return below


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_what_its_room_may(name):
    here = room(name)
    if here in ALLOWED:
        rooms = {room(found) for n in imported(MODULES[name]) if (found := own(n)) is not None}
        assert rooms - {here} <= ALLOWED[here]
    others = {n.split(".")[0] for n in imported(MODULES[name])}
    assert not others & OUTSIDE.get(here, set())


def test_only_sweeps_spread_work_over_processes():
    users = {
        room(name)
        for name, path in MODULES.items()
        if {n.split(".")[0] for n in imported(path)} & {"joblib", "distributed"}
    }
    assert users == {"sweeps"}


def test_no_experiment_imports_another():
    for name, path in MODULES.items():
        first, *rest = name.split(".")
        if first != "experiments" or len(rest) < 2:
            continue
        found = {own(n) for n in imported(path)} - {None}
        others = {n for n in found if n.startswith("experiments.")}
        assert all(n.startswith(f"experiments.{rest[0]}") for n in others), name


def test_rooms_import_in_no_circle():
    # Types alone lead back from a record to the result that it is of.
    rooms = {here: there - {"training"} for here, there in ALLOWED.items() if here == "records"}
    waiting = {**ALLOWED, **rooms}
    while waiting:
        free = {here for here, there in waiting.items() if not there & waiting.keys()}
        assert free, f"a circle among {sorted(waiting)}"
        waiting = {here: there for here, there in waiting.items() if here not in free}


def test_every_module_is_in_a_room():
    loose = {name for name in MODULES if name and "." not in name}
    rooms = {name for name in loose if MODULES[name].name == "__init__.py"}
    assert loose - rooms == LONE
    assert {name for name in ALLOWED if "." not in name} - {"ground", "claims"} < rooms


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=module)
def test_a_file_is_one_thing_and_not_long(path):
    assert len(path.read_text().splitlines()) <= LONGEST


def test_a_machine_that_only_trains_loads_nothing_that_makes_the_book():
    program = (
        "import sys; import sgdnoise.experiments; light = set(sys.modules);"
        "import sgdnoise.reproduce; heavy = set(sys.modules);"
        "print('torch' in light, *sorted({'plotly', 'papermill', 'IPython', 'ipywidgets'} & heavy))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["False"], done.stderr


@pytest.mark.parametrize("name", ["records.store", "records.made", "study.study", "experiments"])
def test_looking_at_records_and_grids_loads_nothing_that_trains_or_draws(name):
    heavy = ["torch", "plotly", "papermill", "IPython", "joblib", "distributed", "pandas"]
    program = (
        f"import sys, sgdnoise.{name};"
        f"print('numpy' in sys.modules, *(n for n in {heavy} if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["True"], done.stderr


@pytest.mark.parametrize("name", sorted(n for n in MODULES if room(n) == "theory"))
def test_theory_is_numpy_and_scipy_alone(name):
    others = {n.split(".")[0] for n in imported(MODULES[name])} - sys.stdlib_module_names
    assert others <= {"sgdnoise", "numpy", "scipy"}
