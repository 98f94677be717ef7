"""The file that carries records: equal bytes for equal records, nothing unsound gets through."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from sgdnoise.config import make_config
from sgdnoise.errors import FailureError, InputError
from sgdnoise.records import bundle
from sgdnoise.records.bundle import read_bundle, write_bundle
from sgdnoise.records.made import record_of
from sgdnoise.records.record import Record
from sgdnoise.training.result import Result

PLACE, OTHER = ("digits", "constant-epoch"), ("cpu", "constant-step")


def record(seed: int = 0, status: str = "done") -> Record:
    config = make_config(
        dataset="digits", model="digits-mlp", batch_size=8, learning_rate=0.5, epochs=1, seed=seed
    )
    metrics = {"test_accuracy": 90.0 + seed, "train_accuracy": 99.0, "train_loss": 0.1}
    return record_of(Result(config, status, metrics, {"step": [1, 2]}))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "records.gz"
    write_bundle(path, {PLACE: [record(0), record(1)], OTHER: [record(2)]})
    return path


def rewritten(path: Path, change, resign: bool = True) -> None:
    """The bundle with its head and its lines changed; its sums fit again if they are to."""
    head, *lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    head, lines = change(json.loads(head), lines)
    if resign:
        rest = list(lines)
        for file in head["files"] if isinstance(head["files"], list) else []:
            if not isinstance(file["records"], int):
                continue
            mine, rest = rest[: file["records"]], rest[file["records"] :]
            text = "".join(line + "\n" for line in mine)
            file["sha256"] = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
    text = "".join(line + "\n" for line in [json.dumps(head), *lines])
    path.write_bytes(gzip.compress(text.encode(errors="surrogateescape")))


def test_what_goes_in_comes_out(file: Path) -> None:
    read = read_bundle(file)
    assert {place: {r.id: r for r in some} for place, some in read.records.items()} == {
        PLACE: {r.id: r for r in (record(0), record(1))},
        OTHER: {record(2).id: record(2)},
    }
    assert file.stat().st_size < 2500
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_equal_records_give_equal_bytes(file: Path, tmp_path: Path) -> None:
    before = file.read_bytes()
    # A bundle is replaced by a bundle.
    sum_of_it = write_bundle(file, {OTHER: [record(2)], PLACE: [record(1), record(0)]})
    assert file.read_bytes() == before
    assert hashlib.sha256(before).hexdigest() == sum_of_it
    write_bundle(file, {PLACE: [record(1), record(3)], OTHER: [record(2)]})
    assert file.read_bytes() != before


def test_it_is_text_that_other_tools_read(file: Path) -> None:
    done = subprocess.run(["gzip", "-dc", str(file)], capture_output=True, text=True, check=True)
    head, *lines = done.stdout.splitlines()
    files = json.loads(head)["files"]
    assert [(f["scale"], f["experiment"], f["records"]) for f in files] == [
        (*OTHER, 1),
        (*PLACE, 2),
    ]
    assert {Record.parse(line).id for line in lines} == {record(seed).id for seed in range(3)}


def _head(**changes):
    return lambda head, lines: (head | changes, lines)


def _files(change):
    def changed(head, lines):
        for file in head["files"]:
            change(file)
        return head, lines

    return changed


def _line(number, change):
    def changed(head, lines):
        lines[number] = change(lines[number])
        return head, lines

    return changed


def _of_other_code(line):
    parsed = Record.parse(line)
    return replace(parsed, provenance={**parsed.provenance, "code": "0" * 12}).line()


FORGED = {
    "another kind": (_head(kind="photographs"), "first line does not say so"),
    "a later format": (_head(format=2), "it is of format 2, this package knows 1"),
    "no files": (_head(files=3), "does not say what follows"),
    "a field too many": (_files(lambda f: f.update(path="../x")), "does not say what follows"),
    "a count of text": (_files(lambda f: f.update(records="2")), "does not say what follows"),
    "no records": (_files(lambda f: f.update(records=0)), "does not say what follows"),
    "more than there are": (_files(lambda f: f.update(records=9)), "ends before its last record"),
    "less than there are": (lambda h, ls: (h, [*ls, ls[0]]), "more follows its last record"),
    "one place twice": (
        _files(lambda f: f.update(scale="cpu", experiment="constant-step")),
        "has cpu/constant-step twice",
    ),
    "one run twice": (lambda h, ls: (h, [ls[0], ls[1], ls[1]]), "a second time"),
    "a number changed": (_line(1, lambda s: s.replace("9", "8", 1)), "line 3 was altered"),
    "garbage": (_line(2, lambda s: "garbage"), "line 4 is cut short or is not JSON"),
    "no text": (_line(2, lambda s: s.replace("digits", "\udcff", 1)), "line 4 is no text"),
    "a blank more": (_line(1, lambda s: f"{s} "), "line 3 is not written as the store writes it"),
    "a failed run": (_line(0, lambda s: record(2, "failed").line()), "of a run that failed"),
    "other code": (_line(0, _of_other_code), "was made by other code than it says"),
}


@pytest.mark.parametrize(("change", "says"), FORGED.values(), ids=FORGED)
def test_a_forged_one_is_refused_in_one_line(file: Path, change, says: str) -> None:
    rewritten(file, change)
    with pytest.raises(InputError, match=says) as caught:
        read_bundle(file)
    assert "\n" not in str(caught.value)
    assert "records.gz is no sound bundle of records" in str(caught.value)


def test_a_line_that_is_another_sound_record_is_seen_by_the_sum_of_all(file: Path) -> None:
    rewritten(file, _line(0, lambda s: record(7).line()), resign=False)
    with pytest.raises(InputError, match="the sha256 of cpu/constant-step does not fit"):
        read_bundle(file)


def test_records_of_another_version_name_it(file: Path) -> None:
    def newer(head, lines):
        body = json.loads(lines[0])
        body["config"]["cooling"] = 3
        del body["sha256"]
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()
        summed = json.dumps({**body, "sha256": digest}, sort_keys=True, separators=(",", ":"))
        return head | {"sgdnoise": "9.0"}, [summed, *lines[1:]]

    rewritten(file, newer)
    with pytest.raises(InputError, match=r"line 2 is of another version.*sgdnoise '9.0' wrote it"):
        read_bundle(file)


@pytest.mark.parametrize("keep", [0, 1, 9, 60, -9, -1])
def test_a_file_that_was_cut_is_refused(file: Path, keep: int) -> None:
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match="no sound bundle of records") as caught:
        read_bundle(file)
    assert "\n" not in str(caught.value)


def test_what_follows_the_text_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    for more in (b"garbage", gzip.compress(b"more\n")):
        file.write_bytes(whole + more)
        with pytest.raises(InputError, match="no sound bundle"):
            read_bundle(file)


def test_what_unpacks_to_too_much_is_not_unpacked(file: Path, monkeypatch) -> None:
    """Of a small file whose text has no end, no more is read than is allowed."""
    monkeypatch.setattr(bundle, "MOST_BYTES", 1 << 20)
    file.write_bytes(gzip.compress(bytes(30 << 20)))
    assert file.stat().st_size < 1 << 16
    read: list[int] = []
    original = gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda self, n=-1: read.append(n) or original(self, n)
    )
    with pytest.raises(InputError, match="unpacks to more than 1 MB"):
        read_bundle(file)
    assert read == [(1 << 20) + 1]
    file.write_bytes(os.urandom((1 << 20) + 1))
    with pytest.raises(InputError, match="larger than 1 MB"):
        read_bundle(file)


def test_too_many_records_are_refused_before_a_byte_is_written(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bundle, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match="with --scale and --experiment"):
        write_bundle(tmp_path / "b.gz", {PLACE: [record(0), record(1)]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", [b"a letter", gzip.compress(b"a packed letter", mtime=0), b""])
def test_what_is_no_bundle_is_not_written_over(tmp_path: Path, there: bytes) -> None:
    path = tmp_path / "letter"
    path.write_bytes(there)
    with pytest.raises(InputError, match="is there and is no bundle of records"):
        write_bundle(path, {PLACE: [record()]})
    assert path.read_bytes() == there
    with pytest.raises(InputError, match="no bundle of records"):
        write_bundle(tmp_path, {PLACE: [record()]})


def test_a_file_that_cannot_be_read_or_written_is_one_line(tmp_path: Path, monkeypatch) -> None:
    for path in (tmp_path / "none", tmp_path, Path("a\0b"), Path("x" * 5000)):
        with pytest.raises(InputError, match="cannot read") as caught:
            read_bundle(path)
        assert "\n" not in str(caught.value)
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    for path in (blocker / "b.gz", tmp_path / "none" / "b.gz", tmp_path / ("x" * 300)):
        with pytest.raises((FailureError, InputError)) as caught:
            write_bundle(path, {PLACE: [record()]})
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]


def test_a_writer_that_is_stopped_leaves_the_old_bundle(file: Path, monkeypatch) -> None:
    before = file.read_bytes()

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(file, {PLACE: [record(5)]})
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]
