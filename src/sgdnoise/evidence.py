"""The GPU's evidence, most valuable runs first: `python -m sgdnoise.evidence --minutes 8`.

A slice trains what is missing for as long as it may, and says of each stage what is there. Run it
again and again, on one machine after another if need be: the records say where to go on, and a run
that a slice cut in two goes on from its checkpoint. `--dry-run` trains nothing and needs no GPU.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sgdnoise import data
from sgdnoise.checkout import project_root
from sgdnoise.config import RunConfig
from sgdnoise.errors import FailureError, InputError
from sgdnoise.experiments import ANCHORS, EXPERIMENTS, Experiment
from sgdnoise.records.store import Record, Store
from sgdnoise.study.plan import missing, needed
from sgdnoise.sweeps.cost import estimate_seconds
from sgdnoise.sweeps.run import check_minutes, read_aloud, run_sweep

_LOG2_BATCH = (4, 7, 8)
_EPOCH_SECONDS = (1.0, 0.65, 3600 / 7000)
"""What an epoch of WRN-16-4 may take on one H200 at B = 16, 128, and 256 and above: what the
engine is held to. At B = 16 it is the share of one of several runs at once."""


def assumed_seconds(config: RunConfig) -> float:
    """GPU-seconds that a run may take, for as long as no record tells better.

    Between the batch sizes for which a bound is set it is interpolated in log₂ B. Other nets are
    counted as WRN-16-4: ResNet-18's arithmetic is of its size, ResNet-44's is less.
    """
    size = config.train_size or data.train_size(config.dataset)
    epochs = config.batches(size).examples / size
    return epochs * float(np.interp(math.log2(config.batch_size), _LOG2_BATCH, _EPOCH_SECONDS))


@dataclass(frozen=True)
class Stage:
    """A part of the evidence.

    Attributes:
        letter: what it is called; stages of one letter differ in their seeds only.
        what: what it shows, in a few words.
        experiment: whose runs, all or some.
        scale: at which scale.
        seeds: runs a grid point.
    """

    letter: str
    what: str
    experiment: Experiment
    scale: str
    seeds: int

    @property
    def command(self) -> str:
        """What fills it, whatever is missing."""
        return f"python -m sgdnoise.evidence --only {self.letter}"

    def needed(self, store: Store) -> list[RunConfig]:
        """The runs that it consists of as things stand: an optimum on the edge of its grid asks
        for more of them, and each optimum for fresh seeds."""
        return needed(self.experiment, self.scale, self.seeds, self._records(store))

    def missing(self, store: Store) -> list[RunConfig]:
        """Those that no sound record stands for."""
        return missing(self.experiment, self.scale, self.seeds, self._records(store))

    def seconds(self, store: Store) -> float:
        """GPU-seconds that its missing runs take: by the records, else `assumed_seconds`."""
        todo = self.missing(store)
        told = estimate_seconds(todo, self._records(store))
        return float(
            sum(
                seconds if math.isfinite(seconds) else assumed_seconds(config)
                for config, seconds in zip(todo, told, strict=True)
            )
        )

    def line(self, store: Store) -> str:
        """One line: found, missing, estimated seconds."""
        todo = len(self.missing(store))
        found = len(self.needed(store)) - todo
        seeds = "1 seed" if self.seeds == 1 else f"{self.seeds} seeds"
        cost = f", about {self.seconds(store):,.0f} s" if todo else ""
        return f"({self.letter}) {self.what}, {seeds}: {found} found, {todo} missing{cost}"

    def _records(self, store: Store) -> dict[str, Record]:
        return store.read(self.scale, self.experiment.name)


def _stages() -> tuple[Stage, ...]:
    parts = [
        ("a", "WRN-16-4 for 200 epochs at B = 1,024 and 128", ANCHORS, "paper"),
        ("b", "figure 1 of S20", EXPERIMENTS["constant-epoch"], "gpu"),
        ("c", "table 1 of S20", EXPERIMENTS["constant-step"], "gpu"),
        ("d", "figure 2 of S20", EXPERIMENTS["unlimited-epochs"], "gpu"),
        ("e", "figure 16 of G20", EXPERIMENTS["layerwise-lr"], "gpu"),
        ("f", "the ladder of H17", EXPERIMENTS["generalization-gap"], "gpu"),
        ("g", "figure 3 of S20", EXPERIMENTS["initial-final-lr"], "gpu"),
    ]
    return tuple(Stage(*part, seeds) for seeds in (1, 3) for part in parts)


STAGES = _stages()
"""Everything once with one seed, in order of value, then with three."""


def run(stages: Sequence[Stage], store: Store, minutes: float) -> int:
    """Trains what is missing, stage after stage, for at most so many minutes.

    Returns:
        How many runs failed; each has a record that gives its reason.
    """
    deadline = time.time() + 60 * minutes
    failed = 0
    for stage in stages:
        print(stage.line(store), flush=True)
        if time.time() < deadline and stage.missing(store):
            report = run_sweep(stage.experiment, stage.scale, stage.seeds, store, deadline=deadline)
            print(f"    {report}", flush=True)
            failed += report.failed
    done = sum(not stage.missing(store) for stage in stages)
    print(f"{done} of {len(stages)} stages are complete" + ("" if done == len(stages) else AGAIN))
    return failed


AGAIN = ": run the same command again to go on"


def main(arguments: Sequence[str] | None = None) -> int:
    """One slice; 0 if nothing failed, 2 for bad input, 1 for a failure on the way."""
    parser = argparse.ArgumentParser(
        prog="python -m sgdnoise.evidence", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="how long this slice may take")
    parser.add_argument("--results", type=Path, metavar="DIR", help="the store")
    parser.add_argument("--only", default="", metavar="LETTERS", help="these stages, as in abc")
    parser.add_argument("--dry-run", action="store_true", help="say what is missing, and its cost")
    given = parser.parse_args(arguments)
    try:
        stages = _chosen(given.only)
        check_minutes(given.minutes)
        store = Store(given.results or project_root() / "results")
        for scale, name in dict.fromkeys((s.scale, s.experiment.name) for s in stages):
            read_aloud(store, scale, name)
        if given.dry_run:
            print("\n".join(stage.line(store) for stage in stages))
            return 0
        if not torch.cuda.is_available():
            raise InputError(
                "no CUDA device here: --dry-run says what is missing, and "
                "`sgdnoise reproduce EXPERIMENT --scale cpu` trains the smaller nets on a processor"
            )
        failed = run(stages, store, given.minutes)
        if failed:
            raise FailureError(f"{failed} runs failed: each record gives its reason{AGAIN}")
    except (InputError, FailureError) as error:
        print(f"{parser.prog}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        print(f"{parser.prog}: stopped; what was finished is kept{AGAIN}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    return 0


def _chosen(letters: str) -> tuple[Stage, ...]:
    known = "".join(dict.fromkeys(stage.letter for stage in STAGES))
    unknown = sorted(set(letters) - set(known))
    if unknown:
        raise InputError(f"no stage is called {', '.join(unknown)}: choose from {', '.join(known)}")
    return tuple(stage for stage in STAGES if not letters or stage.letter in letters)


if __name__ == "__main__":
    sys.exit(main())
