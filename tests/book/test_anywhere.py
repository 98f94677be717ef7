"""Notebooks run where there is no checkout, with what the package asks for and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import papermill
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]

PIP = [sys.executable, "-m", "pip"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is shipped."""
    source, there = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [*PIP, "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", there, source], check=True, timeout=300)
    (path,) = there.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def package(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip unpacks it to."""
    there = tmp_path_factory.mktemp("lib")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(there)
    return there


def brought(package: Path) -> set[str]:
    """The distributions that the package asks for, and a notebook's kernel, with all of theirs."""
    there = {canonicalize_name(d.metadata["Name"]): d for d in metadata.distributions()}
    (mine,) = metadata.distributions(path=[str(package)])
    found: set[str] = set()
    waiting = [*(mine.requires or []), "ipykernel"]
    while waiting:
        need = Requirement(waiting.pop())
        name = canonicalize_name(need.name)
        if name in there and name not in found and _holds(need):
            found.add(name)
            waiting += there[name].requires or []
    return found


def _holds(need: Requirement) -> bool:
    return need.marker is None or need.marker.evaluate({"extra": ""})


@pytest.fixture
def nothing_else(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels get this package, what it asks for, no torch, and no data from anywhere."""
    kept = brought(package)
    assert {"numpy", "plotly", "papermill", "torch"} <= kept
    assert not {"jupyter-book", "sphinx", "pytest", "jupyterlab"} & kept
    refused = {
        module
        for module, owners in metadata.packages_distributions().items()
        if not kept.intersection(map(canonicalize_name, owners))
    } - {"sgdnoise"}
    assert {"sphinx", "myst_nb", "pytest"} <= refused
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(
        "from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        f"refused = {sorted(refused | {'torch', 'torchvision'})}\n"
        "PathFinder.find_spec = lambda name, *where: (\n"
        "    None if name.partition('.')[0] in refused else find(name, *where)\n"
        ")\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (guard, package))))
    monkeypatch.setenv("SGDNOISE_DATA", str(tmp_path))
    monkeypatch.setenv("SGDNOISE_OFFLINE", "1")


def test_the_package_brings_the_committed_records(package: Path) -> None:
    for path in (p for kind in ("jsonl", "shared") for p in (ROOT / "results").glob(f"*/*.{kind}")):
        shipped = package / "sgdnoise" / "_results" / path.parent.name / path.name
        assert shipped.read_bytes() == path.read_bytes()


# One that reads records and judges claims, and one that calculates. Those that show nets at work,
# or say how each claim was tested, need torch too, which Colab has.
@pytest.mark.parametrize("name", ["layerwise-lr", "gradients"])
def test_a_notebook_runs_in_an_empty_folder_with_what_the_package_asks_for(
    name: str, nothing_else: None, package: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    source = json.loads((ROOT / "book" / f"{name}.ipynb").read_text())
    where = (
        "import sgdnoise\n"
        "import importlib.util\n"
        "assert not any(map(importlib.util.find_spec, ('torch', 'sphinx', 'pytest')))\n"
        "print(sgdnoise.__file__)"
    )
    last = {**source["cells"][-1], "cell_type": "code", "source": where, "metadata": {}}
    source["cells"].append({**last, "id": "where", "outputs": [], "execution_count": None})
    (tmp_path / "source.ipynb").write_text(json.dumps(source))
    run = papermill.execute_notebook(
        str(tmp_path / "source.ipynb"),
        str(tmp_path / "out.ipynb"),
        cwd=str(empty),
        kernel_name="python3",
        progress_bar=False,
        extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
    )
    printed = "".join(o.get("text", "") for o in run.cells[-1].outputs)
    assert Path(printed.strip()) == package / "sgdnoise" / "__init__.py"
    shown = json.dumps(run)
    assert "not yet measured" not in shown.lower()
    if name == "layerwise-lr":
        assert "results/digits/layerwise-lr.jsonl" in shown
    assert not list(empty.iterdir())


@pytest.mark.parametrize(("torch", "fits"), [("2.5.0", True), ("2.4.0", False)])
def test_installing_it_leaves_the_torch_that_is_there(
    wheel: Path, tmp_path: Path, torch: str, fits: bool
) -> None:
    """As in Colab, whose torch is another than the pinned one."""
    there = {"torch": torch, "torchvision": "0.20.0", "sgdnoise": "0.0.1"}
    for name, version in there.items():
        told = tmp_path / f"{name}-{version}.dist-info"
        told.mkdir()
        (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    # Nothing of this machine's own settings, which may name folders of packages.
    own = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    done = subprocess.run(
        [*PIP, "install", "--quiet", "--dry-run", "--no-index", "--report", "-", wheel],
        env=own | {"PYTHONPATH": str(tmp_path), "PIP_CONFIG_FILE": os.devnull},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if fits:
        installs = json.loads(done.stdout)["install"]
        assert [item["metadata"]["name"] for item in installs] == ["sgdnoise"], done.stderr
    else:
        assert "No matching distribution found for torch" in done.stderr
