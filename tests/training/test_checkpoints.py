"""Checkpoints: what does not fit starts anew, and what cannot be written stops no run."""

from __future__ import annotations

import copy
import errno
import os
from pathlib import Path

import made_up
import pytest
import torch

from sgdnoise.config import make_config
from sgdnoise.training import checkpoints, state
from sgdnoise.training.run import build_model
from sgdnoise.training.single import train_single

STEPS = 12
ONE = make_config(**{**made_up.WIDE_RESNET, "ghost_batch_size": 16, "steps": STEPS})


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """A checkpoint after every step, on one thread."""
    torch.set_num_threads(1)
    monkeypatch.setattr(state, "CHECKPOINT_SECONDS", -1.0)


@pytest.fixture(scope="module")
def images():
    return made_up.tinted(pixels=16, train=256)


def run(images, path=None, on_step=None, one=ONE):
    model = build_model(one, images)
    return train_single(one, images, model, checkpoint=path, on_step=on_step)


@pytest.fixture(scope="module")
def whole(images):
    torch.set_num_threads(1)
    return run(images)


@pytest.fixture(scope="module")
def saved(images, tmp_path_factory):
    """The bytes of a checkpoint after six steps of twelve."""

    class Killed(Exception):
        pass

    def kill_at_7(done, count=[0]):  # noqa: B006  counts over the calls of this one fixture
        count[0] += done
        if count[0] == 7:
            raise Killed

    path = tmp_path_factory.mktemp("saved") / "run.pt"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(state, "CHECKPOINT_SECONDS", -1.0)
        with pytest.raises(Killed):
            run(images, path, kill_at_7)
    return path.read_bytes()


def assert_anew(images, path, whole, capsys):
    """The run takes nothing from the file, says so in one line, and is the uninterrupted one."""
    steps = []
    capsys.readouterr()
    got = run(images, path, steps.append)
    assert len(steps) == STEPS
    assert got.metrics == whole.metrics
    assert got.curves == whole.curves
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"sgdnoise: the checkpoint {path} is left out (")
    return said


def test_a_sound_one_is_taken_up_in_silence(images, tmp_path, whole, saved, capsys):
    path = tmp_path / "run.pt"
    path.write_bytes(saved)
    steps = []
    got = run(images, path, steps.append)
    assert len(steps) == STEPS - 6
    assert (got.metrics, got.curves) == (whole.metrics, whole.curves)
    assert capsys.readouterr().err == ""
    assert os.listdir(tmp_path) == ["run.pt"]


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.1, 0.3, 0.5, 0.7, 0.9, 0.9999])
def test_a_flipped_bit_starts_anew(images, tmp_path, whole, saved, capsys, share):
    path, place = tmp_path / "run.pt", int(share * len(saved))
    path.write_bytes(saved[:place] + bytes([saved[place] ^ 4]) + saved[place + 1 :])
    assert "sha256" in assert_anew(images, path, whole, capsys)


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.5, 0.9999])
def test_a_truncated_one_starts_anew(images, tmp_path, whole, saved, capsys, share):
    path = tmp_path / "run.pt"
    path.write_bytes(saved[: int(share * len(saved))])
    assert_anew(images, path, whole, capsys)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_one_between_two_logged_steps_is_taken_up(images, tmp_path, saved, share):
    path = tmp_path / "run.pt"
    path.write_bytes(saved)
    content = checkpoints.read_checkpoint(path)
    content["progress"].update(loss_sum=6.5, loss_count=6 * share)
    checkpoints.write_checkpoint(path, content)
    steps = []
    run(images, path, steps.append)
    assert len(steps) == STEPS - 6


def first(mapping):
    return next(iter(mapping))


CHANGES = {
    "another run": lambda s: s.update(id="0" * 16),
    "other code": lambda s: s.update(code="0" * 12),
    "no id": lambda s: s.pop("id"),
    "no code": lambda s: s.pop("code"),
    "one more field": lambda s: s.update(extra=1),
    "no table": lambda s: s.update(progress=[1, 2]),
    "no step": lambda s: s["progress"].pop("step") and s["progress"].update(stage=1),
    "step as text": lambda s: s["progress"].update(step="6"),
    "step behind the end": lambda s: s["progress"].update(step=STEPS + 1),
    "negative step": lambda s: s["progress"].update(step=-1, loss_count=-1),
    "negative count": lambda s: s["progress"].update(loss_count=-0.5),
    "count beyond the step": lambda s: s["progress"].update(loss_count=6.5),
    "count as text": lambda s: s["progress"].update(loss_count="1"),
    "count as truth": lambda s: s["progress"].update(loss_count=True),
    "count that is none": lambda s: s["progress"].update(loss_count=float("nan")),
    "step as number": lambda s: s["progress"].update(step=6.0),
    "more losses than steps": lambda s: s["progress"].update(loss_count=7.0),
    "losses that are no number": lambda s: s["progress"].update(loss_count="1"),
    "curves of text": lambda s: s["progress"].update(curves={"step": ["1"]}),
    "no curves": lambda s: s["progress"].update(curves=None),
    "model without a tensor": lambda s: s["model"].pop(list(s["model"])[-1]),
    "model of other shapes": lambda s: s["model"].update(
        {list(s["model"])[-1]: torch.ones(3, 5)}  # the last: those before would be taken over
    ),
    "optimizer of other shapes": lambda s: s["optimizer"]["state"][
        first(s["optimizer"]["state"])
    ].update(momentum_buffer=torch.ones(3, 5)),
    "optimizer of more groups": lambda s: s["optimizer"]["param_groups"].append(
        copy.deepcopy(s["optimizer"]["param_groups"][0])
    ),
    "optimizer of fewer tensors": lambda s: s["optimizer"]["param_groups"][0]["params"].pop(),
    "no optimizer": lambda s: s.update(optimizer=None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_one_that_does_not_fit_starts_anew(images, tmp_path, whole, saved, capsys, change):
    path = tmp_path / "run.pt"
    path.write_bytes(saved)
    content = checkpoints.read_checkpoint(path)
    change(content)
    checkpoints.write_checkpoint(path, content)  # with the right sum
    assert_anew(images, path, whole, capsys)


@pytest.mark.parametrize("content", [{"id": ONE.id}, [1, 2]])
def test_what_pytorch_wrote_by_itself_starts_anew(images, tmp_path, whole, capsys, content):
    path = tmp_path / "run.pt"
    torch.save(content, path)
    assert_anew(images, path, whole, capsys)


def blocked_by_a_file(folder: Path, _) -> Path:
    (folder / "checkpoints").write_text("in the way")
    return folder / "checkpoints" / "run.pt"


def full(folder: Path, _) -> Path:
    if not Path("/dev/full").exists():
        pytest.skip("needs a device that is always full")
    (folder / "run.tmp").symlink_to("/dev/full")
    return folder / "run.pt"


def read_only(folder: Path, monkeypatch) -> Path:
    real = Path.open

    def refuses(path, mode="r", *args, **options):
        if mode != "r" and folder in path.parents:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", refuses)
    return folder / "run.pt"


@pytest.mark.parametrize("obstacle", [blocked_by_a_file, full, read_only])
def test_a_run_that_cannot_write_one_goes_on_and_says_so_once(
    images, tmp_path, whole, capsys, monkeypatch, obstacle
):
    path = obstacle(tmp_path, monkeypatch)
    if obstacle is full:  # the link goes with the first failure: put it back for the next
        real = Path.unlink
        monkeypatch.setattr(
            Path, "unlink", lambda p, **k: None if p.suffix == ".tmp" else real(p, **k)
        )
    for _ in range(2):
        got = run(images, path)
        assert got.status == "done"
        assert got.metrics == whole.metrics
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"sgdnoise: no checkpoint can be written to {path.parent} (")


def test_a_write_that_fails_leaves_the_one_before_and_no_litter(tmp_path, saved, monkeypatch):
    path = tmp_path / "run.pt"
    path.write_bytes(saved)
    content = checkpoints.read_checkpoint(path)

    def refuses(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuses)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.write_checkpoint(path, content)
    assert path.read_bytes() == saved
    assert os.listdir(tmp_path) == ["run.pt"]
