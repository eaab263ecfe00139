"""What stands at the ticks of axes of trials, or of how many there are, in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import plotly.graph_objects as go
import pytest
from playwright.sync_api import Browser, Page
from plotly.offline import get_plotlyjs

from autoprune import plots
from autoprune.results.models import Trial
from tests.page.conftest import chromium, playwright
from tests.plots.made import plain, report, trial

__all__ = ["chromium", "playwright"]

FIGURES: Mapping[str, tuple[str, Callable[[Sequence[Trial]], go.Figure]]] = {
    "history": (".xtick text", lambda trials: plots.history(trials, "maximize")),
    "intermediate": (
        ".xtick text",
        lambda trials: plots.intermediate({0: [report(0.5, each.number) for each in trials]}),
    ),
    "slices": (".cbaxis text", lambda trials: plots.slices(trials, ["x"])),
    "duration": (".ytick text", plots.duration),
    "concurrency": (".ytick text", plots.concurrency),
}


@pytest.fixture(scope="module")
def page(chromium: Browser) -> Page:
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_content("<div id=plot></div>")
    page.add_script_tag(content=get_plotlyjs())
    return page


@pytest.mark.parametrize("name", sorted(FIGURES))
@pytest.mark.parametrize("count", [1, 2, 6, 12, 10_000])
def test_only_whole_numbers_stand_at_an_axis_of_trials(page: Page, name: str, count: int) -> None:
    trials = [trial(number, number / 10, parameters={"x": number % 2}) for number in range(count)]
    ticks, draw = FIGURES[name]
    page.evaluate("figure => Plotly.newPlot('plot', figure.data, figure.layout)", plain(draw(trials)))
    said = page.locator(ticks).all_text_contents()
    assert said or (name, count) == ("slices", 1), "one trial alone has no slices"
    assert len(said) == len(set(said))
    assert all(each.removesuffix("k").isdecimal() for each in said), said
