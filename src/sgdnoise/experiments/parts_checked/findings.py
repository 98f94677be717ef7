"""What the page "The parts, checked" shows of runs; `comparisons` has parts beside references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sgdnoise import data
from sgdnoise.config import RunConfig
from sgdnoise.experiments.parts_checked.grid import CHECKS, Check
from sgdnoise.records.record import Record

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from pandas.io.formats.style import Styler


def summary(records: Mapping[str, Record]) -> str:
    """How many checks passed, failed and have not been run, in a sentence."""
    verdicts = [check.verdict(records) for check in CHECKS]
    parts = [f"{verdicts.count(v)} {v}" for v in ("passed", "failed", "not yet run")]
    return f"**Of {len(CHECKS)} nets: {', '.join(parts)}.** {_origin(_mine(records))}"


def rows(records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """One row a check: the net, its run, what it reached beside what it had to, and the verdict."""
    return [_row(check, records) for check in CHECKS]


def _row(check: Check, records: Mapping[str, Record]) -> dict[str, Any]:
    config = check.config
    record = records.get(config.id)
    size = data.images_of(config)
    sign = ">" if check.metric.endswith("accuracy") else "<"
    value = record.metrics.get(check.metric) if record else None
    return {
        "model": config.model,
        "norm": config.norm or "none",
        "parameters": _parameters(config),
        "data": f"{config.dataset}, {size:,} images",
        "batch size": config.batch_size,
        "learning rate": config.learning_rate,
        "steps": config.total_steps(size),
        "has to reach": f"{check.metric.replace('_', ' ')} {sign} {check.bound:g}",
        "reached": "" if value is None else f"{value:.3f}",
        "seconds": "" if record is None else f"{record.provenance['seconds']:.0f}",
        "verdict": check.verdict(records),
    }


def _parameters(config: RunConfig) -> int:
    from sgdnoise import models
    from sgdnoise.models.registry import count_parameters

    shape = (1, 28, 28) if config.dataset == "mnist" else (3, 32, 32)
    return count_parameters(
        models.build(config.model, num_classes=10, input_shape=shape, norm=config.norm)
    )


def runs_table(records: Mapping[str, Record]) -> Styler:
    """`rows` for a page."""
    from sgdnoise.chapters import table

    return table(rows(records)).format(
        {"parameters": "{:,}", "steps": "{:,}", "learning rate": "{:g}"}
    )


def _mine(records: Mapping[str, Record]) -> list[Record]:
    return [records[check.config.id] for check in CHECKS if check.config.id in records]


def _origin(records: list[Record]) -> str:
    if not records:
        return "No run is recorded yet."

    def all_of(name: str) -> str:
        return ", ".join(sorted({str(r.provenance.get(name, "unknown")) for r in records}))

    dates = sorted(str(r.provenance.get("date", "unknown")) for r in records)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return (
        f"Scale cpu, one run each, seed 0, one thread; code {all_of('code')}; "
        f"{all_of('device')}; {all_of('precision')}; {when}."
    )


def loss_curves(records: Mapping[str, Record]) -> go.Figure:
    """Loss of the batches as trained on, over the steps, of each convolution net that has run."""
    from sgdnoise.figures.theme import DASHES, MUTED, PALETTE, figure, provenance

    shown = [c for c in CHECKS if c.metric == "train_loss" and c.config.id in records]
    fig = figure(
        x="step",
        x_unit=None,
        y="training loss of the batches since the mark before",
        y_unit="nats",
        log="x",
        alt="Training loss over the steps, one curve a convolution net, all of which fall",
    )
    for k, check in enumerate(shown):
        curves = records[check.config.id].curves
        fig.add_scatter(
            x=curves["step"],
            y=curves["train_loss"],
            name=_name(check),
            mode="lines",
            line={
                "color": PALETTE[k % len(PALETTE)],
                "dash": DASHES[k // len(PALETTE) % len(DASHES)],
                "width": 2,
            },
        )
    bounds = sorted({check.bound for check in shown})
    last = (records[check.config.id].curves["train_loss"][-1] for check in shown)
    ends = [loss for loss in last if loss is not None]
    if ends:
        text = f"{len(ends)} nets end at losses from {min(ends):.2g} to {max(ends):.2g}"
        fig.update_layout(title={"text": text})
    for bound in bounds:
        fig.add_hline(y=bound, line={"color": MUTED, "dash": "dot"})
    fig.update_layout(height=560)
    return provenance(fig, _origin([records[c.config.id] for c in shown]))


def _name(check: Check) -> str:
    norm = check.config.norm or "none"
    return f"{check.config.model}, {norm}" if norm != "none" else f"{check.config.model}, no norm"


CLAIMS = ()
"""No paper claims that a net trains."""
