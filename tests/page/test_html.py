"""The page's HTML, without a browser: what is in it, that it can be shared, and that nothing in it is a trial's own."""

from __future__ import annotations

import html
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from asgi_client import HOST, TOKEN, Client
from sample_workspace import Sample, clock

from autoprune.plots.gallery import EXHIBITS
from autoprune.records import TrialState
from autoprune.server.app import create_app
from autoprune.store import experiments, models, trials

HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>"
PROPORTIONS = "Sparsities are proportions, which each trial scales to the budget."
NOT_ZERO = "parameters that are not zero"
EXPERIMENT = "/experiments/digits-300131-abcd"
PAGES = [
    "/",
    EXPERIMENT,
    f"{EXPERIMENT}/trials",
    f"{EXPERIMENT}/trials/0",
    f"{EXPERIMENT}/trials/3",
    f"{EXPERIMENT}/trials/3/logs/stdout",
    f"{EXPERIMENT}/analysis",
    f"{EXPERIMENT}/compare?trial=0&trial=3",
]


def numbers(text: str) -> list[int]:
    """The trials of a list, as they come."""
    return [int(found) for found in re.findall(r'<tr data-key="(\d+)"', text)]


@pytest.mark.parametrize("address", PAGES)
def test_every_page_is_whole_and_has_no_script_of_its_own(reader: Client, address: str) -> None:
    answer = reader.get(address)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert answer.text.rstrip().endswith("</html>")
    assert answer.text.count("<h1") == 1
    for script in re.findall(r"<script[^>]*>.*?</script>", answer.text, re.DOTALL):
        assert re.fullmatch(r'<script( type="module")? src="/static/[a-z]+\.js"></script>', script)
    assert not re.search(r"\son[a-z]+=|javascript:|\sstyle=", answer.text)


@pytest.mark.parametrize("address", PAGES)
def test_every_address_of_a_page_leads_somewhere(reader: Client, address: str) -> None:
    text = reader.get(address).text
    found = {html.unescape(each) for each in re.findall(r'(?:href|src)="([^"#][^"]*)"', text)}
    assert found
    for each in found:
        target = f"{urlsplit(address).path}{each}" if each.startswith("?") else each
        assert reader.get(target).status_code == 200, each


@pytest.mark.parametrize("address", PAGES)
def test_what_trials_say_is_text(reader: Client, sample: Sample, address: str) -> None:
    sample.succeed(9, 0.99, {HOSTILE: {"_name": HOSTILE, "x": HOSTILE}}, origin=HOSTILE)
    attempt = sample.workspace.attempt(sample.id, 3, 1)
    attempt.mkdir(parents=True)
    (attempt / "stdout").write_text(HOSTILE)
    with sample.store.write() as tx:
        trials.wait_again(tx, sample.id, 3, HOSTILE)
    for path in {address, address.replace("/trials/0", "/trials/9"), address.replace("trial=0", "trial=9")}:
        text = reader.get(path).text
        assert "<script>" not in text
        assert "<img src=x" not in text
        assert "onerror=alert(1)>" not in text


def test_experiments_say_how_far_they_are(reader: Client) -> None:
    text = reader.get("/").text
    assert "interrupted" in text
    assert "7 of 9" in text
    assert "3 succeeded, 1 early stopped, 1 user canceled, 1 invalid, 1 failed, 1 running, 1 waiting" in text


def test_a_workspace_without_experiments_says_how_to_begin(empty: Sample) -> None:
    client = Client(create_app(empty.workspace, TOKEN, [HOST]))
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    assert "autoprune run config.yml" in client.get("/").text
    client.close()


def test_the_overview_has_the_best_the_running_and_the_failed(reader: Client) -> None:
    text = reader.get(EXPERIMENT).text
    assert ">0.95</a>" in text
    assert "trial 1" in text
    assert '<dt>Trials in all</dt><dd class="number">9</dd>' in text
    assert '<dt>Time for trials</dt><dd class="number">1h</dd>' in text
    assert "exit code 1" in text
    assert "autoprune resume digits-300131-abcd" in text, "nothing runs it, and it has not ended"
    assert "<form" not in text


def test_an_experiment_that_runs_has_its_forms(reader: Client, sample: Sample) -> None:
    with sample.workspace.lock(sample.id):
        text = reader.get(EXPERIMENT).text
        assert 'name="maxTrialNumber" value="9"' in text
        assert 'name="maxExperimentDuration" value="1h"' in text
        assert f'action="{EXPERIMENT}/stop"' in text
        assert f'action="{EXPERIMENT}/trials"' in reader.get(f"{EXPERIMENT}/trials").text
        assert f'action="{EXPERIMENT}/trials/3/retry"' in reader.get(f"{EXPERIMENT}/trials/3").text
        assert f'action="{EXPERIMENT}/trials/7/kill"' in reader.get(f"{EXPERIMENT}/trials/7").text
        assert "<form" not in reader.get(f"{EXPERIMENT}/trials/0").text


def test_trials_are_filtered_and_sorted_by_the_address_alone(reader: Client) -> None:
    address = f"{EXPERIMENT}/trials"
    assert numbers(reader.get(address).text) == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert numbers(reader.get(f"{address}?sort=number").text) == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert numbers(reader.get(f"{address}?state=SUCCEEDED&state=FAILED&sort=-value").text) == [1, 2, 0, 3]
    assert numbers(reader.get(f"{address}?feasible=no").text) == []
    assert numbers(reader.get(f"{address}?state=SUCCEEDED&sort=metric%3Asparsity").text) == [0, 1, 2]
    assert "No trial is like that" in reader.get(f"{address}?origin=nowhere").text


def test_a_heading_sorts_and_once_more_the_other_way(reader: Client) -> None:
    text = reader.get(f"{EXPERIMENT}/trials?state=SUCCEEDED&column=metric%3Asparsity").text
    [link] = re.findall(r'href="([^"]*)">Value', text)
    chosen = parse_qs(urlsplit(html.unescape(link)).query)
    assert chosen == {"state": ["SUCCEEDED"], "column": ["metric:sparsity"], "sort": ["-value"]}
    text = reader.get(html.unescape(link)).text
    assert 'aria-sort="descending"' in text
    [link] = re.findall(r'href="([^"]*)">Value', text)
    assert parse_qs(urlsplit(html.unescape(link)).query)["sort"] == ["value"]


def test_columns_are_chosen(reader: Client) -> None:
    text = reader.get(f"{EXPERIMENT}/trials?column=param%3Aprune_method%2Fconv0_sparsity").text
    head = text[text.index("<thead>") : text.index("</thead>")]
    assert "conv0_sparsity" in head
    assert ">sparsity" not in head


def test_columns_that_tell_trials_apart_are_shown_unasked(reader: Client, sample: Sample) -> None:
    """As many as a window has room for, with numbers of four digits, whose titles have all."""
    for number in range(9, 12):
        shares = {f"layer{place}_sparsity": number / 37 + place for place in range(9)}
        sample.add(number, {"method": {"_name": "level", "a/b": number, **shares}}, origin="LAMP")
        sample.start(number)
        values = {"default": 0.9, "parameters": 5, "macs": number, "bytes": 10 * number}
        sample.finish(number, TrialState.SUCCEEDED, 0.9, values=values)
    text = reader.get(f"{EXPERIMENT}/trials?origin=LAMP").text
    head = text[text.index("<thead>") : text.index("</thead>")]
    named = re.findall(r'title="([^"]+)"', head)
    assert named == ["macs", "bytes", "method/a/b", "method/layer0_sparsity", "method/layer1_sparsity"]
    assert 'title="0.243243">0.2432<' in text


def test_a_trial_that_is_over_without_a_curve_has_no_box_for_one(reader: Client, sample: Sample) -> None:
    for number in (9, 10):
        sample.add(number)
        sample.start(number)
    sample.report(9, 0, 0.5, final=True)
    sample.finish(9, TrialState.SUCCEEDED, 0.5)
    has = {number: 'id="figure-curve"' in reader.get(f"{EXPERIMENT}/trials/{number}").text for number in (0, 9, 10)}
    assert has == {0: True, 9: False, 10: True}
    assert 'id="figure-curves"' not in reader.get(f"{EXPERIMENT}/compare?trial=9&trial=3").text
    assert 'id="figure-curves"' in reader.get(f"{EXPERIMENT}/compare?trial=9&trial=0").text


def test_the_best_of_an_experiment_that_is_done_is_no_longer_so_far(reader: Client, sample: Sample) -> None:
    sample.end()
    best = reader.get(f"/api/v1{EXPERIMENT}/best").json()["number"]
    assert ">best<" in reader.get(f"{EXPERIMENT}/trials/{best}").text


def test_many_trials_come_in_pages(reader: Client, sample: Sample) -> None:
    for number in range(9, 60):
        sample.add(number)
    first = reader.get(f"{EXPERIMENT}/trials?sort=number").text
    [link] = re.findall(r'rel="next" href="([^"]*)"', first)
    second = reader.get(html.unescape(link)).text
    assert numbers(first) + numbers(second) == list(range(60))
    assert 'rel="next"' not in second


def test_a_trial_has_its_parameters_and_its_attempts(reader: Client) -> None:
    text = reader.get(f"{EXPERIMENT}/trials/0").text
    assert "prune_method" in text
    assert html.escape('"conv0_sparsity": 0.0') in text.replace("&#34;", "&quot;")
    text = reader.get(f"{EXPERIMENT}/trials/3").text
    assert "ended by signal 9" in text
    assert "exit code 1" in text
    assert "exit code 1: exit code 1" not in text


def test_a_task_s_trial_shows_its_layers(reader: Client, sample: Sample) -> None:
    """Its parameters are proportions, and the page says so: what was asked of a layer is told by the trial."""
    sample.add(9, {"prune_method": {"_name": "level", "conv1_sparsity": 0.15}})
    sample.start(9)
    layers = {"conv1": {"requested": 0.8, "sparsity": 0.796, "kept": 51, "of": 250}}
    values = {"default": 0.97, "parameters": 12000, "layers": layers}
    sample.finish(9, TrialState.SUCCEEDED, 0.97, values=values)
    text = reader.get(f"{EXPERIMENT}/trials/9").text
    for shown in ("conv1", "80.00%", "79.60%", "51", "250", "12,000"):
        assert shown in text
    assert "15.00%" not in text
    assert PROPORTIONS not in text
    assert "79.60%" in reader.get(f"{EXPERIMENT}/compare?trial=9&trial=0").text
    with sample.store.write() as tx:
        models.save(tx, sample.id, "key", {"budget": {"kind": "sparsity"}})
    for page in ("trials/9", "compare?trial=9&trial=0"):
        assert PROPORTIONS in reader.get(f"{EXPERIMENT}/{page}").text


def test_numbers_of_a_task_are_named_as_on_its_card(reader: Client, sample: Sample) -> None:
    """A trial's `parameters` are those that are not zero; a script may mean something else by the word."""
    values = {"default": 0.97, "parameters": 599, "macs": 12000}
    for number in (9, 10):
        sample.add(number)
        sample.start(number)
        sample.finish(number, TrialState.SUCCEEDED, 0.97, values=values)
    pages = [f"{EXPERIMENT}{page}" for page in ("", "/trials/9", "/compare?trial=9&trial=10")]
    for page in pages:
        text = reader.get(page).text
        assert re.search(r">\s*macs\s*<", text)
        assert NOT_ZERO not in text
    with sample.store.write() as tx:
        experiments.set_config(tx, sample.id, {"task": "task.py:Task", "searchSpace": {}})
    for page in pages:
        text = reader.get(page).text
        assert NOT_ZERO in text
        assert re.search(r">\s*MACs\s*<", text)
        assert not re.search(r">\s*(macs|parameters)\s*<", text)


def test_what_differs_is_marked(reader: Client) -> None:
    def rows(text: str) -> list[tuple[str, str]]:
        return re.findall(r'<tr(?: class="(differs)")?><th scope="row">([^<]*)', text)

    found = rows(reader.get(f"{EXPERIMENT}/compare?trial=1&trial=2").text)
    assert ("", "prune_method/_name") in found
    assert ("differs", "prune_method/conv0_sparsity") in found
    assert ("", "State") in found
    found = rows(reader.get(f"{EXPERIMENT}/compare?trial=1&trial=3").text)
    assert {("differs", "State"), ("differs", "Value")} < set(found)


@pytest.mark.parametrize("query", ["", "?trial=1", "?trial=1&trial=1", "?" + "&".join(f"trial={n}" for n in range(9))])
def test_two_to_eight_trials_are_compared(reader: Client, query: str) -> None:
    answer = reader.get(f"{EXPERIMENT}/compare{query}")
    assert answer.status_code == 422
    assert "expected 2 to 8" in answer.text
    assert numbers(answer.text), "the list is there to select from"
    assert ("checked aria-label" in answer.text) == bool(query)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", [exhibit.name for exhibit in EXHIBITS])
def test_figures_are_plotly_s_where_they_apply(reader: Client, name: str, theme: str) -> None:
    answer = reader.get(f"{EXPERIMENT}/figures/{name}.json?theme={theme}")
    if name in ("layers_heatmap", "layer_bars", "sensitivity"):
        assert answer.status_code == 404, "no trial has told of layers, and there is no task"
        assert f"/{name}.json" not in reader.get(f"{EXPERIMENT}/analysis").text
    else:
        assert answer.status_code == 200
        assert set(answer.json()) == {"data", "layout"}
        assert f"/{name}.json" in reader.get(f"{EXPERIMENT}/analysis").text


def test_a_figure_of_one_trial(reader: Client) -> None:
    answer = reader.get(f"{EXPERIMENT}/curves.json?trial=0").json()
    assert answer["data"]
    assert "trial 1" not in str(answer["data"])


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/experiments/nothing", 404, "no experiment has an id that begins with"),
        (f"{EXPERIMENT}/trials/99", 404, "has no trial 99"),
        (f"{EXPERIMENT}/trials/x", 422, "given number 'x' in the address; expected a whole number"),
        (f"{EXPERIMENT}/trials/-1", 422, "given number '-1' in the address; expected 0 or more"),
        (f"{EXPERIMENT}/trials?sort=nothing", 422, "given the sort"),
        (f"{EXPERIMENT}/trials?cursor=bad", 422, ""),
        (f"{EXPERIMENT}/trials?state=LOST", 422, "given state 'LOST' in the address; expected 'WAITING', 'RUNNING',"),
        (f"{EXPERIMENT}/trials?state=FAILED&state=runing", 422, "or 'USER_CANCELED' (did you mean RUNNING?)"),
        (
            f"{EXPERIMENT}/trials?feasible=maybe",
            422,
            "given feasible 'maybe' in the address; expected '', 'yes' or 'no'",
        ),
        (f"{EXPERIMENT}/trials?origin={'x' * 400}", 422, "expected at most 300 characters"),
        (f"{EXPERIMENT}/compare?{'trial=1&' * 101}", 422, "given trial in the address; expected at most 100 of them"),
        (f"{EXPERIMENT}/figures/historie.json", 404, "did you mean history?"),
        (f"{EXPERIMENT}/trials/8/logs/stdout", 404, "has not started"),
        (
            f"{EXPERIMENT}/trials/0/logs/passwd",
            422,
            "given stream 'passwd' in the address; expected 'stdout' or 'stderr'",
        ),
        (f"{EXPERIMENT}?command=99", 404, ""),
        (f"{EXPERIMENT}/nothing", 404, "nothing at this address"),
        (f"{EXPERIMENT}/stop", 405, "Method Not Allowed"),
        ("/static/nothing.css", 404, "has no file"),
        ("/static/..%2frendering.py", 404, ""),
    ],
)
def test_errors_are_pages(reader: Client, address: str, status: int, said: str) -> None:
    answer = reader.get(address, headers={"Accept": "text/html"})
    assert answer.status_code == status
    assert said in html.unescape(answer.text)
    assert 'role="alert"' in answer.text
    assert "Input should" not in answer.text


def test_who_asks_for_no_page_is_answered_with_a_problem(reader: Client) -> None:
    assert reader.get(f"{EXPERIMENT}/nothing").headers["content-type"] == "application/problem+json"
    answer = reader.get("/api/v1/nothing", headers={"Accept": "text/html"})
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_trial_that_waits_does_not_run(reader: Client, sample: Sample) -> None:
    with sample.store.write() as tx:
        trials.wait_again(tx, sample.id, 7, "it runs again")
    with sample.workspace.lock(sample.id):
        assert "runs for" not in reader.get(f"{EXPERIMENT}/trials/7").text


def test_names_are_as_they_were_given(reader: Client, sample: Sample) -> None:
    sample.add(9, {"a/b~c": 1})
    sample.start(9)
    sample.finish(9, TrialState.SUCCEEDED, 0.99, values={"default": 0.99, "d/e~f": 2})
    for path in ("", "/trials", "/trials/9", "/compare?trial=9&trial=0"):
        text = reader.get(EXPERIMENT + path).text
        assert "d/e~f" in text
        assert not re.search(r">[^<]*~[01]", text), path


def test_files_of_the_page_are_kept_and_asked_about(reader: Client) -> None:
    for name in ("page.css", "page.js", "icon.svg", "plotly.min.js"):
        answer = reader.get(f"/static/{name}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "private, no-cache"
        again = reader.get(f"/static/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_how_long_a_retried_trial_runs_is_told_alike_everywhere(reader: Client, sample: Sample) -> None:
    """The attempts of trial 3 took 5 s together; since second 50 it runs once more."""
    with sample.store.write() as tx:
        trials.reopen(tx, sample.id, 3)
        trials.start(tx, sample.id, 3, 2, clock(50))
    with sample.workspace.lock(sample.id):
        for address in ("", "/trials", "/trials/3"):
            assert f'data-since="{clock(45)}"' in reader.get(f"{EXPERIMENT}{address}").text
