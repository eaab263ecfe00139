"""`autoprune.Client` against a real server, beside `autoprune.Experiment`: the same questions, the same answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest

import autoprune
from autoprune.client import RemoteExperiment
from autoprune.errors import AutopruneError, ConflictError, NotFoundError, UsageError
from autoprune.records import ExperimentState, TrialState
from autoprune.server.process import ServerProcess
from autoprune.store import Workspace, find_workspace, models

QUICK = """
    import autoprune
    print("hello from", autoprune.get_sequence_id(), "é" * 3)
    autoprune.report_intermediate_result(0.1)
    x = autoprune.get_parameters()["x"]
    autoprune.report_final_result({"default": x, "sparsity": 0.8} if x > 0.5 else x)
    """
GATED = """
    import pathlib, time, autoprune
    if autoprune.get_sequence_id() == 0 and not pathlib.Path("mended").exists():
        raise ValueError("not yet")
    while not pathlib.Path("go").exists():
        time.sleep(0.05)
    autoprune.report_final_result(autoprune.get_parameters()["x"])
    """
CONFIG: dict[str, Any] = {
    "experiment_name": "from afar",
    "search_space": {"x": {"_type": "uniform", "_value": [0, 1]}},
    "trial_command": "python trial.py",
    "maxTrialNumber": 3,
    "tuner": {"name": "Random", "class_args": {"seed": 1}},
}
Pair = tuple[autoprune.Experiment, RemoteExperiment]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Pair]]:
    """An experiment that runs in the background, as this machine and as a client of its server know it."""
    monkeypatch.chdir(tmp_path)
    for name in ("AUTOPRUNE_WORKSPACE", "AUTOPRUNE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    left: list[Callable[[], object]] = []

    def start(script: str, **settings: Any) -> Pair:
        Path("trial.py").write_text(dedent(script))
        here = autoprune.Experiment({**CONFIG, **settings})
        here.start()
        left.append(here.stop)
        server = ServerProcess.start(Workspace(tmp_path / "autoprune-experiments"), 0)
        left.append(server.stop)
        client = autoprune.Client(server.url)
        left.append(client.close)
        return here, client.experiment("from-afar")

    yield start
    for end in reversed(left):
        end()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.05)


def states(experiment: autoprune.Experiment) -> list[str]:
    return [str(trial.state) for trial in experiment.trials()]


def test_here_and_there_answer_alike(begin: Callable[..., Pair]) -> None:
    here, there = begin(QUICK)
    assert there.wait(60).state is ExperimentState.DONE
    here.wait(60)
    assert there.id == here.id
    assert there.status == here.status
    assert there.best() == here.best()
    assert there.export_data() == here.export_data()
    assert there.curves() == here.curves()
    assert list(here.curves()) == [0, 1, 2]
    assert there.curves([1, 77]) == here.curves([1, 77])
    assert list(here.curves([1, 77])) == [1]
    assert there.pareto() == here.pareto()
    assert here.pareto()[0].number == here.best().number
    assert there.importance() == here.importance() == []
    assert there.facts() is here.facts() is there.result() is here.result() is None
    facts, result = {"dense": {"default": 0.9}, "curves": []}, {"trial": 1, "worst": None}
    with closing(find_workspace(None).open()) as store, store.write() as tx:
        models.save(tx, here.id, "key", facts)
        models.save_result(tx, here.id, result)
    assert there.facts() == here.facts() == facts
    assert there.result() == here.result() == result
    for options in ({}, {"limit": 2}, {"sort": "-value"}, {"states": ["FAILED"]}, {"states": [TrialState.SUCCEEDED]}):
        assert there.trials(**options) == here.trials(**options)  # type: ignore[arg-type]
    for wrong in ({"sort": "beauty"}, {"states": ["DANCING"]}):
        for experiment in (here, there):
            with pytest.raises(UsageError):
                experiment.trials(**wrong)  # type: ignore[arg-type]
    assert there.log(1) == "hello from 1 ééé\n"
    assert there.log(1, "stderr") == ""
    with pytest.raises(NotFoundError, match="no trial 77"):
        there.log(77)
    here.stop()
    there.stop()
    assert there.status == here.status, "stopping what has ended changes nothing"


def test_a_long_log_comes_whole(begin: Callable[..., Pair]) -> None:
    _, there = begin("import autoprune\nprint('é' * 1_500_000)\nautoprune.report_final_result(1)", maxTrialNumber=1)
    there.wait(60)
    assert there.log(0) == "é" * 1_500_000 + "\n"
    assert there.log(0, tail=1).endswith("é\n")


def test_everything_that_can_be_changed_while_it_runs(begin: Callable[..., Pair], tmp_path: Path) -> None:
    here, there = begin(GATED)
    wait_for(lambda: states(here) == ["FAILED", "RUNNING"])
    stream = there.events()
    there.update(maxTrialNumber=5, trialConcurrency=3, maxExperimentDuration="2h")
    assert next(stream)["event"] in ("experiment_updated", "trial_started")
    assert there.enqueue({"x": 0.625}) == here.trials()[-1].number
    there.kill(1)
    wait_for(lambda: states(here)[1] == "USER_CANCELED")
    (tmp_path / "mended").touch()
    there.retry(0)
    (tmp_path / "go").touch()
    assert there.wait(60).state is ExperimentState.DONE
    every = there.trials()
    assert [str(trial.state) for trial in every] == ["SUCCEEDED", "USER_CANCELED", *["SUCCEEDED"] * 3]
    assert [trial.parameters["x"] for trial in every].count(0.625) == 1
    limits = there.status.limits
    assert (every[0].attempts, limits.trialConcurrency, limits.maxExperimentDuration) == (2, 3, 7200)
    known: list[dict[str, Any]] = []
    for event in stream:
        known += [] if event["id"] is None else [event]
        if event["event"] == "experiment_ended":
            break
    assert [event["id"] for event in known] == sorted(event["id"] for event in known)
    again = there.events(after=known[-2]["id"])
    assert next(again) == known[-1]


def test_what_is_refused_is_the_same_error(begin: Callable[..., Pair]) -> None:
    here, there = begin(GATED)
    wait_for(lambda: states(here) == ["FAILED", "RUNNING"])
    for experiment in (here, there):
        with pytest.raises(UsageError, match=r"x: given 2; expected"):
            experiment.enqueue({"x": 2})
        with pytest.raises(UsageError, match="has not ended: it is RUNNING"):
            experiment.retry(1)
        with pytest.raises(NotFoundError, match="has no trial 9"):
            experiment.kill(9)
        with pytest.raises(UsageError, match="trialCommand"):
            experiment.update(trialCommand="id")
        with pytest.raises(TimeoutError, match=r"still runs after 0\.1 seconds"):
            experiment.wait(0.1)
    there.stop()
    assert there.status.state is ExperimentState.STOPPED
    assert here.status.state is ExperimentState.STOPPED
    with pytest.raises(ConflictError, match=r"type: autoprune update .* --max-trials 9"):
        there.update(maxTrialNumber=9)
    here.update(maxTrialNumber=9, maxExperimentDuration="90m")
    assert here.status.limits.maxExperimentDuration == 5400
    assert there.status.limits.maxTrialNumber == 9


class Torn:
    """Stands in for a connection: the first stream is cut before any event."""

    url = "http://127.0.0.1:8080"

    def __init__(self) -> None:
        greeting = ["retry: 1000", "id: 0", ""]
        told = ["id: 0", "", ": still here", "", "id: 1", "event: warning", 'data: {"message": "meanwhile"}', ""]
        self.streams, self.asked = [greeting, told], list[str | None]()

    @contextmanager
    def stream(self, method: str, path: str, headers: dict[str, str], timeout: object) -> Iterator[httpx.Response]:
        self.asked.append(headers.get("Last-Event-ID"))
        yield httpx.Response(200, text="\n".join([*self.streams.pop(0), ""]))


def test_who_is_cut_off_before_the_first_event_asks_for_what_came_meanwhile() -> None:
    torn = Torn()
    assert next(RemoteExperiment(torn, "small").events()) == {"event": "warning", "id": 1, "message": "meanwhile"}  # type: ignore[arg-type]
    assert torn.asked == [None, "0"]


def test_the_ways_in(begin: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here, _ = begin(QUICK)
    with ServerProcess.start(Workspace(tmp_path / "autoprune-experiments"), 0) as server:
        link = httpx.URL(server.url)
        address, token = f"http://127.0.0.1:{link.port}", link.params["token"]
        with autoprune.Client(address, token) as client:
            assert [found.id for found in client.experiments()] == [here.id]
            assert client.experiment().id == client.experiment(here.id).id == here.id
            with pytest.raises(NotFoundError, match="nothing"):
                client.experiment("nothing")
            with pytest.raises(NotFoundError):
                client.experiment("../experiments")
            assert token not in repr(client)
        monkeypatch.setenv("AUTOPRUNE_TOKEN", token)
        with autoprune.Client(address) as client:
            assert client.experiment().id == here.id
        with autoprune.Client(address, "wrong") as client, pytest.raises(UsageError, match="give the token"):
            client.experiments()
    with autoprune.Client(address) as client, pytest.raises(AutopruneError, match="is the server running"):
        client.experiments()


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://a/?token=x", "http://", "\x00"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError, match="expected one such as http"):
        autoprune.Client(url, "token")


def test_a_client_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOPRUNE_TOKEN", raising=False)
    with pytest.raises(UsageError, match="AUTOPRUNE_TOKEN"):
        autoprune.Client("http://127.0.0.1:8080")
