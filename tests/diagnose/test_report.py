"""A diagnosis as numbers, as text and as a page; and the command that makes them."""

from __future__ import annotations

import json
import math
import re

import pytest

from sgdnoise import cli
from sgdnoise.diagnose import diagnose, report
from sgdnoise.diagnose.diagnosis import asked
from sgdnoise.diagnose.measured import EXAMPLES
from sgdnoise.errors import FailureError, InputError
from tests.diagnose.made_up_problems import linear

EXAMPLE = "sgdnoise.diagnose.example:digits"


@pytest.fixture(scope="module")
def found():
    return diagnose(linear(), batch_size=4, learning_rate=0.01, momentum=0.5, silent=True)


def test_the_numbers_follow_from_each_other(found):
    said = found.to_dict()
    assert said["critical_learning_rate"] == pytest.approx(2 * 1.5 / said["lambda_max"])
    assert said["share_of_critical"] == pytest.approx(0.01 / said["critical_learning_rate"])
    assert said["temperature"] == pytest.approx(0.01 / 0.5 / 4)
    trace = found.measured.simple.noise
    assert said["noise_floor"] == pytest.approx(said["temperature"] * trace / 4)
    assert said["noise_scale_interval"][0] < said["noise_scale"] < said["noise_scale_interval"][1]
    assert (said["examples"], said["examples_measured"]) == (1024, 1024)
    assert said["verified"] is None


def test_the_limits_are_those_that_were_measured(found):
    m, limits = found.measured, found.limits
    assert limits.best_step == m.simple.signal / m.noise.signal
    assert limits.critical == pytest.approx(2 / m.lambda_max)
    assert limits.noise_scale == m.noise_scale
    assert limits.all_examples
    assert not diagnose(linear(), examples=64, silent=True).limits.all_examples


def test_what_is_not_asked_is_not_made_up():
    said = diagnose(linear(), silent=True).to_dict()
    for name in ("batch_size", "learning_rate", "temperature", "noise_floor", "share_of_critical"):
        assert said[name] is None
    assert said["regime"] == "not asked"


def test_the_text_has_the_meaning_first_and_then_every_number(found):
    text = report.text(found)
    said, _, _ = text.partition("\n\n")
    assert said.replace("\n  ", " ").splitlines() == found.sentences
    assert max(map(len, said.splitlines())) <= 88
    for name, value in report.rows(found):
        assert re.search(f"^{re.escape(name)} +{re.escape(value)}$", text, re.M)
    assert not re.search(r"\bnan\b|\binf\b", text)


def test_the_page_holds_all_it_needs_and_asks_nothing_of_the_network(found):
    page = report.page(found)
    head, _, rest = found.sentences[0].partition(". ")
    assert f"<h1>{head}</h1><p>{rest}</p>" in page
    assert "Move the slider" in page
    outside = re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.S)
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", outside)
    assert not re.search(r"<script[^>]+src=", page)
    assert "showSendToCloud" in page


def test_a_models_name_is_text_and_not_markup(found):
    object.__setattr__(found, "model", "<img src=x>")
    try:
        assert "<img src=x>" not in report.page(found)
        assert "&lt;img src=x&gt;" in report.page(found)
    finally:
        object.__setattr__(found, "model", "Linear")


def test_the_slider_keeps_the_temperature_and_starts_where_the_training_is(found):
    fig = report.picture(found)
    (slider,) = fig.layout.sliders
    assert slider.steps[slider.active].label == "× 1"
    for step in slider.steps:
        point, title, (trace,) = step.args
        assert fig.data[trace].name == "this training"
        (((b,),), ((rate,),)) = point["x"], point["y"]
        assert b >= 1
        assert rate / b == pytest.approx(0.01 / 4)
        assert f"B = {b:,.4g}" in title["title.text"]
    assert fig.layout.title.text == slider.steps[slider.active].args[1]["title.text"]


def test_the_picture_has_the_critical_rate_and_the_best_step(found):
    by = {trace.name: trace for trace in report.picture(found).data}
    assert set(by["critical learning rate"].y) == {found.critical_rate}
    best = by["best single step, plain SGD"]
    scale, m = found.measured.noise_scale.value, found.measured
    largest = m.simple.signal / m.noise.signal * 0.5
    for b, rate in zip(best.x, best.y, strict=True):
        assert rate == pytest.approx(largest / (1 + scale / b))


def test_without_a_setting_the_picture_has_no_slider():
    fig = report.picture(diagnose(linear(), silent=True))
    assert not fig.layout.sliders
    assert "this training" not in {trace.name for trace in fig.data}
    assert "Move the slider" not in report.page(diagnose(linear(), silent=True))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"batch_size": 0}, "from 1 to 1024"),
        ({"batch_size": 1025}, "from 1 to 1024"),
        ({"batch_size": 2.5}, "from 1 to 1024"),
        ({"learning_rate": 0.0}, "positive and finite"),
        ({"learning_rate": math.inf}, "positive and finite"),
        ({"learning_rate": math.nan}, "positive and finite"),
        ({"momentum": 1.0}, "below 1"),
        ({"momentum": -0.1}, "below 1"),
        ({"momentum": math.nan}, "below 1"),
    ],
)
def test_a_setting_out_of_its_bounds_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        asked(linear(), **given)


def test_the_help_and_the_function_measure_on_as_many_examples():
    parsed = cli._parser().parse_args(["diagnose", "train:problem"])
    assert parsed.examples == EXAMPLES
    assert f"{EXAMPLES} unless given" in " ".join(cli.help_pages()["sgdnoise diagnose"].split())


# --- The command ---------------------------------------------------------------------------------


def test_the_command_prints_one_json_document(capsys, monkeypatch):
    monkeypatch.setenv("SGDNOISE_QUIET", "1")
    assert cli.main(["diagnose", EXAMPLE, "--json", "--momentum", "0.5"]) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert (said["batch_size"], said["learning_rate"], said["momentum"]) == (16, 0.25, 0.5)
    assert said["model"] == "DigitsMLP"
    assert err == ""


def test_what_the_users_code_prints_is_no_part_of_the_document(capsys, monkeypatch, tmp_path):
    (tmp_path / "talks_a_lot.py").write_text(
        "import torch\nprint('loading')\n"
        "def problem():\n"
        "    print('made')\n"
        "    x = torch.randn(64, 3)\n"
        "    return torch.nn.Linear(3, 1), torch.nn.MSELoss(), (x, x.sum(1, keepdim=True))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert cli.main(["diagnose", "talks_a_lot:problem", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["examples"] == 64
    assert "loading" in err
    assert "made" in err


def test_the_command_tries_and_writes_a_page(capsys, tmp_path):
    page = tmp_path / "mine.html"
    code = cli.main(["diagnose", EXAMPLE, "--batch-size", "2", "--verify", "--html", str(page)])
    assert code == 0
    assert "Tried: " in capsys.readouterr().out
    assert "Tried: " in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--batch-size", "5000"], 2, "from 1 to 1024"),
        (["--lr", "0"], 2, "positive"),
        (["--lr", "fast"], 2, "not a number"),
        (["--momentum", "1"], 2, "below 1"),
        (["--examples", "3"], 2, "16 examples or more"),
        (["--verify", "--batch-size", "512"], 2, "256 or less"),
        (["--html", "/no/such/folder/a.html"], 2, "is not there"),
        (["--html", "."], 2, "is a folder"),
        (["--html", "a" * 300], 2, "cannot write"),
        (["--html", "/proc/a.html"], 2, "cannot write"),
        (["--what"], 2, "unrecognized"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_measured(more, code, said, capsys, monkeypatch):
    def never(*_, **__):
        raise AssertionError("measured")

    monkeypatch.setattr("sgdnoise.diagnose.measured.top_eigenvalues", never)
    assert cli.main(["diagnose", EXAMPLE, *more]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_a_page_that_cannot_be_written_is_one_line(found, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.write_text", refused)
    with pytest.raises(FailureError, match="cannot write"):
        report.write(found, tmp_path / "a.html")
