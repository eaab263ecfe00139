"""What may be asked of a running experiment: a row for its manager, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from asgi_client import Client
from sample_workspace import SAMPLE_ID, Sample, clock

from autoprune.records import ExperimentState
from autoprune.store import commands, experiments

BASE = "/api/v1/experiments/digits"
CONFIG: dict[str, Any] = {
    "experimentName": "digits",
    "searchSpace": {"lr": {"_type": "uniform", "_value": [0, 1]}},
    "trialCommand": "python trial.py",
    "trialConcurrency": 2,
    "maxTrialNumber": 9,
    "tuner": {"name": "Random", "classArgs": {}},
}
VERBS: list[tuple[str, str, Any, str, dict[str, Any]]] = [
    ("POST", "stop", None, "stop", {}),
    ("PATCH", "limits", {"maxTrialNumber": 20}, "update", {"maxTrialNumber": 20}),
    ("PATCH", "limits", {"maxTrialNumber": None, "trialConcurrency": 1}, "update",
     {"maxTrialNumber": None, "trialConcurrency": 1}),
    ("POST", "trials", {"parameters": {"lr": 0.5}}, "enqueue", {"parameters": {"lr": 0.5}}),
    ("POST", "trials/7/kill", None, "kill", {"trial": 7}),
    ("POST", "trials/3/retry", None, "retry", {"trial": 3}),
]  # fmt: skip


@pytest.fixture
def configured(sample: Sample) -> Sample:
    with sample.store.write() as tx:
        experiments.set_config(tx, sample.id, CONFIG)
    return sample


@pytest.fixture
def managed(configured: Sample) -> Iterator[Sample]:
    """An experiment whose manager this test is."""
    with configured.workspace.lock(configured.id):
        yield configured


def pending(sample: Sample) -> list[commands.Command]:
    with sample.store.read() as tx:
        return commands.pending(tx, sample.id)


def answered(sample: Sample, id: int, answer: str = "", trial: int | None = None) -> None:
    with sample.store.write() as tx:
        commands.answer(tx, id, clock(30), answer, trial)


@pytest.mark.parametrize(("method", "path", "body", "kind", "data"), VERBS)
def test_a_command_is_left_for_the_manager(
    managed: Sample, client: Client, method: str, path: str, body: Any, kind: str, data: dict[str, Any]
) -> None:
    answer = client.request(method, f"{BASE}/{path}", json=body)
    assert answer.status_code == 202
    told = answer.json()
    assert (told["experiment"], told["kind"], told["state"], told["answer"]) == (SAMPLE_ID, kind, "pending", "")
    assert answer.headers["location"] == f"/api/v1/experiments/{SAMPLE_ID}/commands/{told['id']}"
    (command,) = pending(managed)
    assert (command.id, command.kind, command.data) == (told["id"], kind, data)
    assert client.get(answer.headers["location"]).json() == told


def test_what_became_of_a_command(managed: Sample, client: Client) -> None:
    first = client.request("POST", f"{BASE}/trials", json={"parameters": {"lr": 0.5}}).json()["id"]
    second = client.request("POST", f"{BASE}/trials/3/retry").json()["id"]
    answered(managed, first, trial=9)
    answered(managed, second, "trial 3 is busy")
    done, refused = (client.get(f"{BASE}/commands/{id}").json() for id in (first, second))
    assert (done["state"], done["answer"], done["trial"], done["done"]) == ("done", "", 9, clock(30))
    assert (refused["state"], refused["answer"], refused["trial"]) == ("refused", "trial 3 is busy", None)


def test_a_command_whose_manager_has_gone_is_refused(configured: Sample, client: Client) -> None:
    with configured.workspace.lock(configured.id):
        id = client.request("POST", f"{BASE}/stop").json()["id"]
    told = client.get(f"{BASE}/commands/{id}").json()
    assert (told["state"], told["answer"]) == ("refused", f"experiment {SAMPLE_ID} ended before it could stop")


def test_commands_of_others_are_not_told(managed: Sample, client: Client) -> None:
    managed.create("other-300131-abcd", created=clock(3))
    id = client.request("POST", f"{BASE}/stop").json()["id"]
    for path in (f"other/commands/{id}", f"digits/commands/{id + 1}", "none/commands/1"):
        assert client.get(f"/api/v1/experiments/{path}").status_code == 404


@pytest.mark.parametrize(("given", "seconds"), [("1.5h", 5400.0), ("90", 90.0), (90, 90.0), (None, None)])
def test_a_duration_is_given_as_in_a_configuration(
    managed: Sample, client: Client, given: object, seconds: float | None
) -> None:
    answer = client.request("PATCH", f"{BASE}/limits", json={"maxExperimentDuration": given})
    assert answer.status_code == 202
    assert [command.data for command in pending(managed)] == [{"maxExperimentDuration": seconds}]


@pytest.mark.parametrize(("method", "path", "body", "kind", "data"), VERBS)
def test_where_no_manager_runs_it_says_what_to_type(
    configured: Sample, client: Client, method: str, path: str, body: Any, kind: str, data: dict[str, Any]
) -> None:
    configured.end(ExperimentState.STOPPED)
    answer = client.request(method, f"{BASE}/{path}", json=body)
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    detail = answer.json()["detail"]
    assert detail.startswith(f"nothing runs experiment {SAMPLE_ID}: it is STOPPED; to ")
    typed = {
        "stop": f"autoprune resume {SAMPLE_ID}",
        "kill": f"autoprune resume {SAMPLE_ID}",
        "update": f"autoprune update {SAMPLE_ID} "
        + ("--max-trials 20" if data == {"maxTrialNumber": 20} else "--concurrency 1 --max-trials none"),
        "enqueue": f"autoprune trial enqueue {SAMPLE_ID} --parameters '{{\"lr\": 0.5}}'",
        "retry": f"autoprune trial retry 3 --experiment {SAMPLE_ID}",
    }[kind]
    assert detail.endswith(f", type: {typed}")
    assert pending(configured) == []


@pytest.mark.parametrize("verb", ["stop", "trials/7/kill"])
def test_what_a_dead_manager_left_is_ended_by_hand(configured: Sample, client: Client, verb: str) -> None:
    detail = client.request("POST", f"{BASE}/{verb}").json()["detail"]
    assert "it is INTERRUPTED" in detail
    assert detail.endswith(f"type: autoprune stop {SAMPLE_ID}")


def test_many_parameters_are_typed_from_a_file(configured: Sample, client: Client) -> None:
    space = {f"p{number}": {"_type": "uniform", "_value": [0, 1]} for number in range(100)}
    with configured.store.write() as tx:
        experiments.set_config(tx, configured.id, {**CONFIG, "searchSpace": space})
    answer = client.request("POST", f"{BASE}/trials", json={"parameters": dict.fromkeys(space, 0.5)})
    assert answer.json()["detail"].endswith(f"autoprune trial enqueue {SAMPLE_ID} --parameters FILE")


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "trials/77/kill", None, 404, "has no trial 77; it has 0 to 8"),
        ("POST", "trials/77/retry", None, 404, "has no trial 77"),
        ("POST", "trials/-1/kill", None, 422, "given number '-1' in the address; expected 0 or more"),
        ("POST", "trials/x/kill", None, 422, "given number 'x' in the address; expected a whole number"),
        ("PATCH", "limits", {}, 422, "expected some of trialConcurrency"),
        ("PATCH", "limits", {"maxTrialNumber": 0}, 422, "given maxTrialNumber 0 in the body; expected 1 or more"),
        ("PATCH", "limits", {"maxTrialNumber": "20"}, 422, 'maxTrialNumber "20" in the body; expected a whole number'),
        ("PATCH", "limits", {"maxTrialNumber": True}, 422, "given maxTrialNumber true"),
        ("PATCH", "limits", {"maxTrialNumber": 2.5}, 422, "expected a whole number"),
        ("PATCH", "limits", {"trialConcurrency": None}, 422, "given trialConcurrency null"),
        (
            "PATCH",
            "limits",
            {"trialConcurrency": 1001},
            422,
            "trialConcurrency 1001 in the body; expected 1000 or less",
        ),
        ("PATCH", "limits", {"trialConcurency": 2}, 422, "nothing of that name (did you mean trialConcurrency?)"),
        ("PATCH", "limits", {"maxExperimentDuration": 0}, 422, "a duration above 0"),
        ("PATCH", "limits", {"maxExperimentDuration": -5}, 422, "a duration above 0"),
        ("PATCH", "limits", {"maxExperimentDuration": "2 weeks"}, 422, "a duration such as 100h"),
        ("PATCH", "limits", {"maxExperimentDuration": True}, 422, "a duration such as 100h"),
        ("PATCH", "limits", {"maxExperimentDuration": 10**400}, 422, "300 years at most"),
        ("PATCH", "limits", {"maxTrialNumber": 2**31}, 422, "expected 2147483647 or less"),
        ("PATCH", "limits", {"maxExperimentDuration": 1e300}, 422, "300 years at most"),
        ("PATCH", "limits", {"trialCommand": "rm -rf /"}, 422, 'given trialCommand "rm -rf /" in the body'),
        ("PATCH", "limits", [1], 422, "given a list in the body; expected an object"),
        ("POST", "trials", None, 422, "given no body"),
        ("POST", "trials", {}, 422, "given no parameters in the body"),
        ("POST", "trials", {"paramters": {}}, 422, "nothing of that name (did you mean parameters?)"),
        ("POST", "trials", {"parameters": {}}, 422, "lr: given nothing; expected a value"),
        ("POST", "trials", {"parameters": {"lr": 2}}, 422, "lr: given 2"),
        ("POST", "trials", {"parameters": {"lr": None}}, 422, "lr: given nothing"),
        ("POST", "trials", {"parameters": {"lr": 0.5, "x": 1}}, 422, "x: given a parameter"),
        ("POST", "trials", {"parameters": {"lr": 0.5}, "command": "rm"}, 422, "given command"),
        ("POST", "trials", {"parameters": {"lr": nested(20)}}, 422, "lr: given"),
        ("POST", "trials", {"parameters": {"lr": nested(60)}}, 422, "nested deeper than 50"),
        ("POST", "trials", {"parameters": [1]}, 422, "given parameters as a list in the body; expected an object"),
    ],
)
def test_what_cannot_be_is_refused_before_it_is_asked(
    managed: Sample, client: Client, method: str, path: str, body: Any, status: int, said: str
) -> None:
    answer = client.request(method, f"{BASE}/{path}", json=body)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]
    assert pending(managed) == []


@pytest.mark.parametrize(
    ("headers", "given"),
    [({}, "without a Content-Type"), ({"Content-Type": "text/plain"}, "of the type text/plain")],
)
def test_a_body_that_is_not_called_json(managed: Sample, client: Client, headers: dict[str, str], given: str) -> None:
    answer = client.request("PATCH", f"{BASE}/limits", content=b'{"maxTrialNumber": 20}', headers=headers)
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert detail == f"given a body {given}; expected JSON, and the header Content-Type: application/json with it"
    assert pending(managed) == []


@pytest.mark.parametrize(
    "text",
    [
        '{"parameters": {"lr": NaN}}',
        '{"parameters": {"lr": Infinity}}',
        '{"parameters": {"lr": 1e999}}',
        '{"parameters": {"lr": ' + "9" * 5000 + "}}",
        '{"parameters": {"\\ud800": 1}}',
        '{"parameters": {"lr": "\\u0000"}}',
        '{"parameters": ' + '{"lr":' * 990 + "1" + "}" * 991,
        '{"parameters": ' + '{"lr":' * 9000 + "1" + "}" * 9001,
        '{"parameters": {"lr": 0.5}',
        "\x00",
        "[" * 30000,
    ],
)
def test_json_that_is_made_to_hurt(managed: Sample, client: Client, text: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.request("POST", f"{BASE}/trials", content=text.encode(), headers=headers)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert pending(managed) == []


@pytest.mark.parametrize("text", ["[" * 10000, '{"lr": ' + "[" * 60 + "]" * 60 + "}", '{"lr":' * 500 + "1" + "}" * 500])
def test_a_form_that_is_nested_too_deep(managed: Sample, client: Client, text: str) -> None:
    answer = client.request("POST", "/experiments/digits/trials", data={"parameters": text})
    assert answer.status_code == 422, answer.text
    assert "deep" in answer.text
    assert pending(managed) == []


@pytest.mark.parametrize(
    "fields", [{"maxTrialNumber": "9" * 400}, {"maxExperimentDuration": "1e300"}, {"trialConcurrency": "1001"}]
)
def test_a_form_with_limits_that_nobody_reaches(managed: Sample, client: Client, fields: dict[str, str]) -> None:
    assert client.request("POST", "/experiments/digits/limits", data=fields).status_code == 422
    assert pending(managed) == []


def test_a_space_that_is_not_known_yet(managed: Sample, client: Client) -> None:
    config = {**CONFIG, "task": "task.py:Digits", "searchSpace": {}}
    del config["trialCommand"]
    with managed.store.write() as tx:
        experiments.set_config(tx, managed.id, config)
    answer: httpx.Response = client.request("POST", f"{BASE}/trials", json={"parameters": {"lr": 0.5}})
    assert answer.status_code == 409
    assert "once its model has been studied" in answer.json()["detail"]
