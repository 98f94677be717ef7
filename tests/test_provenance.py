"""The code digest: of all that training imports, and of nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from time import process_time

import pytest

import sgdnoise
from sgdnoise import provenance
from sgdnoise.records import made

SOURCES = Path(sgdnoise.__file__).parent


def trunk(name: str) -> str:
    """The last part of a module's name, wherever in the package it lies."""
    return name.rpartition(".")[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    root = tmp_path / "elsewhere"
    shutil.copytree(SOURCES, root, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def test_it_holds_what_training_imports_and_nothing_above_it():
    found = provenance.imported(SOURCES)
    trunks = {trunk(name) for name in found}
    for name in ("ghost_norm", "jit"):
        assert name in trunks  # the kernels, imported inside of functions
    for name in ("training", "models", "optim", "schedule", "config", "data", "errors"):
        assert name in trunks
    above = {"analysis", "figures", "records", "experiments", "sweeps", "study", "book", "cli"}
    assert not above & {part for name in found for part in name.split(".")}


def test_whatever_is_loaded_with_training_was_found():
    program = "import sys, sgdnoise.training; print(*(m for m in sys.modules if 'sgdnoise' in m))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "sgdnoise.training.single" in loaded
    assert loaded <= provenance.imported(SOURCES).keys()


@pytest.mark.parametrize(
    "name",
    ["ghost_norm.gpu_kernels", "ghost_norm.cpu_loop", "jit", "errors"],
)
def test_a_byte_of_a_kernel_changes_the_digest(copy, name):
    before = provenance.digest(copy)
    assert before == provenance.digest(SOURCES)
    file = provenance.imported(copy)[f"sgdnoise.{name}"]
    content = file.read_bytes()
    file.write_bytes(content.replace(b"e", b"f", 1))
    assert provenance.digest(copy) != before
    file.write_bytes(content)
    assert provenance.digest(copy) == before


def test_what_cannot_change_a_run_leaves_the_digest(copy):
    before = provenance.digest(copy)
    kept = set(provenance.imported(copy).values())
    others = [file for file in copy.rglob("*.py") if file not in kept]
    assert {"tuning.py", "theme.py", "store.py", "cli.py"} <= {f.name for f in others}
    for file in others:
        file.write_text("raise ImportError\n")
    assert provenance.digest(copy) == before


def test_every_form_of_import_is_followed(tmp_path):
    sources = {
        "__init__.py": "",
        "training/__init__.py": "from .run import train",
        "training/run.py": "def f():\n    from ..a import value, inner\n    from .. import b",
        "training/alone.py": "import os, sgdnoise.c.deep as d",
        "training/kernels/k.py": "from ... import e\nfrom . import k2",
        "training/kernels/k2.py": "",
        "a/__init__.py": "from .own import *",
        "a/own.py": "",
        "a/inner.py": "import sgdnoise.training",
        "a/unused.py": "",
        "b.py": "if TYPE_CHECKING:\n    from sgdnoise import typed",
        "c/__init__.py": "",
        "c/deep.py": "from numpy import unused",
        "e.py": "",
        "typed.py": "",
        "unused.py": "import sgdnoise.training",
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {f.relative_to(tmp_path).as_posix() for f in provenance.imported(tmp_path).values()}
    assert found == {name for name in sources if "unused" not in name}
    # Two modules that swap their contents are other code.
    before = provenance.digest(tmp_path)
    (tmp_path / "b.py").write_text(sources["e.py"])
    (tmp_path / "e.py").write_text(sources["b.py"])
    assert provenance.digest(tmp_path) != before


def test_a_folder_without_training_has_no_digest(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing would be digested"):
        provenance.digest(tmp_path)


def test_records_carry_it_and_it_is_found_once(monkeypatch):
    code = provenance.digest(SOURCES)
    assert made.environment()["code"] == provenance.code_digest() == code
    monkeypatch.setattr(provenance, "digest", lambda *_: pytest.fail("hashed again"))
    assert provenance.code_digest() == code


def test_the_first_digest_takes_less_than_a_fifth_of_a_second():
    times = []
    for _ in range(5):  # the best of five: the machine may be busy with other tests
        begin = process_time()
        provenance.digest(SOURCES)
        times.append(process_time() - begin)
    assert min(times) < 0.2
