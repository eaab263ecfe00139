"""How long pages take in a browser where there are very many trials, and how much memory the server has then.

    python benchmarks/page.py [--trials 10000] [--visits 5]

A real server, and Debian's Chromium (on the PATH, or in CHROMIUM_PATH). `shown` is when the page's heading and tables
are there, `drawn` when its figures are, too; both count from the click, in seconds, the median and the longest of all
visits. The first visit of each page fetches Plotly's script, the others have it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from many import ID, build
from playwright.sync_api import Browser, sync_playwright

from autoprune.server.process import ServerProcess

PAGES: Mapping[str, str] = {
    "experiments": "/",
    "overview": f"/experiments/{ID}",
    "trials": f"/experiments/{ID}/trials",
    "trials, the best first": f"/experiments/{ID}/trials?sort=-value",
    "trials, by a metric": f"/experiments/{ID}/trials?sort=metric%3Amacs",
    "trial": f"/experiments/{ID}/trials/77",
    "compare": f"/experiments/{ID}/compare?trial=77&trial=78",
    "analysis": f"/experiments/{ID}/analysis",
}


def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM_PATH") or next((path for name in names if (path := shutil.which(name))), None)
    return found or sys.exit("no browser: install Debian's chromium, or give CHROMIUM_PATH")


def visit(browser: Browser, link: str, path: str, visits: int) -> tuple[list[float], list[float]]:
    """When a page was shown, and when all figures in view were drawn, in a browser that begins with an empty cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(link)
    parts = urlsplit(link)
    shown, drawn = [], []
    for _ in range(visits):
        began = time.perf_counter()
        page.goto(f"{parts.scheme}://{parts.netloc}{path}", wait_until="domcontentloaded")
        page.locator("h1").wait_for()
        shown.append(time.perf_counter() - began)
        page.wait_for_function(
            """() => [...document.querySelectorAll("[data-figure]")]
                .filter((each) => each.getBoundingClientRect().top < innerHeight)
                .every((each) => each.dataset.ready)"""
        )
        drawn.append(time.perf_counter() - began)
    context.close()
    return shown, drawn


def both(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.2f} | {max(times):.2f}"


def memory(before: set[int]) -> float:
    """Of the server, which is the child that was not there before, in MB."""
    [server] = [child for child in psutil.Process().children() if child.pid not in before]
    return server.memory_info().rss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--visits", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = build(Path(folder) / "workspace", options.trials)
        before = {child.pid for child in psutil.Process().children()}
        with ServerProcess.start(workspace, 0) as server:
            empty = memory(before)
            print(f"{options.trials} trials, {options.visits} visits; seconds\n")
            print("| page | shown | longest | drawn | longest |\n|---|---|---|---|---|", flush=True)
            sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
            largest = empty
            for name, path in PAGES.items():
                with sync_playwright() as playwright:
                    browser = playwright.chromium.launch(executable_path=chromium(), args=sandbox)
                    shown, drawn = visit(browser, server.url, path, options.visits)
                    browser.close()
                largest = max(largest, memory(before))
                print(f"| {name} | {both(shown)} | {both(drawn)} |", flush=True)
            print(f"\nmemory of the server: {empty:.0f} MB at first, {largest:.0f} MB at the most")


if __name__ == "__main__":
    main()
