"""The word-level LSTM of Zaremba et al. 2014 for Penn Treebank (S20's appendix takes it up)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

State = tuple[Tensor, Tensor]


class LSTMSize(NamedTuple):
    """One of Zaremba's three: units a layer, dropout, bound of the uniform initialisation."""

    units: int
    dropout: float
    bound: float


LSTM_SIZES = {
    "small": LSTMSize(200, 0.0, 0.1),
    "medium": LSTMSize(650, 0.5, 0.05),
    "large": LSTMSize(1500, 0.65, 0.04),
}
"""Of Zaremba et al. 2014, by a replication's code; sequence lengths are 20, 35 and 35."""


class ZarembaLSTM(nn.Module):
    """Embedding, two LSTM layers, linear words; dropout on non-recurrent connections only.

    Dropout stands where Zaremba et al. 2014 have it: before, between and after the layers. All
    parameters are uniform in ±bound. `nn.LSTM` keeps two biases a gate where the paper has one: the
    function is the same, the sum of the two moves twice as fast.

    forward(tokens, state) takes int64 (batch, time) and the state returned for the previous piece
    of the same streams (None: zeros), and gives logits (batch, time, words) and the new state.
    Detach the state between pieces: `(h.detach(), c.detach())`.
    """

    def __init__(self, words: int = 10_000, size: LSTMSize = LSTM_SIZES["small"]) -> None:
        super().__init__()
        self.dropout = nn.Dropout(size.dropout)
        self.embedding = nn.Embedding(words, size.units)
        self.lstm = nn.LSTM(
            size.units, size.units, num_layers=2, dropout=size.dropout, batch_first=True
        )
        self.decoder = nn.Linear(size.units, words)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -size.bound, size.bound)

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        hidden, state = self.lstm(self.dropout(self.embedding(tokens)), state)
        return self.decoder(self.dropout(hidden)), state
