"""The store: sound lines only, crash-safe, mergeable, safe with several writers."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock
import pytest
from stores import differences

from sgdnoise import cli
from sgdnoise.config import canonical_json, make_config
from sgdnoise.errors import FailureError, InputError
from sgdnoise.records import record as records
from sgdnoise.records.made import record_of
from sgdnoise.records.record import Record
from sgdnoise.records.store import Store
from sgdnoise.training.result import Result

SCALE, NAME = "digits", "constant-epoch"


def config(seed=0, **changes):
    base = {"dataset": "digits", "model": "digits-mlp", "batch_size": 8, "learning_rate": 0.5}
    return make_config(**{**base, "epochs": 1.0, "seed": seed, **changes})


def record(seed=0, accuracy=90.0, status="done"):
    return record_of(Result(config(seed), status, ended(accuracy), {"step": [1, 2]}, seconds=1.5))


def ended(accuracy=90.0):
    return {"test_accuracy": accuracy, "train_accuracy": 99.0, "train_loss": 0.25}


def test_round_trip_and_provenance(tmp_path):
    store = Store(tmp_path)
    store.append(SCALE, NAME, [record(0), record(1)])
    read = store.read(SCALE, NAME)
    assert list(read) == [config(0).id, config(1).id]
    one = read[config(1).id]
    assert one.config == config(1)
    assert one.metrics == ended()
    assert {"code", "device", "torch", "seconds", "date", "precision"} <= one.provenance.keys()
    assert store.complaints == []


@pytest.mark.parametrize(
    "changes",
    [
        {"phases": ((0.25, 2, 0.5), (0.5, 4, 1.0))},
        {"probes": ("sharpness", "weight-distance")},
        {"phases": ((0.5, 2, 1),), "probes": ("sharpness",), "norm": None},
    ],
)
def test_a_config_of_lists_round_trips(tmp_path, changes):
    store, run = Store(tmp_path), config(3, **changes)
    made = record_of(Result(run, "done", ended(), {"step": [1], "sharpness": [1.0]}, 1.5))
    store.append(SCALE, NAME, [made, record(0)])
    again = Store(tmp_path)
    assert again.read(SCALE, NAME)[run.id] == made
    assert again.complaints == []
    assert again.read(SCALE, NAME)[run.id].config == run
    assert again.read(SCALE, NAME)[run.id].line() == made.line()
    # They are part of the run: without them it is another.
    assert run.id != config(3).id


def test_what_is_not_finite_is_null_and_the_line_is_strict_json(tmp_path):
    store = Store(tmp_path)
    bad = record_of(Result(config(), "diverged", {"train_loss": float("nan")}, {}))
    store.append(SCALE, NAME, [bad])
    line = store.path(SCALE, NAME).read_text()
    assert json.loads(line, parse_constant=lambda name: pytest.fail(name))
    read = store.read(SCALE, NAME)[config().id]
    assert read.metrics == {"train_loss": None}
    assert read.status == "diverged"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda line: line[: len(line) // 2], "cut short"),
        (lambda line: line.replace("90.0", "99.0"), "altered"),
        (lambda line: line.replace('"seed":1', '"seed":5'), "altered"),
        (lambda line: "[1, 2]", "not a record"),
        (lambda line: "garbage", "not JSON"),
        (lambda line: _resigned(line, id="0" * 16), "not the run of its id"),
        (lambda line: _resigned(line, config={"dataset": "digits"}), "another version"),
    ],
)
def test_a_bad_line_is_named_and_its_run_missing(tmp_path, damage, says):
    store = Store(tmp_path)
    store.append(SCALE, NAME, [record(0), record(1), record(2)])
    path = store.path(SCALE, NAME)
    lines = path.read_text().splitlines()
    lines[1] = damage(lines[1])
    path.write_text("\n".join(lines) + "\n")
    assert set(store.read(SCALE, NAME)) == {config(0).id, config(2).id}
    assert len(store.complaints) == 1
    assert says in store.complaints[0]
    assert f"{path}:2" in store.complaints[0]
    # Set aside, not lost, and the sound lines stay to the byte.
    store.repair(SCALE, NAME)
    assert path.read_text().splitlines() == [lines[0], lines[2]]
    assert path.with_suffix(".rejected").read_text() == lines[1] + "\n"
    store.read(SCALE, NAME)
    assert store.complaints == []


def _signed(line):
    """A line, be it no canonical one, with the sum of its text."""
    text = re.sub(',"sha256":"[0-9a-f]*"', "", line)
    return text[:-1] + f',"sha256":"{hashlib.sha256(text.encode()).hexdigest()}"}}'


NESTED = "[" * 200_000 + "]" * 200_000
PROVENANCE = record().provenance


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"config": [1, 2]}, "config is no table"),
        ({"config": None}, "config is no table"),
        (
            {"config": {**config(1).identity(), "epochs": [1]}},
            "epochs: Input should be a valid number",
        ),
        ({"config": {**config(1).identity(), "probes": "sharpness"}}, "probes: Input should be"),
        ({"config": {**config(1).identity(), "probes": [["sharpness"]]}}, "probes.0: Input should"),
        ({"config": {**config(1).identity(), "phases": [[0.5, 2]]}}, "phases.0.2: Field required"),
        ({"config": {**config(1).identity(), "phases": [[0.5, "2", 1]]}}, "not the run of its id"),
        ({"config": {**config(1).identity(), "batch_size": "8"}}, "not the run of its id"),
        ({"config": {**config(1).identity(), "learning_rate": 10**400}}, "learning_rate: Input"),
        ({"config": {**config(1).identity(), "a" * 9999 + "\nb": 1}}, "another version"),
        ({"metrics": [1, 2]}, "metrics is no table"),
        ({"metrics": {"test_accuracy": "90"}}, "test_accuracy is no number"),
        ({"metrics": {"test_accuracy": True}}, "test_accuracy is no number"),
        ({"metrics": {"test_accuracy": 10**400}}, "test_accuracy is no number"),
        ({"curves": None}, "curves is no table"),
        ({"curves": {"step": 3}}, "step is no list of numbers"),
        ({"curves": {"step": [1, [2]]}}, "step is no list of numbers"),
        ({"curves": {"step": [1, "2"]}}, "step is no list of numbers"),
        ({"provenance": None}, "provenance is no table"),
        ({"provenance": {}}, "lacks its code"),
        ({"provenance": {**PROVENANCE, "seconds": "long"}}, "lacks its seconds"),
        ({"provenance": {**PROVENANCE, "seconds": None}}, "lacks its seconds"),
        ({"provenance": {**PROVENANCE, "device": {"a": 1}}}, "device is neither"),
        ({"provenance": {**PROVENANCE, "device": ["CPU"]}}, "device is neither"),
        ({"provenance": {**PROVENANCE, "seconds": [1.5]}}, "seconds is neither"),
        ({"provenance": {**PROVENANCE, "else": True}}, "else is neither"),
        ({"status": "well"}, "status is none of"),
        ({"status": ["done"]}, "status is none of"),
        ({"reason": 3}, "reason is no text"),
    ],
)
def test_a_record_of_wrong_shapes_is_named_and_its_run_missing(tmp_path, changes, says):
    store = Store(tmp_path)
    store.append(SCALE, NAME, [record(0), record(1)])
    path = store.path(SCALE, NAME)
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{_resigned(second, **changes)}\n")
    assert set(store.read(SCALE, NAME)) == {config(0).id}
    (said,) = store.complaints
    assert said.startswith(f"{path}:2 ")
    assert says in said
    assert "\n" not in said
    assert len(said) < 500


CURVES = {
    "step": [1, 2],
    "train_loss": [2.3, 1.0],
    "distance": [0.1, 0.2],
    "test_step": [2],
    "test_accuracy": [80.0],
    "batch_loss_drop/8": [0.1, -0.2, 0.0],
    "layer_curvature_epoch": [0],
    "layer_radius/head": [1.0],
    "epoch_stride": [0.1],
    "epoch_loss": [2.3, 1.0],
    "another_probe": [None, -3.0, 1.0, 7.0],
}
"""Of a run that is done, one of each kind; those of a new probe are its own."""


@pytest.mark.parametrize(
    ("curves", "says"),
    [
        ({}, ""),
        ({"step": []}, "has not as many points as its step"),
        ({"step": None}, "curves, and no step among them"),
        ({"step": [1]}, "has not as many points as its step"),
        ({"step": [2, 1]}, "its curve step does not rise"),
        ({"step": [0, 1]}, "its curve step does not rise"),
        ({"step": [1, None]}, "its curve step is not finite"),
        ({"train_loss": [2.3, None]}, "its curve train_loss is not finite"),
        ({"train_loss": [2.3, -1.0]}, "its curve train_loss is below 0"),
        ({"train_loss": [2.3]}, "train_loss has not as many points"),
        ({"distance": [-0.1, 0.2]}, "its curve distance is below 0"),
        ({"test_accuracy": [101.0]}, "its curve test_accuracy is above 100"),
        ({"test_accuracy": [None]}, "its curve test_accuracy is not finite"),
        ({"test_accuracy": [80.0, 81.0]}, "as many points as its test_step"),
        ({"test_step": None}, "as many points as its step"),
        ({"batch_loss_drop/8": [0.1, 0.2]}, "batch_loss_drop/8 has not as many points"),
        ({"layer_curvature_epoch": None}, "as many points as its layer_curvature_epoch"),
        ({"epoch_loss": [2.3]}, "as many points as its epoch_stride"),
        ({"another_probe": []}, "its curve another_probe is empty"),
    ],
)
def test_curves_that_a_finished_run_cannot_have_are_named(tmp_path, curves, says):
    store = Store(tmp_path)
    store.append(SCALE, NAME, [record(0), record(1)])
    path = store.path(SCALE, NAME)
    first, second = path.read_text().splitlines()
    changed = {name: values for name, values in (CURVES | curves).items() if values is not None}
    path.write_text(f"{first}\n{_resigned(second, curves=changed)}\n")
    assert (config(1).id in store.read(SCALE, NAME)) == (not says)
    assert [says in said for said in store.complaints] == [True] * bool(says)


@pytest.mark.parametrize(
    ("status", "metrics", "says"),
    [
        ("done", {}, "has no final numbers"),
        ("done", ended() | {"distance": None}, "its metric distance is not finite"),
        ("done", ended() | {"distance": -1.0}, "its metric distance is below 0"),
        ("done", ended() | {"train_loss": -5.0}, "its metric train_loss is below 0"),
        ("done", ended(250.0), "its metric test_accuracy is above 100"),
        ("done", ended(-0.5), "its metric test_accuracy is below 0"),
        ("done", {"test_accuracy": 90.0, "train_loss": 0.1}, "it lacks its train_accuracy"),
        ("done", {"test_accuracy": 90.0, "train_accuracy": 99.0}, "it lacks its train_loss"),
        ("done", {"train_accuracy": 99.0, "train_loss": 0.1}, "no final score of the test set"),
        ("done", {"test_perplexity": 80.0, "train_perplexity": 9.0, "train_loss": 2.2}, ""),
        ("diverged", {"diverged_at": 3, "test_accuracy": 90.0}, "diverged, and it has a final"),
        ("diverged", {"diverged_at": 3, "test_accuracy": None}, ""),
        ("failed", {}, ""),
    ],
)
def test_final_numbers_that_a_run_cannot_end_with_are_named(tmp_path, status, metrics, says):
    store = Store(tmp_path)
    store.append(SCALE, NAME, [record(0), record(1)])
    path = store.path(SCALE, NAME)
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{_resigned(second, status=status, metrics=metrics)}\n")
    assert (config(1).id in store.read(SCALE, NAME)) == (not says)
    assert [says in said for said in store.complaints] == [True] * bool(says)


@pytest.mark.parametrize(
    "line",
    [
        NESTED,
        f'{{"config":{NESTED},"id":"x","sha256":"x"}}',
        '{"config":{},"id":"x","sha256":' + "[" * 900 + "]" * 900 + "}",
        "1" * 5000,
        "null",
        *(_signed(record(1).line().replace("90.0", number)) for number in ("NaN", "1e999")),
        "\x00\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
    ids=lambda line: line[:20],
)
def test_a_line_that_is_hard_to_read_is_named_and_its_run_missing(tmp_path, line):
    store = Store(tmp_path)
    store.append(SCALE, NAME, [record(0)])
    path = store.path(SCALE, NAME)
    path.write_text(path.read_text() + line + "\n", encoding="latin-1")
    assert set(store.read(SCALE, NAME)) == {config(0).id}
    assert [said.partition(" ")[0] for said in store.complaints] == [f"{path}:2"]


COMMITTED = Path(__file__).parents[2] / "results"


def test_records_are_committed_at_all():
    assert len(list(COMMITTED.rglob("*.jsonl"))) >= 9


def test_the_committed_records_stay_small_enough_to_be_cloned():
    files = (path for path in COMMITTED.rglob("*.*") if path.suffix in (".jsonl", ".shared"))
    assert sum(path.stat().st_size for path in files) <= 25 * 2**20


@pytest.mark.parametrize("path", sorted(COMMITTED.rglob("*.jsonl")), ids=lambda p: p.stem)
def test_every_committed_line_is_a_sound_record_and_canonical(path):
    lines = path.read_text().splitlines()
    assert lines
    for line in lines:
        assert Record.parse(line).line() == line


def _resigned(line, **changes):
    """A line whose sum is right, so that only what else is wrong can give it away."""
    body = {**json.loads(line), **changes}
    body.pop("sha256")
    return canonical_json({**body, "sha256": records._hash(body)})


def test_a_half_written_line_is_not_glued_to_the_next(tmp_path):
    store = Store(tmp_path)
    store.append(SCALE, NAME, [record(0), record(1)])
    path = store.path(SCALE, NAME)
    whole = path.read_text()
    half = len(whole) - 100
    path.write_text(whole[:half])
    store.append(SCALE, NAME, [record(2)])
    assert set(store.read(SCALE, NAME)) == {config(0).id, config(2).id}
    assert store.complaints == []
    rejected = path.with_suffix(".rejected").read_text()
    assert whole.splitlines()[1].startswith(rejected.rstrip("\n"))


def test_a_line_twice_counts_once_and_a_failure_gives_way(tmp_path):
    store = Store(tmp_path)
    store.append(SCALE, NAME, [record(0, status="failed"), record(0, 91.0), record(0, 92.0)])
    assert store.read(SCALE, NAME)[config().id].metrics["test_accuracy"] == 91.0


@pytest.fixture
def bytes_read(monkeypatch):
    """How many bytes each file that is opened for reading gives, in order."""
    taken = []

    class Counted(io.BufferedReader):
        def read(self, *size):
            got = super().read(*size)
            taken.append(len(got))
            return got

    real = Path.open

    def opened(path, mode="r", *args, **options):
        return Counted(io.FileIO(path)) if mode == "rb" else real(path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", opened)
    return taken


def test_an_append_reads_the_last_byte_only(tmp_path, bytes_read):
    store = Store(tmp_path)
    for seed in range(30):
        store.append(SCALE, NAME, [record(seed)])
    assert sum(bytes_read) <= 30
    assert len(store.read(SCALE, NAME)) == 30


def test_a_read_parses_only_what_was_appended_since(tmp_path, bytes_read, monkeypatch):
    parsed, real = [], Record.parse
    monkeypatch.setattr(Record, "parse", lambda line: parsed.append(1) or real(line))
    mine, other = Store(tmp_path), Store(tmp_path)
    for seed in range(30):
        (mine if seed % 2 else other).append(SCALE, NAME, [record(seed)])
        assert len(mine.read(SCALE, NAME)) == len(mine.read(SCALE, NAME)) == seed + 1
    assert len(parsed) == 30
    line = len(record(0).line()) + 10
    # Each line twice, when it is new and to see that it still stands before the next; the byte.
    assert sum(bytes_read) <= 30 * (2 * line + 1)


def test_a_file_that_was_written_anew_is_read_anew(tmp_path):
    store = Store(tmp_path)
    store.append(SCALE, NAME, [record(0), record(1)])
    path = store.path(SCALE, NAME)
    first, second = path.read_text().splitlines(keepends=True)
    third = record(2).line() + "\n"
    given = {config(seed).id: seed for seed in range(3)}

    def seeds():
        return sorted(given[run] for run in store.read(SCALE, NAME))

    assert seeds() == [0, 1]
    for text, want in (
        (first + third + second, [0, 1, 2]),  # longer, in place
        (second + third, [1, 2]),  # shorter
        (first + third, [0, 2]),  # as long
        (first + third[:-1], [0, 2]),  # without the last newline
        (first + third + "\n\n" + second, [0, 1, 2]),
        (first + third + "\n\n" + second[:50], [0, 2]),
        ("", []),
        (second, [1]),
    ):
        path.write_text(text)
        os.utime(path, ns=(time.time_ns(), time.time_ns()))
        assert seeds() == want
        assert len(store.complaints) == text.endswith(second[:50])
        assert seeds() == want
    path.unlink()
    assert seeds() == []
    path.with_suffix(".new").write_text(first)
    path.with_suffix(".new").replace(path)
    assert seeds() == [0]


def test_a_line_that_is_read_while_it_is_written_counts_when_it_is_whole(tmp_path):
    store = Store(tmp_path)
    store.append(SCALE, NAME, [record(0)])
    path = store.path(SCALE, NAME)
    line = record(1).line() + "\n"
    with path.open("a") as file:
        file.write(line[:100])
        file.flush()
        assert set(store.read(SCALE, NAME)) == {config(0).id}
        assert len(store.complaints) == 1
        file.write(line[100:])
    assert set(store.read(SCALE, NAME)) == {config(0).id, config(1).id}
    assert store.complaints == []


def _write_many(root, first):
    store = Store(root)
    for seed in range(first, first + 25):
        store.append(SCALE, NAME, [record(seed)])


def test_several_writers_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(tmp_path, first)) for first in (0, 25, 50)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    store = Store(tmp_path)
    assert len(store.read(SCALE, NAME)) == 75
    assert store.complaints == []


def test_a_killed_holder_frees_its_lock(tmp_path):
    program = (
        "import os, signal, sys; from pathlib import Path;"
        "from sgdnoise.records.store import Store;"
        "lock = Store(Path(sys.argv[1])).lock('x'); lock.acquire(); print('held', flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "held\n"
    assert done.returncode == -9
    Store(tmp_path).lock("x").acquire(timeout=1)


def test_a_lock_taken_in_one_thread_is_freed_in_another(tmp_path):
    store = Store(tmp_path)
    lock = store.lock("x")
    taker = threading.Thread(target=lock.acquire)
    taker.start()
    taker.join()
    with pytest.raises(filelock.Timeout):
        store.lock("x").acquire(timeout=0)
    lock.release()
    store.lock("x").acquire(timeout=1)


def test_equality_leaves_out_times_and_dates_and_nothing_else(tmp_path):
    a, b = Store(tmp_path / "a"), Store(tmp_path / "b")
    later = record(0)
    later.provenance.update(seconds=9.0, date="1999-01-01")
    a.append(SCALE, NAME, [record(0), record(1)])
    b.append(SCALE, NAME, [record(1), later])
    assert list(differences(a, b, SCALE, NAME)) == []
    b.append(SCALE, NAME, [record(2)])
    a.append(SCALE, NAME, [record(2, 91.0)])
    assert list(differences(a, b, SCALE, NAME)) == [config(2).id]
    a.append(SCALE, NAME, [record(3)])
    assert set(differences(a, b, SCALE, NAME)) == {config(2).id, config(3).id}


def test_records_of_other_code_are_retired_not_lost(tmp_path):
    store = Store(tmp_path)
    old = record(0)
    old.provenance["code"] = "0" * 12
    store.append(SCALE, NAME, [old])
    store.retire_other_code(SCALE, NAME)
    assert store.read(SCALE, NAME) == {}
    kept = store.path(SCALE, NAME).with_suffix(f".{'0' * 12}.old")
    assert Record.parse(kept.read_text().strip()).id == old.id
    store.append(SCALE, NAME, [record(0)])
    store.retire_other_code(SCALE, NAME)
    assert len(store.read(SCALE, NAME)) == 1


@pytest.mark.parametrize("there", [0, 1])
def test_what_was_retired_is_never_overwritten(tmp_path, there):
    store = Store(tmp_path)
    lines = []
    for seed in range(4):
        old = record(seed)
        old.provenance["code"] = "0" * 12
        store.append(SCALE, NAME, [old])
        lines += [store.path(SCALE, NAME).read_text()]
        if there and seed == 3:  # a writer that was killed in between had moved it already
            with store.path(SCALE, NAME).with_suffix(f".{'0' * 12}.old").open("a") as file:
                file.write(lines[-1])
        store.retire_other_code(SCALE, NAME)
        assert store.read(SCALE, NAME) == {}
    kept = store.path(SCALE, NAME).with_suffix(f".{'0' * 12}.old")
    assert kept.read_text() == "".join(lines)


def test_a_file_of_several_codes_is_split_by_record(tmp_path):
    store = Store(tmp_path)
    codes = ["a" * 12, None, "b" * 12, "../up", "a" * 12, None]
    for seed, code in enumerate(codes):
        one = record(seed)
        if code:
            one.provenance["code"] = code
        store.append(SCALE, NAME, [one])
    path = store.path(SCALE, NAME)
    path.write_text(path.read_text() + "garbage\n")
    lines = path.read_text().splitlines()
    store.retire_other_code(SCALE, NAME)
    assert path.read_text().splitlines() == [lines[1], lines[5], "garbage"]
    for code, places in (("a" * 12, (0, 4)), ("b" * 12, (2,)), ("unknown", (3,))):
        retired = path.with_suffix(f".{code}.old").read_text().splitlines()
        assert retired == [lines[place] for place in places]
    assert len(list(tmp_path.rglob("*.old"))) == 3


def in_the_way(tmp_path, kind):
    """A results folder in which, or in whose place, something is wrong with `SCALE/NAME.jsonl`."""
    root = tmp_path / "results"
    if kind == "a folder for a file":
        (root / SCALE / f"{NAME}.jsonl").mkdir(parents=True)
    elif kind == "a file for a folder":
        root.write_text("")
    elif kind == "too long":
        return tmp_path / ("x" * 5000)
    elif kind == "a loop":
        root.symlink_to(root)
    elif kind == "a null byte":
        return tmp_path / "a\0b"
    return root


KINDS = ["a folder for a file", "a file for a folder", "too long", "a loop", "a null byte"]


def one_line(caught):
    said = str(caught.value)
    assert "\n" not in said
    assert "\0" not in said
    assert len(said) < 600
    assert "--results" in said
    return said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ask", ["read", "repair", "retire_other_code"])
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, kind, ask):
    root = in_the_way(tmp_path, kind)
    with pytest.raises(InputError) as caught:
        getattr(Store(root), ask)(SCALE, NAME)
    one_line(caught)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_what_cannot_be_a_folder_is_refused_before_any_work(tmp_path, kind):
    root = in_the_way(tmp_path, kind)
    with pytest.raises((InputError, FailureError)) as caught:
        Store(root).check_writable()
    one_line(caught)
    with pytest.raises((InputError, FailureError)) as caught:
        Store(root).append(SCALE, NAME, [record()])
    one_line(caught)


@pytest.mark.parametrize("kind", KINDS)
def test_on_the_command_line_it_is_one_line_as_well(tmp_path, capsys, kind):
    where = ["--results", str(in_the_way(tmp_path, kind)), "--runs", str(tmp_path / "runs")]
    assert cli.main(["reproduce", NAME, "--scale", SCALE, "--dry-run", *where]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_stops_a_repair_in_one_line_and_costs_nothing(tmp_path):
    store = Store(tmp_path)
    store.append(SCALE, NAME, [record(0)])
    path = store.path(SCALE, NAME)
    path.write_text(path.read_text() + "garbage\n")
    before = path.read_bytes()
    path.with_suffix(".tmp").symlink_to("/dev/full")
    with pytest.raises(InputError, match="No space left") as caught:
        store.repair(SCALE, NAME)
    one_line(caught)
    assert path.read_bytes() == before


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_is_told_in_one_line(tmp_path, monkeypatch, number):
    store = Store(tmp_path)
    store.append(SCALE, NAME, [record(0)])

    def refuses(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refuses)
    with pytest.raises(InputError, match=os.strerror(number)) as caught:
        store.read(SCALE, NAME)
    one_line(caught)
    with pytest.raises(FailureError, match=os.strerror(number)) as caught:
        store.append(SCALE, NAME, [record(1)])
    one_line(caught)
    monkeypatch.setattr(Path, "touch", refuses)
    with pytest.raises(FailureError, match=os.strerror(number)) as caught:
        store.check_writable()
    one_line(caught)


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    with pytest.raises(FailureError, match="--results") as caught:
        Store(blocker / "results").check_writable()
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]
