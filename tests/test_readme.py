"""README and CONTRIBUTING: what they tell to type is there, and does something."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sgdnoise import cli
from sgdnoise.experiments import studies, study_of
from sgdnoise.records.store import Store

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TYPED = [
    line.partition("#")[0].split(maxsplit=1)[1]
    for line in re.findall(r"^    (sgdnoise .+)$", README, re.M)
    if "[" not in line
]
"""The commands that the README lists, without their comments."""

ON_A_GPU = [typed for typed in TYPED if typed.startswith("reproduce") and "--dry-run" not in typed]


@pytest.mark.parametrize("typed", TYPED, ids=str.strip)
def test_the_command_line_knows_what_the_readme_tells_to_type(typed):
    cli._parser().parse_args(shlex.split(typed))


def test_the_readme_lists_commands():
    assert len(TYPED) > 8
    assert len(ON_A_GPU) == 3


@pytest.mark.parametrize("typed", ON_A_GPU, ids=str.strip)
def test_an_example_trains_something_for_as_long_as_its_scale_lacks_runs(typed):
    asked = cli._parser().parse_args(shlex.split(typed))
    store = Store(ROOT / "results")

    def lacks(study):
        return bool(study.missing(store.read(*study.place)))

    scale = studies(asked.scale)
    named = [asked.experiment] if asked.experiment != "all" else [s.experiment.name for s in scale]
    chosen = [study_of(name, asked.scale).only(dict(asked.only or ())) for name in named]
    assert any(map(lacks, chosen)) or not any(map(lacks, scale))


def test_contributing_names_what_is_there():
    paths = re.findall(r"`((?:src|tests|book|papers|experiments)/[\w./-]+)`", CONTRIBUTING)
    assert len(paths) > 6
    for path in paths:
        assert (ROOT / path).exists() or (ROOT / "src/sgdnoise" / path).exists(), path


def test_contributing_tells_what_fails_until_it_is_written():
    grids = (ROOT / "tests/experiments/test_grids.py").read_text(encoding="utf-8")
    for name in ("FROZEN", "OWN"):
        assert f"`{name}`" in CONTRIBUTING
        assert re.search(rf"^{name} = ", grids, re.M)
    golden = "tests/experiments/test_golden.py"
    typed = f"    SGDNOISE_GOLDEN=write .venv/bin/python -m pytest -n 0 {golden}"
    assert typed in CONTRIBUTING.splitlines()
    assert 'os.environ.get("SGDNOISE_GOLDEN") == "write"' in (ROOT / golden).read_text()
