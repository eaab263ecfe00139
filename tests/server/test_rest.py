"""The REST API: its shapes, its errors, and its own description."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from asgi_client import Client
from sample_workspace import Sample
from sqlalchemy import text

import autoprune
from autoprune.records import ExperimentState, TrialState
from autoprune.results import Results
from autoprune.results.models import Importance, Page
from autoprune.store import experiments, models

API = "/api/v1"
DETAILS = (
    "/digits/statistics",
    "/digits/pareto",
    "/digits/importance",
    "/digits/trials/7/logs/stdout",
    "/digits/export",
)


def test_experiments(client: Client, sample: Sample) -> None:
    sample.create("second", "2030-02-01T00:00:00.000Z")
    page = client.get(f"{API}/experiments").json()
    assert [item["id"] for item in page["items"]] == ["second", sample.id]
    assert page["next"] is None
    assert page["items"][1]["state"] == "INTERRUPTED"
    assert page["items"][1]["best"]["number"] == 1
    first = client.get(f"{API}/experiments", params={"limit": 1}).json()
    rest = client.get(f"{API}/experiments", params={"limit": 1, "cursor": first["next"]}).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == ["second", sample.id]


def test_what_http_and_the_command_line_show_is_the_same(client: Client, sample: Sample) -> None:
    results = Results(sample.workspace, sample.store)
    for address, model in [
        (f"{API}/experiments/{sample.id}", results.experiment()),
        (f"{API}/experiments/digits/trials?limit=1000", results.trials()),
        (f"{API}/experiments/digits/trials/3", results.trial(None, 3)),
        (f"{API}/experiments/digits/trials/0/metrics", results.reports(None, 0)),
        (f"{API}/experiments/digits/best", results.best()),
        (f"{API}/experiments/digits/pareto", results.pareto()),
        (f"{API}/experiments/digits/statistics", results.statistics()),
        (f"{API}/experiments/digits/importance", Page[Importance](items=results.importance())),
    ]:
        answer = client.get(address)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == model.model_dump(mode="json")


def test_trials_are_filtered_sorted_and_paged(client: Client) -> None:
    address = f"{API}/experiments/digits/trials"
    params: dict[str, Any] = {"state": ["SUCCEEDED", "FAILED"], "sort": "-value", "limit": 3}
    first = client.get(address, params=params).json()
    rest = client.get(address, params={**params, "cursor": first["next"]}).json()
    assert [trial["number"] for trial in first["items"] + rest["items"]] == [1, 2, 0, 3]
    assert rest["next"] is None


def test_trials_are_sorted_by_what_they_report(client: Client, sample: Sample) -> None:
    for number, macs in enumerate([30, 10, 20], start=9):
        sample.add(number)
        sample.start(number)
        metrics = {"default": 0.1, "macs": macs, "per/layer": {"a": -macs}}
        sample.finish(number, TrialState.SUCCEEDED, 0.1, values=metrics, feasible=macs < 30)
    for sort, numbers in [
        ("metric:macs", [10, 11, 9, 0, 1, 2]),
        ("-metric:macs", [9, 11, 10, 0, 1, 2]),
        ("metric:per~1layer/a", [9, 11, 10, 0, 1, 2]),
        ("metric:macs/a", [0, 1, 2, 9, 10, 11]),
        ("-ended", [11, 10, 9, 2, 1, 0]),
        ("-duration", [0, 1, 2, 9, 10, 11]),
    ]:
        params = {"state": "SUCCEEDED", "sort": sort}
        page = client.get(f"{API}/experiments/digits/trials", params=params).json()
        assert [trial["number"] for trial in page["items"]] == numbers, sort
    for filters, numbers in [("feasible=false", [9]), ("feasible=true&state=FAILED", [3]), ("origin=LAMP", [])]:
        page = client.get(f"{API}/experiments/digits/trials?{filters}").json()
        assert [trial["number"] for trial in page["items"]] == numbers
    assert len(client.get(f"{API}/experiments/digits/trials?origin=").json()["items"]) == 12


def test_a_cursor_of_another_order_is_refused(client: Client) -> None:
    address = f"{API}/experiments/digits/trials"
    cursor = client.get(address, params={"sort": "metric:sparsity", "limit": 1}).json()["next"]
    assert client.get(address, params={"sort": "metric:sparsity", "cursor": cursor}).status_code == 200
    assert client.get(address, params={"sort": "metric:macs", "cursor": cursor}).status_code == 422


@pytest.mark.parametrize("name", ["x" * 200, "é" * 200, "😀" * 200, "a/" * 99 + "b"])
def test_a_cursor_is_taken_back_however_long_the_name_of_the_metric(client: Client, sample: Sample, name: str) -> None:
    for number in (9, 10, 11):
        sample.add(number)
        sample.start(number)
        sample.finish(number, TrialState.SUCCEEDED, 0.1, values={"default": 0.1, name: -1e-300 * number})
    address = f"{API}/experiments/digits/trials"
    params = {"sort": f"-metric:{name}", "state": "SUCCEEDED", "limit": 2}
    first = client.get(address, params=params).json()
    rest = client.get(address, params={**params, "cursor": first["next"]})
    assert rest.status_code == 200
    assert len({trial["number"] for trial in first["items"] + rest.json()["items"]}) == 4
    other = {**params, "sort": f"metric:{name}", "cursor": first["next"]}
    assert client.get(address, params=other).status_code == 422


def test_the_search_space_is_a_file_of_its_own(client: Client, sample: Sample) -> None:
    space = {"lr": {"_type": "uniform", "_value": [0, 1]}}
    with sample.store.write() as tx:
        experiments.set_config(tx, sample.id, {"searchSpace": space})
    assert client.get(f"{API}/experiments/digits/search-space").json() == space
    assert client.get(f"{API}/experiments/digits").json()["config"]["searchSpace"] == space


def test_what_is_known_of_a_model(client: Client, sample: Sample) -> None:
    answer = client.get(f"{API}/experiments/digits/model")
    assert answer.status_code == 404
    assert sample.id in answer.json()["detail"]
    with sample.store.write() as tx:
        models.save(tx, sample.id, "key", {"dense": {"default": 0.9}})
    assert client.get(f"{API}/experiments/digits/model").json() == {
        "facts": {"dense": {"default": 0.9}},
        "result": None,
    }


def test_no_folder_of_this_machine_is_told(client: Client, sample: Sample) -> None:
    for address in (
        "",
        "/digits",
        "/digits/trials",
        "/digits/trials/3",
        "/digits/trials/3/metrics",
        "/nothing",
        *DETAILS,
    ):
        assert str(sample.workspace.root) not in client.get(f"{API}/experiments{address}").text


def test_health_and_version(client: Client) -> None:
    assert client.get(f"{API}/health").json() == {"status": "ok"}
    assert client.get(f"{API}/version").json() == {"version": autoprune.__version__, "api": "v1"}


def test_no_best_yet_is_not_found(client: Client, sample: Sample) -> None:
    sample.create("second", "2030-02-01T00:00:00.000Z")
    answer = client.get(f"{API}/experiments/second/best")
    assert answer.status_code == 404
    assert "no trial of second has succeeded" in answer.json()["detail"]


PARTS = ("best", "pareto", "importance", "statistics", "model", "search-space", "export")
PROBLEMS = [
    ("GET", "/nothing", 404),
    ("GET", "/docs", 404),
    ("GET", "/redoc", 404),
    ("GET", "/openapi.json", 404),
    ("GET", f"{API}/", 404),
    ("GET", f"{API}/experiments/", 404),
    ("GET", f"{API}/experiments/nothing", 404),
    ("GET", f"{API}/experiments/nothing/trials", 404),
    *[("GET", f"{API}/experiments/nothing/{part}", 404) for part in PARTS],
    ("GET", f"{API}/experiments/digits/model", 404),
    ("GET", f"{API}/experiments/digits/trials/9", 404),
    ("GET", f"{API}/experiments/digits/trials/9/logs/stdout", 404),
    ("GET", f"{API}/experiments/digits/trials/8/logs/stdout", 404),
    ("GET", f"{API}/experiments/digits/trials/0/logs/stdout?attempt=1", 404),
    ("GET", f"{API}/experiments/digits/trials/0/logs/parameters.json", 422),
    ("GET", f"{API}/experiments/digits/trials/0/logs/..%2fstdout", 404),
    ("GET", f"{API}/experiments/digits/trials/0/logs/stdout?attempt=-1", 422),
    ("GET", f"{API}/experiments/digits/trials/0/logs/stdout?attempt={2**31}", 422),
    ("GET", f"{API}/experiments/digits/trials/0/logs/stdout?tail=0", 422),
    ("GET", f"{API}/experiments/digits/trials/0/logs/stdout?tail={10**9}", 422),
    ("GET", f"{API}/experiments/digits/export?format=optuna", 422),
    ("GET", f"{API}/experiments/digits/trials/9/metrics", 404),
    ("GET", f"{API}/experiments/digits/trials/x", 422),
    ("GET", f"{API}/experiments/digits/trials/-1", 422),
    ("GET", f"{API}/experiments/digits/trials/1e3", 422),
    ("GET", f"{API}/experiments/digits/trials/{10**40}", 422),
    ("GET", f"{API}/experiments/digits/trials/{2**31}/metrics", 422),
    ("GET", f"{API}/experiments/{'x' * 201}", 422),
    ("GET", f"{API}/experiments/..%2f..%2fetc%2fpasswd", 404),
    ("GET", f"{API}/experiments/%2e%2e/%2e%2e/etc/passwd", 404),
    ("GET", f"{API}/experiments/..%5c..%5cwindows", 404),
    ("GET", f"{API}/experiments/%00", 404),
    ("GET", f"{API}/experiments/%ff%fe", 404),
    ("GET", f"{API}/experiments/%25", 404),
    ("GET", f"{API}/experiments/digits'%20OR%201=1--/trials", 404),
    ("GET", f"{API}/experiments?limit=0", 422),
    ("GET", f"{API}/experiments?limit=1001", 422),
    ("GET", f"{API}/experiments?limit={10**400}", 422),
    ("GET", f"{API}/experiments?limit=NaN", 422),
    ("GET", f"{API}/experiments?cursor=bad", 422),
    ("GET", f"{API}/experiments?cursor=%00", 422),
    ("GET", f"{API}/experiments?cursor={'x' * 2000}", 422),
    ("GET", f"{API}/experiments/digits/trials?state=RUNNING&state=LOST", 422),
    ("GET", f"{API}/experiments/digits/trials?sort=parameters", 422),
    ("GET", f"{API}/experiments/digits/trials?sort=value%0a", 422),
    ("GET", f"{API}/experiments/digits/trials?sort=metric:", 422),
    ("GET", f"{API}/experiments/digits/trials?sort=metric:a%22b", 422),
    ("GET", f"{API}/experiments/digits/trials?sort=metric:a%00b", 422),
    ("GET", f"{API}/experiments/digits/trials?sort=metric:{'x' * 201}", 422),
    ("GET", f"{API}/experiments/digits/trials?feasible=perhaps", 422),
    ("GET", f"{API}/experiments/digits/trials?cursor=W10", 422),
    ("GET", f"{API}/experiments/digits/trials/0/metrics?cursor=W10", 422),
    ("POST", f"{API}/experiments", 405),
    ("DELETE", f"{API}/experiments/digits", 405),
    ("PUT", f"{API}/experiments/digits/trials/0", 405),
    ("OPTIONS", f"{API}/experiments", 405),
    ("TRACE", f"{API}/experiments", 405),
]


@pytest.mark.parametrize(("method", "address", "status"), PROBLEMS)
def test_every_error_is_a_problem(client: Client, method: str, address: str, status: int) -> None:
    answer = client.request(method, address)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert not [name for name in answer.headers if name.startswith("access-control")]
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status
        assert problem["title"]
        assert problem["detail"]
        assert ("allow" in answer.headers) == (status == 405)


def test_a_wrong_part_is_named(client: Client) -> None:
    problem = client.get(f"{API}/experiments/digits/trials?limit=1001&state=LOST").json()
    assert {error["where"] for error in problem["errors"]} == {"query.limit", "query.state.0"}


def test_a_database_that_fails_is_unavailable(client: Client, sample: Sample) -> None:
    with sample.store.write() as tx:
        tx.execute(text("DROP TABLE metric"))
    answer = client.get(f"{API}/experiments/digits/trials/0/metrics")
    assert answer.status_code == 503
    assert answer.json()["detail"] == "the database cannot be read now"
    assert "sqlite" not in answer.text


def test_an_error_nobody_foresaw_is_told_to_the_log_only(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_self: Results, _id: str) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(Results, "best", fail)
    answer = client.get(f"{API}/experiments/digits/best")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in answer.text
    assert "a secret" in caplog.text


def test_nothing_is_written(client: Client, sample: Sample) -> None:
    sample.end(ExperimentState.DONE)

    def everything() -> str:
        with closing(sqlite3.connect(sample.workspace.database)) as connection:
            return "\n".join(connection.iterdump())

    before = everything()
    for method, address, _ in PROBLEMS:
        client.request(method, address)
    assert everything() == before


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("experiments/digits/trials?stat=FAILED", "given stat 'FAILED' in the address; expected nothing of that name "
         "(did you mean state?)"),
        ("experiments/digits/trials?unknown=1", "(valid: state, feasible, origin, sort, limit, cursor)"),
        ("experiments/digits/export?fromat=csv", "did you mean format?"),
        ("experiments/digits/events?last=1", "valid: after"),
        ("health?x=1", "given x '1' in the address; expected nothing of that name"),
    ],
)  # fmt: skip
def test_a_parameter_that_an_address_does_not_take(client: Client, address: str, said: str) -> None:
    answer = client.get(f"{API}/{address}")
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    (error,) = answer.json()["errors"]
    assert error["expected"] == "nothing of that name"


def test_an_order_that_there_is_not_is_told_in_words(client: Client) -> None:
    detail = client.get(f"{API}/experiments/digits/trials?sort=valeu").json()["detail"]
    assert detail.startswith("given the sort 'valeu'; expected number, value, started, ended, duration or metric:PATH")
    assert detail.endswith("(did you mean value?)")
