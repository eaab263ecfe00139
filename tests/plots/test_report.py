"""The report: one file that has everything, asks nobody for anything, and runs nothing but its own scripts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from sample_workspace import Sample

from autoprune.plots.report import report
from autoprune.records import JSON, ExperimentState, TrialState
from autoprune.results import Results
from autoprune.store import experiments, models
from tests.plots.made import facts

EVIL = "</script><script>alert(1)</script><!--<b onclick='x'>&amp;"
ADDRESSES = ("src", "href", "action", "data", "srcset", "poster", "formaction", "background")


class Page(HTMLParser):
    """What a browser makes of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] and self.tags[-1][0] == "script" and not data.isspace():
            self.scripts[-1] += data
        self.text += f" {data}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def drawing(self) -> dict[str, JSON]:
        told: dict[str, JSON] = json.loads(self.scripts[0], parse_constant=pytest.fail)
        return told


def page(sample: Sample) -> Page:
    return Page(report(Results(sample.workspace, sample.store), sample.id))


def told(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.fixture
def searched(fresh: Sample) -> Sample:
    """An experiment with a task whose model is made."""
    with fresh.store.write() as tx:
        stored = experiments.get(tx, fresh.id)
        config = {**stored.config, "task": "task.py:Task", "budget": {"macs": 0.25, "sparsity": None}}
        experiments.set_config(tx, fresh.id, config)
        models.save(tx, fresh.id, "key", facts(budget={"kind": "macs", "limit": 250, "dense": 1000}))
        models.save_result(tx, fresh.id, result())
    parameters = {"prune_method": {"_name": "l1", "conv_sparsity": 0.5}}
    fresh.add(0, parameters, origin="lamp")
    fresh.start(0)
    fresh.finish(
        0,
        TrialState.SUCCEEDED,
        0.875,
        values={"default": 0.875, "macs": 240, "layers": {"conv": {"sparsity": 0.75, "kept": 5, "of": 20}}},
    )
    return fresh


def result(**given: Any) -> dict[str, JSON]:
    layer = {"name": "conv", "requested": 0.5, "sparsity": 0.75, "kept": 5, "of": 20}
    contender = {"trial": 0, "name": "lamp", "validation": 0.875, "repeats": [0.8, 0.9], "test": [0.7, None]}
    return {
        "trial": 0,
        "said": "0.875 on validation (dense 0.9).",
        "kind": "filters",
        "budget": {"kind": "macs", "given": 0.25, "limit": 250, "dense": 1000, "achieved": 240},
        "validation": {"dense": {"default": 0.9}, "final": {"default": 0.875}},
        "test": {"final": {"default": 0.8125}},
        "verdict": {"said": "The search is not ahead."},
        "contenders": [contender, {**contender, "trial": 1, "name": ""}],
        "layers": [layer],
        "figures": [{"name": "macs", "before": 123456, "after": 30000, "ratio": 4.1152}],
        "again": "autoprune refit digits --trial 0",
        **given,
    }


def test_everything_is_in_one_file(sample: Sample) -> None:
    made = page(sample)
    for tag, attributes in made.tags:
        for name in ADDRESSES:
            assert name not in attributes, (tag, attributes)
    assert {tag for tag, _ in made.tags}.isdisjoint({"link", "iframe", "img", "object", "form", "base"})
    assert len(made.all("script")) == 3


def test_its_scripts_alone_may_run(sample: Sample) -> None:
    made = page(sample)
    (policy,) = (each["content"] for each in made.all("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    digests = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in made.scripts[1:]}
    assert set(rules["script-src"]) == {f"'sha256-{digest}'" for digest in digests}
    assert (rules["default-src"], rules["base-uri"], rules["form-action"]) == (["'none'"], ["'none'"], ["'none'"])


def test_it_tells_what_was_searched_and_the_best_trials(repeated: Sample) -> None:
    repeated.end(ExperimentState.STOPPED, "stopped by command")
    text = told(page(repeated).text)
    for part in ("digits-300131-abcd", "STOPPED: stopped by command", "9 trials, 1:00:00 in all, 2 at a time", "TPE"):
        assert part in text
    assert "0.82, the mean of 2 repeats; one result has a standard deviation of" in text
    assert "8 succeeded" in text
    rows = re.findall(r"<tr><td>(\d+)</td><td>([\d.]+)</td>", report(Results(repeated.workspace, repeated.store)))
    assert rows == [("0", "0.8"), ("1", "0.95"), ("2", "0.9")]


def test_it_tells_of_the_model_of_a_task(searched: Sample) -> None:
    made = page(searched)
    text = told(made.text)
    for part in (
        "task.py:Task", "budget macs 0.25", "The model of trial 0", "0.875 on validation (dense 0.9).",
        "The search is not ahead.", "MACs 123,456 30,000 4.1152", "this model 0.875 0.8125", "lamp 0 0.875 0.85 0.7",
        "found by the search", "conv 0.5 0.75 5 20", "limit 250 of 1,000; achieved 240",
        "autoprune refit digits --trial 0",
    ):  # fmt: skip
        assert part in text, part
    assert {"history", "pareto", "layers_heatmap", "layer_bars", "sensitivity"} <= set(made.drawing["figures"])


def test_it_has_the_figures_that_have_something_to_show(sample: Sample) -> None:
    made = page(sample)
    drawn = made.drawing
    assert set(drawn["figures"]) == {"history", "slices", "parallel_coordinates", "intermediate", "timeline",
                                     "concurrency", "duration", "pareto"}  # fmt: skip
    assert {each.get("id") for each in made.all("div")} >= set(drawn["figures"])
    assert set(drawn["templates"]) == {"light", "dark"}
    assert all("template" not in figure["layout"] for figure in drawn["figures"].values())
    assert all(not figure["layout"].get("title") for figure in drawn["figures"].values())
    assert "Value against sparsity" in made.text


def test_figures_of_a_sample_say_so(repeated: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoprune.plots.gallery._SAMPLE", 4)
    text = page(repeated).text
    assert re.search(r"\d of 7 trials that succeeded are shown, evenly spread\.", text)
    assert re.search(r"\d of 3 trials that succeeded and repeat no other are shown", text)


def test_an_experiment_without_trials_has_a_report(fresh: Sample) -> None:
    made = page(fresh)
    assert "No trial has succeeded" in made.text
    assert made.drawing["figures"] == {}


def test_whatever_people_write_is_only_text(searched: Sample) -> None:
    with searched.store.write() as tx:
        stored = experiments.get(tx, searched.id)
        config = {**stored.config, "task": EVIL, "tuner": {"name": EVIL}}
        experiments.set_config(tx, searched.id, config)
        layer = {"name": EVIL, "requested": 0.5, "sparsity": 0.5, "kept": 1, "of": 2}
        models.save_result(tx, searched.id, result(said=EVIL, layers=[layer], again=EVIL))
    parameters = {EVIL: EVIL, "other": 1}
    for number, value in ((1, 0.95), (2, 0.96)):
        searched.add(number, {**parameters, "other": number}, origin=EVIL)
        searched.start(number)
        searched.finish(number, TrialState.SUCCEEDED, value, message=EVIL, values={"default": value, EVIL: 1})
    searched.end(ExperimentState.DONE, EVIL)
    made = page(searched)
    assert len(made.all("script")) == 3
    assert not made.all("b")
    assert made.text.count(EVIL) >= 8
    assert "&lt;/script&gt;" in json.dumps(made.drawing)
