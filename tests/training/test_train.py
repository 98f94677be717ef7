"""What `train` refuses in one line, before it loads anything."""

from __future__ import annotations

import pytest
import torch

from sgdnoise import data
from sgdnoise.config import ENGINE_VERSION, make_config
from sgdnoise.errors import InputError
from sgdnoise.training import train

RUN = make_config(
    dataset="digits",
    model="digits-mlp",
    batch_size=8,
    learning_rate=0.5,
    steps=1,
    probes=("epochs",),
)


@pytest.fixture(autouse=True)
def no_data(monkeypatch):
    monkeypatch.setattr(data, "load", lambda *_, **__: pytest.fail("loaded"))


def refusal(*arguments, **options):
    with pytest.raises(InputError) as caught:
        train(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "a list of run configs, at least one, got an empty one"),
        (RUN, "a list of run configs, at least one, got one of type RunConfig"),
        (None, "one of type NoneType"),
        ([RUN, RUN.model_dump()], "run configs, as make_config makes: got one of type dict"),
    ],
)
def test_what_is_no_list_of_runs(given, told):
    assert told in refusal(given)


def test_a_run_of_another_engine():
    later = RUN.model_copy(update={"engine_version": ENGINE_VERSION + 1})
    assert f"is of engine {ENGINE_VERSION + 1}" in refusal([RUN, later])


@pytest.mark.parametrize("device", ["nope", "mps", "meta", torch.device("meta"), 3.5, "x" * 999])
def test_a_device_that_cannot_train(device):
    said = refusal([RUN], device=device)
    assert said.endswith(": choose cpu or cuda")
    assert len(said) < 100


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no CUDA GPU here" in refusal([RUN], device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert "cuda:7: there are 1 GPUs here" in refusal([RUN], device="cuda:7")
