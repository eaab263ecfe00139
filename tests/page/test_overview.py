"""The overview and the list of experiments: what runs now, what has ended, and what to type or press next."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from asgi_client import TOKEN, Client
from sample_workspace import Sample

from autoprune.manager.journal import Journal
from autoprune.records import ExperimentState, TrialState
from autoprune.server.access import Access
from autoprune.server.page.formats import NOTHING
from autoprune.store import commands, experiments, models

EXPERIMENT = "/experiments/digits-300131-abcd"
REST = f"/api/v1{EXPERIMENT}"
CONFIG = {
    "experimentName": "digits",
    "searchSpace": {"lr": {"_type": "uniform", "_value": [0, 1]}},
    "trialCommand": "python trial.py",
    "trialConcurrency": 2,
    "maxTrialNumber": 9,
    "maxExperimentDuration": 360000.0,
    "tuner": {"name": "Random", "classArgs": {}},
}
CONTENDER = {"trial": 0, "name": "LAMP", "validation": 0.85, "repeats": [0.84, 0.86], "test": [0.88, None, 0.9]}
RESULT: dict[str, Any] = {
    "trial": 2,
    "said": "It is good.",
    "verdict": {"winner": 1, "rival": 0, "noise": 0.01, "ahead": True, "said": "The search is ahead."},
    "contenders": [{**CONTENDER, "trial": 1, "name": "", "repeats": [0.9], "test": []}, CONTENDER],
    "validation": {"dense": {"default": 0.95}, "final": {"default": 0.9}},
    "test": {"dense": {"default": 0.94}, "final": {"default": 0.89}},
    "figures": [
        {"name": "nonzeros", "before": 1000, "after": 50, "ratio": 20.0},
        {"name": "median ms, batch 1", "before": 0.05, "after": 0.05, "ratio": 1.0},
    ],
    "files": ["model.safetensors", "card.md"],
    "again": "autoprune refit digits --trial 2",
}


@pytest.fixture
def managed(sample: Sample) -> Iterator[Sample]:
    """An experiment whose manager this test is."""
    configure(sample)
    with sample.workspace.lock(sample.id):
        yield sample


def configure(sample: Sample, **changes: object) -> None:
    with sample.store.write() as tx:
        experiments.set_config(tx, sample.id, {**CONFIG, **changes})


def seen(reader: Client, address: str = EXPERIMENT) -> str:
    """The page's text, without its tags."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", reader.get(address).text)))


def post(reader: Client, address: str, fields: dict[str, str]) -> Any:
    headers = {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}
    data = {"csrf": Access(TOKEN, []).csrf, **fields}
    return reader.request("POST", EXPERIMENT + address, data=data, headers=headers)


def answered(sample: Sample, kind: str, data: object, answer: str = "", trial: int | None = None) -> int:
    """A command that its manager has answered."""
    with sample.store.write() as tx:
        command = commands.send(tx, sample.id, kind, data, "2030-01-31T12:00:00.000Z")
        commands.answer(tx, command, "2030-01-31T12:00:01.000Z", answer, trial)
    return command


def test_what_runs_before_and_after_the_trials_is_said(reader: Client, sample: Sample) -> None:
    journal = Journal(sample.store, sample.id, time.time, lambda notice: None)
    journal.study_started()
    with sample.workspace.lock(sample.id):
        assert "running studies the model began" in seen(reader)
        journal.progress("\rscan 2/17: 0.9\rscan 3/17: 0.8")
        journal.progress("  ")
        assert "running scan 3/17: 0.8 began" in seen(reader)
        assert "data-ticks" not in reader.get(EXPERIMENT).text, "the trials' clock stands still"
        assert "scan 3/17: 0.8" in seen(reader, "/")
        assert reader.get(REST).json()["message"] == "scan 3/17: 0.8"
        journal.study_ended([])
        assert "running trials run for 0.00 s began" in seen(reader)
        journal.progress("tests trial 3")
    assert reader.get(REST).json() | {"state": "INTERRUPTED", "message": ""} == reader.get(REST).json()
    journal.experiment_ended(ExperimentState.DONE, "maxTrialNumber reached")
    journal.progress("makes a model once more")
    assert reader.get(REST).json()["message"] == "maxTrialNumber reached"


def test_an_experiment_that_has_ended_says_how_long_its_trials_ran(reader: Client, sample: Sample) -> None:
    with sample.store.write() as tx:
        experiments.set_active_seconds(tx, sample.id, 24.7)
    sample.end()
    assert "done trials ran for 24.7 s began 2030-01-31 12:00:00 UTC ended 2030-01-31 12:00:59 UTC" in seen(reader)
    assert "Trials ran for" in seen(reader, "/")


@pytest.mark.parametrize(
    ("limits", "ran", "options"),
    [
        ({"maxTrialNumber": 7}, 1.0, "--max-trials 17"),
        ({"maxTrialNumber": 5}, 1.0, "--max-trials 17"),
        ({"maxExperimentDuration": 3600.0}, 3600.2, "--max-duration 7201s"),
        ({"maxTrialNumber": 7, "maxExperimentDuration": 60.0}, 60.0, "--max-trials 17 --max-duration 2m"),
    ],
)
def test_an_experiment_that_is_done_says_how_to_give_it_more(
    reader: Client, sample: Sample, limits: dict[str, float], ran: float, options: str
) -> None:
    configure(sample, **limits)
    with sample.store.write() as tx:
        experiments.set_active_seconds(tx, sample.id, ran)
    sample.end()
    more = f"autoprune update {sample.id} {options}, then autoprune resume {sample.id}."
    assert f"It is done. For more, type {more}" in seen(reader)


def test_one_that_was_exhausted_or_stopped_says_so(reader: Client, sample: Sample) -> None:
    sample.end()
    assert "It is done, and nothing is left to try." in seen(reader)
    sample.end(ExperimentState.STOPPED)
    assert f"autoprune resume {sample.id} goes on with it" in seen(reader)


def test_a_limit_below_what_has_ended_is_no_repeat(reader: Client, sample: Sample) -> None:
    configure(sample, maxTrialNumber=5)
    assert "7 trials, the limit is 5 " in seen(reader)
    assert "7 3 succeeded" not in seen(reader, "/")


def test_repeats_and_imports_are_told_apart(reader: Client, sample: Sample) -> None:
    configure(sample, maxTrialNumber=7)
    sample.succeed(9, 0.9, repeat_of=1)
    assert "7 of 7 trials, and 1 repeated" in seen(reader)
    assert reader.get(REST).json()["repeated"] == 1


def test_what_went_wrong_says_how_much_more_there_is(reader: Client, sample: Sample) -> None:
    assert "more" not in seen(reader).partition("What went wrong")[2].partition("Configuration")[0]
    for number in range(9, 14):
        sample.add(number)
        sample.start(number)
        sample.finish(number, TrialState.FAILED, message="out of memory")
    text = reader.get(EXPERIMENT).text
    assert f'<a href="{EXPERIMENT}/trials?state=FAILED&amp;state=INVALID">and 2 more</a>' in text
    assert reader.get(f"{EXPERIMENT}/trials?state=FAILED&state=INVALID").text.count("<tr data-key") == 7


def test_durations_are_typed_as_people_type_them(reader: Client, managed: Sample) -> None:
    assert 'name="maxExperimentDuration" value="100h"' in reader.get(EXPERIMENT).text
    shown = {"maxExperimentDuration": "90m", "was.maxExperimentDuration": "100h"}
    assert post(reader, "/limits", shown).status_code == 303
    with managed.store.read() as tx:
        [command] = commands.pending(tx, managed.id)
    assert command.data == {"maxExperimentDuration": 5400.0}
    wrong = post(reader, "/limits", {**shown, "maxExperimentDuration": "2 hours"})
    assert wrong.status_code == 422
    assert "given '2 hours'; expected a duration such as 100h" in html.unescape(wrong.text)
    assert 'value="2 hours"' in wrong.text


def test_what_was_refused_is_said_as_an_error_and_is_not_lost(reader: Client, managed: Sample) -> None:
    data = {"maxTrialNumber": 30, "maxExperimentDuration": 7200.0}
    limits = answered(managed, "update", data, "ask again later")
    text = reader.get(f"{EXPERIMENT}?command={limits}").text
    assert '<p id="command" class="notice bad" role="alert" data-live>That was refused: ask again later</p>' in text
    assert 'name="maxTrialNumber" value="30"' in text
    assert 'name="maxExperimentDuration" value="2h"' in text
    assert 'name="was.maxExperimentDuration" value="100h"' in text
    enqueued = answered(managed, "enqueue", {"parameters": {"lr": 0.125}}, "ask again later")
    text = reader.get(f"{EXPERIMENT}/trials?command={enqueued}").text
    assert "notice bad" in text
    assert '{\n  "lr": 0.125\n}</textarea>' in html.unescape(text)


def test_what_was_done_names_its_trial(reader: Client, managed: Sample) -> None:
    enqueued = answered(managed, "enqueue", {"parameters": {"lr": 0.5}}, trial=8)
    text = reader.get(f"{EXPERIMENT}/trials?command={enqueued}").text
    assert f'class="notice" role="status" data-live><a href="{EXPERIMENT}/trials/8">Trial 8</a> will run.</p>' in text
    killed = answered(managed, "kill", {"trial": 7})
    assert "Trial 7 was told to end." in seen(reader, f"{EXPERIMENT}?command={killed}")


def test_a_trial_is_killed_from_where_it_is_seen(reader: Client, managed: Sample) -> None:
    text = reader.get(EXPERIMENT).text
    [form] = re.findall(rf'<form method="post" action="{EXPERIMENT}/trials/7/kill">.*?</form>', text)
    fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form))
    answer = post(reader, "/trials/7/kill", fields)
    assert re.fullmatch(rf"{EXPERIMENT}\?command=\d+", answer.headers["location"])
    assert "/trials/7?command=" in post(reader, "/trials/7/kill", {}).headers["location"]
    with managed.store.read() as tx:
        assert [command.data for command in commands.pending(tx, managed.id)] == [{"trial": 7}] * 2


def test_the_model_of_a_task_is_shown_as_its_card_has_it(reader: Client, sample: Sample) -> None:
    best = sample.workspace.best(sample.id)
    with sample.store.write() as tx:
        models.save(tx, sample.id, "key", {})
        models.save_result(tx, sample.id, RESULT)
    text = seen(reader)
    assert "It is the model of trial 2, a repeat of trial 1." in text
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"<tr>.*?</tr>", reader.get(EXPERIMENT).text)]
    assert ["found", "by", "the", "search", "1", "0.85", "0.9&nbsp;(1)", NOTHING] in rows
    assert ["LAMP", "0", "0.85", "0.85&nbsp;(2)", "0.89&nbsp;(2)"] in rows
    assert ["parameters", "that", "are", "not", "zero", "1,000", "50", "20.00\u00d7"] in rows
    assert ["latency,", "batch", "1,", "ms", "0.05", "0.05", "1.00\u00d7"] in rows
    assert f"Its files are in {best}: model.safetensors, card.md." in text
    best.mkdir()
    (best / "report.html").touch()
    assert f"Its files are in {best}: model.safetensors, card.md, report.html." in seen(reader)


def test_a_task_s_best_is_named_as_its_model_is(reader: Client, sample: Sample) -> None:
    sample.add(9)
    sample.start(9)
    sample.finish(9, TrialState.SUCCEEDED, 0.99, values={"default": 0.99, "parameters": 599, "macs": 12})
    assert "<dt>parameters</dt>" in reader.get(EXPERIMENT).text
    configure(sample, task="task.py:Task")
    assert "<dt>parameters that are not zero</dt>" in reader.get(EXPERIMENT).text
    assert "<dt>MACs</dt>" in reader.get(EXPERIMENT).text


def test_a_trial_says_where_its_files_are(reader: Client, sample: Sample) -> None:
    folder = sample.workspace.trial(sample.id, 3)
    assert str(folder) not in seen(reader, f"{EXPERIMENT}/trials/3"), "it was removed"
    folder.mkdir(parents=True)
    assert f"All of it is in {folder}." in seen(reader, f"{EXPERIMENT}/trials/3")
