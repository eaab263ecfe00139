"""What happens in an experiment, read from the store and written as server-sent events.

Rows of the store's events have their ids, so that who was away can ask for what it missed. Reports are no such rows:
they are sent once, without an id, in front of the end of their trial. Nor is what an experiment does before and after
its trials, `progress`, of which the newest line is sent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from autoprune.records import JSON, ExperimentState, Metric, TrialState, timestamp
from autoprune.results.models import clean
from autoprune.store import Event, Experiment, Store, events, experiments, metrics, trials

PAGE = 500
_STARTED, _ENDED = "trial_started", "trial_ended"
_ALL = 2**31 - 1


@dataclass(frozen=True)
class News:
    """Some events as text, and the id of the last of them that has one."""

    text: bytes
    last: int


@dataclass
class Reader:
    """Reads on from where it stands: `position` is the id of the last event that it has read."""

    store: Store
    experiment: str
    position: int = 0
    _phase: str = ""
    _reported: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of each running trial, the attempt and the place of its last report that was read."""

    def begin(self) -> None:
        """From now on. Raises NotFoundError where there is no such experiment."""
        with self.store.read() as tx:
            self._phase = _phase(experiments.get(tx, self.experiment))
            self.position = events.last(tx, self.experiment)
            running = trials.all(tx, self.experiment, [TrialState.RUNNING])
            known = metrics.tails(tx, self.experiment, [trial.number for trial in running], 1)
        self._reported = {trial.number: (trial.attempts - 1, -1) for trial in running}
        for number, (_, [last]) in known.items():
            self._reported[number] = (last.attempt, last.seq)

    def read(self) -> News:
        """What has happened since, in order; of events with ids, a page at most."""
        with self.store.read() as tx:
            phase = _phase(experiments.get(tx, self.experiment))
            found = events.after(tx, self.experiment, self.position, PAGE)
            curves = {
                number: metrics.page(tx, self.experiment, number, limit=_ALL, after=after)
                for number, after in self._behind(found).items()
            }
        text = "".join(self._told(found, curves))
        if phase and phase != self._phase:
            text += _frame({"event": "progress", "time": timestamp(time.time()), "message": phase})
        self._phase = phase
        self.position = found[-1].id if found else self.position
        return News(text.encode(), self.position)

    def _behind(self, found: Sequence[Event]) -> dict[int, tuple[int, int]]:
        """Where to read on in the reports of each trial that runs, or has run among these events."""
        started = [event.data for event in found if event.kind == _STARTED]
        return {data["trial"]: (data["attempt"], -1) for data in reversed(started)} | self._reported

    def _told(self, found: Sequence[Event], curves: Mapping[int, Sequence[Metric]]) -> Iterator[str]:
        for event in found:
            number, attempt = event.data.get("trial"), event.data.get("attempt")
            if event.kind == _STARTED:
                self._reported[number] = (attempt, -1)
            if event.kind == _ENDED and number in self._reported:
                yield from self._curve(number, curves.get(number, ()), attempt)
                del self._reported[number]
            yield _event(event)
        for number, (attempt, _) in list(self._reported.items()):
            yield from self._curve(number, curves.get(number, ()), attempt)

    def _curve(self, number: int, reports: Sequence[Metric], attempt: int | None) -> Iterator[str]:
        """What an attempt has reported."""
        for report in reports:
            if report.attempt == attempt:
                self._reported[number] = (report.attempt, report.seq)
                yield _frame(events.report_notice(number, report))


def missed(store: Store, experiment: str, after: int, until: int) -> News:
    """The events behind the one of this id, up to another; a page at most."""
    with store.read() as tx:
        found = [event for event in events.after(tx, experiment, after, PAGE) if event.id <= until]
    return News("".join(map(_event, found)).encode(), found[-1].id if found else until)


def greeting(position: int) -> bytes:
    """What a stream begins with: where it stands, for who is cut off before the first event. It is no event itself."""
    return f"retry: 1000\nid: {position}\n\n".encode()


def _phase(experiment: Experiment) -> str:
    """What an experiment that runs does outside its trials."""
    return experiment.message if experiment.state is ExperimentState.RUNNING else ""


def _event(event: Event) -> str:
    return f"id: {event.id}\n{_frame(event.notice)}"


def _frame(notice: Mapping[str, JSON]) -> str:
    """A notice: its `event` is the name, the rest the data."""
    data = {name: value for name, value in notice.items() if name != "event"}
    return f"event: {notice['event']}\ndata: {json.dumps(clean(data))}\n\n"
