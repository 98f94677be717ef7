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
    """How many checks passed, failed and have not been run, of how many nets and how long."""
    verdicts = [check.verdict(records) for check in CHECKS]
    parts = [f"{verdicts.count(v)} {v}" for v in ("passed", "failed", "not yet run")]
    nets = len({check.config.model for check in CHECKS})
    times = sorted(_epochs(check.config) for check in CHECKS if _is_convolutional(check))
    return (
        f"**Of {len(CHECKS)} pairs of a net and a norm: {', '.join(parts)}.** They are of {nets} "
        f"nets, by name. The convolutional ones train for {times[0]:.3g} to {times[-1]:.3g} "
        f"epochs. {_origin(_mine(records))}"
    )


def _is_convolutional(check: Check) -> bool:
    """Whether it is one of those that are judged by a loss."""
    return check.metric == "train_loss"


def _epochs(config: RunConfig) -> float:
    size = data.images_of(config)
    return config.batches(size).examples / size


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
        "epochs": f"{_epochs(config):.3g}",
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
    """Loss of the batches over the steps, of each convolution net that has run.

    A mark at the end of each curve is what is judged: the loss over all images, in evaluation mode.
    """
    from sgdnoise.figures.theme import DASHES, MUTED, PALETTE, figure, provenance

    shown = [c for c in CHECKS if _is_convolutional(c) and c.config.id in records]
    of = {check: records[check.config.id] for check in shown}
    judged = {c: loss for c, r in of.items() if (loss := r.metrics.get(c.metric)) is not None}
    fig = figure(x="step", x_unit=None, y="training loss", y_unit="nats", log="x")
    for k, check in enumerate(shown):
        curves, color = of[check].curves, PALETTE[k % len(PALETTE)]
        fig.add_scatter(
            x=curves["step"],
            y=curves["train_loss"],
            name=_name(check),
            mode="lines",
            line={"color": color, "dash": DASHES[k // len(PALETTE) % len(DASHES)], "width": 2},
        )
    alt = "Training loss of the batches over the steps, a curve a convolution net and norm"
    if judged:
        fig.add_scatter(
            x=[of[check].curves["step"][-1] for check in judged],
            y=list(judged.values()),
            text=[_name(check) for check in judged],
            name="over all images",
            mode="markers",
            marker={"color": [PALETTE[shown.index(c) % len(PALETTE)] for c in judged], "size": 9},
        )
        said = _said(judged)
        alt += f", with a mark at its end for the loss over all images: {said}"
        fig.update_layout(title={"text": said})
    fig.update_layout(meta={"alt": alt}, height=560)
    for bound in sorted({check.bound for check in shown}):
        fig.add_hline(y=bound, line={"color": MUTED, "dash": "dot"})
    note = "Curves: the batches since the mark before, as trained on. Marks: over all images, after"
    return provenance(fig, f"{_origin(list(of.values()))} {note} training, in evaluation mode.")


def _said(judged: Mapping[Check, float]) -> str:
    """How many losses are below what they have to be, and the span of all."""
    passed = sum(loss < check.bound for check, loss in judged.items())
    some = f"All {passed}" if passed == len(judged) else f"{passed} of {len(judged)}"
    bounds = " or ".join(f"{bound:g}" for bound in sorted({check.bound for check in judged}))
    span = f"{min(judged.values()):.2f} to {max(judged.values()):.2f}"
    return f"{some} end below {bounds} nats, at {span}"


def _name(check: Check) -> str:
    norm = check.config.norm or "none"
    return f"{check.config.model}, {norm}" if norm != "none" else f"{check.config.model}, no norm"


CLAIMS = ()
"""No paper claims that a net trains."""
