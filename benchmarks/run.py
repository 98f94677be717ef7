"""`make bench`: every row of every `benchmarks/bench_*.py`, as one table.

Each row times ours and an independent baseline in the same process. Exits with 1 if a row misses
the ratio it must reach. A name as argument picks the modules whose names contain it; what needs a
GPU (`make bench-gpu`) has to be named.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.row import Row
from sgdnoise.errors import InputError

ON_REQUEST = ("bench_gpu",)
"""Modules that run only when they are named."""

HEAD = ("what", "ours", "baseline", "ratio", "at least", "", "agreement", "note")


def main(wanted: list[str]) -> int:
    """Runs the benches and prints their table."""
    missed = 0
    try:
        for number, row in enumerate(row for name in chosen(wanted) for row in _rows(name)):
            if number == 0:
                print("| " + " | ".join(HEAD) + " |")
                print("|" + "---|" * len(HEAD))
            missed += not row.reached
            print(_line(row), flush=True)
    except InputError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    return 1 if missed else 0


def chosen(wanted: list[str]) -> list[str]:
    """Names of the modules whose rows are asked for."""
    names = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    benches = [name for name in names if name.startswith("bench_")]
    if not wanted:
        return [name for name in benches if name not in ON_REQUEST]
    return [name for name in benches if any(part in name for part in wanted)]


def _rows(name: str) -> Iterable[Row]:
    return importlib.import_module(f"benchmarks.{name}").rows()


def _line(row: Row) -> str:
    verdict = "ok" if row.reached else "MISSED"
    cells = (
        row.name,
        f"{row.ours_s:.4g} s",
        f"{row.baseline_s:.4g} s",
        f"{row.ratio:.3g}",
        f"{row.required:g}",
        verdict,
        row.agreement,
        row.note,
    )
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
