"""Penn Treebank as a stream of word numbers, as Zaremba's language models read it."""

from __future__ import annotations

import collections
from dataclasses import dataclass

import numpy as np
import torch

from sgdnoise.data import store
from sgdnoise.data.files import ptb
from sgdnoise.errors import InputError

END = "<eos>"
"""Stands for each line's end: it is a word of the vocabulary and is predicted as others are."""

SEQUENCE = 35
"""Words of one training example: Zaremba et al. 2014 unroll their larger nets as far."""

PTB_SEQUENCES = (929_589 - 1) // SEQUENCE
"""Examples in Penn Treebank's training text, of 887,521 words and 42,068 line ends."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Three streams of word numbers.

    Attributes:
        name: of the data set.
        train: int64, (number of words with line ends,).
        valid: likewise; what regimes are tuned on.
        test: likewise.
        vocabulary: the words by number, the most frequent in training first, equals by alphabet.
    """

    name: str
    train: torch.Tensor
    valid: torch.Tensor
    test: torch.Tensor
    vocabulary: tuple[str, ...]

    def to(self, device: torch.device | str) -> Corpus:
        """The same streams on another device."""
        return Corpus(
            self.name,
            self.train.to(device),
            self.valid.to(device),
            self.test.to(device),
            self.vocabulary,
        )


def load_text(name: str = "ptb") -> Corpus:
    """A text data set in memory; what is missing is fetched first, and every file is verified.

    Raises:
        InputError: an unknown name, a file that is altered, or missing and not to be fetched, or
            a word outside of the training set's vocabulary.
    """
    if name != "ptb":
        raise InputError(f"no text is called {name!r}: choose ptb")
    data = store.read(ptb())
    words = {
        split: data[f"ptb.{split}.txt"].decode("utf-8").replace("\n", f" {END} ").split()
        for split in ("train", "valid", "test")
    }
    counts = collections.Counter(words["train"])
    vocabulary = tuple(sorted(counts, key=lambda word: (-counts[word], word)))
    number = {word: k for k, word in enumerate(vocabulary)}
    streams = {}
    for split, of_split in words.items():
        unknown = next((word for word in of_split if word not in number), None)
        if unknown is not None:
            raise InputError(
                f"ptb.{split}.txt has a word that ptb.train.txt has not, {unknown!r}: "
                "the files do not belong together"
            )
        array = np.fromiter((number[word] for word in of_split), np.int64, len(of_split))
        streams[split] = torch.from_numpy(array)
    return Corpus(name, vocabulary=vocabulary, **streams)
