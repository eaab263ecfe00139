"""Events over real HTTP: in order, once, to everyone, whatever others do."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx
import pytest
from sample_workspace import SAMPLE_ID, Sample

from autoprune.manager.journal import Journal, Notice
from autoprune.manager.verdict import Ending
from autoprune.records import Exit, ExperimentState, Metric, Trial, TrialState, timestamp
from autoprune.store import events, experiments

from .served import Served, served

ADDRESS = f"/api/v1/experiments/{SAMPLE_ID}/events"
QUICK = {"live:_READ_SECONDS": 0.02}


@dataclass
class Heard:
    """An event as a client got it."""

    kind: str
    data: dict[str, object]
    id: int | None


@dataclass
class Listener:
    """A client that writes down what comes, in a thread."""

    answer: httpx.Response
    start: int
    heard: list[Heard] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> None:
        fields: dict[str, str] = {}
        try:
            for line in self.answer.iter_lines():
                name, _, value = line.partition(": ")
                if line.startswith(":"):
                    self.comments.append(line)
                elif line:
                    fields[name] = value
                elif "data" in fields:
                    id = int(fields["id"]) if "id" in fields else None
                    self.heard.append(Heard(fields["event"], json.loads(fields["data"]), id))
                if not line:
                    fields = {}
        except httpx.TransportError:
            pass
        finally:
            self.over.set()

    def until(self, count: int) -> list[Heard]:
        wait_for(lambda: len(self.heard) >= count)
        return self.heard

    @property
    def ids(self) -> list[int]:
        return [heard.id for heard in self.heard if heard.id is not None]


def wait_for(condition: object, patience: float = 60.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)


@contextmanager
def listening(server: Served, last: int | None = None, address: str = ADDRESS) -> Iterator[Listener]:
    """A client that is told what happens from now on, or behind an event."""
    headers = server.headers | ({} if last is None else {"Last-Event-ID": str(last)})
    with (
        httpx.Client(timeout=60, trust_env=False) as client,
        client.stream("GET", server.url + address, headers=headers) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        lines = answer.iter_raw()
        retry, start = next(lines).decode().splitlines()[:2]
        assert retry.startswith("retry: ")
        listener = Listener(answer, int(start.removeprefix("id: ")))
        listener.answer = httpx.Response(200, content=lines)
        thread = threading.Thread(target=listener.listen, daemon=True)
        thread.start()
        yield listener
        with suppress(OSError):
            answer.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def journal(fresh: Sample) -> Journal:
    """Writes what a manager writes."""
    return Journal(fresh.store, fresh.id, time.time, lambda notice: None)


def run_trial(journal: Journal, number: int, reports: int = 2, attempt: int = 0) -> None:
    if attempt == 0:
        journal.trial_created(Trial(number, TrialState.WAITING, {"lr": 0.1}, created=timestamp(0)))
    journal.attempt_started(number, attempt)
    values = [0.1 * seq for seq in range(reports)] + [0.9]
    for seq, value in enumerate(values):
        final = seq == reports
        journal.reported(number, [Metric(attempt, seq, final, value, {"default": value}, timestamp(0))])
    journal.attempt_ended(number, attempt, Exit(0), Ending(TrialState.SUCCEEDED, 0.9, {"default": 0.9}))


def note(sample: Sample, count: int, size: int = 1) -> list[int]:
    """So many events more; returns their ids."""
    with sample.store.write() as tx:
        return [events.add(tx, sample.id, timestamp(0), "warning", {"message": "x" * size}).id for _ in range(count)]


def test_a_trial_from_its_start_to_its_end(fresh: Sample, journal: Journal) -> None:
    run_trial(journal, 0)
    with served(fresh.workspace, **QUICK) as server, listening(server) as client:
        assert client.answer.status_code == 200
        run_trial(journal, 1)
        heard = client.until(5)
        assert [one.kind for one in heard] == [
            "trial_started", "intermediate_result", "intermediate_result", "final_result", "trial_ended"
        ]  # fmt: skip
        assert [one.id is None for one in heard] == [False, True, True, True, False]
        assert {one.data["trial"] for one in heard} == {1}, "what was before is not told"
        assert (heard[0].data["parameters"], heard[4].data["value"]) == ({"lr": 0.1}, 0.9)
        journal.warning("odd: \n\n<b> \u2028 é", value=float("nan"))
        (odd,) = client.until(6)[5:]
        assert odd.data["message"] == "odd: \n\n<b> \u2028 é"
        assert odd.data["value"] is None


def test_a_stream_tells_what_a_run_prints(fresh: Sample) -> None:
    printed: list[Notice] = []
    journal = Journal(fresh.store, fresh.id, time.time, printed.append)
    with served(fresh.workspace, **QUICK) as server, listening(server) as client:
        run_trial(journal, 0)
        run_trial(journal, 1, reports=0)
        journal.canceled(1, "canceled by command")
        journal.warning("odd", trial=1)
        journal.experiment_ended(ExperimentState.DONE, "maxTrialNumber reached")
        heard = client.until(len(printed))
    assert [{"event": one.kind, **one.data} for one in heard] == printed
    about = {"trial": 0, "attempt": 0, "seq": 1, "value": 0.1, "metrics": {"default": 0.1}}
    assert heard[2].data == {**about, "time": timestamp(0)}


def test_what_comes_before_and_after_the_trials_is_told_as_it_is_now(fresh: Sample, journal: Journal) -> None:
    journal.progress("prepares the model")
    with served(fresh.workspace, **QUICK) as server, listening(server) as client:
        journal.progress("scan 1/2")
        (line,) = client.until(1)
        assert (line.kind, line.data["message"], line.id) == ("progress", "scan 1/2", None)
        journal.study_ended(["conv1: 0.9"])
        run_trial(journal, 0, reports=0)
        client.until(4)
        journal.progress("tests trial 0")
        assert client.until(5)[-1].data["message"] == "tests trial 0"
        journal.experiment_ended(ExperimentState.DONE, "maxTrialNumber reached")
        assert [one.kind for one in client.until(6)][-1] == "experiment_ended"


def test_the_head_of_a_stream(fresh: Sample) -> None:
    with (
        served(fresh.workspace) as server,
        httpx.stream("GET", server.url + ADDRESS, headers=server.headers, trust_env=False) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert "content-encoding" not in answer.headers


def test_reports_of_trials_that_ran_before_and_run_again(fresh: Sample, journal: Journal) -> None:
    """Only what is new of a running trial, and every attempt from its beginning."""
    journal.trial_created(Trial(0, TrialState.WAITING, {"lr": 0.1}, created=timestamp(0)))
    journal.attempt_started(0, 0)
    report = lambda attempt, seq: journal.reported(  # noqa: E731
        0, [Metric(attempt, seq, False, float(seq), {"default": float(seq)}, timestamp(0))]
    )
    report(0, 0)
    with served(fresh.workspace, **QUICK) as server, listening(server) as client:
        report(0, 1)
        client.until(1)
        report(0, 2)
        journal.attempt_ended(0, 0, Exit(1), Ending(TrialState.WAITING, message="exit code 1"))
        run_trial(journal, 0, reports=1, attempt=1)
        told = [(one.kind, one.data.get("attempt"), one.data.get("seq")) for one in client.until(7)]
    assert told == [
        ("intermediate_result", 0, 1),
        ("intermediate_result", 0, 2),
        ("trial_ended", 0, None),
        ("trial_started", 1, None),
        ("intermediate_result", 1, 0),
        ("final_result", 1, 1),
        ("trial_ended", 1, None),
    ]


def test_what_was_missed_is_told_again_in_pages(fresh: Sample) -> None:
    ids = note(fresh, 1700)
    with served(fresh.workspace, **QUICK) as server:
        with listening(server, last=ids[99]) as client:
            client.until(1600)
            more = note(fresh, 3)
            client.until(1603)
            assert client.ids == ids[100:] + more
        with listening(server, address=f"{ADDRESS}?after={ids[-1]}") as client:
            assert [one.id for one in client.until(3)] == more
        with listening(server, last=more[0], address=f"{ADDRESS}?after=0") as client:
            assert [one.id for one in client.until(2)] == more[1:], "what the browser says last counts"
        with listening(server, last=10**9) as client:
            latest = note(fresh, 1)
            assert [one.id for one in client.until(1)] == latest


def test_of_two_experiments_each_client_hears_its_own(fresh: Sample) -> None:
    other = Sample(fresh.workspace, fresh.store, "other-300131-abcd")
    other.create(other.id)
    with (
        served(fresh.workspace, **QUICK) as server,
        listening(server) as mine,
        listening(server, address="/api/v1/experiments/other/events") as theirs,
    ):
        a, b = note(fresh, 2), note(other, 1)
        c, d = note(fresh, 1), note(other, 1)
        mine.until(3)
        theirs.until(2)
        assert (mine.ids, theirs.ids) == (a + c, b + d)


@pytest.mark.parametrize("value", ["x", "-1", "1.5", str(2**63), "9" * 400, "1\t2"])
def test_places_that_cannot_be(fresh: Sample, value: str) -> None:
    with served(fresh.workspace) as server, httpx.Client(headers=server.headers, trust_env=False) as client:
        for options in ({"headers": {"Last-Event-ID": value}}, {"params": {"after": value}}):
            answer = client.get(server.url + ADDRESS, **options)  # type: ignore[arg-type]
            assert answer.status_code == 422
            assert answer.headers["content-type"] == "application/problem+json"
        assert client.get(f"{server.url}/api/v1/experiments/none/events").status_code == 404


def test_a_silent_stream_shows_that_it_is_there(fresh: Sample) -> None:
    with served(fresh.workspace, **{"live:_HEARTBEAT_SECONDS": 0.05}) as server, listening(server) as client:
        wait_for(lambda: len(client.comments) > 2)
        assert client.heard == []


def test_so_many_and_no_more_until_one_leaves(fresh: Sample) -> None:
    with served(fresh.workspace, **{"live:MOST_CLIENTS": 2}, **QUICK) as server:
        with listening(server), listening(server):
            answer = httpx.get(server.url + ADDRESS, headers=server.headers, trust_env=False)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")

        def free() -> bool:
            with httpx.stream("GET", server.url + ADDRESS, headers=server.headers, trust_env=False) as answer:
                return answer.status_code == 200

        wait_for(free)


def test_of_a_crowd_that_comes_at_once_so_many_and_no_more(fresh: Sample) -> None:
    most, crowd = 3, 40
    together = threading.Barrier(crowd)

    def come(server: Served) -> int:
        with httpx.Client(timeout=60, trust_env=False) as client:
            together.wait(60)
            with client.stream("GET", server.url + ADDRESS, headers=server.headers) as answer:
                together.wait(60)
                return answer.status_code

    with served(fresh.workspace, **{"live:MOST_CLIENTS": most}) as server, ThreadPoolExecutor(crowd) as threads:
        answers = Counter(threads.map(come, [server] * crowd))
    assert answers == {200: most, 503: crowd - most}


def test_who_is_cut_off_before_the_first_event_misses_none(fresh: Sample) -> None:
    """A stream begins with where it stands; browsers keep that `id`, though it is no event."""
    (before,) = note(fresh, 1)
    with served(fresh.workspace, **QUICK) as server:
        with listening(server) as client:
            assert client.start == before
        missed = note(fresh, 2)
        with listening(server, last=client.start) as client:
            assert client.start == before, "until it has been told what it missed"
            client.until(2)
            assert client.ids == missed
        with listening(server) as client:
            assert client.start == missed[-1]
        with listening(server, last=10**9) as client:
            assert client.start == missed[-1]


def test_who_comes_while_nothing_can_be_read_is_told_so_and_not_where_to_go_on(fresh: Sample) -> None:
    with fresh.store.write() as tx:
        tx.exec_driver_sql("ALTER TABLE event RENAME TO gone")
    with served(fresh.workspace) as server:
        answer = httpx.get(server.url + ADDRESS, headers=server.headers, trust_env=False, timeout=60)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        with fresh.store.write() as tx:
            tx.exec_driver_sql("ALTER TABLE gone RENAME TO event")
        with listening(server) as client:
            assert client.start == 0


def test_the_stream_goes_on_when_an_experiment_has_ended_and_ends_when_it_is_deleted(fresh: Sample) -> None:
    fresh.end()
    with served(fresh.workspace, **QUICK) as server, listening(server) as client:
        note(fresh, 1)
        client.until(1)
        with fresh.store.write() as tx:
            experiments.remove(tx, fresh.id)
        assert client.over.wait(20)


def test_who_watches_a_server_that_ends_hears_the_last_news_and_may_look_once_more(fresh: Sample) -> None:
    """A manager ends its experiment, and its server, in one moment."""
    with served(fresh.workspace, **QUICK) as server, listening(server) as client:
        server.process.terminate()
        note(fresh, 1)
        client.until(1)
        again = httpx.get(server.url + ADDRESS.removesuffix("/events"), headers=server.headers, trust_env=False)
        assert again.status_code == 200
        assert client.over.wait(20)


def test_a_server_that_ends_waits_for_nobody_who_has_left(fresh: Sample) -> None:
    with served(fresh.workspace, **QUICK, **{"serve:_FAREWELL_SECONDS": 600.0}) as server:
        with listening(server) as client:
            server.process.terminate()
            note(fresh, 1)
            client.until(1)
        assert server.process.wait(60) in (0, -15)


def test_a_server_that_ends_lets_its_clients_go(fresh: Sample) -> None:
    with served(fresh.workspace) as server, listening(server) as one, listening(server) as other:
        server.process.terminate()
        assert one.over.wait(20)
        assert other.over.wait(20)
        assert server.process.wait(20) in (0, -15)
        assert server.log.read_text() == ""


@pytest.mark.slow
def test_fifty_clients_hear_everything_though_one_does_not_listen(fresh: Sample, journal: Journal) -> None:
    with served(fresh.workspace, **QUICK) as server, many(server, 49) as clients, deaf(server):
        count = 20
        for number in range(count):
            run_trial(journal, number, reports=3)
        wanted = [event.id for event in all_events(fresh)]
        for client in clients:
            client.until(6 * count)
            assert client.ids == wanted
            curves = [(one.data["trial"], one.data["seq"]) for one in client.heard if one.id is None]
            assert curves == [(number, seq) for number in range(count) for seq in range(4)]


@pytest.mark.slow
def test_a_client_that_does_not_read_is_let_go(fresh: Sample) -> None:
    quick = {**QUICK, "serve:_STALLED_SECONDS": 1.0}
    with served(fresh.workspace, **quick) as server, listening(server) as client, deaf(server) as stalled:
        wanted: list[int] = []
        for _ in range(20):
            wanted += note(fresh, 5, size=100_000)
            client.until(len(wanted))
        assert client.ids == wanted
        wait_for(lambda: gone(stalled))
        assert server.process.poll() is None
        assert server.log.read_text() == ""


def all_events(sample: Sample) -> list[events.Event]:
    with sample.store.read() as tx:
        return events.after(tx, sample.id)


@contextmanager
def many(server: Served, count: int) -> Iterator[list[Listener]]:
    if count == 0:
        yield []
        return
    with listening(server) as first, many(server, count - 1) as others:
        yield [first, *others]


@contextmanager
def deaf(server: Served) -> Iterator[socket.socket]:
    """A client that asks and never reads."""
    with socket.socket() as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asking.connect(("127.0.0.1", server.port))
        head = (
            f"GET {ADDRESS} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {server.token}\r\n\r\n"
        )
        asking.sendall(head.encode())
        yield asking


def gone(stalled: socket.socket) -> bool:
    """Whether the other side has ended the connection; asked without reading."""
    state: int = stalled.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    established = 1
    return state != established
