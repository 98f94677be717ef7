"""What this machine trained, beside what is committed."""

from __future__ import annotations

import plotly.graph_objects as go

from sgdnoise.analysis import Reading
from sgdnoise.figures.theme import band, interval_marks, provenance
from sgdnoise.figures.tuned import groups, provenance_line, rates_by_batch_size, ticks_at


def side_by_side(mine: Reading, committed: Reading) -> go.Figure:
    """Tuned learning rates of two stores: the committed as bands, mine as marks."""
    fig = rates_by_batch_size(
        "Tuned effective learning rates trained on this machine over the committed intervals"
    )
    theirs = committed.optima()
    for group in groups(theirs.key, "batch_size"):
        rows = group.rows(theirs)
        band(
            fig,
            rows.batch_size.to_numpy(),
            2.0 ** rows.peak_low.to_numpy(),
            2.0 ** rows.peak_high.to_numpy(),
            color=group.colour,
            name=f"{group.name}, committed (95 %)",
        )
    if mine.records:
        ours = mine.optima()
        both = ours.merge(theirs, on="key", suffixes=("", "_theirs"))
        inside = both.peak.between(both.peak_low_theirs, both.peak_high_theirs)
        text = (
            f"{inside.sum()} of {len(both)} rates tuned on this machine lie in the committed "
            "intervals"
        )
        fig.update_layout(title={"text": text})
        for group in groups(ours.key, "batch_size"):
            rows = group.rows(ours)
            interval_marks(
                fig,
                rows.batch_size,
                *(2.0 ** rows[name] for name in ("peak", "peak_low", "peak_high")),
                marker={"symbol": group.symbol, "color": group.colour, "size": 9},
                name=f"{group.name}, this machine",
            )
    ticks_at(fig, theirs.batch_size)
    note = f"Committed: {provenance_line(committed)} This machine: {provenance_line(mine)}"
    return provenance(fig, note)
