"""The chapter's figures and sentences say what its diagnoses have."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from sgdnoise import cli
from sgdnoise.analysis.intervals import Interval
from sgdnoise.diagnose import chapter, diagnose, example, problem_of, report
from sgdnoise.diagnose.verified import SEEDS, TIMES, UPDATES, Tried, word_of
from sgdnoise.experiments import study_of
from sgdnoise.records.store import Store

ROOT = Path(__file__).parents[2]
STORE = Store(ROOT / "results")


def test_the_net_is_that_of_the_books_runs():
    study = study_of(chapter.EXPERIMENT, chapter.SCALE)
    (run, *_) = chapter.measured(STORE).runs
    (moment,) = example.training((0.0,))
    assert run.config.model == "digits-mlp"
    assert sum(p.numel() for p in moment.net.parameters()) == 4810
    assert run.config.weight_decay == example.WEIGHT_DECAY
    # Its rate is constant for the first half.
    assert (run.config.schedule, run.config.epochs) == ("hold-then-decay", 2 * example.MOMENTS[-1])
    assert study.scale == "digits"


def test_a_training_passes_through_the_same_weights_whatever_moments_are_asked_for():
    (late,) = example.training((1.0,))
    *_, again = example.training((0.5, 1.0))
    for a, b in zip(late.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(a, b)
    (start,) = example.training((0.0,))
    (other,) = example.training((0.0,), seed=1)
    assert not torch.equal(next(start.net.parameters()), next(other.net.parameters()))
    assert not torch.equal(next(start.net.parameters()), next(late.net.parameters()))


def test_the_opening_counts_the_early_diagnoses_inside_the_boundary():
    found = chapter.boundary(STORE).boundary
    inside = early = 0
    for seed in range(example.SEEDS):
        for epoch, one in example.along(seed):
            if 0.5 <= epoch <= 5:
                early += 1
                inside += found.low <= one.measured.noise_scale.value <= found.high
    said = chapter.opening(STORE).data
    assert f"{inside} of {early} diagnoses" in said
    assert str(found) in said
    # What the figure's title claims.
    assert inside > early / 2
    late = [example.along(s)[-1][1].measured.noise_scale.value for s in range(example.SEEDS)]
    assert min(late) > 10 * found.value
    assert f"{min(late):,.0f} to {max(late):,.0f}" in said


def test_the_figure_has_every_moment_and_the_boundary():
    fig = chapter.along(STORE)
    trainings = [trace for trace in fig.data if trace.name and trace.name.startswith("training")]
    assert len(trainings) == example.SEEDS
    for seed, trace in enumerate(trainings):
        scales = [one.measured.noise_scale for _, one in example.along(seed)]
        assert np.allclose(trace.y, [s.value for s in scales])
        assert np.allclose(trace.y + trace.error_y.array, [s.high for s in scales])
    (line,) = [t for t in fig.data if t.name and t.name.startswith("boundary")]
    assert set(line.y) == {chapter.boundary(STORE).boundary.value}


def test_the_answer_is_what_the_command_prints():
    problem = problem_of(example.digits())
    assert problem.setting.batch_size == example.BATCH_SIZE
    assert problem.setting.learning_rate == example.RATE
    assert report.text(diagnose(problem, silent=True)) in chapter.answer().data


def test_tried_settings_have_one_temperature_and_their_words_are_counted():
    assert {rate / b for b, rate in chapter.TRIED} == {chapter.TEMPERATURE}
    found = example.tried(chapter.TRIED)
    rows = chapter.trying().data
    assert rows["B"].tolist() == [b for b, _ in chapter.TRIED]
    assert rows.iloc[:, 2].tolist() == [one.regime.word for one in found]
    said = chapter.tried_in_words().data
    both = {
        one.setting.batch_size: {t.word for t in one.verified.tried if t.rate_times == t.times}
        for one in found
    }
    held = [b for b, words in both.items() if words == {"alike"}]
    broken = [b for b, words in both.items() if "higher" in words]
    # The smallest batch is far below the critical rate, and the largest near it.
    assert held[0] == 1
    assert broken[-1] == 64
    listed = [re.findall(r"\d+", part) for part in re.findall(r"B = ([\d, and]+)", said)]
    assert listed == [[str(b) for b in held], [str(b) for b in broken]]


def test_the_caption_names_the_slider_that_it_says_to_move():
    shown = chapter.moments(STORE)
    (slider,) = shown.sliders.values()
    assert f"Move the {slider.description}:" in shown._caption


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(-0.01, 0.03, "+0.010 ± 0.02, alike"), (np.inf, np.inf, "diverges")],
)
def test_a_cell_has_its_interval_and_its_word(low, high, text):
    ratio = Interval((low + high) / 2, low, high)
    assert chapter._cell(Tried(2, 2, ratio, word_of(ratio))) == text


def test_the_page_opens_on_its_question_its_finding_and_a_figure_and_ends_on_two_exercises():
    cells = nbformat.read(ROOT / "book" / "diagnose.ipynb", as_version=4).cells
    first, _, finding, figure, *rest = cells
    assert first.source.startswith("# Diagnose your own training\n\n**The question.**")
    assert finding.source == "chapter.opening(store)"
    assert figure.source.startswith("chapter.along(store)")
    shown = [c for c in rest if c.cell_type == "code" and not c.metadata.get("tags")]
    assert [c.source.partition("(")[0] for c in shown] == ["def best_rate"]
    assert rest[-1].source.count("<details") == 1
    assert "## Exercises" in rest[-1].source


def test_the_numbers_that_the_page_has_in_words_are_those_of_the_code():
    cells = nbformat.read(ROOT / "book" / "diagnose.ipynb", as_version=4).cells
    text = "\n".join(c.source for c in cells)
    found = chapter.boundary(STORE).boundary
    assert round(found.high / found.low) == 8
    assert "known to a factor of eight" in text
    assert chapter.EARLY == (0.5, 5.0)
    assert "half an epoch to five epochs count as early" in text
    ways = 1 + 2 * len(TIMES)
    assert round(SEEDS * UPDATES * ways, -3) == 5000
    assert "about 5,000 times your batch in examples" in text


def test_the_command_lines_of_the_page_are_ones_that_parse():
    cells = nbformat.read(ROOT / "book" / "diagnose.ipynb", as_version=4).cells
    text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    typed = re.findall(r"^    sgdnoise (.+?) +#", text, re.M)
    assert len(typed) == 4
    for line in typed:
        parsed = cli._parser().parse_args(shlex.split(line.partition(">")[0]))
        assert parsed.function == "train:problem"
