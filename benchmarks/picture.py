"""Draws the README's picture from the records, and writes its caption: after a change of either.

Run as ``python -m benchmarks.picture``; it needs Chromium. The caption is computed, so that it says
no more than the verdicts do.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import plotly.graph_objects as go

from sgdnoise.analysis.reading import Reading
from sgdnoise.experiments import findings, study_of
from sgdnoise.figures.theme import TEMPLATE
from sgdnoise.figures.tuned import learning_rates
from sgdnoise.records.store import Store
from sgdnoise.study.scales import NAMES

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "book" / "assets" / "readme.png"
README = ROOT / "README.md"
WIDTH, HEIGHT = 660, 430

SAID = {
    "S20-F1c.linear-scaling.sgd": "SGD's rate grows in proportion to the batch below its boundary",
    "S20-F1c.linear-scaling.momentum": "the rate with momentum grows in proportion below its own",
    "S20-F1c.momentum-scales-further": "the rate with momentum grows up to larger batches",
    "S20-F1c.larger-rate-beyond": "far beyond the boundary momentum bears the larger rate",
}
"""What the picture lets one think, by the claim that judges it."""


def reading() -> Reading:
    """The committed runs of S20's figure 1 at scale digits."""
    study = study_of("constant-epoch", "digits")
    return Reading(study, Store(ROOT / "results").read(*study.place))


def caption(of: Reading) -> str:
    """What is drawn, from how many runs, the fits, and how each claim about them is judged."""
    runs = sum(config.id in of.records for config in of.study.needed(of.records))
    fits = ", ".join(
        f"{NAMES[method]} has slope {fit.slope.value:.2f} and boundary {fit.boundary.value:.0f}"
        for method, fit in of.regimes.items()
    )
    claims = {claim.id: claim for claim in findings(of.study.experiment.name).CLAIMS}
    by_word: dict[str, list[str]] = {}
    for claim, said in SAID.items():
        by_word.setdefault(claims[claim].judge(of).word, []).append(said)
    judged = "; ".join(f"{word}, that {', that '.join(s)}" for word, s in by_word.items())
    return (
        "*The tuned effective learning rate against batch size for a small net on digits, from "
        f"{runs:,} training runs that `make book` repeats on your machine. "
        f"Lines are fits to the small crosses: {fits}. "
        "Slopes and boundaries are exploratory: their estimator was chosen after runs had been "
        "seen. "
        f"The book's verdicts on these runs: {judged}.*"
    )


def drawn(of: Reading) -> go.Figure:
    """The book's figure without what the caption says."""
    fig = learning_rates(of)
    fig.update_layout(template=TEMPLATE, title=None, width=WIDTH, height=HEIGHT)
    fig.layout.annotations = ()
    fig.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    for trace in fig.data:
        trace.showlegend = "between the points" not in trace.name
    return fig


def main() -> None:
    """Writes the picture, and the caption below it in the README."""
    from playwright.sync_api import sync_playwright

    of = reading()
    html = drawn(of).to_html(include_plotlyjs=True, config={"staticPlot": True})
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_content(html)
        page.locator(".js-plotly-plot .main-svg").first.wait_for()
        page.locator(".js-plotly-plot").screenshot(path=PICTURE)
        browser.close()
    text = README.read_text(encoding="utf-8")
    new = re.sub(r"(?m)^\*The tuned effective.*\*$", lambda _: caption(of), text)
    README.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
