"""The page beside an experiment that runs: it advances by itself, and what its forms ask for happens."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import psutil
import pytest
from browsing import WAITING, Reader, Run, at, keep
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow
Start = Callable[..., Run]


def process_of(page: Page) -> psutil.Process:
    """The process of the trial whose page this is, which it prints."""
    log = page.locator("#log-stdout")
    expect(log).to_contain_text(re.compile(r"process \d+ of <b>trial</b>"))
    found = re.search(r"process (\d+)", log.inner_text())
    assert found
    return psutil.Process(int(found[1]))


def watch(browser: Reader, experiment: Run, path: str = "", *, scripts: bool = True) -> Page:
    """A page of the experiment, whose first trial runs."""
    page = browser.open(experiment.url, scripts=scripts)
    page.goto(at(page, f"/experiments/{experiment.id}"))
    reloaded_until(page, "#running tbody tr")
    page.goto(at(page, f"/experiments/{experiment.id}{path}"))
    return page


def reloaded_until(page: Page, selector: str) -> None:
    """Load the page again and again until it has this: for a browser without scripts."""
    deadline = time.monotonic() + 60
    while not page.locator(selector).count():
        assert time.monotonic() < deadline, f"{selector} did not come"
        page.wait_for_timeout(100)
        page.reload()


def mark(page: Page) -> Callable[[], bool]:
    """Whether the page is still the one that was marked now, never loaded again."""
    page.evaluate("window.marked = true")
    return lambda: bool(page.evaluate("window.marked === true"))


def test_an_experiment_advances_without_a_reload(run: Start, browser: Reader) -> None:
    experiment = run(apart=True)
    page = browser.open(experiment.url)
    page.get_by_role("link", name="waiting", exact=True).click()
    same = mark(page)
    expect(page.locator("#connection")).to_have_text("Live")
    expect(page.locator("#progress .big")).to_have_text("0 of 4 trials")
    expect(page.locator("#running tbody tr")).to_have_count(1)
    expect(page.locator("#best")).to_contain_text("No trial has succeeded yet")
    reports = page.locator("#running tbody td").nth(2)
    expect(reports).to_have_text(re.compile(r"^([5-9]|\d\d+)$"))
    experiment.let_through(0)
    expect(page.locator("#progress .big")).to_have_text("1 of 4 trials")
    expect(page.locator("#best .big")).to_contain_text("trial 0")
    expect(page.locator("#running tbody th")).to_have_text("1")
    keep(page, "running")
    experiment.let_through(1, 2, 3)
    expect(page.locator("#state")).to_contain_text("done")
    expect(page.locator("#running")).to_contain_text("No trial runs now")
    assert same()


def test_the_list_of_trials_grows_and_keeps_what_is_checked(run: Start, browser: Reader) -> None:
    experiment = run()
    page = watch(browser, experiment, "/trials?sort=number")
    same = mark(page)
    page.get_by_role("checkbox", name="Compare trial 0").check()
    experiment.let_through(0)
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("tbody tr").first).to_contain_text("succeeded")
    expect(page.get_by_role("checkbox", name="Compare trial 0")).to_be_checked()
    assert same()


def test_the_focus_stays_with_its_trial(run: Start, browser: Reader) -> None:
    experiment = run()
    page = watch(browser, experiment, "/trials")
    trial = page.get_by_role("link", name="0", exact=True)
    trial.focus()
    experiment.let_through(0)
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("tbody tr").last).to_contain_text("succeeded")
    expect(trial).to_be_focused()


def test_a_progress_bar_is_written_over_as_it_grows(run: Start, browser: Reader) -> None:
    experiment = run(
        WAITING.replace('print(f"step {step}", flush=True)', r"""print(f"\rstep {step} of", end="", flush=True)""")
    )
    page = watch(browser, experiment, "/trials/0")
    log = page.locator("#log-stdout")
    for moment in (0, 1):
        expect(log).to_contain_text(f"step {moment + 1}")
        page.wait_for_timeout(1500)
        assert re.fullmatch(r"process \d+ of <b>trial</b> 0\nstep \d+ of", log.text_content() or "")
    experiment.let_through(0, 1, 2, 3)
    expect(log).to_contain_text("through the gate")
    assert (log.text_content() or "").count("step") == 1


@pytest.mark.parametrize(("status", "said"), [(401, "log in again"), (404, "deleted"), (503, "trying again")])
def test_a_page_that_was_refused_says_why_and_tries_again(served: str, browser: Reader, status: int, said: str) -> None:
    browser.expected = "Failed to load resource"
    page = browser.open(served)
    refused = re.compile(r"/api/v1/experiments/[^/]+(/events)?$")
    page.route(refused, lambda route: route.fulfill(status=status))
    page.goto(at(page, "/experiments/digits-300131-abcd"))
    expect(page.locator("#connection")).to_contain_text(said)
    page.unroute(refused)
    expect(page.locator("#connection")).to_have_text("Live")


def test_a_log_grows_and_a_trial_ends_before_the_reader_s_eyes(run: Start, browser: Reader) -> None:
    experiment = run()
    page = watch(browser, experiment, "/trials/0")
    same = mark(page)
    log = page.locator("#log-stdout")
    expect(log).to_contain_text("step 2")
    expect(log).to_contain_text("step 9")
    expect(page.locator("#log-stderr")).to_have_text("nothing <i>wrong</i>\n")
    figure = page.locator("[data-figure]").first
    expect(figure.locator(".main-svg").first).to_be_attached()
    keep(page, "trial-running")
    experiment.let_through(0)
    expect(log).to_contain_text("through the gate")
    expect(page.locator("#state")).to_contain_text("succeeded")
    expect(page.locator("#value")).to_contain_text("sparsity")
    written = (experiment.folder / f"autoprune-experiments/{experiment.id}/trials/0/attempts/0/stdout").read_text()
    assert log.text_content() == written
    assert same()


def test_a_character_that_comes_in_parts_is_whole_or_not_there(run: Start, browser: Reader) -> None:
    """All the while; and half of one at the end of all is told once."""
    text = "aä€😀\n" * 3
    experiment = run(
        f"""
        import sys, time
        from pathlib import Path
        import autoprune

        gate = Path(__file__).parent / "gate-0"
        while not gate.exists():
            time.sleep(0.05)
        for byte in {text.encode()!r} + b"end \\xe2\\x82":
            sys.stdout.buffer.write(bytes([byte]))
            sys.stdout.flush()
            time.sleep(0.08)
        autoprune.report_final_result(0.5)
        """,
        maxTrialNumber=1,
    )
    page = watch(browser, experiment, "/trials/0")
    log = page.locator("#log-stdout")
    log.evaluate(
        """log => {
            const look = () => { if (document.querySelector("[data-running]")) seen.push(log.textContent); };
            window.seen = [];
            new MutationObserver(look).observe(log, { childList: true, subtree: true, characterData: true });
        }"""
    )
    experiment.let_through(0)
    expect(page.locator("#state")).to_contain_text("succeeded")
    expect(log).to_contain_text("\ufffd")
    assert log.text_content() == f"{text}end \ufffd"
    seen = page.evaluate("seen")
    assert len(seen) > 2
    assert all(f"{text}end ".startswith(each) for each in seen if not each.endswith("end \ufffd"))


@pytest.mark.parametrize("scripts", [True, False])
def test_a_trial_is_killed_and_its_process_is_gone(run: Start, browser: Reader, scripts: bool) -> None:
    experiment = run()
    page = watch(browser, experiment, "/trials/0", scripts=scripts)
    if not scripts:
        reloaded_until(page, "#log-stdout:has-text('process')")
    process = process_of(page)
    assert process.is_running()
    page.get_by_text("Kill the trial").click()
    page.get_by_role("button", name="Kill it now").click()
    expect(page.locator("#command")).to_be_visible()
    _, alive = psutil.wait_procs([process], timeout=30)
    assert not alive
    if not scripts:
        reloaded_until(page, "#state:has-text('user canceled')")
    expect(page.locator("#state")).to_contain_text("user canceled")
    expect(page.locator("#command")).to_contain_text("Trial 0 was told to end")
    page.get_by_role("button", name="Run it again").click()
    expect(page.locator("#command")).to_be_visible()
    experiment.let_through(0, 1, 2, 3)
    assert experiment.process.stdout is not None
    assert '"trial_retried"' in experiment.process.stdout.read()


def test_a_trial_is_killed_beside_the_others_that_run(run: Start, browser: Reader) -> None:
    """What was opened belongs to its trial, also where the row above it has gone."""
    experiment = run(trialConcurrency=2)
    page = watch(browser, experiment)
    expect(page.locator("#running tbody tr")).to_have_count(2)
    page.locator('#running [data-key="1"]').get_by_text("Kill", exact=True).click()
    experiment.let_through(0)
    expect(page.locator("#running tbody th")).to_have_text(["1", "2"])
    expect(page.locator("#running details[open]")).to_have_count(1)
    page.get_by_role("button", name="Kill trial 1 now").click()
    expect(page.locator("#command")).to_have_text("Trial 1 was told to end.")
    expect(page.locator("#running tbody th")).to_have_text(["2", "3"])
    page.get_by_role("link", name="Trial 1", exact=True).click()
    expect(page.locator("#state")).to_contain_text("user canceled")


def test_what_was_refused_stays_in_its_form(run: Start, browser: Reader) -> None:
    experiment = run("import time; time.sleep(600)", maxTrialNumber=1)
    page = watch(browser, experiment, "/trials")
    page.get_by_text("Try parameters of your own").click()
    page.get_by_label("Parameters, as JSON").fill('{"x": 0.125}')
    page.get_by_role("button", name="Enqueue").click()
    expect(page.locator("#command")).to_contain_text("That was refused: ")
    expect(page.locator("#command")).to_have_class("notice bad")
    expect(page.get_by_label("Parameters, as JSON")).to_have_value('{\n  "x": 0.125\n}')


def test_more_trials_run_after_a_change_of_concurrency(run: Start, browser: Reader) -> None:
    experiment = run()
    page = watch(browser, experiment)
    page.get_by_label("Trials at a time").fill("3")
    page.get_by_role("button", name="Change").click()
    expect(page.locator("#command")).to_contain_text("The limits are changed")
    assert page.url == at(page, f"/experiments/{experiment.id}")
    expect(page.get_by_label("Trials at a time")).to_have_value("3")
    expect(page.locator("#running tbody tr")).to_have_count(3)


def test_parameters_of_one_s_own_are_tried(run: Start, browser: Reader) -> None:
    experiment = run(maxTrialNumber=2)
    page = watch(browser, experiment, "/trials")
    page.get_by_text("Try parameters of your own").click()
    page.get_by_label("Parameters, as JSON").fill('{"x": 0.125}')
    page.get_by_role("button", name="Enqueue").click()
    expect(page.locator("#command")).to_contain_text(re.compile(r"Trial \d will run"))
    experiment.let_through(0, 1)
    expect(page.locator("tbody tr").first).to_contain_text("0.125")


def test_an_experiment_is_stopped_after_a_second_thought(run: Start, browser: Reader) -> None:
    experiment = run()
    page = watch(browser, experiment, scripts=False)
    expect(page.get_by_role("button", name="Stop it now")).to_be_hidden()
    page.get_by_text("Stop the experiment").click()
    page.get_by_role("button", name="Stop it now").click()
    assert experiment.process.wait(60) == 0
