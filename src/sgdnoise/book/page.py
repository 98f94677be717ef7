"""What an experiment's notebook starts from: its records, read once, at one scale."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pandas as pd
from IPython.display import Markdown, display

from sgdnoise.analysis import Reading
from sgdnoise.analysis.reading import is_variant
from sgdnoise.book.parameters import check_parameters
from sgdnoise.claims import Claim, Verdict, Word, headline, line
from sgdnoise.experiments import findings, study_of
from sgdnoise.figures.explorer import Figure, Slider, explorer
from sgdnoise.figures.tables import html_table
from sgdnoise.figures.tuned import variant_name
from sgdnoise.phrases import enumerated, not_complete
from sgdnoise.records.find import find_store
from sgdnoise.records.store import Store
from sgdnoise.study.grid import Key


@dataclass(frozen=True, eq=False)
class Page(Reading):
    """A reading with a notebook's manners: where nothing is recorded, it says so and draws nothing.

    Attributes:
        root: the store's folder.
    """

    root: Path

    @classmethod
    def load(cls, name: str, scale: str, seeds: int | None, results: str | None) -> Page:
        """The page of an experiment; `seeds` None takes the experiment's own number.

        Raises:
            InputError: for an unknown experiment, scale or papermill parameter, seeds other than
                whole numbers from 1 to 999, or no store.
        """
        check_parameters()
        study = study_of(name, scale, seeds)
        store = find_store(results)
        return cls(study, store.read(*study.place), store.root)

    @property
    def claims(self) -> Sequence[Claim]:
        """The experiment's claims."""
        claims: Sequence[Claim] = findings(self.study.experiment.name).CLAIMS
        return claims

    @functools.cached_property
    def coverage(self) -> Markdown:
        """Scale, what it leaves out and how much of it has been run."""
        study, own = self.study, self.study.experiment.seeds[self.study.scale]
        lines = [f"**Scale `{study.scale}`.** {study.leaves_out}"]
        if self.waiting:
            asked = len(study.needed(self.records))
            made = f"{asked - len(self.missing):,} of {asked:,} runs"
            lines.append(
                f"**{made}** that are asked for so far have been made, and "
                f"{not_complete(self.waiting, len(self.states))}. Verdicts rest on complete sweeps "
                "only; what figures and tables show of the others is provisional. "
                f"`{study.command}` finishes them."
            )
        elif study.seeds < own:
            lines.append(f"Shown are **{study.seeds} of {own} seeds**.")
        return Markdown("\n".join(lines))

    @property
    def sources(self) -> Markdown:
        """Where the records are, and what makes them."""
        own, *others = [
            f"`{file.relative_to(self.root.parent).as_posix()}`"
            for file in Store(self.root).files(*self.study.place)
        ]
        more = f", and some of {enumerated(others)}" if others else ""
        return Markdown(
            f"The records behind this page are the lines of {own}{more}, one a run, and "
            f"`{self.study.command}` makes what is missing of them."
        )

    @functools.cached_property
    def _judged(self) -> list[tuple[Claim, Verdict]]:
        """All claims, also those that other scales test."""
        return [(claim, claim.judge(self)) for claim in self.claims]

    @property
    def judged(self) -> list[tuple[Claim, Verdict]]:
        """The claims that this scale tests, each with its verdict."""
        return [(claim, verdict) for claim, verdict in self._judged if not verdict.elsewhere]

    @property
    def no_verdict(self) -> Markdown | None:
        """Why nothing can be judged here, or None where it can."""
        if not self.records:
            return self.not_measured
        if self.study.seeds < 2:
            return Markdown("**No verdict**: a single seed has no spread to judge by.")
        return None

    def opening(
        self,
        draw: Callable[..., Any],
        claim: str,
        *arguments: Any,
        more: Callable[[Reading], str] | None = None,
    ) -> None:
        """The page's first figure under its finding, one claim's verdict, and over all words.

        Args:
            draw: gives the figure for this reading and the further arguments.
            claim: the id of the claim that the figure argues.
            more: gives what the finding is told with beside that verdict.
        """
        if self.no_verdict is None:
            told = [self._headline(claim), more(self) if more else ""]
            display(Markdown("\n\n".join(filter(None, told))))
        display(self.show(draw, *arguments), self.words)

    def _headline(self, claim: str) -> str:
        (found,) = [headline(c, v) for c, v in self.judged if c.id == claim]
        return found

    @property
    def words(self) -> Markdown:
        """The claims by their words: what of the papers these records bear out."""
        if self.no_verdict is not None:
            return self.no_verdict
        lines = []
        for word in get_args(Word):
            said = [
                f"{v.about or c.stated.statement}"
                f"{f' (but it holds for {v.in_part})' if word == 'absent' and v.in_part else ''}"
                for c, v in self.judged
                if v.word == word
            ]
            if said:
                name = f"*{word[:1].upper()}{word[1:]}*"
                if word == "reproduced at another size":
                    name += " (the sign is the paper's, the size of the effect is not)"
                lines.append(f"- {name}: {'; '.join(said)}")
        return Markdown("\n".join(lines))

    def verdicts(self, *prefixes: str) -> Markdown:
        """The claims with their verdicts, a line each; those whose ids begin so, if given.

        Claims of other scales are left out, unless nothing else was asked for.
        """
        if self.no_verdict is not None:
            return self.no_verdict
        wanted = [pair for pair in self._judged if pair[0].id.startswith(prefixes or "")]
        here = [pair for pair in wanted if not pair[1].elsewhere]
        return Markdown("\n".join(line(*pair) for pair in here or wanted))

    def judge(
        self,
        sentence: Callable[[Reading], str],
        of: Callable[[Key], bool] | None = None,
        on: str = "",
    ) -> Markdown | None:
        """A sentence about the complete records, where there is a verdict and a word to be had.

        As with claims, none comes from records of several devices: not from the sweeps that it is
        about, nor, where these are all, from those of one variant.

        Args:
            sentence: gives it for this reading.
            of: of a sweep's key, whether the sentence is about it; None for all sweeps.
            on: what it is about, in words, to say what there is nothing to say of yet.
        """
        about = self if of is None else self.part(of)
        what = f" of {on}" if on else ""
        if about.waiting:
            waiting = not_complete(about.waiting, len(about.states))
            return Markdown(f"**Nothing to say yet{what}**: {waiting}.")
        if self.no_verdict is not None:
            return self.no_verdict
        for part in self._variant_parts if of is None else [about]:
            if part.mixed:
                return Markdown(f"**Nothing to say yet{what}**: {part.mixed}")
        return _told(sentence(self))

    @functools.cached_property
    def _variant_parts(self) -> list[Page]:
        """The reading of each variant by itself."""
        return [self.part(functools.partial(is_variant, variant=one)) for one in self.variants]

    def each(self, draw: Callable[..., Any], argues: Mapping[Key, str] | None = None) -> None:
        """What `draw` gives for each variant of the sweeps, each under its name and finding.

        Args:
            draw: gives the figure for this reading and a variant.
            argues: for a variant, the id of the claim that the figure argues.
        """
        for variant in self.variants:
            # One of two variants has nothing to be named after.
            name = variant_name(variant) or ("with weight decay" if len(self.variants) > 1 else "")
            if name:
                display(Markdown(f"*{name.capitalize()}*"))
            if argues is not None and self.no_verdict is None:
                display(Markdown(self._headline(argues[variant])))
            display(self.show(draw, variant))

    @property
    def purposes(self) -> dict[str, Any]:
        """A slider over what the sweeps are tuned for."""
        names = [objective.name for objective in self.objectives]
        purposes = {objective.name: objective.purpose for objective in self.objectives}
        return {"values": names, "label": "tuned", "format": purposes.get, "value": names[-1]}

    def show(self, draw: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What `draw` gives for this reading; a table as HTML, a sentence as Markdown.

        None for no words at all.
        """
        if not self.records:
            return self.not_measured
        drawn = draw(self, *arguments, **options)
        if isinstance(drawn, str):
            return _told(drawn)
        return html_table(drawn) if isinstance(drawn, pd.DataFrame) else drawn

    def slide(
        self, draw: Callable[..., Figure], values: Sequence[Any], caption: str, **slider: Any
    ) -> object:
        """What `draw` gives for this reading at each of these values under a slider: `explore`."""
        return self.explore(
            lambda value: draw(self, value), caption, value={"values": values, **slider}
        )

    def explore(
        self, draw: Callable[..., Figure], caption: str, **sliders: Mapping[str, Any]
    ) -> object:
        """What `draw` gives under sliders, over what is measured.

        A quantity with a single value needs no slider; where one has none, see `show`.

        Args:
            draw: the figure at values of the quantities, by their names.
            caption: what to look for when a slider moves.
            sliders: for each quantity what `Slider` takes: values, label, unit, format, and the
                value to start at, which counts only if it is one of the values.
        """
        if not self.records or any(not len(slider["values"]) for slider in sliders.values()):
            return self.not_measured
        fixed = {name: s["values"][0] for name, s in sliders.items() if len(s["values"]) == 1}
        moving = {name: dict(s) for name, s in sliders.items() if name not in fixed}
        if not moving:
            return draw(**fixed)
        for slider in moving.values():
            if slider.get("value") not in slider["values"]:
                slider.pop("value", None)
        positions = {name: Slider(**slider) for name, slider in moving.items()}
        return explorer(lambda **at: draw(**fixed, **at), positions, caption=caption)

    @property
    def not_measured(self) -> Markdown:
        """That this is not yet measured; the command that does is in `coverage`."""
        return Markdown(f"*Not yet measured at scale `{self.study.scale}`.*")


def _told(sentence: str) -> Markdown | None:
    """Empty Markdown would stand in the built page as the name of its Python object."""
    return Markdown(sentence) if sentence else None
