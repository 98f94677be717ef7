"""What a user's function may return, and what is said where it returns something else."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from sgdnoise.diagnose import Setting, load, problem_of
from sgdnoise.errors import FailureError, InputError

X, Y = torch.arange(64.0).reshape(32, 2), torch.arange(32)
NET, LOSS = nn.Linear(2, 40), nn.CrossEntropyLoss()


class Indexed(Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, i):
        return X[i], int(Y[i])


@pytest.mark.parametrize(
    ("data", "batch_size"),
    [
        ((X, Y), None),
        ([X, Y], None),
        (TensorDataset(X, Y), None),
        (Indexed(), None),
        (DataLoader(Indexed(), batch_size=8, shuffle=True), 8),
        (DataLoader(TensorDataset(X, Y), batch_size=4), 4),
        ([(X[:20], Y[:20]), (X[20:], Y[20:])], None),
        (iter([(X[:20], Y[:20]), (X[20:], Y[20:])]), None),
    ],
    ids=[
        "tensors",
        "list",
        "TensorDataset",
        "Dataset",
        "shuffled",
        "loader",
        "batches",
        "iterator",
    ],
)
def test_every_form_of_data_gives_the_same_examples(data, batch_size):
    problem = problem_of((NET, LOSS, data))
    x, y = problem.read([3, 31, 0])
    assert torch.equal(x, X[[3, 31, 0]])
    assert torch.equal(y, Y[[3, 31, 0]])
    assert problem.size == 32
    assert problem.setting == Setting(batch_size)
    assert not problem.changes


def test_a_loaders_own_way_of_making_batches_is_kept():
    def collate(rows):
        return torch.stack([x for x, _ in rows]) + 1, torch.tensor([y for _, y in rows])

    problem = problem_of((NET, LOSS, DataLoader(Indexed(), batch_size=8, collate_fn=collate)))
    assert torch.equal(problem.read([5])[0], X[[5]] + 1)


def test_a_loader_over_a_subset_gives_the_subset():
    sampler = SubsetRandomSampler(range(10, 30))
    problem = problem_of((NET, LOSS, DataLoader(Indexed(), batch_size=8, sampler=sampler)))
    assert problem.size == 20
    assert torch.equal(problem.read([0, 19])[0], X[[10, 29]])


def test_a_loader_with_a_sampler_of_batches_keeps_its_collate():
    def collate(rows):
        return torch.stack([x for x, _ in rows]) - 1, torch.tensor([y for _, y in rows])

    batches = BatchSampler(SequentialSampler(Indexed()), batch_size=8, drop_last=False)
    loader = DataLoader(Indexed(), batch_sampler=batches, collate_fn=collate)
    problem = problem_of((NET, LOSS, loader))
    assert torch.equal(problem.read([5])[0], X[[5]] - 1)
    assert problem.setting.batch_size == 8


def test_sgd_tells_rate_momentum_and_weight_decay():
    optimizer = torch.optim.SGD(NET.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    problem = problem_of((NET, LOSS, (X, Y), optimizer))
    assert problem.setting == Setting(None, 0.1, 0.9, 1e-4)


def test_the_parts_may_be_named():
    optimizer = torch.optim.SGD(NET.parameters(), lr=0.1)
    named = {"data": (X, Y), "loss_fn": LOSS, "model": NET, "optimizer": optimizer}
    assert problem_of(named).setting == Setting(None, 0.1)
    assert problem_of({**named, "optimizer": None}).setting == Setting()


def parts():
    return [{"params": [NET.weight]}, {"params": [NET.bias], "lr": 0.2}]


class Endless(IterableDataset):
    def __iter__(self):
        return iter([])


class NoLength(Dataset):
    def __getitem__(self, i):
        return X[i], Y[i]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (NET, "must return .* got Linear"),
        ((NET, LOSS), "got 2 values"),
        ({"model": NET, "loss_fn": LOSS}, "gave no data"),
        ({"net": NET, "loss_fn": LOSS, "data": (X, Y)}, "gave 'net', which is none of model"),
        ((LOSS, NET), "got 2 values"),
        (("net", LOSS, (X, Y)), "must be a torch.nn.Module"),
        ((NET, "loss", (X, Y)), "the loss must be a function"),
        ((NET, LOSS, None), "the data must be"),
        ((NET, LOSS, 7), "the data must be"),
        ((NET, LOSS, []), "the data must be"),
        ((NET, LOSS, (X, Y[:9])), "as many of them"),
        ((NET, LOSS, (X[:9], Y[:9])), "at least 16 examples, the data have 9"),
        ((NET, LOSS, [(X, Y), (X[:, :1], Y)]), "do not fit together"),
        ((NET, LOSS, Endless()), "no index"),
        ((NET, LOSS, DataLoader(Endless())), "only be read from its beginning"),
        (
            (NET, LOSS, DataLoader(Indexed(), sampler=WeightedRandomSampler([1.0] * 32, 32))),
            "draws by a WeightedRandomSampler",
        ),
        ((NET, LOSS, NoLength()), "no length"),
        ((NET, LOSS, (X, Y), "sgd"), "must be torch's"),
        ((NET, LOSS, (X, Y), torch.optim.Adam(NET.parameters())), "not of Adam"),
        ((NET, LOSS, (X, Y), torch.optim.SGD(parts(), lr=0.1)), "groups differ"),
        (
            (NET, LOSS, (X, Y), torch.optim.SGD(NET.parameters(), 0.1, 0.9, nesterov=True)),
            "without dampening",
        ),
    ],
)
def test_anything_else_is_refused_with_what_to_do(given, said):
    with pytest.raises(InputError, match=said) as caught:
        problem_of(given)
    assert "\n" not in str(caught.value)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with a user's module, and one that cannot be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine_of_a_user.py").write_text(
        "import torch\n"
        "number = 3\n"
        "def good():\n"
        "    x, y = torch.ones(20, 2), torch.ones(20, 1)\n"
        "    return torch.nn.Linear(2, 1), torch.nn.MSELoss(), (x, y)\n"
        "def broken():\n"
        "    raise KeyError('weights.pt')\n"
        "def asks(what):\n"
        "    return what\n"
        "def leaves():\n"
        "    raise SystemExit(3)\n"
    )
    (tmp_path / "cannot_be_imported.py").write_text("import no_such_thing_at_all\n")
    (tmp_path / "has_a_typo.py").write_text("def f(:\n")
    return tmp_path


def test_a_function_is_found_in_the_current_folder(mine):
    assert load("mine_of_a_user:good").size == 20


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine_of_a_user", "is not MODULE:FUNCTION"),
        ("mine_of_a_user:", "is not MODULE:FUNCTION"),
        (":good", "is not MODULE:FUNCTION"),
        ("mine_of_a_user.py:good", "name the module, mine_of_a_user:good"),
        ("nowhere_to_be_found:good", "no module 'nowhere_to_be_found'"),
        ("nowhere_to_be_found.deeper:good", "no module"),
        ("mine_of_a_user:none", "has no 'none'"),
        ("mine_of_a_user:number", "is no function"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(mine, name, said):
    with pytest.raises(InputError, match=said) as caught:
        load(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine_of_a_user:broken", r"raised KeyError \(mine_of_a_user.py, line 7\): 'weights.pt'"),
        ("mine_of_a_user:asks", "raised TypeError"),
        ("mine_of_a_user:leaves", "raised SystemExit"),
        ("cannot_be_imported:f", "importing cannot_be_imported raised ModuleNotFoundError"),
        ("has_a_typo:f", "importing has_a_typo raised SyntaxError"),
    ],
)
def test_an_error_of_the_users_own_is_told_on_one_line(mine, name, said):
    with pytest.raises(FailureError, match=said) as caught:
        load(name)
    assert "\n" not in str(caught.value)


def test_a_reading_that_fails_names_the_users_line():
    class Broken(Indexed):
        def __getitem__(self, i):
            raise OSError("no such image")

    with pytest.raises(FailureError, match=r"raised OSError .*no such image"):
        problem_of((NET, LOSS, Broken())).read([0])
