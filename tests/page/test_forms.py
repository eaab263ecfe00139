"""The page's forms, as a browser without scripts sends them: what is wrong is said, and nothing typed is lost."""

from __future__ import annotations

import html
from collections.abc import Iterator

import httpx
import pytest
from asgi_client import TOKEN, Client
from sample_workspace import Sample

from autoprune.server.access import Access
from autoprune.store import commands, experiments

EXPERIMENT = "/experiments/digits-300131-abcd"


CONFIG = {
    "experimentName": "digits",
    "searchSpace": {"lr": {"_type": "uniform", "_value": [0, 1]}},
    "trialCommand": "python trial.py",
    "trialConcurrency": 2,
    "maxTrialNumber": 9,
    "tuner": {"name": "Random", "classArgs": {}},
}


@pytest.fixture
def managed(sample: Sample) -> Iterator[Sample]:
    """An experiment whose manager this test is."""
    with sample.store.write() as tx:
        experiments.set_config(tx, sample.id, CONFIG)
    with sample.workspace.lock(sample.id):
        yield sample


def post(reader: Client, address: str, fields: dict[str, str]) -> httpx.Response:
    """A form, as a browser that shows the page sends it."""
    headers = {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}
    data = {"csrf": Access(TOKEN, []).csrf, **fields}
    return reader.request("POST", EXPERIMENT + address, data=data, headers=headers)


def test_a_command_where_nothing_runs_says_what_to_type(reader: Client) -> None:
    csrf = Access(TOKEN, []).csrf
    headers = {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}
    for address, fields, typed in [
        ("/stop", {}, "autoprune stop"),
        ("/trials/3/retry", {}, "autoprune trial retry 3"),
        ("/trials/7/kill", {}, "autoprune stop"),
    ]:
        answer = reader.request("POST", EXPERIMENT + address, data={"csrf": csrf, **fields}, headers=headers)
        assert answer.status_code == 409, answer.text
        assert typed in html.unescape(answer.text)
        refused = reader.request("POST", EXPERIMENT + address, data=fields, headers=headers)
        assert refused.status_code == 403


@pytest.mark.parametrize(
    ("address", "fields", "said"),
    [
        ("/limits", {"trialConcurrency": "many"}, "expected a whole number"),
        ("/limits", {"trialConcurrency": "-1"}, "trialConcurrency"),
        ("/limits", {"trialConcurrency": "2", "was.trialConcurrency": "2"}, "nothing is changed"),
        ("/limits", {"maxExperimentDuration": "nan"}, "maxExperimentDuration"),
        ("/limits", {"maxExperimentDuration": "bananas"}, "\nmaxExperimentDuration: given 'bananas'"),
        ("/trials", {"parameters": "{"}, "not JSON"),
        ("/trials", {"parameters": "[1]"}, "expected the parameters as an object"),
        ("/trials", {"parameters": "[" * 5000}, "nested too deep"),
        ("/trials", {"parameters": '{"a":' * 500 + "1" + "}" * 500}, "nested deeper"),
    ],
)
def test_wrong_fields_are_named(reader: Client, address: str, fields: dict[str, str], said: str) -> None:
    answer = post(reader, address, fields)
    assert answer.status_code == 422
    assert said in html.unescape(answer.text)


@pytest.mark.usefixtures("managed")
def test_a_form_that_is_wrong_comes_again_as_it_was_filled_in(reader: Client) -> None:
    enqueued = post(reader, "/trials", {"parameters": "{lr: <1>}"}).text
    assert "{lr: &lt;1&gt;}</textarea>" in enqueued
    assert "the parameters are not JSON" in enqueued
    assert f'data-address="{EXPERIMENT}/trials"' in enqueued, "what is live in it comes from there"
    limits = post(reader, "/limits", {"maxTrialNumber": "0", "was.maxTrialNumber": "9"}).text
    assert 'name="maxTrialNumber" value="0"' in limits
    assert 'name="was.maxTrialNumber" value="9"' in limits


def test_a_form_that_is_old_changes_only_what_its_reader_changed(reader: Client, managed: Sample) -> None:
    fields = {"trialConcurrency": "3", "was.trialConcurrency": "2", "maxTrialNumber": "5", "was.maxTrialNumber": "5"}
    assert post(reader, "/limits", fields).status_code == 303, "9 trials were set elsewhere meanwhile"
    with managed.store.read() as tx:
        [command] = commands.pending(tx, managed.id)
    assert command.data == {"trialConcurrency": 3}
