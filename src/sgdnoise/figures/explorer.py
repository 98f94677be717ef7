"""Figures with sliders, from one source for every place where a notebook is read.

    from sgdnoise.figures.explorer import Slider, explorer

    def figure_at(learning_rate, batch_size):        # any plotly figure of the two
        ...

    explorer(
        figure_at,
        {
            "learning_rate": Slider([0.05, 0.1, 0.2], label="learning rate ε", value=0.1),
            "batch_size": Slider([1, 2, 4, 8], label="batch size B", unit="examples"),
        },
        caption="Double both: the law stays where it is.",
    )

The figure at every position of the sliders is computed when the cell runs and travels with the
widget, so that the built page needs neither a kernel nor a network: there book/mime.py hands the
table of frames to the browser's own controls. With a kernel, in JupyterLab or Colab, the sliders
are ipywidgets, and each move calls ``figure_at`` again and shows what it returns: change what it
depends on in another cell and the sliders follow.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import anywidget
import ipywidgets
import numpy as np
import plotly
import plotly.graph_objects as go
import traitlets

from sgdnoise.figures.theme import compact

Figure: TypeAlias = go.Figure | dict[str, Any]
"""A plotly figure, or its JSON as a dictionary, which is quicker to make by the hundred."""

MAX_SLIDERS = 3
MAX_BYTES = 1_500_000
"""What one explorer may add to a page, whose limit is 2 MB."""

_STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True)
class Slider:
    """One slider: the values that it steps through, in order, and how they are named.

    Args:
        values: two or more numbers (or strings), in the order in which the slider passes them.
        label: what it sets, with its symbol: "learning rate ε".
        unit: shown after each value; empty for a pure number.
        value: where it stands at first; the middle one unless given.
        format: a format specification, or a function that names a value ("2⁻³").
    """

    values: Sequence[Any] | np.ndarray
    label: str
    unit: str = ""
    value: Any = None
    format: str | Callable[[Any], str] = ""

    def __post_init__(self) -> None:
        values = [v.item() if isinstance(v, np.generic) else v for v in self.values]
        if len(values) < 2:
            raise ValueError(f"the slider {self.label!r} needs at least two values")
        object.__setattr__(self, "values", values)
        if self.value is None:
            object.__setattr__(self, "value", values[len(values) // 2])
        if self.value not in values:
            raise ValueError(f"the slider {self.label!r} starts at {self.value}, not one of its")
        if len(set(self.options)) < len(values):
            raise ValueError(f"the slider {self.label!r} shows two of its values alike")

    @property
    def options(self) -> list[str]:
        """The values as the slider shows them."""

        def name(value: Any) -> str:
            if callable(self.format):
                return self.format(value)
            plain = self.format or ("g" if isinstance(value, float) else "")
            return format(value, plain)

        return [f"{name(v)} {self.unit}".rstrip() for v in self.values]


class Plot(anywidget.AnyWidget):
    """The picture of an explorer: a table of frames, and which of them is shown.

    Not for notebooks: use :func:`explorer`.
    """

    _esm = "".join((_STATIC / f"{part}.js").read_text() for part in ("plot", "explorer", "widget"))
    _css = (_STATIC / "plot.css").read_text()
    sliders: Any = traitlets.List().tag(sync=True)
    table = traitlets.Dict().tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)
    slider_0 = traitlets.Int().tag(sync=True)
    slider_1 = traitlets.Int().tag(sync=True)
    slider_2 = traitlets.Int().tag(sync=True)


class Explorer(ipywidgets.VBox):
    """Sliders above the figure that they move; made by :func:`explorer`."""

    def __init__(
        self,
        compute: Callable[..., Figure],
        sliders: Mapping[str, Slider],
        caption: str,
        max_bytes: int,
    ) -> None:
        if not 1 <= len(sliders) <= MAX_SLIDERS:
            raise ValueError(f"an explorer has 1 to {MAX_SLIDERS} sliders, got {len(sliders)}")
        if not caption.strip():
            raise ValueError("the caption says what to look for when the slider moves")
        self._compute, self._specs, self._caption = compute, dict(sliders), caption
        specs = list(sliders.values())
        shape = [len(s.values) for s in specs]
        grid = itertools.product(*(s.values for s in specs))
        frames = [compact(compute(**dict(zip(sliders, at, strict=True)))) for at in grid]
        table = {"shape": shape, **tabulate(frames)}
        _check_steps(table, specs)
        size = len(json.dumps(table, separators=(",", ":")))
        if size > max_bytes:
            raise ValueError(
                f"{len(frames)} frames take {size:,} bytes of the page, more than {max_bytes:,}: "
                "take fewer slider values or fewer points a curve"
            )
        start = [s.values.index(s.value) for s in specs]  # type: ignore[union-attr]
        self._plot = Plot(
            sliders=[
                {"name": n, "label": s.label, "values": s.values, "options": s.options}
                for n, s in sliders.items()
            ],
            table=table,
            caption=caption,
            **{f"slider_{axis}": i for axis, i in enumerate(start)},
        )
        self.sliders = {
            name: ipywidgets.SelectionSlider(
                options=list(zip(s.options, s.values, strict=True)),
                index=i,
                description=s.label,
                style={"description_width": "11rem"},
                layout={"width": "100%", "max_width": "38rem"},
            )
            for (name, s), i in zip(sliders.items(), start, strict=True)
        }
        # On the page these links are all there is between a slider and its figure.
        self._links = [
            ipywidgets.jslink((slider, "index"), (self._plot, f"slider_{axis}"))
            for axis, slider in enumerate(self.sliders.values())
        ]
        self._plot.on_msg(self._on_message)
        super().__init__([*self.sliders.values(), self._plot])
        self.add_class("sgdnoise-explorer")
        for slider in self.sliders.values():
            slider.observe(self._on_move, "index")

    @property
    def values(self) -> dict[str, Any]:
        """What the sliders stand at."""
        return {name: slider.value for name, slider in self.sliders.items()}

    def frame(self, **values: Any) -> dict[str, Any]:
        """The figure that the page shows at these values of all sliders, as plotly's JSON."""
        row = 0
        for name, spec in self._specs.items():
            row = row * len(spec.values) + list(spec.values).index(values[name])
        return untabulate(self._plot.table, row)

    def _on_move(self, _change: object) -> None:
        self._plot.send(
            {
                "kind": "frame",
                "position": [slider.index for slider in self.sliders.values()],
                "figure": compact(self._compute(**self.values)),
            }
        )

    def _on_message(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        if content.get("kind") == "plotly":
            source = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
            self._plot.send({"kind": "plotly"}, buffers=[source.read_bytes()])

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        # For readers without scripts, and for a notebook where no widget can be shown.
        data = super()._repr_mimebundle_(**kwargs)
        data["text/plain"] = self._caption
        return data, {"sgdnoise": {"caption": self._caption}}


def explorer(
    source: Callable[..., Figure] | Mapping[Any, Figure] | Sequence[Figure],
    sliders: Mapping[str, Slider],
    *,
    caption: str,
    max_bytes: int = MAX_BYTES,
) -> Explorer:
    """A figure that sliders move, in JupyterLab, in Colab and on a page with no kernel.

    What it is not: a way to show more than some hundreds of frames. All combinations of the
    sliders' values are computed and stored; only what differs between frames is stored for each.
    Give the axes a fixed range (``figures.figure(x_range=..., y_range=...)``), or each step
    rescales them and nothing seems to move. Put the numbers that the reader should compare into
    the figure's title, from the same values that are drawn.

    Args:
        source: a function of the sliders' values, by their names, that returns a figure; or
            figures that exist already (of recorded runs, say): a mapping from the value, or from
            the tuple of the values, or a sequence in the order of ``itertools.product``.
        sliders: one to three, by the name of ``source``'s argument.
        caption: what to look for when the slider moves; shown below the figure, and in its place
            to readers without scripts.
        max_bytes: what it may add to the page.

    Raises:
        ValueError: for no slider or more than three, an empty caption, figures that are missing
            or too many, a step of a slider that changes nothing drawn, more than ``max_bytes``.
    """
    if callable(source):
        return Explorer(source, sliders, caption, max_bytes)
    grid = list(itertools.product(*(s.values for s in sliders.values())))
    if isinstance(source, Mapping):
        keyed = {k if isinstance(k, tuple) else (k,): figure for k, figure in source.items()}
        missing = [at for at in grid if at not in keyed]
        if missing:
            raise ValueError(f"no figure for slider values {missing[0]}")
    else:
        if len(source) != len(grid):
            raise ValueError(f"{len(grid)} slider positions, but {len(source)} figures")
        keyed = dict(zip(grid, source, strict=True))
    return Explorer(lambda **values: keyed[tuple(values.values())], sliders, caption, max_bytes)


def tabulate(frames: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The frames as what they share, and for each the few values in which it differs.

    ``base`` is the first frame; ``paths`` lead to the places that vary; ``pool`` holds each value
    that occurs there once; row i of ``frames`` points into the pool, path by path.
    """
    paths: list[list[str | int]] = []
    columns: list[list[Any]] = []

    def walk(nodes: list[Any], path: list[str | int]) -> None:
        first = nodes[0]
        if all(node == first for node in nodes):
            return
        steps: Any = ()
        if all(isinstance(n, dict) and n.keys() == first.keys() for n in nodes):
            steps = () if "bdata" in first else first.keys()  # a packed array is one value
        elif all(isinstance(n, list) and len(n) == len(first) for n in nodes) and all(
            isinstance(item, dict) for n in nodes for item in n
        ):
            steps = range(len(first))
        if steps:
            for step in steps:
                walk([node[step] for node in nodes], [*path, step])
        else:
            paths.append(path)
            columns.append(nodes)

    walk(list(frames), [])
    pool: dict[str, int] = {}
    rows = [
        [pool.setdefault(json.dumps(value), len(pool)) for value in row]
        for row in (zip(*columns, strict=True) if columns else [()] * len(frames))
    ]
    return {
        "base": frames[0],
        "paths": paths,
        "pool": [json.loads(value) for value in pool],
        "frames": rows,
    }


def untabulate(table: Mapping[str, Any], row: int) -> dict[str, Any]:
    """The frame in a row of :func:`tabulate`'s table; explorer.js does the same in the page."""
    figure = json.loads(json.dumps(table["base"]))
    for path, index in zip(table["paths"], table["frames"][row], strict=True):
        node = figure
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = table["pool"][index]
    return figure


def _check_steps(table: Mapping[str, Any], sliders: Sequence[Slider]) -> None:
    """A step that changes nothing drawn would tell the reader that the quantity has no effect."""
    drawn = [column for column, path in enumerate(table["paths"]) if path[0] == "data"]
    rows = [tuple(row[column] for column in drawn) for row in table["frames"]]
    shape = table["shape"]
    for position in itertools.product(*map(range, shape)):
        for axis, slider in enumerate(sliders):
            if position[axis] + 1 == shape[axis]:
                continue
            following = [i + (axis == k) for k, i in enumerate(position)]
            here, there = (int(np.ravel_multi_index(p, shape)) for p in (position, following))
            if rows[here] == rows[there]:
                steps = " to ".join(slider.options[i] for i in (position[axis], following[axis]))
                others = [
                    f"{s.label} {s.options[i]}"
                    for k, (s, i) in enumerate(zip(sliders, position, strict=True))
                    if k != axis
                ]
                at = f" at {', '.join(others)}" if others else ""
                raise ValueError(f"{slider.label} from {steps}{at} changes nothing that is drawn")
