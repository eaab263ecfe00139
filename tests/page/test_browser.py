"""The page in a browser, over results that stand still: no complaint, nothing asked of others, open to everyone."""

from __future__ import annotations

import re

import pytest
from browsing import Reader, at, barriers, drawn, keep
from playwright.sync_api import expect
from sample_workspace import Sample

from autoprune.records import TrialState

EXPERIMENT = "/experiments/digits-300131-abcd"
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
