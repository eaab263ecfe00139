"""The page in a browser, over results that stand still: no complaint, nothing asked of others, open to everyone."""

from __future__ import annotations

import re

import pytest
from browsing import Reader, at, barriers, drawn, keep
from playwright.sync_api import expect
from sample_workspace import Sample, clock

from autoprune.records import ExperimentState, TrialState
from autoprune.store import Experiment, commands, experiments

EXPERIMENT = "/experiments/digits-300131-abcd"
CONFIG = {"maxTrialNumber": 9, "tuner": {"name": "TPE", "classArgs": {}}}
PAGES = {
    "experiments": "/",
    "overview": EXPERIMENT,
    "trials": f"{EXPERIMENT}/trials",
    "trial": f"{EXPERIMENT}/trials/9",
    "failed": f"{EXPERIMENT}/trials/3",
    "log": f"{EXPERIMENT}/trials/9/logs/stdout",
    "compare": f"{EXPERIMENT}/compare?trial=0&trial=1&trial=9",
    "analysis": f"{EXPERIMENT}/analysis",
    "error": f"{EXPERIMENT}/trials/99",
}


@pytest.fixture
def told(sample: Sample) -> Sample:
    """With a trial of a task among the others, that has written something."""
    layers = {f"conv{place}": {"sparsity": place / 5, "kept": 250 - 50 * place, "of": 250} for place in range(5)}
    values = {"default": 0.97, "parameters": 12000, "macs": 1_200_000, "sparsity": 0.76, "layers": layers}
    asked = {"prune_method": {"_name": "level", **{f"conv{place}_sparsity": place / 5 for place in range(5)}}}
    sample.add(9, asked, origin="LAMP")
    sample.start(9)
    for step in range(10):
        sample.report(9, step, 0.97 - 0.5 / (step + 1))
    sample.finish(9, TrialState.SUCCEEDED, 0.97, values=values)
    attempt = sample.workspace.attempt(sample.id, 9, 0)
    attempt.mkdir(parents=True)
    (attempt / "stdout").write_text(
        "".join(f"epoch {epoch}: <b>loss</b> {1 / (epoch + 1):.4f}\n" for epoch in range(40))
    )
    return sample


def test_from_the_link_to_a_trial(served: str, browser: Reader) -> None:
    page = browser.open(served)
    expect(page).to_have_title("Experiments · autoprune")
    assert "token" not in page.url
    page.get_by_role("link", name="digits", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("digits")
    page.get_by_role("link", name="Trials", exact=True).click()
    page.get_by_role("link", name="Value").click()
    expect(page.locator("tbody tr").first).to_contain_text("0.99")
    page.get_by_role("link", name="3", exact=True).click()
    expect(page.locator("#state")).to_contain_text("failed")


def test_what_became_of_a_command_is_told_once(sample: Sample, served: str, browser: Reader) -> None:
    with sample.store.write() as tx:
        command = commands.send(tx, sample.id, "update", {}, clock(30))
        commands.answer(tx, command, clock(31))
    told = f"{EXPERIMENT}/trials?state=FAILED&command={command}&sort=value"
    page = browser.open(served)
    page.goto(at(page, told))
    expect(page.locator("#command")).to_have_text("The limits are changed.")
    assert page.url == at(page, f"{EXPERIMENT}/trials?state=FAILED&sort=value")
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("#command")).to_have_count(0)
    plain = browser.open(served, scripts=False)
    plain.goto(at(plain, told))
    expect(plain.locator("#command")).to_be_visible()


def test_no_page_is_wider_than_a_narrow_screen(told: Sample, served: str, browser: Reader) -> None:
    """Tables scroll by themselves."""
    browser.expected = "status of 404"
    page = browser.open(served, width=380)
    with told.workspace.lock(told.id):
        for name, address in PAGES.items():
            page.goto(at(page, address))
            expect(page.locator("main")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= 380, name


def test_a_narrow_screen_has_all_that_is_told_of_an_experiment(sample: Sample, served: str, browser: Reader) -> None:
    name = "an-experiment-with-a-rather-long-name-of-what-is-searched-here"
    with sample.store.write() as tx:
        experiments.create(tx, Experiment(f"{name[:40]}-300131-zzzz", name, CONFIG, 7, ExperimentState.DONE, clock(9)))
    page = browser.open(served, width=380)
    for row in page.locator("tbody tr").all():
        for cell in row.locator("th, td").all():
            expect(cell).to_be_in_viewport()
            box = cell.bounding_box()
            assert box is not None
            assert 0 <= box["x"] <= box["x"] + box["width"] <= 380, cell.inner_text()
    expect(page.locator("tbody tr").last).to_contain_text("7 of 9")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_table_shows_at_which_edge_it_has_more(served: str, browser: Reader, theme: str) -> None:
    page = browser.open(served, theme=theme, width=380, scripts=False)
    page.goto(at(page, f"{EXPERIMENT}/trials"))
    table = page.locator("#trials .scroll")

    def edges() -> tuple[bytes, bytes]:
        """A little of the table beside its left and its right edge."""
        box = table.bounding_box()
        assert box is not None
        left, right = box["x"] + 2, box["x"] + box["width"] - 5
        places = [{"x": x, "y": box["y"] + 14, "width": 3, "height": 3} for x in (left, right)]
        return tuple(page.screenshot(clip=place) for place in places)

    bare, shadow = edges()
    assert bare != shadow
    table.evaluate("table => { table.scrollLeft = 40; }")
    both = edges()
    assert bare not in both
    table.evaluate("table => { table.scrollLeft = table.scrollWidth; }")
    assert edges()[0] != bare == edges()[1]
    page.set_viewport_size({"width": 1280, "height": 900})
    assert edges() == (bare, bare)


def test_the_trials_of_a_task_fit_a_window(told: Sample, served: str, browser: Reader) -> None:
    for number in range(10, 14):
        shares = {f"conv{place}_sparsity": 0.123456 * number / (place + 3) for place in range(5)}
        told.add(number, {"prune_method": {"_name": "level", **shares}}, origin="uniform")
        told.start(number)
        values = {"parameters": 12345 + number, "macs": 1234567 + number, "bytes": 234567 + number, "sparsity": 0.76}
        told.finish(number, TrialState.SUCCEEDED, 98.0556, values={"default": 98.0556, **values}, feasible=number > 11)
    page = browser.open(served)
    page.goto(at(page, f"{EXPERIMENT}/trials"))
    assert page.locator("#trials thead th").count() > 8
    assert page.locator("#trials .scroll").evaluate("table => table.scrollWidth - table.clientWidth") == 0


def test_who_has_not_logged_in_is_told_so_in_light_or_dark(served: str, browser: Reader) -> None:
    browser.expected = "status of 401"
    shown = {}
    for theme in ("light", "dark"):
        page = browser.open(served.partition("?")[0], theme=theme, width=380)
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        shown[theme] = page.evaluate(
            "[document.body, document.querySelector('main')].map(each => getComputedStyle(each).backgroundColor)"
        )
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert shown["light"] == ["rgb(246, 247, 249)", "rgb(255, 255, 255)"]
    assert shown["dark"] == ["rgb(20, 24, 29)", "rgb(27, 32, 39)"]


def test_without_scripts_a_figure_is_a_sentence(served: str, browser: Reader) -> None:
    page = browser.open(served, scripts=False)
    page.goto(at(page, f"{EXPERIMENT}/analysis"))
    box = page.locator(".plot").first.bounding_box()
    assert box is not None
    assert box["height"] < 50


def test_short_names_are_on_one_line_beside_long_values(served: str, browser: Reader) -> None:
    page = browser.open(served, width=1000)
    page.goto(at(page, f"{EXPERIMENT}/trials/3"))
    lines = "name => { const text = new Range(); text.selectNodeContents(name); return text.getClientRects().length; }"
    names = page.locator("#times dt").all()
    assert [name.evaluate(lines) for name in names] == [1, 1, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_every_page_is_drawn_without_a_complaint(
    told: Sample, served: str, browser: Reader, theme: str, width: int
) -> None:
    browser.expected = "status of 404"
    page = browser.open(served, theme=theme, width=width)
    for name, path in PAGES.items():
        page.goto(at(page, path))
        drawn(page)
        wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        keep(page, f"{name}-{theme}-{width}")
        assert wider <= 0, f"{name} is {wider} pixels wider than the window"


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nobody_is_kept_out(told: Sample, served: str, browser: Reader, theme: str) -> None:
    browser.expected = "status of 404"
    page = browser.open(served, theme=theme, axe=True)
    for name, path in PAGES.items():
        page.goto(at(page, path))
        drawn(page)
        for details in page.locator("details").all():
            details.evaluate("element => { element.open = true; }")
        assert barriers(page) == [], name


@pytest.mark.slow
def test_the_theme_that_is_chosen_stays(served: str, browser: Reader) -> None:
    page = browser.open(served)

    def background() -> str:
        found: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return found

    light = background()
    page.get_by_label("Theme").select_option("Dark")
    dark = background()
    assert dark != light
    page.goto(at(page, EXPERIMENT))
    assert background() == dark
    figure = page.locator("[data-figure]").first
    figure.scroll_into_view_if_needed()
    expect(figure).to_have_attribute("data-ready", "dark")
    page.get_by_label("Theme").select_option("Light")
    expect(figure).to_have_attribute("data-ready", "light")
    assert background() == light
    page.get_by_label("Theme").select_option("System")
    page.emulate_media(color_scheme="dark")
    assert background() == dark
    expect(figure).to_have_attribute("data-ready", "dark")


@pytest.mark.slow
def test_keys_are_enough(served: str, browser: Reader) -> None:
    page = browser.open(served)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="digits", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("digits")


@pytest.mark.slow
def test_a_text_is_copied(served: str, browser: Reader) -> None:
    page = browser.open(served)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(at(page, f"{EXPERIMENT}/trials/0"))
    page.get_by_text("As JSON").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert '"conv0_sparsity": 0.0' in page.evaluate("navigator.clipboard.readText()")


@pytest.mark.slow
def test_trials_are_chosen_and_compared_without_scripts(told: Sample, served: str, browser: Reader) -> None:
    page = browser.open(served, scripts=False)
    page.goto(at(page, f"{EXPERIMENT}/trials"))
    page.get_by_role("checkbox", name="succeeded").check()
    page.get_by_text("Columns").click()
    page.get_by_role("checkbox", name="macs").check()
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(4)
    page.get_by_role("link", name="Value").click()
    expect(page.locator("tbody tr").first).to_contain_text("1,200,000")
    page.get_by_role("checkbox", name="Compare trial 9").check()
    page.get_by_role("checkbox", name="Compare trial 0").check()
    page.get_by_role("button", name="Compare selected").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare trials 9, 0")
    expect(page.get_by_role("row", name=re.compile("^conv1 "))).to_contain_text("20.00%")
    keep(page, "compare-without-scripts")
    page.get_by_role("link", name="9").first.click()
    expect(page.locator("#log-stdout")).to_contain_text("epoch 39: <b>loss</b>")
    keep(page, "trial-without-scripts")
