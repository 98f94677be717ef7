"""`make bench`: every row of every `benchmarks/bench_*.py`, as one table.

Each row times ours and an independent baseline in the same process. Exits with 1 if a row misses
the ratio it must reach. A name as argument picks the modules whose names contain it.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

from benchmarks.row import Row

HEAD = ("what", "ours", "baseline", "ratio", "at least", "", "agreement", "note")


def main(wanted: list[str]) -> int:
    """Runs the benches and prints their table."""
    missed = 0
    print("| " + " | ".join(HEAD) + " |")
    print("|" + "---|" * len(HEAD))
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith("bench_"):
            continue
        if wanted and not any(part in module.name for part in wanted):
            continue
        for row in importlib.import_module(f"benchmarks.{module.name}").rows():
            missed += row.ratio < row.required
            print(_line(row), flush=True)
    return 1 if missed else 0


def _line(row: Row) -> str:
    verdict = "ok" if row.ratio >= row.required else "MISSED"
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
