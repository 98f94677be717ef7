"""The command line: parse, call, print. Nothing is computed here.

Errors are one line on stderr that says what, why and what to do: exit 2 for bad input, 1 for a
failure on the way. With `--json`, stdout carries one JSON document and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from sgdnoise import __version__
from sgdnoise.errors import FailureError, InputError, shown


class _Parser(argparse.ArgumentParser):
    """Argparse with its complaint on one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see `{self.prog} --help`")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number") from None


def _whole(text: str) -> int:
    with contextlib.suppress(ValueError):
        return int(text)
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if not math.isfinite(value) or value != int(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(value)


def _count(text: str) -> float:
    """A whole number, or another one for the command to refuse, for it knows the bounds."""
    for read in (int, float):
        with contextlib.suppress(ValueError):
            return read(text)
    raise argparse.ArgumentTypeError(f"{shown(text)} is not a whole number")


def _folder(text: str) -> Path:
    if not text:  # which pathlib takes for the current folder
        raise argparse.ArgumentTypeError("a folder's name is empty: name one, `.` for this one")
    return Path(text)


def _part(text: str) -> tuple[str, str]:
    """A name and a value of a sweep's key."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not NAME=VALUE, as arm=longer is")
    return name, value


def _parser() -> _Parser:
    parser = _Parser(
        prog="sgdnoise",
        description="The noise in SGD: three papers on batch size, re-derived, re-run and judged.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sgdnoise {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], None], help: str, more: str = ""
    ) -> _Parser:
        sub: _Parser = commands.add_parser(
            name, help=help, description=help, epilog=more, allow_abbrev=False
        )
        sub.set_defaults(run=run, parser=sub)
        return sub

    reproduce = command("reproduce", _reproduce, "train what is missing and render its page")
    reproduce.add_argument("experiment", help="an experiment's name, or all")
    reproduce.add_argument("--scale", required=True, help="digits, cpu, gpu or paper")
    reproduce.add_argument("--seeds", type=_count, metavar="N", help="runs a grid point")
    reproduce.add_argument(
        "--fresh",
        action="store_true",
        help="ignore what is committed: train everything into local/, and compare",
    )
    reproduce.add_argument("--results", type=_folder, metavar="DIR", help="where records live")
    reproduce.add_argument("--runs", type=_folder, metavar="DIR", help="where pages are rendered")
    reproduce.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler to train on")
    reproduce.add_argument("--jobs", type=_count, metavar="N", help="worker processes")
    reproduce.add_argument(
        "--dry-run", action="store_true", help="list what is missing and its cost; train nothing"
    )

    reproduce.add_argument(
        "--minutes",
        type=_number,
        metavar="M",
        help="stop after so long, runs in flight with a checkpoint; run again to go on",
    )

    reproduce.add_argument(
        "--no-render", action="store_true", help="only train: for a machine that has no notebooks"
    )
    reproduce.add_argument(
        "--breadth-first",
        action="store_true",
        help="one seed of everything before any second: for a machine that is lent for a while",
    )
    reproduce.add_argument(
        "--gpu",
        action="store_true",
        help="train on this machine's CUDA GPU also what the scale leaves to its processors",
    )
    reproduce.add_argument(
        "--only",
        action="append",
        type=_part,
        metavar="NAME=VALUE",
        help="train only sweeps of such a part, as arm=longer, and render no page; several narrow",
    )

    claims = command("claims", _claims, "judge the papers' claims on the records that are there")
    claims.add_argument(
        "--scale", metavar="SCALE", help="digits, cpu, gpu or paper; all unless given"
    )
    claims.add_argument("--paper", choices=("S20", "H17", "G20"), help="all unless given")
    claims.add_argument("--claim", metavar="ID", help="one claim by its id; all unless given")
    claims.add_argument("--results", type=_folder, metavar="DIR", help="where records live")
    claims.add_argument("--json", action="store_true", help="one JSON document on stdout")

    command("build", _build, "render the pages of the contents and build the book")

    nqm = command(
        "nqm",
        _nqm,
        "steps to a target loss in the noisy quadratic model",
        "Its guarantee says how surely no learning rate is quicker: proved, by a theorem; "
        "resolved, every oscillation was searched on a grid fine enough for it; coarse, there were "
        "too many of them, and a quicker one may have been missed.",
    )

    def setting(
        name: str, metavar: str, type: Callable[[str], float], default: float, help: str
    ) -> None:
        help = f"{help}; {default:g} unless given"
        nqm.add_argument(name, metavar=metavar, type=type, default=default, help=help)

    nqm.add_argument(
        "--batch-size", type=_number, required=True, metavar="B", help="the noise falls as 1/B"
    )
    setting("--momentum", "M", _number, 0.0, "from 0 to below 1")
    setting("--target-loss", "L", _number, 0.01, "the expected loss to reach")
    setting("--max-steps", "K", _whole, 10**8, "beyond it the target counts as unreachable")
    setting("--dims", "D", _whole, 10_000, "directions, of curvatures 1, 1/2, 1/3, ...")
    nqm.add_argument(
        "--spectrum",
        choices=("exact", "binned"),
        default="exact",
        help="every direction, or 100 levels of them, which is quicker; exact unless given",
    )
    nqm.add_argument("--json", action="store_true", help="one JSON document on stdout")

    _add_diagnose(
        command(
            "diagnose",
            _diagnose,
            "tell which regime a training of your own is in",
            "FUNCTION takes nothing and returns (model, loss_fn, data) or (model, loss_fn, data, "
            "optimizer). The data are two tensors, a Dataset, a DataLoader or a list of batches; "
            "a loader tells the batch size, and torch.optim.SGD rate and momentum.",
        )
    )

    _add_records(command("records", _records, "take records from one machine to another"))

    data = command("data", _data, "fetch or verify a data set")
    data.add_argument("action", choices=("fetch", "verify"))
    data.add_argument("name", help="digits, mnist, cifar10, ...")
    return parser


def help_pages(width: int = 88) -> dict[str, str]:
    """What `--help` says, by the name of the command, at a width in characters."""
    pages: dict[str, str] = {}
    waiting: list[argparse.ArgumentParser] = [_parser()]
    while waiting:
        parser = waiting.pop(0)
        parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=width)
        pages[parser.prog] = parser.format_help()
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()
    return pages


def _add_diagnose(diagnose: _Parser) -> None:
    diagnose.add_argument("function", metavar="MODULE:FUNCTION", help="what gives the model")
    diagnose.add_argument("--batch-size", type=_whole, metavar="B", help="else the data loader's")
    diagnose.add_argument("--lr", type=_number, metavar="LR", help="else the optimizer's")
    diagnose.add_argument(
        "--momentum", type=_number, metavar="M", help="else the optimizer's, or 0"
    )
    diagnose.add_argument(
        "--examples",
        type=_whole,
        default=2048,
        metavar="N",
        help="to measure on; 2048 unless given",
    )
    diagnose.add_argument(
        "--verify", action="store_true", help="also train shortly at two and four times the batch"
    )
    diagnose.add_argument("--json", action="store_true", help="one JSON document on stdout")
    diagnose.add_argument("--html", type=Path, metavar="FILE", help="write a report to read")


def _add_records(records: _Parser) -> None:
    actions = records.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, help: str) -> _Parser:
        sub: _Parser = actions.add_parser(name, help=help, description=help, allow_abbrev=False)
        sub.set_defaults(parser=sub)
        sub.add_argument("file", type=Path, metavar="FILE", help="the bundle")
        sub.add_argument("--results", type=_folder, metavar="DIR", help="where records live")
        return sub

    bundle = action("bundle", "write the sound records of a store into one file")
    bundle.add_argument("--scale", metavar="SCALE", help="digits, cpu, gpu or paper; else all")
    bundle.add_argument("--experiment", metavar="NAME", help="one experiment; else all")
    merge = action("merge", "check a bundle, and take in the runs that are not here")
    merge.add_argument("--dry-run", action="store_true", help="check and count; write nothing")


def _reproduce(arguments: argparse.Namespace) -> None:
    from sgdnoise.reproduce import reproduce

    reproduce(
        arguments.experiment,
        arguments.scale,
        seeds=arguments.seeds,
        fresh=arguments.fresh,
        results=arguments.results,
        runs=arguments.runs,
        jobs=arguments.jobs,
        scheduler=arguments.scheduler,
        dry_run=arguments.dry_run,
        minutes=arguments.minutes,
        render=not arguments.no_render,
        breadth_first=arguments.breadth_first,
        gpu=arguments.gpu,
        only=_narrowed(arguments.only or ()),
    )


def _narrowed(parts: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Names and values that a sweep's key has to have.

    Raises:
        InputError: where a name has two values, which no key has.
    """
    only: dict[str, str] = {}
    for name, value in parts:
        if only.setdefault(name, value) != value:
            raise InputError(
                f"no sweep has both {name}={only[name]} and {name}={value}: give --only one of them"
            )
    return only


def _claims(arguments: argparse.Namespace) -> None:
    from sgdnoise.book.scorecard import scorecard
    from sgdnoise.records.find import find_store
    from sgdnoise.records.store import shown_path

    store = find_store(arguments.results)
    rows = scorecard(store, arguments.scale, arguments.paper, arguments.claim, _say_refused)
    if arguments.json:
        print_json(rows)
        return
    print(f"judged on {shown_path(store.root)}", file=sys.stderr)
    for row in rows:
        print(f"{row['scale'] or '-':<7} {row['verdict']:<16} {row['id']}: {row['statement']}")
        print(f"        {row['why']}")


def _say_refused(complaint: str) -> None:
    print(f"refused: {complaint}", file=sys.stderr)


def _records(arguments: argparse.Namespace) -> None:
    from sgdnoise import exchange

    if arguments.action == "merge":
        exchange.merge(arguments.file, results=arguments.results, dry_run=arguments.dry_run)
        return
    exchange.bundle(
        arguments.file,
        results=arguments.results,
        scale=arguments.scale,
        experiment=arguments.experiment,
    )


def _build(arguments: argparse.Namespace) -> None:
    from sgdnoise.checkout import project_root

    root = project_root()  # before all that takes long to import
    from sgdnoise.book.address import follow
    from sgdnoise.book.build import build
    from sgdnoise.book.notebooks import render_contents

    for notebook in follow(root):
        print(f"follows the repository's address: {notebook}", file=sys.stderr)
    render_contents(root, root / "results", root / "papermill_runs")
    print(build(root))


def _nqm(arguments: argparse.Namespace) -> None:
    from sgdnoise.theory.nqm import time_to_target

    try:
        answer = time_to_target(
            arguments.batch_size,
            momentum=arguments.momentum,
            target_loss=arguments.target_loss,
            max_steps=arguments.max_steps,
            dims=arguments.dims,
            spectrum=arguments.spectrum,
        )
    except ValueError as error:
        raise InputError(str(error)) from None
    if arguments.json:
        print_json(answer.to_dict())
        return
    for name, value in answer.to_dict().items():
        if name == "status" and value == "unreachable":
            value = "unreachable within max_steps"
        print(f"{name:<24}{_brief(value)}")


def _brief(value: object) -> str:
    """A number in six significant digits, a dash for none; whole numbers and words as they are."""
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _diagnose(arguments: argparse.Namespace) -> None:
    from sgdnoise.diagnose import diagnose, load, report

    if arguments.html is not None:
        report.check_file(arguments.html)
    # What the user's own code prints is no part of the answer.
    with contextlib.redirect_stdout(sys.stderr):
        found = diagnose(
            load(arguments.function),
            batch_size=arguments.batch_size,
            learning_rate=arguments.lr,
            momentum=arguments.momentum,
            examples=arguments.examples,
            verified=arguments.verify,
        )
    if arguments.html is not None:
        report.write(found, arguments.html)
    if arguments.json:
        print_json(found.to_dict())
    else:
        print(report.text(found))


def _data(arguments: argparse.Namespace) -> None:
    from sgdnoise import data

    if arguments.action == "fetch":
        print(data.fetch(arguments.name))
    else:
        print(data.verify(arguments.name))


def print_json(document: Any) -> None:
    """One JSON document on stdout; what is not finite is null."""
    from sgdnoise.config import canonical_json

    print(json.dumps(json.loads(canonical_json(document)), indent=2))


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which stops a command as Ctrl-C does."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return

    def stop(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and out.errors == "strict":
        out.reconfigure(errors="backslashreplace")  # a terminal of few letters shows the others so
    try:
        code = _run(arguments)
        if out is not None:
            out.flush()
        return code
    except BrokenPipeError:
        _mute()
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _mute()
        print(f"sgdnoise: cannot write ({error.strerror}): make room, run again", file=sys.stderr)
        return 1


def _mute() -> None:
    """Points the standard streams that take no more at nothing.

    What is left in them would be tried once more, and complained of, when Python ends.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _run(arguments: Sequence[str] | None) -> int:
    try:
        with _terminable():
            parsed, more = _parser().parse_known_args(arguments)
            if more:
                parsed.parser.error(f"unrecognized arguments: {' '.join(more)}")
            parsed.run(parsed)
    except (InputError, FailureError) as error:
        print(f"sgdnoise: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt as stop:
        print("sgdnoise: stopped; what was finished is kept, run again to go on", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(stop, _Terminated) else signal.SIGINT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
