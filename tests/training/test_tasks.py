"""What is learnt beside classes: images by the autoencoder, the next word by the LSTM."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sgdnoise import data
from sgdnoise.config import make_config
from sgdnoise.data import Corpus
from sgdnoise.data.dataset import from_arrays
from sgdnoise.errors import InputError
from sgdnoise.models.lstm import LSTMSize, ZarembaLSTM
from sgdnoise.training import state, train
from sgdnoise.training.run import build_model
from sgdnoise.training.single import train_single
from sgdnoise.training.streams import batch_indices
from sgdnoise.training.tasks import task_of

WORDS = 7


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images():
    generator = np.random.default_rng(0)
    arrays = {
        name: generator.integers(0, 17, shape, dtype=np.uint8)
        for name, shape in (("train_images", (64, 6, 6, 1)), ("test_images", (20, 6, 6, 1)))
    }
    arrays |= {"train_labels": np.arange(64) % 2, "test_labels": np.arange(20) % 2}
    return from_arrays("made-up", arrays, ("a", "b"), scale=16)


def text(length, seed):
    """Each word is the one before plus 1 or, one time in four, plus 2, modulo the vocabulary."""
    steps = torch.rand(length, generator=torch.Generator().manual_seed(seed)) < 0.25
    return (1 + steps.long()).cumsum(0) % WORDS


@pytest.fixture(scope="module")
def corpus():
    streams = [text(1500, 0), text(100, 1), text(800, 2)]
    return Corpus("made-up", *streams, vocabulary=tuple("abcdefg"))


def autoencoder(**changes):
    return config(**{"model": "autoencoder", "batch_size": 16, "learning_rate": 0.003, **changes})


def language(**changes):
    return config(**{"model": "lstm-small", "batch_size": 8, "learning_rate": 1.0, **changes})


def config(**changes):
    base = {"dataset": "made-up", "momentum": 0.9, "steps": 5, "schedule": "constant"}
    return make_config(**{**base, **changes})


def small_lstm(dropout=0.0, seed=0):
    torch.manual_seed(seed)
    return ZarembaLSTM(WORDS, LSTMSize(12, dropout, 0.5))


def test_the_autoencoder_equals_a_loop_written_anew(images):
    one = autoencoder()
    model = build_model(one, images)
    optimizer = torch.optim.SGD(model.parameters(), one.learning_rate, one.momentum)
    order = batch_indices(one, 64, 0, 5)
    for index in order:
        pixels = images.train_images[index].flatten(1) / 16
        # By the definition, from the reconstruction: -x log y - (1 - x) log (1 - y).
        made = model(pixels)
        loss = -(pixels * made.log() + (1 - pixels) * (1 - made).log()).sum() / 16
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    got = train_single(one, images, build_model(one, images))
    for name, of_set in (("train", images.train_images), ("test", images.test_images)):
        pixels = of_set.flatten(1) / 16
        with torch.no_grad():
            made = model(pixels)
        cross_entropy = F.binary_cross_entropy(made, pixels).item() * 36
        # float32 by another route, over five steps.
        assert got.metrics[f"{name}_loss"] == pytest.approx(cross_entropy, rel=1e-4)
        square = (made - pixels).square().sum().item() / len(pixels)
        assert got.metrics[f"{name}_squared_error"] == pytest.approx(square, rel=1e-4)
    assert not any("accuracy" in name for name in [*got.metrics, *got.curves])


def test_the_autoencoder_learns_and_never_looks_at_labels(images):
    one = autoencoder(steps=60)
    first = train_single(autoencoder(steps=1), images, build_model(one, images)).metrics
    got = train_single(one, images, build_model(one, images)).metrics
    assert got["train_loss"] < first["train_loss"]
    assert got["train_squared_error"] < 0.9 * first["train_squared_error"]
    swapped = from_arrays(
        "made-up",
        {
            "train_images": images.train_images.permute(0, 2, 3, 1).numpy(),
            "test_images": images.test_images.permute(0, 2, 3, 1).numpy(),
            "train_labels": np.zeros(64, int),
            "test_labels": np.ones(20, int),
        },
        ("a", "b"),
        scale=16,
    )
    assert train_single(one, swapped, build_model(one, swapped)).metrics == got


def test_every_word_but_the_first_is_predicted_once(corpus):
    task = task_of(language(), corpus, small_lstm())
    for split, words in ((task.train, corpus.train), (task.test, corpus.test)):
        count = (len(words) - 1) // 35
        assert split.examples.shape == split.targets.shape == (count, 35)
        assert torch.equal(split.examples.flatten(), words[: 35 * count])
        assert torch.equal(split.targets.flatten(), words[1 : 35 * count + 1])
    subset = task_of(language(train_size=9), corpus, small_lstm())
    assert torch.equal(subset.train.targets, task.train.targets[:9])
    assert len(subset.test.targets) == len(task.test.targets)


def test_the_lstm_equals_a_loop_written_anew(corpus):
    one = language(clip_norm=0.02)
    model = small_lstm()
    optimizer = torch.optim.SGD(model.parameters(), 1.0, one.momentum)

    def nats(words, sequence):
        piece = words[35 * sequence : 35 * sequence + 36]
        logits, _ = model(piece[None, :-1])  # alone in its batch, from a zero state
        return -logits[0].log_softmax(1)[torch.arange(35), piece[1:]].mean()

    for index in batch_indices(one, 42, 0, 5):
        optimizer.zero_grad()
        (sum(nats(corpus.train, k) for k in index.tolist()) / 8).backward()
        norm = math.sqrt(sum(p.grad.square().sum().item() for p in model.parameters()))
        assert norm > 0.02  # else nothing is clipped
        for p in model.parameters():
            p.grad *= 0.02 / norm
        optimizer.step()
    got = train_single(one, corpus, small_lstm()).metrics
    with torch.no_grad():
        want_train = np.mean([nats(corpus.train, k).item() for k in range(42)])
        want_test = np.mean([nats(corpus.test, k).item() for k in range(22)])
    assert got["train_loss"] == pytest.approx(want_train, rel=1e-5)
    assert got["test_loss"] == pytest.approx(want_test, rel=1e-5)
    assert got["test_perplexity"] == pytest.approx(math.exp(want_test), rel=1e-5)


def test_the_lstm_approaches_the_entropy_of_its_text_and_no_further(corpus):
    got = train_single(language(steps=200, schedule="hold-then-decay"), corpus, small_lstm())
    # One word in four is plus 2: H(1/4) nats a word, and ln 7 for the first word of all only.
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    # 770 words: the mean of −ln p has a standard error of 0.017, and there is something to learn.
    assert entropy - 0.05 < got.metrics["test_loss"] < entropy + 0.08


def test_micro_batches_are_counted_in_words(corpus):
    one = language(batch_size=32, steps=3)
    calls = []

    class Counting(ZarembaLSTM):
        def forward(self, tokens, state=None):
            if self.training:
                calls.append(len(tokens))
            return super().forward(tokens, state)

    def model():
        torch.manual_seed(0)
        return Counting(WORDS, LSTMSize(12, 0.0, 0.5))

    whole = train_single(one, corpus, model(), micro_batch=32 * 35).metrics
    assert calls == [32] * 3
    calls.clear()
    split = train_single(one, corpus, model(), micro_batch=10 * 35).metrics
    assert calls == [10, 10, 10, 2] * 3
    for name, value in whole.items():
        assert split[name] == pytest.approx(value, rel=1e-4), name


def test_an_lstm_with_dropout_resumed_in_the_middle_is_bit_equal(corpus, tmp_path, monkeypatch):
    one = language(steps=12)
    whole = train_single(one, corpus, small_lstm(0.5))
    assert whole.metrics != train_single(one, corpus, small_lstm(0.0)).metrics
    monkeypatch.setattr(state, "CHECKPOINT_SECONDS", 0.0)

    class Killed(Exception):
        pass

    def kill_at_7(done, count=[0]):  # noqa: B006  counts over the calls of this one test
        count[0] += done
        if count[0] == 7:
            raise Killed

    path = tmp_path / "run.pt"
    with pytest.raises(Killed):
        train_single(one, corpus, small_lstm(0.5), checkpoint=path, on_step=kill_at_7)
    again = train_single(one, corpus, small_lstm(0.5), checkpoint=path)
    assert (again.metrics, again.curves) == (whole.metrics, whole.curves)


def test_the_test_set_is_looked_at_by_the_tasks_own_score(corpus):
    got = train_single(language(steps=150), corpus, small_lstm()).curves
    assert len(got["test_step"]) == len(got["test_perplexity"]) > 0


def test_penn_treebank_goes_through_the_front_door(corpus, monkeypatch):
    monkeypatch.setattr(data, "load_text", lambda name: corpus)
    (got,) = train([language(dataset="ptb", steps=2, train_size=20)])
    assert got.status == "done"
    assert set(got.metrics) >= {"train_loss", "test_loss", "test_perplexity"}
    # 200 units, seven words: two steps from uniform weights in ±0.1 are still near ln 7.
    assert got.metrics["test_loss"] == pytest.approx(math.log(7), abs=0.2)


def test_penn_treebank_has_as_many_examples_as_its_word_count_makes():
    assert data.train_size("ptb") == 26_559


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": "wrn-10-1"}, "wrn-10-1 cannot be trained on made-up: an LSTM needs text"),
        ({"augment": "s20"}, "choose augment none, not 's20'"),
        ({"train_size": 43}, "a subset of 43 sequences of a text of 42"),
        ({"batch_size": 43}, "larger than the training set of 42"),
    ],
)
def test_what_text_cannot_do_is_refused_before_training(corpus, monkeypatch, change, told):
    monkeypatch.setattr(data, "load_text", lambda name: corpus)
    with pytest.raises(InputError, match=told) as caught:
        train([language(**{"dataset": "ptb", **change})])
    assert "\n" not in str(caught.value)


def test_what_images_cannot_do_is_refused_before_training():
    digits = {"dataset": "digits", "train_size": 20}
    with pytest.raises(InputError, match="lstm-small cannot be trained on digits"):
        train([language(**digits)])
    with pytest.raises(InputError, match="choose augment none, not 'h17'"):
        train([autoencoder(**digits, augment="h17")])
    with pytest.raises(InputError, match="a text of 35 words: 36 are needed"):
        task_of(language(), Corpus("short", *[text(35, 0)] * 3, ("a",)), small_lstm())
