"""The config is the run's identity: golden hashes, no-op defaults, one-line refusals."""

from __future__ import annotations

import json

import pytest

from sgdnoise.config import ENGINE_VERSION, RunConfig, canonical_json, make_config
from sgdnoise.errors import InputError

BASE = {"dataset": "digits", "model": "digits-mlp", "batch_size": 8, "learning_rate": 0.5}

# If one of these changes, every record made before is orphaned. Do not edit them: a new field
# needs a default that changes nothing, and a changed result needs a raised ENGINE_VERSION.
GOLDEN = {
    "21faf671fe495a4d": {**BASE, "epochs": 40.0},
    "ed0fbd9afde1dfe3": {**BASE, "steps": 100, "momentum": 0.9, "weight_decay": 5e-4, "seed": 3},
    "ec666efec827a70a": {
        "dataset": "cifar10",
        "model": "wrn-16-4",
        "norm": "ghost",
        "batch_size": 1024,
        "learning_rate": 0.8,
        "momentum": 0.9,
        "epochs": 200.0,
        "precision": "bfloat16",
        "augment": "s20",
    },
}


@pytest.mark.parametrize(("identity", "fields"), GOLDEN.items())
def test_identities_never_change(identity, fields):
    assert make_config(**fields).id == identity


def test_a_default_spelt_out_is_the_same_run():
    plain = make_config(**BASE, epochs=1.0)
    spelt = make_config(**BASE, epochs=1.0, momentum=0.0, schedule="hold-then-decay", seed=0)
    assert plain.id == spelt.id


def test_every_field_but_the_defaults_is_identity():
    plain = make_config(**BASE, epochs=1.0)
    changed = {
        "dataset": "mnist",
        "model": "f1",
        "batch_size": 9,
        "learning_rate": 0.25,
        "train_size": 100,
        "norm": "ghost",
        "ghost_batch_size": 32,
        "optimizer": "lars",
        "momentum": 0.5,
        "nesterov": True,
        "weight_decay": 0.1,
        "trust_coefficient": 0.1,
        "epochs": 2.0,
        "schedule": "constant",
        "decay_factor": 3.0,
        "phases": ((0.5, 2.0, 1.0),),
        "warmup_steps": 5,
        "momentum_reset": True,
        "clip_norm": 1.0,
        "clip_steps": 5,
        "gradient_noise": 0.1,
        "discard_fraction": 0.3,
        "discard_by": "random",
        "discard_epochs": 1.0,
        "sampling": "independent",
        "augment": "s20",
        "probes": ("sharpness",),
        "precision": "bfloat16",
        "seed": 1,
        "engine_version": 99,
    }
    assert changed.keys() | {"steps"} == RunConfig.model_fields.keys()
    # Some fields are legal beside another one alone.
    beside = {
        "nesterov": {"momentum": 0.5},
        "clip_steps": {"clip_norm": 2.0},
        "discard_by": {"discard_fraction": 0.3},
        "discard_epochs": {"discard_fraction": 0.3},
    }
    later = plain.model_copy(update={"engine_version": changed.pop("engine_version")})
    ids = {
        plain.replace(**{name: value}, **beside.get(name, {})).id for name, value in changed.items()
    }
    ids.add(later.id)
    assert len(ids | {plain.id}) == len(changed) + 2


def test_a_copy_with_other_fields_has_an_id_of_its_own():
    one = make_config(**BASE, epochs=1.0)
    before = one.id
    assert one.model_copy(update={"seed": 7}).id == one.replace(seed=7).id != before
    assert one.model_copy().id == one.id == before


def test_probes_have_no_order():
    one, other = ("sharpness", "weight-distance"), ["weight-distance", "sharpness", "sharpness"]
    first, second = (make_config(**BASE, epochs=1.0, probes=probes) for probes in (one, other))
    assert first == second
    assert first.id == second.id


def test_identity_rebuilds_the_config():
    config = make_config(**BASE, steps=7, momentum=0.9, phases=((1, 2, 0.5), (3, 4, 1)))
    again = make_config(**json.loads(canonical_json(config.identity())))
    assert again == config


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": -4}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"momentum": -0.1}, "momentum"),
        ({"weight_decay": -1e-4}, "weight_decay"),
        ({"ghost_batch_size": 1}, "ghost_batch_size"),
        ({"steps": 5}, "exactly one of epochs and steps"),
        ({"phases": ((0.2, 0, 1),)}, "phases"),
        ({"phases": ((0.2, 2, 0),)}, "phases"),
        ({"phases": ((-0.1, 2, 1),)}, "phases"),
        ({"phases": ((0.2, 2),)}, "phases"),
        ({"phases": ((0.2, 2, 1), (0.2, 4, 1))}, "increasing"),
        ({"phases": ((1.0, 2, 1),)}, "at or after the end"),
        ({"probes": ("blur",)}, "'weight-distance', 'sharpness'.* got 'blur'"),
        ({"momentum_reset": True, "optimizer": "lamb"}, "heavy ball"),
        ({"nesterov": True}, "nesterov is of sgd with a momentum"),
        ({"nesterov": True, "momentum": 0.9, "optimizer": "lars"}, "nesterov is of sgd"),
        ({"discard_by": "random"}, "discard_by says .* give a discard_fraction too"),
        ({"discard_epochs": 1.0}, "discard_epochs says .* give a discard_fraction too"),
        ({"clip_steps": 5}, "give a clip_norm too"),
        ({"discard_by": "size", "discard_fraction": 0.3}, "'loss' or 'random', got 'size'"),
        ({"discard_fraction": 1.0}, "discard_fraction: .* less than 1, got 1.0"),
        ({"discard_fraction": -0.1}, "discard_fraction: .* greater than or equal to 0"),
        ({"trust_coefficient": 0.0}, "trust_coefficient: .* greater than 0"),
        ({"learning_rate": -0.1}, "learning_rate: .* greater than 0"),
        ({"epochs": None}, "exactly one of epochs and steps"),
        ({"batchsize": 3}, "batchsize"),
        ({"batch_size": True, "seed": False}, "batch_size: .* got True; seed: .* got False"),
        ({"learning_rate": True}, "learning_rate: .* got True"),
        ({"epochs": True}, "epochs: .* got True"),
        ({"phases": ((0, True, 1),)}, "phases: .* truth value"),
        ({"epochs": 1e308}, "epochs: .* got 1e.308"),
        ({"phases": ((0, 1e308, 1),)}, "phases"),
        ({"phases": ((1e308, 1, 1),)}, "phases"),
        ({"epochs": None, "steps": 1 << 54}, "steps"),
        ({"batch_size": 10**400}, "batch_size"),
        ({"seed": 10**5000}, "seed: .* got a number of thousands of digits"),
        ({"engine_version": ENGINE_VERSION + 1}, "engine_version"),
        ({"engine_version": 0}, "engine_version"),
    ],
)
def test_what_is_not_a_run_is_refused_in_one_line(change, says):
    with pytest.raises(InputError, match=says) as caught:
        make_config(**{**BASE, "epochs": 1.0, **change})
    assert "\n" not in str(caught.value)


def test_effective_learning_rate_is_s20s():
    config = make_config(**BASE, epochs=1.0, momentum=0.9)
    assert config.effective_learning_rate == pytest.approx(5.0)


def test_budgets_in_steps():
    config = make_config(**BASE, epochs=40.0)
    assert config.total_steps(1024) == 40 * 128
    assert make_config(**BASE, steps=11).total_steps(1024) == 11
    with pytest.raises(InputError, match="larger than the training set of 4"):
        config.total_steps(4)
    # Half of 40 epochs at batches of 8, half at 32.
    phased = config.replace(phases=((20, 4, 1),))
    assert phased.total_steps(1024) == 20 * 128 + 20 * 32
    with pytest.raises(InputError, match="32 examples"):
        phased.total_steps(20)
    with pytest.raises(InputError, match="no update is left"):
        make_config(**BASE, steps=11, phases=((20, 4, 1),)).total_steps(1024)


def test_a_refusal_is_no_longer_than_what_it_says():
    with pytest.raises(InputError, match=r"batch_size: .* got 'xxx.*…") as caught:
        make_config(**{**BASE, "epochs": 1.0, "batch_size": "x" * 5000, "y" * 5000: 1})
    assert len(str(caught.value)) < 300
    with pytest.raises(InputError, match=r"increasing epochs, got .*…$"):
        make_config(**{**BASE, "epochs": 1.0, "phases": [(0.5, 1, 1)] * 500})


def test_a_field_that_is_missing_is_named_without_the_others():
    with pytest.raises(InputError) as caught:
        make_config(dataset="digits", batch_size=8, learning_rate=0.5)
    assert str(caught.value) == "not a legal run: model: Field required"
