"""What one more experiment costs: three files and its registered lines, nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]

GRID = '''
"""Whether more epochs help a small net: one rate, two budgets."""

from sgdnoise.study.grid import Axis, Sweep
from sgdnoise.study.scales import DIGITS, sweep_of
from sgdnoise.study.study import Experiment


def _sweeps() -> list[Sweep]:
    return [
        sweep_of(
            DIGITS,
            {"method": "sgd", "epochs": epochs},
            {"batch_size": 64, "epochs": float(epochs)},
            (Axis("effective_learning_rate", -3, -2),),
        )
        for epochs in (1, 4)
    ]


EXPERIMENT = Experiment(
    name="more-epochs",
    sweeps={"digits": _sweeps},
    seeds={"digits": 2},
)
'''

FINDINGS = '''
"""What the records say of more epochs."""

from sgdnoise.analysis import Reading
from sgdnoise.claims import Claim, Verdict


def more_help(reading: Reading) -> Verdict:
    """Whether four epochs reach more than one."""
    reached = reading.optima().set_index("epochs").test_accuracy_mean
    gain = float(reached[4] - reached[1])
    word = "reproduced" if gain > 0 else "contradicted"
    return Verdict(word, f"by {gain:.1f} points.", gain)


CLAIMS = (Claim("S20-F9.more-epochs-help", more_help),)
'''

CELLS = (
    'scale = "digits"\nseeds = None\nresults = "results"',
    "from sgdnoise.book.page import Page\n"
    "from sgdnoise.figures import tuned as figures\n\n"
    'page = Page.load("more-epochs", scale, seeds, results)',
    'page.opening(figures.against, "S20-F9.more-epochs-help", "epochs")',
    "page.coverage",
)


def add_experiment(root: Path) -> None:
    """Everything that its author writes: three files, a name, a line, a claim."""
    folder = root / "src/sgdnoise/experiments/more_epochs"
    folder.mkdir()
    (folder / "grid.py").write_text(GRID.lstrip())
    (folder / "findings.py").write_text(FINDINGS.lstrip())
    notebook = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
    )
    notebook.cells = [nbformat.v4.new_markdown_cell("# More epochs\n\nDo they help?")]
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in CELLS]
    notebook.cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, root / "book/more-epochs.ipynb")
    replace(
        root / "src/sgdnoise/experiments/__init__.py",
        '    "parts-checked",\n',
        '    "parts-checked",\n    "more-epochs",\n',
    )
    replace(
        root / "_toc.yml",
        "  - caption: Judgement\n",
        "      - file: papermill_runs/digits/more-epochs\n  - caption: Judgement\n",
    )
    replace(
        root / "src/sgdnoise/papers/numbers.json",
        '  "claims": {\n',
        '  "claims": {\n    "S20-F9.more-epochs-help": '
        '{"statement": "More epochs help", "where": "nowhere"},\n',
    )


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def run(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sgdnoise.cli", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "SGDNOISE_QUIET": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_more_experiment_is_three_files_and_its_registered_lines(tmp_path):
    root = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", "vendor", ".ipynb_checkpoints")
    for name in ("src", "book"):
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    for name in ("_toc.yml", "requirements.txt"):
        shutil.copy(ROOT / name, root / name)
    before = files(root)
    add_experiment(root)
    changed = {name for name, content in files(root).items() if before.get(name) != content}
    assert changed == {
        "_toc.yml",
        "book/more-epochs.ipynb",
        "src/sgdnoise/experiments/__init__.py",
        "src/sgdnoise/experiments/more_epochs/findings.py",
        "src/sgdnoise/experiments/more_epochs/grid.py",
        "src/sgdnoise/papers/numbers.json",
    }

    said = run(root, "reproduce", "more-epochs", "--scale", "digits")
    assert "0 found, " in said
    assert "0 failed" in said
    page = nbformat.read(root / "papermill_runs/digits/more-epochs.ipynb", as_version=4)
    assert page.cells[0].source.startswith("# More epochs on scikit-learn's digits (scale digits)")
    shown = json.dumps(page.cells)
    assert "More epochs help: reproduced" in shown
    assert "application/vnd.plotly" in shown

    judged = json.loads(run(root, "claims", "--scale", "digits", "--json"))
    (row,) = [row for row in judged if row["id"] == "S20-F9.more-epochs-help"]
    assert row["verdict"] == "reproduced"
    assert row["effect"] > 0
    assert row["seeds"] == 2
    assert run(root, "reproduce", "more-epochs", "--scale", "digits").count("0 trained") == 1
