"""Simulates how often the intervals hold the truth, and writes it where the scorecard reads it."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict

from joblib import Parallel, delayed
from tqdm import tqdm

from sgdnoise.analysis.simulation import CLIFFS, QUANTITIES, SEEDS, Coverage, cell
from sgdnoise.book.judging import RECORD

EXPERIMENTS = {"tuned rate": 400, "difference of accuracies": 400}
"""Made up for each cell; 200 where one takes a dozen sweeps."""


def experiments(quantity: str) -> int:
    """How many experiments are made up for a cell of a quantity."""
    return EXPERIMENTS.get(quantity, 200)


def line(one: Coverage) -> dict[str, object]:
    """A cell as it is written: no cliff is null, for JSON has no infinity."""
    cliff = one.cliff if math.isfinite(one.cliff) else None
    return {**asdict(one), "cliff": cliff, "half": round(one.half, 4)}


def main() -> None:
    """Writes all cells, in one order."""
    cells = list(itertools.product(QUANTITIES, CLIFFS, SEEDS))
    found = Parallel(n_jobs=-1, return_as="generator")(
        delayed(cell)(quantity, cliff, seeds, experiments(quantity))
        for quantity, cliff, seeds in cells
    )
    lines = [line(one) for some in tqdm(found, total=len(cells)) for one in some]
    rows = ",\n".join(json.dumps(one, sort_keys=True) for one in lines)
    RECORD.write_text(f"[\n{rows}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
