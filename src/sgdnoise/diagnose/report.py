"""A diagnosis as text, and as one HTML file that needs no network."""

from __future__ import annotations

import math
import textwrap
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from sgdnoise import __version__
from sgdnoise.analysis.intervals import Interval
from sgdnoise.diagnose.diagnosis import Diagnosis
from sgdnoise.diagnose.regime import FAR, examples_of
from sgdnoise.errors import FailureError, InputError, shown
from sgdnoise.figures.theme import BLUE, GREEN, MUTED, VERMILLION, band, figure
from sgdnoise.theory.one_step import best_rate

DOUBLINGS = range(-3, 7)
"""How often batch and rate are doubled together, as the report's slider goes."""


def rows(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """What was measured, and what follows from it: names and values."""
    m, s = diagnosis.measured, diagnosis.setting
    of = "" if m.examples == diagnosis.size else f", measured on {m.examples:,}"
    halves = ""
    if m.halves is not None:
        halves = f" (on halves of the examples {m.halves[0]:.3g} and {m.halves[1]:.3g})"
    asked = [
        ("batch size B", f"{s.batch_size:,}" if s.batch_size else "not given"),
        ("learning rate ε", f"{s.learning_rate:g}" if s.learning_rate else "not given"),
        ("momentum m", f"{s.momentum:g}"),
    ]
    if s.weight_decay:
        asked.append(("weight decay", f"{s.weight_decay:g}"))
    found = [
        ("mean loss", f"{m.loss:.4g}"),
        ("largest curvature λmax", f"{m.lambda_max:.4g} ± {m.residual:.1g}{halves}"),
        ("critical rate 2(1+m)/λmax", _number(diagnosis.critical_rate)),
        ("noise scale tr(HΣ)/GᵀHG", _scale(m.noise_scale)),
        ("simple noise scale trΣ/|G|²", _scale(Interval(m.simple.value, *m.simple.interval))),
    ]
    if diagnosis.temperature is not None:
        found += [
            ("temperature ε/((1−m)B)", f"{diagnosis.temperature:.3g}"),
            (
                "T trΣ/4: what noise like today's adds",
                f"{_number(diagnosis.noise_floor)}, in the end",
            ),
        ]
    model = f"{diagnosis.model}, {m.parameters:,} parameters, on {diagnosis.device}"
    return [("model", model), ("examples N", f"{diagnosis.size:,}{of}"), *asked, *found]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _scale(scale: Interval) -> str:
    """A scale with its interval; alone where the whole training set was measured."""
    return "not known" if not scale.value > 0 else examples_of(scale).replace("which is ", "")


def text(diagnosis: Diagnosis) -> str:
    """The diagnosis for a terminal: what it means first, then the numbers."""
    width = max(len(name) for name, _ in rows(diagnosis)) + 2
    numbers = [f"{name:<{width}}{value}" for name, value in rows(diagnosis)]
    said = [textwrap.fill(line, _WIDTH, subsequent_indent="  ") for line in diagnosis.sentences]
    return "\n".join([*said, "", *numbers])


_WIDTH = 88
"""Characters of a line."""


# --- The picture ---------------------------------------------------------------------------------


def picture(diagnosis: Diagnosis) -> go.Figure:
    """Learning rate over batch size: the best single step, the critical rate, and the training.

    Its slider doubles the batch and the learning rate together, along a line of one temperature.
    """
    s, b = diagnosis.setting, diagnosis.setting.batch_size
    sizes = _sizes(diagnosis)
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y="learning rate ε",
        y_unit=None,
        log="xy",
        title=_title(diagnosis, 0),
        alt="Learning rate against batch size, with the critical rate and the best single step.",
    )
    limits(fig, diagnosis, sizes)
    if b is not None and s.learning_rate is not None:
        fig.add_scatter(
            x=sizes[[0, -1]],
            y=s.learning_rate * sizes[[0, -1]] / b,
            mode="lines",
            line={"color": MUTED, "dash": "dot"},
            name="this temperature",
        )
        fig.add_scatter(
            x=[b],
            y=[s.learning_rate],
            mode="markers",
            marker={"color": GREEN, "size": 14, "symbol": "diamond"},
            name="this training",
        )
        _add_slider(fig, diagnosis)
    return fig


def limits(fig: go.Figure, diagnosis: Diagnosis, sizes: np.ndarray) -> None:
    """Draw the two limits of the learning rate over batch sizes: the best single step, and λmax's.

    Args:
        fig: gets the lines, and a band for the noise scale's interval.
        diagnosis: whose limits they are.
        sizes: batch sizes in examples, in rising order.
    """
    scale = diagnosis.limits.noise_scale
    # In ε: the effective rate of a small step is ε/(1 − m).
    largest = diagnosis.limits.best_step * (1 - diagnosis.setting.momentum)
    if largest > 0 and 0 < scale.value < math.inf:
        if 0 < scale.low < scale.high < math.inf:
            ends = [best_rate(sizes, largest, end) for end in (scale.high, scale.low)]
            band(fig, sizes, *ends, color=BLUE)
        fig.add_scatter(
            x=sizes,
            y=best_rate(sizes, largest, scale.value),
            mode="lines",
            line={"color": BLUE},
            name="best single step, plain SGD",
        )
    if diagnosis.critical_rate is not None:
        fig.add_scatter(
            x=sizes[[0, -1]],
            y=[diagnosis.critical_rate] * 2,
            mode="lines",
            line={"color": VERMILLION, "dash": "dash"},
            name="critical learning rate",
        )


def _sizes(diagnosis: Diagnosis) -> np.ndarray:
    """Batch sizes of the picture, so that the noise scale and the slider's ends are inside."""
    b, scale = diagnosis.setting.batch_size, diagnosis.measured.noise_scale
    inside = [v for v in (scale.low, scale.value, scale.high) if 0 < v < math.inf]
    if b is not None:
        inside += [b * 2.0**k for k in (DOUBLINGS[0], DOUBLINGS[-1])]
    inside = inside or [1.0, float(diagnosis.size)]
    return np.geomspace(max(0.25, min(inside) / 4), max(inside) * 4, 81)


def _title(diagnosis: Diagnosis, doublings: int) -> str:
    """What holds after so many doublings of batch and rate."""
    s, scale = diagnosis.setting, diagnosis.measured.noise_scale
    if s.batch_size is None or s.learning_rate is None:
        return "The best single step and the critical learning rate"
    times = 2.0**doublings
    b, rate = s.batch_size * times, s.learning_rate * times
    said = []
    if 0 < scale.value < math.inf:
        share = b / scale.value
        side = "below" if share < 1 / FAR else "above" if share > FAR else "about at"
        said.append(f"{side} the noise scale")
    if diagnosis.critical_rate is not None:
        said.append(f"{100 * rate / diagnosis.critical_rate:.2g} % of the critical rate")
    return f"B = {b:,.4g}, ε = {rate:.3g}:<br>{', '.join(said)}"


def _add_slider(fig: go.Figure, diagnosis: Diagnosis) -> None:
    s = diagnosis.setting
    assert s.batch_size is not None
    assert s.learning_rate is not None
    steps = []
    for k in DOUBLINGS:
        if s.batch_size * 2.0**k < 1:
            continue
        point = {"x": [[s.batch_size * 2.0**k]], "y": [[s.learning_rate * 2.0**k]]}
        steps.append(
            {
                "method": "update",
                "label": f"× {2**k}" if k >= 0 else f"÷ {2**-k}",
                "args": [point, {"title.text": _title(diagnosis, k)}, [len(fig.data) - 1]],
            }
        )
    active = next(i for i, step in enumerate(steps) if step["label"] == "× 1")
    fig.update_layout(
        height=620,
        # On a phone the legend has a line for each name, below the two lines of the title.
        margin={"t": 150},
        title={"y": 0.97, "yanchor": "top", "font": {"size": 15}},
        sliders=[
            {
                "active": active,
                "steps": steps,
                "currentvalue": {"prefix": "batch size and learning rate "},
                "pad": {"t": 56},
            }
        ],
    )


# --- The file ------------------------------------------------------------------------------------

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222832; background: #fff; margin: 2rem auto;
  max-width: 52rem; padding: 0 1rem; }
table { border-collapse: collapse; } th { text-align: left; font-weight: normal; color: #4b5563; }
td, th { padding: 0.15rem 1rem 0.15rem 0; vertical-align: top; } footer { color: #4b5563; }
"""


_HINT = (
    "Move the slider: batch and learning rate grow together, at one temperature. Watch the two "
    "limits: the critical rate, and the noise scale, at which the curve bends. The curve tells "
    "where that is, and not which rate is best for a whole training."
)


def page(diagnosis: Diagnosis) -> str:
    """The report as one HTML page that holds all it needs, plotly's script too."""
    drawn = picture(diagnosis).to_html(
        full_html=False,
        include_plotlyjs=True,
        config={"displaylogo": False, "responsive": True, "showSendToCloud": False},
    )
    first, *more = diagnosis.sentences
    head, _, rest = first.partition(". ")
    if not rest:
        head, rest = "Which regime", first
    hint = "" if diagnosis.temperature is None else f"<p>{_HINT}</p>"
    said = "".join(f"<li>{escape(line)}</li>" for line in more)
    numbers = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in rows(diagnosis)
    )
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Which regime: {escape(diagnosis.model)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(head)}</h1><p>{escape(rest)}</p><ul>{said}</ul>{hint}{drawn}"
        f"<h2>Measured</h2><table>{numbers}</table></main>"
        f"<footer><p>sgdnoise {__version__}, {today}</p></footer></body></html>"
    )


def check_file(path: Path) -> None:
    """Refuses a file that cannot be written, before anything is measured.

    Raises:
        InputError: for a folder, or a file that cannot be opened to be written.
    """
    try:
        if path.is_dir():
            raise InputError(f"--html takes a file, and {path} is a folder: name a file in it")
        if not path.parent.is_dir():
            raise InputError(f"the folder {path.parent} is not there: make it, or name another")
        there = path.exists()
        path.open("a").close()
        if not there:
            path.unlink()
    except OSError as error:
        raise InputError(
            f"cannot write {shown(str(path))} ({error.strerror}): name another"
        ) from error


def write(diagnosis: Diagnosis, path: Path) -> None:
    """Writes the report.

    Raises:
        FailureError: if the file cannot be written.
    """
    try:
        path.write_text(page(diagnosis), encoding="utf-8")
    except OSError as error:
        raise FailureError(
            f"cannot write {shown(str(path))} ({error.strerror}): name another"
        ) from error
