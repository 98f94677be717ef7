"""Sweeps killed outright, between bundles and inside of them: what was recorded stays.

The sweep kills itself, at a step that is told, so that a test cannot hit a store that is empty or
a sweep that is over. Kills from outside, of sweeps on several processes, are in `test_run`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from sweeps.test_run import on_a_gpu_that_is_this_cpu, untuned

from sgdnoise.records.record import Record
from sgdnoise.records.store import Store
from sgdnoise.sweeps.run import run_sweep
from sgdnoise.training.checkpoints import read_checkpoint

RUNS, STEPS = 8, 40


# Runs that train alone, however small: a stack of runs knows no discarding.
ALONE = untuned(RUNS, batch_size=16, steps=STEPS, discard_fraction=0.25)

PROGRAM = """
import os, signal, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
root, moment, count = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])

from sgdnoise import training
from sgdnoise.records.store import Store
from sgdnoise.sweeps import run as sweep
from sgdnoise.sweeps import place, workers
from sgdnoise.training import state
from sweeps.test_kills import ALONE

state.CHECKPOINT_SECONDS = -1.0  # one after every step
done = {"steps": 0, "here": 0, "records": 0}


def die_at(here):
    if here == moment and done["records"] == count:
        print(done["steps"], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


def on_step(steps):
    done["steps"] += steps
    done["here"] += steps
    if done["here"] == 15:
        die_at("step")


real_train, real_append = training.train, Store.append


def train(configs, device, **options):
    done["here"] = 0
    return real_train(configs, on_step=on_step, **options)


def append(*arguments):
    die_at("before the record")
    real_append(*arguments)
    done["records"] += 1
    die_at("after the record")


# The path of a GPU, in this process and on this CPU.
place.device_of = lambda *_: "cuda"
sweep.require_cuda = sweep.require_memory = workers.require_cuda = lambda *_: None
training.train, Store.append = train, append
report = sweep.run_sweep(ALONE, Store(root))
print(report.found, report.trained, done["steps"])
"""


def swept(root: Path, moment: str = "never", count: int = 0) -> tuple[bool, list[int]]:
    """Whether the sweep killed itself, and steps done; at its end runs found and trained first."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PROGRAM,
            str(Path(__file__).parents[1]),
            str(root),
            moment,
            str(count),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    assert "starts anew" not in done.stderr
    return done.returncode != 0, [int(number) for number in done.stdout.split()]


def lines(root: Path) -> list[str]:
    path = Store(root).path("digits", "tiny")
    return path.read_text().splitlines()


def contents(root: Path) -> list[str]:
    """Every line without its times, by id: a run that stands twice stands twice here."""
    return sorted(Record.parse(line).comparable() for line in lines(root))


def test_a_sweep_killed_again_and_again_ends_as_one_that_was_not(tmp_path, monkeypatch):
    killed, unkilled = tmp_path / "killed", tmp_path / "unkilled"
    with monkeypatch.context() as patched:
        on_a_gpu_that_is_this_cpu(patched)
        assert run_sweep(ALONE, Store(unkilled)).trained == RUNS
    # Where it is killed, after how many records of its own, the step of the checkpoint left, and
    # the steps done: a run that was stopped at step 14 has 26 left.
    points = [
        ("after the record", 2, STEPS, 2 * STEPS),
        ("step", 1, 14, STEPS + 15),
        ("before the record", 1, STEPS, STEPS - 14 + STEPS),
    ]
    kept: list[str] = []
    for moment, count, step, steps in points:
        assert swept(killed, moment, count) == (True, [steps])
        assert lines(killed)[: len(kept)] == kept
        assert len(lines(killed)) == len(kept) + count
        kept = lines(killed)
        (checkpoint,) = [
            content
            for content in map(read_checkpoint, killed.glob(".checkpoints/*.pt"))
            if content["id"] not in {Record.parse(line).id for line in kept}
        ] or [None]
        if moment == "after the record":
            assert checkpoint is None  # nothing is in flight
        else:
            assert checkpoint["progress"]["step"] == step
    # The run in flight goes on from its checkpoint: it was trained to its end already.
    missing = RUNS - len(kept)
    assert swept(killed) == (False, [len(kept), missing, (missing - 1) * STEPS])
    assert contents(killed) == contents(unkilled)
    assert not list(killed.rglob("*.rejected"))
