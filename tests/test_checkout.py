"""The checkout is found from wherever a notebook runs, or it is said that there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgdnoise import checkout
from sgdnoise.checkout import book_folder, check_writable, project_root
from sgdnoise.errors import FailureError, InputError


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout; the current folder is its `book/`. The package is of another."""
    root = tmp_path / "clone"
    (root / "book").mkdir(parents=True)
    (root / "_toc.yml").touch()
    monkeypatch.chdir(root / "book")
    return root


def test_from_the_books_folder_upwards(book: Path) -> None:
    assert project_root() == book
    assert book_folder() == book / "book"


def test_outside_of_any_the_packages_own_checkout_has_the_notebooks(
    book: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outside = tmp_path / "else"
    outside.mkdir()
    monkeypatch.chdir(outside)
    monkeypatch.setattr(checkout, "__file__", str(book / "src" / "sgdnoise" / "checkout.py"))
    assert book_folder() == book / "book"
    with pytest.raises(InputError, match="not inside the book's checkout"):
        project_root()
    with pytest.raises(InputError, match=r"change into it$"):
        project_root()
    with pytest.raises(InputError, match=r"change into it, or take another$"):
        project_root("take another")
    # Installed elsewhere, as by pip, there is none.
    monkeypatch.setattr(checkout, "__file__", str(tmp_path / "lib" / "py" / "sgdnoise" / "c.py"))
    with pytest.raises(InputError, match="where the notebooks are: change into it") as caught:
        book_folder()
    assert "\n" not in str(caught.value)


def test_a_current_folder_that_was_deleted_is_no_checkout(
    book: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = book / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr(checkout, "__file__", str(book / "src" / "sgdnoise" / "checkout.py"))
    assert checkout.roots() == [book]
    assert book_folder() == book / "book"
    with pytest.raises(InputError, match="the current folder, which was deleted, is not inside"):
        project_root()
    monkeypatch.setattr(checkout, "__file__", str(tmp_path / "lib" / "py" / "sgdnoise" / "c.py"))
    assert checkout.roots() == []
    with pytest.raises(InputError, match="the current folder, which was deleted, is not inside"):
        book_folder()


def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b", "pages", "--runs")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(FailureError, match=r"cannot write pages to .*file .*with --runs") as caught:
        check_writable(tmp_path / "file", "pages", "--runs")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
