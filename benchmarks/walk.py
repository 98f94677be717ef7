"""Computes the walk on a random potential, and writes it where its claim reads it."""

from __future__ import annotations

import json

from joblib import Parallel, delayed
from tqdm import tqdm

from sgdnoise.experiments.random_walk.walk import GROUPS, RECORD, walk_of_group


def main() -> None:
    """Writes all groups, in order."""
    groups = range(GROUPS)
    found = Parallel(n_jobs=-1, return_as="generator")(delayed(walk_of_group)(g) for g in groups)
    rows = ",\n".join(json.dumps(one.tolist()) for one in tqdm(found, total=GROUPS))
    RECORD.write_text(f"[\n{rows}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
