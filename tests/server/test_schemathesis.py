"""Requests made up from the API's own description: none fails the server, and each answer is as described.

What is asked for exists as often as a request may name it; commands go to a manager that is there, and answers none.
`/events` is left out, for it does not end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from asgi_client import TOKEN
from hypothesis import HealthCheck, given, seed, settings
from sample_workspace import SAMPLE_ID, Sample
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from autoprune.config import load
from autoprune.server.app import create_app
from autoprune.store import experiments, models

DOCUMENT = "/api/v1/openapi.json"
HOST = "testserver"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
EXAMPLES = 15
CONFIG = Path(__file__).parents[2] / "experiments" / "digits" / "config.yml"
OPERATIONS = [
    (method, path)
    for path, operations in json.loads((Path(__file__).parent / "openapi.json").read_text())["paths"].items()
    for method in operations
    if not path.endswith("/events")
]
load_all_checks()
POSITIVE = CHECKS.get_one("positive_data_acceptance")
NOT_SAID = {"enqueue_trial", "update_limits", "get_log"}
"""Where a request may be refused though it is as described: parameters are of the experiment's search space, 3.0 is no
whole number here, and a range may begin behind the end of a log."""


@pytest.fixture
def described(sample: Sample) -> Iterator[schemathesis.BaseSchema]:
    """The description, over an experiment that has something to say at every address."""
    file = sample.workspace.attempt(sample.id, 0, 0) / "stdout"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"epoch 1\nepoch 2 \xff\n")
    with sample.store.write() as tx:
        experiments.set_config(tx, sample.id, load(CONFIG).config.to_json())
        models.save(tx, sample.id, "key", {"dense": {"default": 0.9}})
    app = create_app(sample.workspace, TOKEN, [HOST])
    with sample.workspace.lock(sample.id):
        yield schemathesis.openapi.from_asgi(DOCUMENT, app, headers=HEADERS)
    app.state.results.store.close()


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_answers_are_as_described(
    described: schemathesis.BaseSchema, sample: Sample, method: str, path: str, mode: GenerationMode
) -> None:
    operation = described[path][method]
    unsaid = [POSITIVE] if operation.definition.raw["operationId"] in NOT_SAID else []

    @seed(7)
    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        if mode is GenerationMode.POSITIVE:
            point_at_something(case)
        case.call_and_validate(headers=HEADERS, excluded_checks=unsaid)

    ask()


def point_at_something(case: Case) -> None:
    """Most texts are no experiment's id and no cursor, and most numbers no trial's."""
    case.query.pop("cursor", None)
    if "id" in case.path_parameters:
        case.path_parameters["id"] = SAMPLE_ID[: len(case.path_parameters["id"]) + 1]
    if "number" in case.path_parameters:
        case.path_parameters["number"] %= 10
