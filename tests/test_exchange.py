"""Records from one machine to another: checked whole, never written over, repeatable."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from made_up import filled
from made_up import records as made_up_records
from stores import differences

from sgdnoise import cli, exchange
from sgdnoise.experiments import study_of
from sgdnoise.records.bundle import write_bundle
from sgdnoise.records.record import Record
from sgdnoise.records.store import Store
from sgdnoise.study.grid import FRESH_SEED
from sgdnoise.study.study import Study

STUDY = study_of("random-walk", "digits", 2)
OTHER = study_of("parts-checked", "cpu")

Run = Callable[..., tuple[int, str, str]]


def ends(config) -> dict[str, float]:
    return {
        **{objective.name: 50.0 + config.seed % 7 for objective in STUDY.experiment.objectives},
        "test_accuracy": 50.0 + config.seed % 7,
    }


@pytest.fixture(scope="module")
def made() -> dict[Study, list[Record]]:
    return {study: list(filled(study, ends).values()) for study in (STUDY, OTHER)}


@pytest.fixture
def run(capsys: pytest.CaptureFixture) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.main(["records", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def mine(tmp_path: Path, made) -> Store:
    """The store of the machine that trained."""
    store = Store(tmp_path / "mine")
    for study, records in made.items():
        store.append(*study.place, records)
    return store


@pytest.fixture
def file(tmp_path: Path, mine: Store, run: Run) -> Path:
    path = tmp_path / "records.gz"
    code, _, err = run("bundle", path, "--results", mine.root)
    assert (code, err) == (0, "")
    return path


def content(root: Path) -> dict[str, bytes]:
    files = root.rglob("*.jsonl")
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_a_bundle_is_merged_into_an_empty_store_and_again_into_a_full_one(
    run: Run, file: Path, mine: Store, made, tmp_path: Path
) -> None:
    theirs = Store(tmp_path / "theirs")
    count = sum(map(len, made.values()))
    code, out, err = run("merge", file, "--results", theirs.root, "--dry-run")
    assert (code, err) == (0, "")
    assert out.endswith(f"{count} new, 0 already here, 0 refused; nothing was written\n")
    assert not theirs.root.exists()
    code, out, err = run("merge", file, "--results", theirs.root)
    assert (code, err) == (0, "")
    assert f"cpu/parts-checked: {len(made[OTHER])} new, 0 already here, 0 refused\n" in out
    assert out.endswith(f"{count} new, 0 already here, 0 refused\n")
    for study in made:
        assert not list(differences(mine, theirs, *study.place))
        assert not theirs.complaints
    before = content(theirs.root)
    code, out, err = run("merge", file, "--results", theirs.root)
    assert (code, err) == (0, "")
    assert out.endswith(f"0 new, {count} already here, 0 refused\n")
    assert content(theirs.root) == before
    # And what was merged makes the same bundle.
    again = tmp_path / "again.gz"
    assert run("bundle", again, "--results", theirs.root)[0] == 0
    assert again.read_bytes() == file.read_bytes()


def test_a_run_that_two_experiments_share_stands_once_where_it_is_merged(
    run: Run, tmp_path: Path
) -> None:
    first, second = (study_of(name, "digits") for name in ("constant-epoch", "sharpness"))
    both = [config for config in second.needed({}) if first.may_need(config)][:4]
    alone = [config for config in second.needed({}) if not first.may_need(config)][:1]
    mine, theirs = Store(tmp_path / "mine"), Store(tmp_path / "theirs")
    mine.append(*first.place, made_up_records(both, ends))
    mine.append(*second.place, made_up_records(alone, ends))
    mine.share_missing(*second.place, "constant-epoch", [config.id for config in both[:3]])
    # The last of them was trained twice, with another result.
    other = made_up_records(both[3:], lambda config: {**ends(config), "train_loss": 2.0})
    mine.append(*second.place, other)
    assert run("bundle", tmp_path / "b.gz", "--results", mine.root)[0] == 0
    code, out, err = run("merge", tmp_path / "b.gz", "--results", theirs.root)
    assert (code, err) == (0, "")
    assert out.endswith("9 new, 0 already here, 0 refused\n")
    assert {path: set(text.splitlines()) for path, text in content(theirs.root).items()} == {
        path: set(text.splitlines()) for path, text in content(mine.root).items()
    }
    assert [len(text.splitlines()) for text in content(theirs.root).values()] == [4, 2]
    for study in (first, second):
        assert not list(differences(mine, theirs, *study.place))


def test_a_part_of_the_store_is_asked_for_by_name(run: Run, mine: Store, made, tmp_path: Path):
    path = tmp_path / "part.gz"
    for option in (("--scale", "cpu"), ("--experiment", "parts-checked")):
        code, out, err = run("bundle", path, "--results", mine.root, *option)
        assert (code, err) == (0, "")
        first, last = out.splitlines()
        assert first == f"cpu/parts-checked: {len(made[OTHER])} records"
        assert last.startswith(f"{path}: {len(made[OTHER])} records, 0.0 MB, sha256 ")


def test_what_no_grid_asks_for_and_what_failed_stays_behind_and_is_counted(
    run: Run, mine: Store, made, tmp_path: Path
) -> None:
    one = made[OTHER][0]
    stray = replace(one, config=one.config.replace(seed=5000))
    failed = replace(one, config=one.config.replace(seed=3), status="failed")
    mine.append(*OTHER.place, [stray, failed])
    code, out, err = run("bundle", tmp_path / "b.gz", "--results", mine.root, "--scale", "cpu")
    assert code == 0
    assert f"parts-checked: {len(made[OTHER])} records\n" in out
    assert err.splitlines() == [
        "left out of cpu/parts-checked: 1 (no grid of this experiment asks for its run)",
        "left out of cpu/parts-checked: 1 (its run failed)",
    ]


def test_what_is_here_with_other_numbers_stays_and_the_rest_is_taken(
    run: Run, file: Path, made, tmp_path: Path
) -> None:
    theirs = Store(tmp_path / "theirs")
    one, two, three, four, *others = made[STUDY]
    name = STUDY.experiment.objectives[0].name
    better = replace(one, metrics={**one.metrics, name: one.metrics[name] + 1})
    elsewhere = replace(two, provenance={**two.provenance, "torch": "2.4.0", "seconds": 9.0})
    bent = replace(three, curves={**three.curves, "step": [1.0, 10.0, 99.0]})
    failed = replace(four, status="failed", metrics={}, curves={})
    theirs.append(*STUDY.place, [better, elsewhere, bent, failed])
    before = content(theirs.root)["digits/random-walk.jsonl"]
    code, out, err = run("merge", file, "--results", theirs.root)
    assert code == 1
    assert out.splitlines()[1] == (
        f"digits/random-walk: {len(others) + 1} new, 1 already here, 2 refused"
    )
    first, second = (
        f"refused: digits/random-walk {one.id}: it is here with other numbers: "
        f"'{name}' is {better.metrics[name]} here, {one.metrics[name]} in the bundle",
        f"refused: digits/random-walk {three.id}: it is here with other curves",
    )
    *named, last = err.splitlines()
    assert sorted(named) == sorted([first, second])
    assert last.startswith("sgdnoise: 2 records were refused")
    after = content(theirs.root)["digits/random-walk.jsonl"]
    assert after.startswith(before)
    read = theirs.read(*STUDY.place)
    assert len(read) == len(made[STUDY])
    assert read[one.id] == better
    assert read[four.id] == four
    # Again: the same two are refused, and nothing moves.
    code, out, err = run("merge", file, "--results", theirs.root)
    assert (code, err.splitlines()[-1][:30]) == (1, last[:30])
    assert content(theirs.root)["digits/random-walk.jsonl"] == after


STRANGE = {
    "no run of the grid": (
        lambda r: replace(r, config=r.config.replace(learning_rate=0.123)),
        "no grid of this experiment asks for its run",
    ),
    "another precision": (
        lambda r: replace(r, provenance={**r.provenance, "precision": "bfloat16"}),
        "not trained in the precision that its config asks for",
    ),
    "no loss": (
        lambda r: replace(r, metrics={"test_accuracy": 50.0}, curves={}),
        "its run is done and it lacks train_loss",
    ),
}


def test_the_device_is_no_reason_to_refuse_a_run(run: Run, made, tmp_path: Path) -> None:
    one, *_ = made[STUDY]
    file, theirs = tmp_path / "records.gz", Store(tmp_path / "theirs")
    on_gpu = replace(one, provenance={**one.provenance, "device": "NVIDIA H100"})
    write_bundle(file, {STUDY.place: [on_gpu]})
    assert run("merge", file, "--results", theirs.root)[0] == 0
    assert theirs.read(*STUDY.place)[one.id].device == "cuda"


@pytest.mark.parametrize(("change", "says"), STRANGE.values(), ids=STRANGE)
def test_what_cannot_be_of_the_study_is_refused_by_name(
    run: Run, made, tmp_path: Path, change, says: str
) -> None:
    one, two, *_ = made[STUDY]
    file, theirs = tmp_path / "records.gz", Store(tmp_path / "theirs")
    write_bundle(file, {STUDY.place: [change(one), two]})
    code, out, err = run("merge", file, "--results", theirs.root)
    assert code == 1
    assert out.splitlines()[0] == "digits/random-walk: 1 new, 0 already here, 1 refused"
    assert f"refused: digits/random-walk {change(one).id}: " in err
    assert says in err
    assert list(theirs.read(*STUDY.place)) == [two.id]


@pytest.mark.parametrize(
    "place", [("digits", "no-such"), ("huge", "random-walk"), ("../..", "random-walk")]
)
def test_an_unknown_experiment_or_scale_refuses_the_whole(
    run: Run, made, tmp_path: Path, place: tuple[str, str]
) -> None:
    file = tmp_path / "records.gz"
    write_bundle(file, {STUDY.place: made[STUDY], place: made[STUDY]})
    code, out, err = run("merge", file, "--results", tmp_path / "theirs")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "which this book does not know" in err
    assert not (tmp_path / "theirs").exists()


def test_one_unsound_line_refuses_the_whole(run: Run, file: Path, tmp_path: Path) -> None:
    text = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(text.replace(b'"done"', b'"doNe"', 1)))
    code, out, err = run("merge", file, "--results", tmp_path / "theirs")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "was altered" in err
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: replace(r, status="diverged", reason="so"), "its run diverged, and it has"),
        (lambda r: replace(r, metrics=dict.fromkeys(r.metrics, 250.0)), "is above 100"),
    ],
)
def test_records_with_numbers_that_no_run_ends_with_refuse_the_whole(
    run: Run, made, tmp_path: Path, change, says: str
) -> None:
    file = tmp_path / "records.gz"
    write_bundle(file, {STUDY.place: list(map(change, made[STUDY]))})
    code, out, err = run("merge", file, "--results", tmp_path / "theirs")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert says in err
    assert not (tmp_path / "theirs").exists()


def test_a_merge_that_was_killed_is_finished_by_the_next(
    run: Run, file: Path, mine: Store, made, tmp_path: Path
) -> None:
    """Killed while it wrote: some records are in, one is half a line, another file is not there."""
    theirs = Store(tmp_path / "theirs")
    lines = content(mine.root)["digits/random-walk.jsonl"].splitlines(keepends=True)
    path = theirs.path(*STUDY.place)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:100])
    code, out, err = run("merge", file, "--results", theirs.root)
    assert code == 0
    assert "refused: " in err  # the half line, as every command says it
    assert f"random-walk: {len(lines) - 5} new, 5 already here, 0 refused" in out
    for study in made:
        assert not list(differences(mine, theirs, *study.place))
        assert not theirs.complaints


def test_two_merges_at_a_time_add_each_record_once(made, tmp_path: Path) -> None:
    """What another writer added after the look at the store is not added again."""
    theirs = Store(tmp_path / "theirs")
    assert theirs.append_missing(*STUDY.place, made[STUDY][:3]) == 3
    assert theirs.append_missing(*STUDY.place, made[STUDY]) == len(made[STUDY]) - 3
    assert theirs.append_missing(*STUDY.place, made[STUDY]) == 0
    lines = theirs.path(*STUDY.place).read_text().splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == sorted(r.id for r in made[STUDY])


def test_a_study_knows_every_run_that_it_can_come_to_need(made) -> None:
    for study, records in made.items():
        assert all(study.may_need(record.config) for record in records)
        config = records[0].config
        assert study.may_need(config.replace(seed=998))
        for seed in (999, 2 * FRESH_SEED - 1):
            assert not study.may_need(config.replace(seed=seed))
        assert not study.may_need(config.replace(batch_size=config.batch_size * 3))
    # Runs with fresh seeds are of what is tuned alone; so is a grid that grows, by three steps.
    study = study_of("constant-step", "cpu")
    sweep = study.experiment.sweeps["cpu"]()[0]
    (low, high), seed = sweep.frozen[0], FRESH_SEED
    assert study.may_need(sweep.config((low - 3,), seed))
    assert study.may_need(sweep.config((high + 3,), 0))
    assert not exchange.unfit(study, replace(made[OTHER][0], config=sweep.config((low,), 0)))
    assert not OTHER.may_need(made[OTHER][0].config.replace(seed=seed))


BAD = {
    "": "ACTION",
    "send x": "merge",
    "bundle": "FILE",
    "merge": "FILE",
    "bundle x --scale huge": "digits, cpu, gpu, paper",
    "bundle x --experiment constant-epochs": "constant-epoch",
    "bundle x --results no-such-folder": "there is no store no-such-folder",
    "merge no-such-file": "cannot read no-such-file (No such file or directory)",
    "merge . --results x": "cannot read . (Is a directory)",
    "merge x --scale digits": "--scale",
}


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_read(
    run: Run, mine: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(exchange, "read_aloud", lambda *_: pytest.fail("read"))
    (tmp_path / "notes").write_text("mine\n")
    for name, code, why in (
        ("no/such.gz", 2, "its folder is not there"),
        ("notes", 2, "no bundle"),
    ):
        found, out, err = run("bundle", tmp_path / name, "--results", mine.root)
        assert (found, out, err.count("\n")) == (code, "", 1)
        assert why in err


@pytest.mark.parametrize(("line", "says"), BAD.items())
def test_bad_input_is_one_line_and_exit_2(run: Run, line: str, says: str) -> None:
    code, out, err = run(*line.split())
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert says in err


def test_a_store_without_what_was_asked_for_is_refused(run: Run, mine: Store, tmp_path: Path):
    code, out, err = run("bundle", tmp_path / "b.gz", "--results", mine.root, "--scale", "gpu")
    assert (code, out) == (2, "")
    assert "no records to bundle of what was asked for" in err
    assert not (tmp_path / "b.gz").exists()
