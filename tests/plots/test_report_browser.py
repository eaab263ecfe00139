"""The report in a real browser: from the disk, with no request and no complaint, and text as people wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser
from sample_workspace import Sample

from autoprune.plots.report import report
from autoprune.records import TrialState
from autoprune.results import Results
from tests.page.conftest import chromium, playwright

__all__ = ["chromium", "playwright"]

EVIL = "<b>&lt;</b><a href='javascript:alert(1)'>%{x}$y$</a></script><img src=x onerror=alert(2)>"

pytestmark = pytest.mark.slow


@pytest.fixture
def file(fresh: Sample, tmp_path: Path) -> Path:
    for number in range(12):
        given = {EVIL: f"{EVIL}{number % 3}", f"{EVIL}_sparsity": number / 20}
        fresh.add(number, given, origin=EVIL)
        fresh.start(number)
        fresh.report(number, 0, number / 30)
        layers = {EVIL: {"sparsity": number / 20, "kept": 1, "of": 2}, "conv": {"sparsity": 0.5}}
        fresh.finish(
            number,
            TrialState.FAILED if number == 5 else TrialState.SUCCEEDED,
            None if number == 5 else number / 20,
            message=EVIL,
            values={"default": number / 20, "macs": 100 + number, "layers": layers},
        )
    file = tmp_path / "report.html"
    file.write_text(report(Results(fresh.workspace, fresh.store)), encoding="utf-8")
    return file


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_from_the_disk(chromium: Browser, file: Path, scheme: str) -> None:
    page = chromium.new_page(color_scheme="dark" if scheme == "dark" else "light")
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(file.as_uri())
    page.wait_for_function("document.querySelectorAll('figure .main-svg').length >= 20")
    assert (requests, complaints) == ([file.as_uri()], [])
    assert page.locator("figure svg a, main b, main img").count() == 0
    ink = page.evaluate("getComputedStyle(document.querySelector('#history .xtitle')).fill")
    assert ink == ("rgb(230, 232, 235)" if scheme == "dark" else "rgb(31, 35, 40)")
    page.close()


def test_labels_and_hover_texts_show_what_people_wrote(chromium: Browser, file: Path) -> None:
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    page.goto(file.as_uri())
    page.wait_for_function("document.querySelectorAll('figure .main-svg').length >= 20")
    page.evaluate("Plotly.Fx.hover('history', [{curveNumber: 0, pointNumber: 3}])")
    hover = page.locator("#history .hoverlayer").text_content()
    assert hover is not None
    assert EVIL in hover
    assert "onerror=alert(2)>" in (page.locator("#layers_heatmap .yaxislayer-above").text_content() or "")
    assert page.locator("figure svg a").count() == 0
    page.close()
