"""The map alone, on the committed records: its model against Python, its controls, its address."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from browser.slowed import slowed

from sgdnoise import figures
from sgdnoise.book.map_page import the_map
from sgdnoise.chapters.noisy_quadratic import regimes
from sgdnoise.records.store import Store
from sgdnoise.theory.nqm import expected_loss, spectrum
from sgdnoise.theory.regimes import fit_hinge

ROOT = Path(__file__).parents[2]
STATIC = Path(figures.__file__).parent / "static"
MODEL = spectrum("binned")
MOMENTUM = "digits_constant-epoch_momentum"
KINDS = ("epochs", "updates")
"""What every batch size of the model gets the same of."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, serve: Any) -> str:
    folder = tmp_path_factory.mktemp("map")
    (folder / "book").mkdir()
    (folder / "book" / "map.html").write_text(
        '<!doctype html><html lang="en" data-theme="light" data-content_root="../">'
        '<meta charset="utf-8"><link rel="icon" href="data:,"><title>t</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<body>{the_map(Store(ROOT / 'results'), []).data}</body></html>",
        encoding="utf-8",
    )
    return f"{serve(folder)}/book/map.html"


@pytest.fixture
def page(visit: Any, url: str) -> Any:
    seen = visit(url)
    yield seen.page
    assert seen.trouble == []


def heading(page: Any) -> str:
    return str(page.locator(".sgdnoise-map .title").inner_text())


def fills(page: Any) -> list[str]:
    """What the cells look like: the colours of real ones, the picture of the model's."""
    return list(
        page.eval_on_selector_all(
            ".sgdnoise-map [data-cell], .sgdnoise-map image",
            "(all) => all.map((one) => one.getAttribute('fill') ?? one.getAttribute('href'))",
        )
    )


# --- The model --------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0, 0.5, 0.9, 0.99])
def test_every_cell_of_a_grid_is_what_python_has(page: Any, momentum: float) -> None:
    """Rates on both sides of the wall and exactly on it, from one update to a million."""
    rates = 2.0 ** np.arange(-10, 10, 0.25) * (1 - momentum)
    rates = np.append(rates, [2 * (1 + momentum), 2 * (1 + momentum) * (1 - 1e-9)])
    model = {k: getattr(MODEL, k).tolist() for k in ("curvature", "noise", "weight")}
    for batch, steps in itertools.product([1, 64, 4096], [1, 2, 7, 64, 1000, 2**16, 2**20]):
        found = page.evaluate(
            """([model, rates, m, batch, steps]) => rates.map((rate) => {
              const { prepare, loss } = sgdnoiseQuadratic;
              return String(loss(model, prepare(model, rate, m), rate, batch, steps));
            })""",
            [model, rates.tolist(), momentum, batch, steps],
        )
        mine = np.array([float(value.replace("Infinity", "inf")) for value in found])
        theirs = expected_loss(MODEL, rates, batch, steps, momentum)
        # What has blown up beyond all bounds has no digits to agree on.
        lives = theirs < 1e100
        assert lives.sum() > 40
        np.testing.assert_allclose(mine[lives], theirs[lives], rtol=1e-9)
        assert (mine[~lives] > 1e50).all()


def test_the_boundary_is_fitted_as_in_python(page: Any) -> None:
    rng = np.random.default_rng(3)
    x = np.arange(12.0)
    for knee in (3.3, 7.0, 20.0):
        y = -2 + np.minimum(x - knee, 0) + rng.normal(0, 0.2, x.size)
        found = page.evaluate("([x, y]) => sgdnoiseQuadratic.hinge(x, y)", [x.tolist(), y.tolist()])
        fit = fit_hinge(x, y[None])[0]
        assert found["knee"] == pytest.approx(fit.knee, abs=1e-9)
        assert found["slope"] == pytest.approx(fit.slope, abs=1e-9)
        assert found["level"] == pytest.approx(fit.level, abs=1e-9)
        assert found["flat"] == (knee < 11)


def test_what_the_page_tells_of_the_model_is_so(page: Any) -> None:
    """The sentences below the map: what momentum, the budget and its kind do to the boundary."""
    fit = """([m, size, budget]) => {
      const data = document.querySelector(".sgdnoise-map script").textContent;
      const view = sgdnoiseViews.theoryView(JSON.parse(data).model, { m, size, budget });
      const { ridge } = view;
      const at = [ridge.map((p) => p.b), ridge.map((p) => p.e)];
      return { ...sgdnoiseQuadratic.hinge(...at), wall: view.wall };
    }"""
    plain, heavy = (page.evaluate(fit, [m, 14, "epochs"]) for m in (0, 0.9))
    assert plain["slope"] == pytest.approx(1, abs=0.1)
    assert heavy["slope"] == pytest.approx(1, abs=0.1)
    assert heavy["wall"] - plain["wall"] == pytest.approx(np.log2(19))
    assert heavy["knee"] > plain["knee"] + 2
    shorter = page.evaluate(fit, [0.9, 13, "epochs"])
    assert shorter["knee"] < heavy["knee"] - 0.2
    updates = page.evaluate(fit, [0.9, 10, "updates"])
    assert updates["slope"] < 0.8


def test_the_model_has_a_boundary_where_its_chapter_gives_one(page: Any) -> None:
    """And without one the title names no batch size at which the growth ends."""
    see = """([m, size, budget]) => {
      const data = document.querySelector(".sgdnoise-map script").textContent;
      const { ridge, boundary, title } =
        sgdnoiseViews.theoryView(JSON.parse(data).model, { m, size, budget });
      return { ridge, boundary, title };
    }"""
    known = 0
    for m, size, budget in itertools.product((0, 0.9, 0.99), (4, 6, 12, 14, 20), KINDS):
        seen = page.evaluate(see, [m, size, budget])
        b, e = ([point[name] for point in seen["ridge"]] for name in "be")
        curve = SimpleNamespace(batch_size=2.0 ** np.array(b), effective_learning_rate=np.exp2(e))
        theirs = regimes(curve).boundary
        assert (seen["boundary"] is None) == np.isnan(theirs)
        assert ("up to B ≈" in seen["title"]) == (seen["boundary"] is not None)
        if seen["boundary"] is None:
            slope = np.polyfit(b, e, 1)[0]
            assert "hardly" in seen["title"] or seen["title"].endswith(f"power {slope:.2f}")
        else:
            known += 1
            assert budget == "epochs"
            assert 2 ** seen["boundary"]["value"] == pytest.approx(theirs)
    assert known > 4


def test_a_slider_redraws_at_once(page: Any) -> None:
    """Within 50 ms on a processor slowed fourfold, in the page's own time: others work here too."""
    page.get_by_label("Shown").select_option("theory")
    cost = slowed(page, "input[name=m]")

    def at(size: str) -> float:
        """Seconds a move of momentum with a budget that has not been shown before."""
        page.locator("input[name=size]").fill(size)
        return cost()

    # What else a machine does only adds: the least of three is the page's own.
    assert 1e-3 < min(at(size) for size in ("4", "8", "12")) < 0.05


# --- What a reader does -----------------------------------------------------------------------


def test_the_first_position_shows_real_runs_and_their_finding(page: Any) -> None:
    assert page.locator("select[name=layer]").input_value() == MOMENTUM
    assert "The best learning rate grows with a slope of" in heading(page)
    assert page.locator("[data-cell]").count() > 100
    assert page.locator("polyline.line.ridge").count() == 1
    assert page.locator("polyline.line.boundary").count() == 1
    assert page.locator("label.m").is_hidden()


PIXELS = """async () => {
  const picture = new Image();
  picture.src = document.querySelector(".sgdnoise-map image").getAttribute("href");
  await picture.decode();
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0);
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  const colours = new Set();
  for (let i = 0; i < data.length; i += 4) colours.add(data.slice(i, i + 4).join());
  return colours.size;
}"""
"""How many colours the model's picture has."""


def test_every_layer_draws_and_every_slider_moves_it(page: Any) -> None:
    layers = page.locator("select[name=layer] option")
    for value in [o.get_attribute("value") for o in layers.all()]:
        page.get_by_label("Shown").select_option(value)
        if value != "theory":
            # Of a sweep that has just begun there are a few.
            assert page.locator("[data-cell]").count() >= 5, value
            assert len(set(fills(page))) > 1, value
            # The leftmost column stays off the axis's numbers.
            least = page.evaluate(
                "() => Math.min(...[...document.querySelectorAll('[data-cell]')]"
                ".map((cell) => cell.getBoundingClientRect().left))"
            )
            most = page.evaluate(
                "() => Math.max(...[...document.querySelectorAll('.sgdnoise-map .tick.end')]"
                ".map((tick) => tick.getBoundingClientRect().right))"
            )
            assert most < least, value
    assert page.evaluate(PIXELS) > 20
    before = (fills(page), heading(page))
    for name in ("size", "m"):
        page.locator(f"input[name={name}]").focus()
        page.keyboard.press("ArrowLeft")
        after = (fills(page), heading(page))
        assert after != before
        before = after
    line = page.locator("polyline.line.temperature")
    place = line.get_attribute("points")
    page.locator("input[name=temperature]").focus()
    page.keyboard.press("ArrowRight")
    assert line.get_attribute("points") != place
    said = page.locator("input[name=temperature]").get_attribute("aria-valuetext")
    assert said.startswith("2⁻")


def test_a_click_leads_to_a_cells_runs_and_back_comes_back(page: Any, url: str) -> None:
    page.locator("[data-cell='3_n2']").click()
    detail = page.locator(".detail")
    assert detail.inner_text().startswith("B = 8, ε/(1−m) = 2⁻², temperature 2⁻⁵: test accuracy")
    assert detail.locator("svg.curves polyline").count() == 2
    links = detail.locator(".runs a")
    assert links.count() == 15
    href = links.first.evaluate("(a) => a.href")
    run = href.split("#")[1]
    assert href == url.replace("book/map.html", f"records/digits/constant-epoch.html#{run}")
    lines = (ROOT / "results/digits/constant-epoch.jsonl").read_text().splitlines()
    (config,) = (json.loads(line)["config"] for line in lines if f'"id":"{run}"' in line)
    assert config["batch_size"] == 8
    assert config["learning_rate"] / (1 - config["momentum"]) == pytest.approx(0.25)
    assert "sgdnoise reproduce constant-epoch --scale digits" in detail.inner_text()
    assert page.url.endswith(".cell-3_n2")
    page.get_by_label("Shown").select_option("theory")
    assert ".layer-theory." in page.url
    page.go_back()
    page.wait_for_function("() => location.hash.endsWith('.cell-3_n2')")
    assert detail.inner_text().startswith("B = 8")
    page.go_back()
    page.wait_for_function("() => !location.hash")
    assert detail.inner_text() == ""


def test_the_keyboard_alone_walks_over_the_cells(page: Any) -> None:
    page.locator(".sgdnoise-map > svg").focus()
    said = []
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
        said.append(page.locator(".detail p").first.inner_text())
    assert all(text.startswith("B = ") for text in said)
    assert len(set(said)) >= 4


def test_an_address_is_the_state(page: Any, visit: Any) -> None:
    page.get_by_label("Shown").select_option("theory")
    page.get_by_label("The same for all").select_option("updates")
    page.locator("input[name=m]").focus()
    page.keyboard.press("ArrowRight")
    box = page.locator(".sgdnoise-map image").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 6.5 / 15, box["y"] + box["height"] * 0.5)
    seen = visit(page.evaluate("() => location.href"))
    assert heading(seen.page) == heading(page)
    assert fills(seen.page) == fills(page)
    assert seen.page.locator(".detail").inner_text() == page.locator(".detail").inner_text()
    # The seventh batch size of fifteen, and the middle of the rates from 2^-8 to 2^9.
    assert "B = 64, ε/(1−m) = 2⁰·⁵" in page.locator(".detail").inner_text()
    assert seen.trouble == []


@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        (
            "map.layer-theory.m-7",
            '"m-7" in the address is nothing that this map knows: choose 0, 0.5',
        ),
        ("map.layer-nowhere", "choose digits_constant-epoch_sgd"),
        ("map.size-1e9", "choose 4 to 20"),
        ("map.__proto__-1", "nothing that this map knows"),
        ("map.cell-x_y", "two numbers"),
        ("map.yours-50000_0_0p1_0p9_90", "N, B, ε, m and epochs"),
        ("map.%3Cimg%20src=x%20onerror=alert(1)%3E", "<img src=x onerror=alert(1)>"),
        ("map.%E0%A4%A", "nothing that this map knows"),
    ],
)
def test_what_an_address_should_not_say_is_told_and_the_rest_is_shown(
    visit: Any, url: str, fragment: str, said: str
) -> None:
    seen = visit(f"{url}#{fragment}")
    trouble = seen.page.locator(".trouble")
    assert said in trouble.inner_text()
    assert "\n" not in trouble.inner_text()
    assert fills(seen.page)
    assert seen.page.locator("img").count() == 0
    assert seen.trouble == []


# --- Their own numbers ------------------------------------------------------------------------


GOOD = {
    "examples": "50000",
    "batch_size": "128",
    "learning_rate": "0.1",
    "momentum": "0.9",
    "epochs": "90",
}


def fill(page: Any, **numbers: str) -> None:
    for name, value in (GOOD | numbers).items():
        page.locator(f"input[name={name}]").fill(value)


def test_own_numbers_are_placed_and_explained(page: Any, visit: Any) -> None:
    page.locator(".own summary").click()
    fill(page, lambda_max="10", noise_scale="2000")
    told = page.locator(".told").inner_text()
    assert "35,156 updates" in told
    assert "effective learning rate ε/(1−m) of 1 " in told
    assert "26.3 % of the critical one, 2(1+m)/λmax = 0.38" in told
    assert "6.4 % of the noise scale" in told
    assert "Twice the batch, the epochs fixed" in told
    assert "at B = 256 that would make ε =" in told
    assert page.locator("path.yours").count() == 1
    # Where curvature leaves no room for a larger rate, none is named.
    fill(page, examples="50,000", lambda_max="20", noise_scale="2000")
    limited = page.locator(".told").inner_text()
    assert "35,156 updates" in limited
    assert "no room for twice the rate" in limited
    assert "at B = 256" not in limited
    fill(page, lambda_max="10", noise_scale="2000")
    seen = visit(page.evaluate("() => location.href"))
    assert seen.page.locator(".told").inner_text() == told
    assert seen.trouble == []


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"batch_size": "60000"}, "is larger than the training set: choose at most N"),
        ({"momentum": "1"}, "must be a number from 0 to below 1"),
        ({"learning_rate": "-0.1"}, "must be a number above 0"),
        ({"learning_rate": "0,1"}, "must be a number above 0"),
        ({"examples": "12.5"}, "must be a whole number from 1"),
        ({"epochs": "<img src=x>"}, "must be a number above 0"),
        ({"lambda_max": "many"}, "must be a number above 0"),
    ],
)
def test_bad_numbers_are_told_beside_their_field_and_the_last_good_state_stays(
    page: Any, numbers: dict[str, str], said: str
) -> None:
    page.locator(".own summary").click()
    fill(page)
    told = page.locator(".told").inner_text()
    address = page.evaluate("() => location.href")
    ((name, value),) = numbers.items()
    field = page.locator(f"input[name={name}]")
    field.fill(value)
    wrong = page.locator(f"#{field.get_attribute('aria-describedby')}")
    assert wrong.inner_text() == said
    assert field.get_attribute("aria-invalid") is not None
    assert page.locator(".told").inner_text() == told
    assert page.evaluate("() => location.href") == address
    assert page.locator("img").count() == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"lambda_max": 40, "other": "<b>"}', ""),
        # What `sgdnoise diagnose --json` does not know.
        ('{"lambda_max": 40, "noise_scale": null, "model": "MLP"}', ""),
        ('{"noise_scale": null}', "the file names none of"),
        ("nonsense", "the file is no JSON"),
        ("[1, 2]", "the file holds no JSON object"),
        ('{"x": 1}', "the file names none of"),
        ('{"lambda_max": "<img src=x onerror=alert(1)>"}', "lambda_max in the file is no number"),
        ('{"lambda_max": -3}', ""),
        ("[" * 300_000, "larger than 100 kB"),
    ],
)
def test_a_file_of_measurements_fills_the_form(page: Any, text: str, said: str) -> None:
    page.locator(".own summary").click()
    fill(page)
    file = {"name": "mine.json", "mimeType": "application/json", "buffer": text.encode()}
    page.locator("input[type=file]").set_input_files(file)
    page.wait_for_timeout(150)
    wrong = page.locator("#map-wrong-file").inner_text()
    assert said in wrong
    assert bool(said) == bool(wrong)
    if text == '{"lambda_max": 40, "other": "<b>"}':
        assert "times the critical one" in page.locator(".told").inner_text()
        assert page.locator("input[name=lambda_max]").input_value() == "40"
    if "-3" in text:
        assert page.locator("#map-wrong-lambda_max").inner_text() == "must be a number above 0"
    assert page.locator("img").count() == 0


# --- Everywhere -------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [MOMENTUM, "theory"])
def test_nothing_is_wider_than_a_phone(visit: Any, url: str, layer: str) -> None:
    seen = visit(f"{url}#map.layer-{layer}", viewport={"width": 320, "height": 700})
    assert seen.page.evaluate("() => document.documentElement.scrollWidth") <= 320
    assert seen.trouble == []


def test_without_a_script_its_place_says_what_is_missing(visit: Any, url: str) -> None:
    page = visit(url, settle=False, java_script_enabled=False).page
    assert "scripts are off" in page.locator(".sgdnoise-map").inner_text()
