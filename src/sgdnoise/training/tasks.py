"""What a model learns: how a batch is made of a data set, and what its losses and scores are.

The training loop (`single`) knows examples, inputs, losses and steps; these three know the rest:
classes of images, images themselves (the autoencoder), the next word (the LSTM).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sgdnoise.config import RunConfig
from sgdnoise.data import Corpus, Dataset
from sgdnoise.data.augment import Augmentation, augmentation
from sgdnoise.data.text import SEQUENCE
from sgdnoise.errors import InputError
from sgdnoise.models.lstm import ZarembaLSTM
from sgdnoise.models.mlp import Autoencoder


class Split(NamedTuple):
    """Examples and what is to be predicted of each, both (N, ...), on one device."""

    examples: Tensor
    targets: Tensor


@dataclass(frozen=True, eq=False)
class Task(ABC):
    """What the training loop asks for.

    Attributes:
        train: what is trained on.
        test: what is tested on.
        width: numbers that the model has to give for one prediction: classes, pixels or words.
        score: name of the metric beside the loss: records say `train_<score>`, `test_<score>`.
        predictions: made of one example, which is what its memory grows with.
    """

    train: Split
    test: Split
    width: int
    score: ClassVar[str]
    predictions: ClassVar[int] = 1

    @abstractmethod
    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """The random part of a batch's inputs, (anything, B), from a CPU generator."""

    @abstractmethod
    def inputs(self, examples: Tensor, draws: Tensor | None = None) -> Tensor:
        """What the model is given for these examples; without draws, as it is evaluated."""

    def outputs(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """What the model says of them."""
        return model(inputs)

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each example, float32, (B,)."""

    @abstractmethod
    def scores(self, outputs: Tensor, targets: Tensor, losses: Tensor) -> Tensor:
        """The score of each example, (B,), given its loss too."""

    def total(self, mean: float) -> float:
        """The score of a set, from the mean over its examples."""
        return mean


@dataclass(frozen=True, eq=False)
class _Images(Task):
    """What tasks on images share: `augment` makes the inputs."""

    augment: Augmentation

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        return self.augment.draw(batch, generator)

    def inputs(self, examples: Tensor, draws: Tensor | None = None) -> Tensor:
        augment = self.augment
        x = augment.inputs(examples) if draws is None else augment.apply(examples, draws)
        # Channels last is the faster layout of small convolutions on CPUs and of bf16 ones on GPUs.
        return x.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, eq=False)
class Classification(_Images):
    """Classes of images: cross-entropy in nats, accuracy in percent."""

    score: ClassVar[str] = "accuracy"

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.float(), targets, reduction="none")

    def scores(self, outputs: Tensor, targets: Tensor, losses: Tensor) -> Tensor:
        return 100.0 * (outputs.argmax(1) == targets)


@dataclass(frozen=True, eq=False)
class Reconstruction(_Images):
    """Images from themselves, their pixels in [0, 1]; labels play no part.

    The loss is the cross-entropy of logistic pixels, in nats summed over an image, as Martens 2010
    and Sutskever et al. 2013 train it; the score is the squared error summed over an image, which
    is what they report.
    """

    score: ClassVar[str] = "squared_error"

    def outputs(self, model: nn.Module, inputs: Tensor) -> Tensor:
        assert isinstance(model, Autoencoder)
        return model.logits(inputs)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            outputs.float(), self._pixels(targets), reduction="none"
        ).sum(1)

    def scores(self, outputs: Tensor, targets: Tensor, losses: Tensor) -> Tensor:
        return (outputs.float().sigmoid() - self._pixels(targets)).square().sum(1)

    def _pixels(self, images: Tensor) -> Tensor:
        return self.augment.inputs(images).flatten(1)


@dataclass(frozen=True, eq=False)
class NextWord(Task):
    """The next word of a text: cross-entropy in nats a word, and its exponential, the perplexity.

    An example is a sequence of 35 words and the one after it; sequences follow each other in the
    text, so that each word is predicted once (a rest of less than a sequence is left out). This
    makes sequences exchangeable, as the papers' theory has examples, and any batch size possible.
    It is not Zaremba et al. 2014: they cut the text into B streams, carry the state from one piece
    of a stream to the next, and take the pieces in order. Here each sequence starts from a zero
    state, in training and in testing, so its first words have no context, and perplexity is higher
    than theirs. They sum the loss over a sequence, here it is the mean: their learning rate of 1 is
    35 here, their clipping norm of 5 is 1/7 (20 and 1/4 for their small net, of 20 words).
    """

    score: ClassVar[str] = "perplexity"
    predictions: ClassVar[int] = SEQUENCE

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        return torch.empty(0, batch)

    def inputs(self, examples: Tensor, draws: Tensor | None = None) -> Tensor:
        return examples

    def outputs(self, model: nn.Module, inputs: Tensor) -> Tensor:
        return model(inputs)[0]

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        by_class = outputs.float().transpose(1, 2)
        return F.cross_entropy(by_class, targets, reduction="none").mean(1)

    def scores(self, outputs: Tensor, targets: Tensor, losses: Tensor) -> Tensor:
        return losses

    def total(self, mean: float) -> float:
        return math.exp(mean) if mean < 700 else math.inf


def task_of(config: RunConfig, data: Dataset | Corpus, model: nn.Module) -> Task:
    """The task of a run: the autoencoder reconstructs, the LSTM reads, all others classify.

    Raises:
        InputError: model and data do not fit, or an augmentation where there can be none.
    """
    if isinstance(data, Corpus) != isinstance(model, ZarembaLSTM):
        raise InputError(
            f"{config.model} cannot be trained on {data.name}: "
            "an LSTM needs text (ptb), every other model needs images"
        )
    if isinstance(data, Corpus):
        _refuse_augmentation(config)
        return NextWord(
            _sequences(data.train, config.train_size),
            _sequences(data.test, None),
            len(data.vocabulary),
        )
    if isinstance(model, Autoencoder):
        _refuse_augmentation(config)
        channels, height, width = data.image_shape
        pixels = Augmentation(0, "mean", False, data.scale, ((0.0,) * channels, (1.0,) * channels))
        train, test = (Split(x, x) for x in (data.train_images, data.test_images))
        return Reconstruction(train, test, channels * height * width, pixels)
    return Classification(
        Split(data.train_images, data.train_labels),
        Split(data.test_images, data.test_labels),
        len(data.classes),
        augmentation(config.augment, data),
    )


def _sequences(words: Tensor, count: int | None) -> Split:
    """The sequences of a text, the first `count` of them, each beside itself one word on."""
    if len(words) <= SEQUENCE:
        raise InputError(f"a text of {len(words)} words: {SEQUENCE + 1} are needed for a sequence")
    pieces = words.unfold(0, SEQUENCE + 1, SEQUENCE)
    if count is not None and count > len(pieces):
        raise InputError(
            f"a subset of {count} sequences of a text of {len(pieces)}: choose at most that"
        )
    pieces = pieces[:count]
    return Split(pieces[:, :-1].contiguous(), pieces[:, 1:].contiguous())


def _refuse_augmentation(config: RunConfig) -> None:
    if config.augment != "none":
        raise InputError(
            f"{config.model} is trained on data as they are: choose augment none, "
            f"not {config.augment!r}"
        )
