"""Bad input as a user meets it: one line, exit 2 on the command line, and never a step trained.

What a single function refuses is tested beside that function; here it comes through the front door.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from PIL import Image

from sgdnoise import cli, models, optim
from sgdnoise.config import make_config
from sgdnoise.data import load, store
from sgdnoise.errors import InputError
from sgdnoise.training import train
from sgdnoise.training.single import train_single


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only data root, beside an empty cache and no network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SGDNOISE_OFFLINE", "1")
    monkeypatch.setattr(store, "SYSTEM_ROOTS", ())
    folder = tmp_path / "root"
    folder.mkdir()
    monkeypatch.setenv("SGDNOISE_DATA", str(folder))
    return folder


def refused(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """What a command that has to be refused says."""
    assert cli.main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("sgdnoise: ")
    return err


@pytest.mark.parametrize("action", ["fetch", "verify"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train-images-idx3-ubyte", b"\x00\x00\x08\x03 cut short"),
        ("train-images-idx3-ubyte", bytes(47_040_016)),  # of the right size
        ("train-images-idx3-ubyte.gz", gzip.compress(bytes(1000), mtime=0)[:-4]),
    ],
    ids=["truncated", "altered", "truncated gz"],
)
def test_a_damaged_data_file(root, capsys, action, name, content):
    path = root / "mnist" / name
    path.parent.mkdir()
    for other in ("train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (path.parent / f"{other}-ubyte").write_bytes(b"")
    path.write_bytes(content)
    said = refused(capsys, "data", action, "mnist")
    assert str(path) in said
    assert "truncated or altered" in said
    assert "SGDNOISE_DATA" in said


@pytest.mark.parametrize("name", ["mnist", "cifar10", "ptb"])
def test_a_missing_data_file_without_network(root, capsys, name):
    said = refused(capsys, "data", "fetch", name)
    assert f"{name} is missing" in said
    assert "SGDNOISE_OFFLINE forbids it" in said
    assert f"sgdnoise data fetch {name}" in refused(capsys, "data", "verify", name)


def test_folders_whose_classes_do_not_match(root, capsys):
    for split, classes in (("train", ("cat", "dog")), ("val", ("cat", "dog", "eel"))):
        for label in classes:
            folder = root / "pets" / split / label
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(folder / "0.png")
    said = refused(capsys, "data", "verify", "image-folder:pets")
    assert "2 classes in train and 3 in val" in said
    assert "eel" in said


RUN = {"dataset": "digits", "model": "f1", "batch_size": 32, "learning_rate": 0.1, "steps": 3}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"norm": "ghost", "ghost_batch_size": 1}, "ghost_batch_size"),
        ({"norm": "batch", "batch_size": 1}, "a single one"),
        ({"norm": "ghost", "batch_size": 1}, "at least 2"),
        # Ghosts of 2, 2 and 1: only the last, a remainder of half a ghost, is too small.
        ({"norm": "ghost", "ghost_batch_size": 2, "batch_size": 5}, "a single one"),
        ({"momentum": 1.0}, "momentum"),
        ({"momentum": 1.5}, "momentum"),
        ({"weight_decay": -5e-4}, "weight_decay"),
        ({"train_size": 9}, "choose from 10 "),
        ({"train_size": 1100}, "to 1024 "),
    ],
)
def test_a_run_that_cannot_be(monkeypatch, change, told):
    monkeypatch.setattr(optim, "backward", lambda *_: pytest.fail("trained"))
    with pytest.raises(InputError, match=told) as caught:
        train([make_config(**{**RUN, **change})])
    assert "\n" not in str(caught.value)


def test_the_smallest_norms_that_can_be_do_train():
    for change in (
        {"norm": "batch", "batch_size": 2},
        {"norm": "ghost", "ghost_batch_size": 2, "batch_size": 4},
        {"norm": "ghost", "ghost_batch_size": 3, "batch_size": 7},  # 3 and 4
        {"norm": "none", "batch_size": 1},
    ):
        (result,) = train([make_config(**{**RUN, "steps": 1, "learning_rate": 1e-3, **change})])
        assert result.status == "done"


@pytest.mark.parametrize("classes", [7, 100])
def test_a_model_of_another_class_count(monkeypatch, classes):
    monkeypatch.setattr(optim, "backward", lambda *_: pytest.fail("trained"))
    digits = load("digits")
    model = models.build("f1", num_classes=classes, input_shape=digits.image_shape)
    with pytest.raises(InputError, match=f"{classes} outputs where its data need 10") as caught:
        train_single(make_config(**RUN), digits, model)
    assert "\n" not in str(caught.value)
