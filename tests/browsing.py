"""A reader at a browser, and experiments whose trials wait for the test."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route

SCREENSHOTS = Path(os.environ.get("PAGE_SCREENSHOTS") or Path(__file__).parent / "page" / "screenshots")
WAITING = """
    import os, sys, time
    from pathlib import Path
    import autoprune

    number, x = autoprune.get_sequence_id(), autoprune.get_parameters()["x"]
    gate = Path(__file__).parent / f"gate-{number}"
    print(f"process {os.getpid()} of <b>trial</b> {number}", flush=True)
    print("nothing <i>wrong</i>", file=sys.stderr, flush=True)
    step = 0
    while not gate.exists():
        autoprune.report_intermediate_result(x * (1 - 0.9**step))
        print(f"step {step}", flush=True)
        step += 1
        time.sleep(0.1)
    print("through the gate", flush=True)
    autoprune.report_final_result({"default": x, "sparsity": 1 - x})
    """
"""A trial that reports and prints until the test opens its gate."""


@dataclass
class Reader:
    """Somebody at a browser, who has logged in. What the browser complains about, or asks of others, is collected."""

    browser: Browser
    complaints: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)
    expected: str = "^$"
    """Complaints that a test brings about on purpose."""

    def open(
        self, url: str, *, scripts: bool = True, theme: str = "light", width: int = 1280, axe: bool = False
    ) -> Page:
        """The page behind the link that a server printed."""
        context = self.browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if theme == "dark" else "light",
            java_script_enabled=scripts,
            bypass_csp=axe,
            reduced_motion="reduce",
        )
        context.set_default_timeout(30_000)
        self.contexts.append(context)
        context.route("**/*", lambda route: self._pass(route, urlsplit(url).netloc))
        page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.goto(url)
        return page

    def _pass(self, route: Route, host: str) -> None:
        address = route.request.url
        if urlsplit(address).netloc == host or address.startswith(("data:", "blob:")):
            route.continue_()
        else:
            self.complaints.append(f"asked for {address}")
            route.abort()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def close(self) -> None:
        for context in self.contexts:
            context.close()
        assert [each for each in self.complaints if not re.search(self.expected, each)] == []


@dataclass(frozen=True)
class Run:
    """An experiment that `autoprune run` runs, and serves."""

    process: subprocess.Popen[str]
    folder: Path
    url: str
    id: str

    def let_through(self, *numbers: int) -> None:
        """Let trials end."""
        for number in numbers:
            (self.folder / f"gate-{number}").touch()


def at(page: Page, path: str) -> str:
    """An address of the server that the page came from."""
    parts = urlsplit(page.url)
    return f"{parts.scheme}://{parts.netloc}{path}"


def keep(page: Page, name: str) -> None:
    """A screenshot of the whole page, to be looked at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def barriers(page: Page) -> list[str]:
    """What axe finds on the page that keeps somebody out."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']} ({each['impact']}): {', '.join(str(node['target']) for node in each['nodes'][:5])}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


def drawn(page: Page) -> None:
    """Wait until every figure is there, as one who scrolls through the page sees them."""
    for figure in page.locator("[data-figure]").all():
        figure.scroll_into_view_if_needed()
        figure.locator(".main-svg").first.wait_for(state="attached")
    page.evaluate("scrollTo(0, 0)")
