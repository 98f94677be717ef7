"""The command line: parse, call, print. Nothing is computed here.

Errors are one line on stderr that says what, why and what to do: exit 2 for bad input, 1 for a
failure on the way. With `--json`, stdout carries one JSON document and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from sgdnoise import __version__
from sgdnoise.errors import FailureError, InputError


class _Parser(argparse.ArgumentParser):
    """Argparse with its complaint on one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see `{self.prog} --help`")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


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


def _parser() -> _Parser:
    parser = _Parser(
        prog="sgdnoise",
        description="The noise in SGD: three papers on batch size, re-derived, re-run and judged.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sgdnoise {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], help: str) -> _Parser:
        sub: _Parser = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
        sub.set_defaults(run=run)
        return sub

    reproduce = command("reproduce", _reproduce, "train what is missing and render its page")
    reproduce.add_argument("experiment", help="an experiment's name, or all")
    reproduce.add_argument("--scale", required=True, help="digits, cpu, gpu or paper")
    reproduce.add_argument("--seeds", type=_whole, metavar="N", help="runs a grid point")
    reproduce.add_argument(
        "--fresh",
        action="store_true",
        help="ignore what is committed: train everything into local/, and compare",
    )
    reproduce.add_argument("--results", type=Path, metavar="DIR", help="where records live")
    reproduce.add_argument("--runs", type=Path, metavar="DIR", help="where pages are rendered")
    reproduce.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler to train on")
    reproduce.add_argument("--jobs", type=_whole, metavar="N", help="worker processes")
    reproduce.add_argument(
        "--dry-run", action="store_true", help="list what is missing and its cost; train nothing"
    )

    reproduce.add_argument(
        "--minutes",
        type=_number,
        metavar="M",
        help="stop after so long, runs in flight with a checkpoint; run again to go on",
    )

    nqm = command("nqm", _nqm, "steps to a target loss in the noisy quadratic model")
    nqm.add_argument("--batch-size", type=_number, required=True, metavar="B")
    nqm.add_argument("--momentum", type=_number, default=0.0, metavar="M")
    nqm.add_argument("--target-loss", type=_number, default=0.01, metavar="L")
    nqm.add_argument("--max-steps", type=_whole, default=10**8, metavar="K")
    nqm.add_argument("--dims", type=_whole, default=10_000, metavar="D")
    nqm.add_argument("--spectrum", choices=("exact", "binned"), default="exact")
    nqm.add_argument("--json", action="store_true", help="one JSON document on stdout")

    data = command("data", _data, "fetch or verify a data set")
    data.add_argument("action", choices=("fetch", "verify"))
    data.add_argument("name", help="digits, mnist, cifar10, ...")
    return parser


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
    )


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
        print(f"{name:<24}{value}")


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code."""
    try:
        parsed = _parser().parse_args(arguments)
        parsed.run(parsed)
    except (InputError, FailureError) as error:
        print(f"sgdnoise: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        print("sgdnoise: stopped; what was finished is kept, run again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
