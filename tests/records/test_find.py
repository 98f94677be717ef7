"""The store is found from wherever a notebook runs, or it is said that there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sgdnoise import checkout
from sgdnoise.errors import InputError
from sgdnoise.records import find
from sgdnoise.records.find import find_store


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a store; the current folder is its `book/`. The package is of another."""
    root = tmp_path / "clone"
    fill(root / "results")
    (root / "book").mkdir()
    (root / "_toc.yml").touch()
    monkeypatch.chdir(root / "book")
    return root


def fill(store: Path) -> None:
    (store / "digits").mkdir(parents=True)
    (store / "digits" / "constant-epoch.jsonl").touch()


def test_from_the_books_folder_upwards(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_store().root == find_store("results").root == book / "results"
    assert find_store(book / "results").root == book / "results"
    assert find_store("../results").root == book / "book" / "../results"
    # A store of the current folder's own comes first.
    fill(book / "book" / "results")
    assert find_store().root == book / "book" / "results"


def test_outside_of_any_the_packages_own_checkout_is_read(
    book: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outside = tmp_path / "else"
    outside.mkdir()
    monkeypatch.chdir(outside)
    monkeypatch.setattr(checkout, "__file__", str(book / "src" / "sgdnoise" / "checkout.py"))
    assert find_store().root == book / "results"
    # Installed elsewhere, as by pip, it is the one that came with the package.
    shipped = tmp_path / "lib" / "py" / "sgdnoise" / "_results"
    monkeypatch.setattr(find, "SHIPPED", shipped)
    monkeypatch.setattr(checkout, "__file__", str(tmp_path / "lib" / "py" / "sgdnoise" / "c.py"))
    with pytest.raises(InputError) as caught:
        find_store()
    assert f"{outside}/results, {tmp_path}/results, " in str(caught.value)
    assert str(shipped) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_named_store_that_is_empty_or_missing_is_refused(book: Path) -> None:
    (book / "book" / "results").mkdir()
    for name in ("results", book / "book" / "results", "."):
        with pytest.raises(InputError, match="holds no records"):
            find_store(name)
    for name in ("resluts", book / "resluts"):
        with pytest.raises(InputError, match=r"no store .*resluts: looked for .*/resluts"):
            find_store(name)
    with pytest.raises(InputError, match="a folder's name, got 3"):
        find_store(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x" * 5000, "re\0sults"])
def test_a_name_that_no_folder_can_have_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(InputError, match="there is no store") as caught:
        find_store(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("closed", ["store", "store/digits"])
def test_a_store_that_may_not_be_read_is_not_called_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    fill(tmp_path / "store")

    def may_not(listing):
        def tried(path="."):
            if str(path) == str(tmp_path / closed):
                raise PermissionError(13, "Permission denied", str(path))
            return listing(path)

        return tried

    # The permissions themselves mean nothing to root, as whom tests may run.
    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, may_not(getattr(os, name)))
    with pytest.raises(InputError, match=r"cannot read records at .*store \(Permission denied\)"):
        find_store(tmp_path / "store")


def test_an_absolute_store_needs_no_current_folder(
    book: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (book / "gone").mkdir()
    monkeypatch.chdir(book / "gone")
    (book / "gone").rmdir()
    monkeypatch.setattr(checkout, "__file__", str(tmp_path / "lib" / "py" / "sgdnoise" / "c.py"))
    assert find_store(book / "results").root == book / "results"
