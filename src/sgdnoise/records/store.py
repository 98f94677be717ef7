"""The store: one line a run, appended; no sound line is rewritten.

`results/<scale>/<experiment>.jsonl` holds one canonical JSON object a line: id, config (the fields
that differ from their defaults), status, metrics, curves, provenance, and the sha256 of all of
these. Lines are appended under a lock and synced to disk, git merges two branches' lines by union,
and a line that does not read, whose hash is off, or whose config is not the run it claims to be, is
named and counted as missing.

A run that another experiment of the scale has need not stand twice: a line of
`results/<scale>/<experiment>.shared`, its id and the other's name, says where it stands.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import filelock

from sgdnoise.errors import FailureError, InputError
from sgdnoise.provenance import code_digest
from sgdnoise.records.lines import (
    MOST_SAID,
    add_new_lines,
    is_cut_short,
    lines_of,
    replace_lines,
    write_synced,
)
from sgdnoise.records.record import Record, is_there
from sgdnoise.records.shares import NAME, SHARED, shares_of


@dataclass
class _Seen:
    """What has been read of a file so far: whole lines, from its start on.

    Attributes:
        inode: the file's.
        stamp: time of change and size in bytes when it was last read.
        end: bytes in the whole lines.
        lines: how many these are.
        last: the last of them, by which a file that grew is told from one that was written anew.
        rest: what follows them, as of a writer in the middle of a line.
        records: the sound ones of the whole lines, by id.
        complaints: what is wrong with the others.
    """

    inode: int
    stamp: tuple[int, int] = (0, 0)
    end: int = 0
    lines: int = 0
    last: bytes = b""
    rest: bytes = b""
    records: dict[str, Record] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def is_start_of(self, file: BinaryIO, stat: os.stat_result) -> bool:
        """Whether the file is the one that was read, perhaps with more at its end."""
        if stat.st_ino != self.inode or stat.st_size <= self.stamp[1]:
            return stat.st_ino == self.inode and _stamp(stat) == self.stamp
        file.seek(self.end - len(self.last))
        return file.read(len(self.last)) == self.last

    def read_on(self, file: BinaryIO, stat: os.stat_result, path: Path) -> None:
        """Reads what was appended since."""
        if self.stamp == _stamp(stat):
            return
        file.seek(self.end)
        *whole, self.rest = file.read().split(b"\n")
        with _collector_paused():
            for line in whole:
                self.lines += 1
                self.end += len(line) + 1
                self._take(line, path, self.lines, self.records, self.complaints)
        if whole:
            self.last = whole[-1] + b"\n"
        self.stamp = _stamp(stat)

    def all(self, path: Path) -> tuple[dict[str, Record], list[str]]:
        """Records and complaints, the caller's own, with what follows the whole lines."""
        records, complaints = dict(self.records), list(self.complaints)
        self._take(self.rest, path, self.lines + 1, records, complaints)
        return records, complaints

    @staticmethod
    def _take(
        line: bytes, path: Path, number: int, records: dict[str, Record], complaints: list[str]
    ) -> None:
        if not line.strip():
            return
        try:
            record = Record.parse(line.decode(errors="replace"))
        except ValueError as error:
            said = " ".join(str(error).split())[:MOST_SAID]
            complaints.append(f"{path}:{number} {said}; its run counts as missing")
            return
        if not is_there(records, record.id):
            records[record.id] = record


def _stamp(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_mtime_ns, stat.st_size


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """For making many records: none is garbage, and looking through all again takes half the time.

    The collector of cycles is the process's own: it goes on as it was.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextlib.contextmanager
def told(
    doing: str, path: Path, error: type[InputError] | type[FailureError] = InputError
) -> Iterator[None]:
    """Turns what the system says of a path into one line: what, why, and what to do.

    Args:
        doing: what is done, as `read records`.
        path: where.
        error: what is raised instead; InputError in any case for what cannot be a path.
    """
    try:
        yield
        return
    except (InputError, FailureError):
        raise
    except OSError as found:
        why = found.strerror or str(found)
    except ValueError as found:
        why, error = str(found), InputError
    raise error(f"cannot {doing} at {shown_path(path)} ({why}): give another folder with --results")


def shown_path(path: Path) -> str:
    """A path on one line, without its middle if it is long."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(path))
    return text if len(text) <= 300 else f"{text[:100]}...{text[-100:]}"


@dataclass
class Store:
    """A folder of records.

    Attributes:
        root: the folder, `results/` or a reader's own.
        complaints: one line for each record that was refused when last read.
    """

    root: Path
    complaints: list[str] = field(default_factory=list)
    _seen: dict[Path, _Seen] = field(default_factory=dict)

    def path(self, scale: str, experiment: str) -> Path:
        """Where an experiment's records at a scale stand."""
        return self.root / scale / f"{experiment}.jsonl"

    def read(self, scale: str, experiment: str) -> dict[str, Record]:
        """The sound records of an experiment, by id; what is not sound lands in `complaints`.

        A run that stands twice, as after a merge, counts once: the first line is kept. A `failed`
        record does not count as the run it stands for unless nothing better does.

        What another experiment shares with a third is not looked for.

        Of a file that was read before, only what was appended since is read; a file that was
        written anew is read anew, told by its inode, its size, and its last line.

        Raises:
            InputError: when there is something that cannot be read.
        """
        path = self.path(scale, experiment)
        records, self.complaints = self._own(path)
        shares, wrong = self._shares(path)
        self.complaints += [complaint for complaint, _ in wrong]
        for other, runs in shares.items():
            # What is wrong with the other's lines is said where those are read.
            theirs, _ = self._own(path.with_stem(other))
            records |= {
                run: theirs[run]
                for run in runs
                if is_there(theirs, run) and not is_there(records, run)
            }
        for other, runs in shares.items():
            if lost := [run for run in runs if not is_there(records, run)]:
                more = f" and {len(lost) - 3:,} more" if len(lost) > 3 else ""
                self.complaints.append(
                    f"{path.with_suffix(SHARED)} names runs of {other} that have no sound record "
                    f"there and count as missing: {', '.join(lost[:3])}{more}"
                )
        return records

    def _own(self, path: Path) -> tuple[dict[str, Record], list[str]]:
        """The sound records of one file, by id, and what is wrong with the others."""
        with told("read records", path), contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("rb"))
            except FileNotFoundError:
                return {}, []
            stat = os.fstat(file.fileno())
            seen = self._seen.get(path)
            if seen is None or not seen.is_start_of(file, stat):
                seen = self._seen[path] = _Seen(stat.st_ino)
            seen.read_on(file, stat, path)
        return seen.all(path)

    def _shares(self, path: Path) -> tuple[dict[str, list[str]], list[tuple[str, bytes]]]:
        with told("read records", path):
            return shares_of(path)

    def files(self, scale: str, experiment: str) -> list[Path]:
        """The files with an experiment's records: its own first, then those that it shares.

        Raises:
            InputError: when there is something that cannot be read.
        """
        path = self.path(scale, experiment)
        shares, _ = self._shares(path)
        return [path, *(path.with_stem(other) for other in shares)]

    def names(self, scale: str, experiment: str) -> Path:
        """Where the runs are named that an experiment shares."""
        return self.path(scale, experiment).with_suffix(SHARED)

    def append(self, scale: str, experiment: str, records: Iterable[Record]) -> None:
        """Adds records at the end, on disk before this returns.

        The half line of a writer that was killed is first set aside, as `repair` does it, so that
        no line is glued to it.

        Raises:
            FailureError: when the folder cannot be written.
        """
        if records := list(records):
            with self._writing(scale, experiment) as path:
                self._append(path, records)

    def append_missing(self, scale: str, experiment: str, records: Iterable[Record]) -> int:
        """Adds those of some records whose runs are not there, or only as failed ones.

        No other writer can add one of them in between.

        Returns:
            How many were added.

        Raises:
            InputError: when what is there cannot be read.
            FailureError: when the folder cannot be written.
        """
        with self._writing(scale, experiment) as path:
            there = self.read(scale, experiment)
            new = [record for record in records if not is_there(there, record.id)]
            self._append(path, new)
        return len(new)

    def share_missing(self, scale: str, experiment: str, other: str, runs: Iterable[str]) -> int:
        """Names those runs of another experiment that are not there, or only as failed ones.

        Args:
            scale, experiment: for whom.
            other: with whom their records stand.
            runs: their ids.

        Returns:
            How many were added.

        Raises:
            ValueError: for another that is called as no experiment is, and so is not found again.
            InputError: when what is there cannot be read.
            FailureError: when the folder cannot be written.
        """
        if other == experiment or not NAME.fullmatch(other):
            raise ValueError(f"{other} is no other experiment than {experiment}")
        with self._writing(scale, experiment) as path:
            there = self.read(scale, experiment)
            new = [f"{run} {other}".encode() for run in runs if not is_there(there, run)]
            if new:
                if not path.exists():
                    path.touch()  # by its own file an experiment is seen to have records
                add_new_lines(path.with_suffix(SHARED), new)
        return len(new)

    @contextlib.contextmanager
    def _writing(self, scale: str, experiment: str) -> Iterator[Path]:
        """The file of an experiment, which has its folder, and to which nobody else writes."""
        path = self.path(scale, experiment)
        with told("write records", path, FailureError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with self.lock(f"{scale}-{experiment}-write"):
                yield path

    def elsewhere(
        self,
        scale: str,
        experiment: str,
        runs: Iterable[str],
        code: str | None = None,
        fits: Callable[[Record], bool] = lambda record: True,
    ) -> dict[str, dict[str, Record]]:
        """Sound records of some runs that stand with other experiments of the same scale.

        Args:
            scale, experiment: for whom they are looked for.
            runs: the ids of the runs.
            code: the digest of the code that has to have made them; None for any.
            fits: whether a record is wanted, whatever its code.

        Returns:
            By the experiment where they stand, the records by run. A run that stands with several
            is that of the first by name; one that has two lines there is the first, as `read` has
            it. Failed runs are not among them.

        Raises:
            InputError: when there is something that cannot be read.
        """
        wanted, found = set(runs), {}
        path = self.path(scale, experiment)
        for other in sorted(path.parent.glob("*.jsonl")) if wanted else ():
            if other == path or not NAME.fullmatch(other.stem):
                continue
            with told("read records", other):
                lines = lines_of(other)
            mine = {
                record.id: record
                for record in _some(lines, wanted)
                if code in (None, record.provenance["code"]) and fits(record)
            }
            if mine:
                found[other.stem] = mine
                wanted -= mine.keys()
        return found

    def repair(self, scale: str, experiment: str) -> list[str]:
        """Moves the lines that are not sound records to `<experiment>.rejected` beside the store.

        Nothing is lost, and a merge or an append can no longer trip over them.

        Returns:
            One line for each that was moved: which, and what is wrong with it.

        Raises:
            InputError: when the files cannot be read or written.
        """
        self.read(scale, experiment)
        if self.complaints:
            path = self.path(scale, experiment)
            with told("set records aside", path), self.lock(f"{scale}-{experiment}-write"):
                self._set_aside(path)
                self._keep_shares(path, bad=path.with_suffix(".rejected"))
        return self.complaints

    def retire_other_code(self, scale: str, experiment: str) -> None:
        """Moves records that other training code made to `<experiment>.<its digest>.old`.

        For a store that shows what the code on this machine gives now, as `--fresh` fills it. What
        was retired before stays: lines are added to it. A shared run of other code is no longer
        named, and stands with the other experiment as before.

        Raises:
            InputError: when the files cannot be read or written.
        """
        path = self.path(scale, experiment)
        self.read(scale, experiment)  # which refuses what cannot be read
        if not (path.exists() or path.with_suffix(SHARED).exists()):
            return
        with told("retire records", path), self.lock(f"{scale}-{experiment}-write"):
            kept: list[bytes] = []
            retired: dict[str, list[bytes]] = {}
            for line in lines_of(path):
                code = _code_of(line)
                here = code in (None, code_digest())
                (kept if here else retired.setdefault(str(code), [])).append(line)
            for code, lines in retired.items():
                add_new_lines(path.with_suffix(f".{code}.old"), lines)
            if retired:
                replace_lines(path, kept)
            self._keep_shares(path, code=code_digest())

    def _append(self, path: Path, records: list[Record]) -> None:
        if is_cut_short(path):
            self._set_aside(path)
        write_synced(path, "ab", "".join(record.line() + "\n" for record in records).encode())

    def _set_aside(self, path: Path) -> None:
        good, bad = [], []
        for line in lines_of(path):
            try:
                Record.parse(line.decode(errors="replace"))
                good.append(line)
            except ValueError:
                bad.append(line)
        if bad:
            add_new_lines(path.with_suffix(".rejected"), bad)
            replace_lines(path, good)

    def _keep_shares(self, path: Path, code: str | None = None, bad: Path | None = None) -> None:
        """Leaves of the runs that are named as another's those whose records are there.

        Args:
            path: the experiment's own file.
            code: the digest of the code that has to have made them; None for any.
            bad: where the other lines go; None for nowhere, as the records stand with the other.
        """
        shares, wrong = self._shares(path)
        # Without a place for them, lines that name no run wait for `repair`.
        good = [line for _, line in wrong if bad is None]
        lines = [line for _, line in wrong if bad is not None]
        own, _ = self._own(path)
        for other, runs in shares.items():
            theirs, _ = self._own(path.with_stem(other))
            for run in runs:
                fits = is_there(theirs, run) and code in (None, theirs[run].provenance["code"])
                keep = fits or (code is None and is_there(own, run))
                (good if keep else lines).append(f"{run} {other}".encode())
        if lines:
            if bad is not None:
                add_new_lines(bad, lines)
            replace_lines(path.with_suffix(SHARED), good)
        if not good:
            path.with_suffix(SHARED).unlink(missing_ok=True)

    def check_writable(self) -> None:
        """Refuses a folder that cannot be written, before any work.

        Raises:
            FailureError: one line that names the folder.
            InputError: likewise, for what cannot be the name of a folder.
        """
        with told("write records", self.root, FailureError):
            (self.root / ".locks").mkdir(parents=True, exist_ok=True)
            probe = self.root / ".locks" / f"probe-{os.getpid()}"
            probe.touch()
            probe.unlink()

    def lock(self, name: str) -> filelock.FileLock:
        """A lock among processes that is freed when its holder dies, however it dies.

        Any thread of its holder may free it: a sweep takes it in one and frees it in another.
        """
        folder = self.root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(folder / f"{name}.lock", thread_local=False)


_ID = re.compile(rb'"id":"([0-9a-f]{16})"')


def _some(lines: Iterable[bytes], wanted: set[str]) -> Iterator[Record]:
    """The first sound record of each of some runs; most lines are of others and are not parsed."""
    told: set[str] = set()
    for line in lines:
        if not any(match[1].decode() in wanted - told for match in _ID.finditer(line)):
            continue
        try:
            record = Record.parse(line.decode(errors="replace"))
        except ValueError:
            continue  # whose it is says so when it is read for itself
        if record.id in wanted - told and record.status != "failed":
            told.add(record.id)
            yield record


def _code_of(line: bytes) -> str | None:
    """The digest of the code that made a record, as part of a file's name; None for no record."""
    try:
        code = str(Record.parse(line.decode(errors="replace")).provenance["code"])
    except ValueError:
        return None
    return code if re.fullmatch("[0-9a-z]{1,64}", code) else "unknown"
