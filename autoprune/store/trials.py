"""Trials and their attempts in the store."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, insert, or_, select, update

from autoprune.errors import NotFoundError
from autoprune.records import JSON, Exit, Trial, TrialState, seconds, timestamp
from autoprune.store.schema import attempt as attempt_table
from autoprune.store.schema import trial as table

_AT_ONCE = 10_000
"""Numbers in one question: databases take so many, not any number of them."""

AGAIN = "run again by command"
"""What the message of an attempt ends with after which somebody asked for the trial once more."""

_days = func.julianday(attempt_table.c.ended) - func.julianday(attempt_table.c.started)
_same = (attempt_table.c.experiment == table.c.experiment, attempt_table.c.number == table.c.number)
_seconds = select(func.round(func.sum(_days) * 86400, 3)).where(*_same).correlate(table).scalar_subquery()
duration = case((table.c.ended.is_not(None), _seconds)).label("duration")
"""How long the attempts of a trial that has ended took together; the wait between them does not count."""

_whole = (table, duration)


@dataclass(frozen=True)
class Attempt:
    """One start of a trial's command. `pid` and `pid_created` together name its process beyond doubt."""

    attempt: int
    started: str
    pid: int | None = None
    pid_created: float | None = None
    ended: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""


@dataclass(frozen=True)
class Outline:
    """A trial without its parameters and metrics: what an index has of each, so that thousands are read at once."""

    number: int
    state: TrialState
    value: float | None
    started: str | None
    ended: str | None
    attempts: int
    finish_order: int | None
    origin: str
    repeat_of: int | None
    feasible: bool
    duration: float | None


def create(tx: Connection, experiment: str, trial: Trial) -> None:
    create_all(tx, experiment, [trial])


def create_all(tx: Connection, experiment: str, trials: Iterable[Trial]) -> None:
    names = {column.name for column in table.columns} - {"experiment"}
    rows = [{"experiment": experiment, **{name: getattr(trial, name) for name in names}} for trial in trials]
    if rows:
        tx.execute(insert(table), rows)


_HERE = or_(table.c.state != TrialState.SUCCEEDED, table.c.attempts > 0)


def imported(trial: Trial) -> bool:
    """Whether the trial was run elsewhere: it succeeded without an attempt here."""
    return trial.state is TrialState.SUCCEEDED and trial.attempts == 0


def created(tx: Connection, experiment: str) -> int:
    """How many trials were made to run here, as maxTrialNumber counts them: all but imported ones and repeats."""
    where = (table.c.experiment == experiment, _HERE, table.c.repeat_of.is_(None))
    return tx.execute(select(func.count()).where(*where)).scalar_one()


def next_number(tx: Connection, experiment: str) -> int:
    """The number of the trial to come."""
    last = tx.execute(select(func.max(table.c.number)).where(table.c.experiment == experiment)).scalar()
    return 0 if last is None else last + 1


def next_order(tx: Connection, experiment: str) -> int:
    """The place of the trial that finishes next, behind all that have."""
    last = tx.execute(select(func.max(table.c.finish_order)).where(table.c.experiment == experiment)).scalar()
    return 0 if last is None else last + 1


def get(tx: Connection, experiment: str, number: int) -> Trial:
    row = tx.execute(select(*_whole).where(*_key(experiment, number))).one_or_none()
    if row is None:
        last = tx.execute(select(func.max(table.c.number)).where(table.c.experiment == experiment)).scalar()
        have = "it has none yet" if last is None else f"it has 0 to {last}"
        raise NotFoundError(f"experiment {experiment} has no trial {number}; {have}")
    return _trial(row)


def all(tx: Connection, experiment: str, states: Collection[TrialState] = ()) -> list[Trial]:
    """In the order of their numbers; of all states unless some are given."""
    query = select(*_whole).where(table.c.experiment == experiment).order_by(table.c.number)
    if states:
        query = query.where(table.c.state.in_(list(states)))
    return [_trial(row) for row in tx.execute(query)]


def outlines(tx: Connection, experiment: str) -> list[Outline]:
    """All trials in short, in the order of their numbers."""
    columns = [table.c.get(field.name, duration) for field in fields(Outline)]
    query = select(*columns).where(table.c.experiment == experiment).order_by(table.c.number)
    return [Outline(number, TrialState(state), *others) for number, state, *others in tx.execute(query)]


def newest(tx: Connection, experiment: str, count: int) -> list[int]:
    """The numbers of the newest trials that have started."""
    query = select(table.c.number).where(table.c.experiment == experiment, table.c.attempts > 0)
    return list(tx.execute(query.order_by(table.c.number.desc()).limit(count)).scalars())


def some(tx: Connection, experiment: str, numbers: Iterable[int]) -> dict[int, Trial]:
    """Those of these numbers that there are."""
    found: dict[int, Trial] = {}
    left = iter(numbers)
    while part := list(islice(left, _AT_ONCE)):
        query = select(*_whole).where(table.c.experiment == experiment, table.c.number.in_(part))
        found |= {row.number: _trial(row) for row in tx.execute(query)}
    return found


def best(tx: Connection, experiment: str, *, highest: bool, limit: int = 1) -> list[Trial]:
    """The succeeded, feasible trials of the highest or lowest values, no repeats; of equal ones, the first."""
    column = table.c.value
    order = column.desc() if highest else column.asc()
    query = select(*_whole).where(*may_be_best(experiment)).order_by(order, table.c.number).limit(limit)
    return [_trial(row) for row in tx.execute(query)]


def repeats(tx: Connection, experiment: str) -> list[Trial]:
    """The trials that run others again with a fresh seed, in the order of their numbers."""
    query = select(*_whole).where(table.c.experiment == experiment, table.c.repeat_of.is_not(None))
    return [_trial(row) for row in tx.execute(query.order_by(table.c.number))]


def may_be_best(experiment: str) -> tuple[ColumnElement[bool], ...]:
    """What holds of the experiment's succeeded, feasible trials that have a value, repeats left out."""
    own = (table.c.repeat_of.is_(None), table.c.feasible)
    return (table.c.experiment == experiment, table.c.state == TrialState.SUCCEEDED, table.c.value.is_not(None), *own)


def start(tx: Connection, experiment: str, number: int, attempt: int, time: str) -> None:
    """The trial runs; its process is known a moment later (`set_process`)."""
    change = {"state": TrialState.RUNNING, "attempts": attempt + 1, "ended": None, "message": ""}
    first = func.coalesce(table.c.started, time)
    tx.execute(update(table).where(*_key(experiment, number)).values(started=first, **change))
    row = {"experiment": experiment, "number": number, "attempt": attempt, "started": time}
    tx.execute(insert(attempt_table).values(row))


def set_process(tx: Connection, experiment: str, number: int, attempt: int, pid: int, created: float) -> None:
    change = {"pid": pid, "pid_created": created}
    tx.execute(update(attempt_table).where(*_attempt_key(experiment, number, attempt)).values(change))


def end_attempt(
    tx: Connection,
    experiment: str,
    number: int,
    attempt: int,
    time: str,
    exit: Exit | None,
    message: str = "",
) -> None:
    """`exit` is None where nobody saw how the process ended."""
    change: dict[str, Any] = {"ended": time, "message": message}
    if exit is not None:
        change |= {"exit_code": exit.code, "signal": exit.signal}
    tx.execute(update(attempt_table).where(*_attempt_key(experiment, number, attempt)).values(change))


def wait_again(tx: Connection, experiment: str, number: int, message: str) -> None:
    """The trial will run once more, as its next attempt."""
    change = {"state": TrialState.WAITING, "message": message}
    tx.execute(update(table).where(*_key(experiment, number)).values(change))


def finish(
    tx: Connection,
    experiment: str,
    number: int,
    state: TrialState,
    time: str,
    *,
    value: float | None = None,
    metrics: JSON = None,
    message: str = "",
    feasible: bool = True,
) -> None:
    """The trial's final state, at the end of the order in which trials finished."""
    order = next_order(tx, experiment)
    change = {"state": state, "ended": time, "value": value, "metrics": metrics or {}, "message": message}
    change["feasible"] = feasible
    tx.execute(update(table).where(*_key(experiment, number)).values(finish_order=order, **change))


def reopen(tx: Connection, experiment: str, number: int) -> None:
    """A finished trial waits to run once more, as its next attempt, as if it had not finished: its result is gone,
    and `known` of the others no longer counts it."""
    trial = get(tx, experiment, number)
    of_this = table.c.experiment == experiment
    before = select(func.count()).where(of_this, table.c.finish_order < trial.finish_order)
    place = tx.execute(before).scalar_one()
    tx.execute(update(table).where(of_this, table.c.known > place).values(known=table.c.known - 1))
    forgotten = {"value": None, "metrics": dict[str, JSON](), "ended": None, "finish_order": None, "feasible": True}
    change = update(table).where(*_key(experiment, number)).values(forgotten)
    tx.execute(change.values(state=TrialState.WAITING, message=AGAIN))
    last = _attempt_key(experiment, number, trial.attempts - 1)
    said = attempt_table.c.message
    mark = case((said == "", AGAIN), else_=said + f"; {AGAIN}")
    tx.execute(update(attempt_table).where(*last).values(message=mark))


def successes(tx: Connection, experiment: str) -> list[float]:
    """The values of the trials that may be the best, in the order in which they finished."""
    query = select(table.c.value).where(*may_be_best(experiment))
    return list(tx.execute(query.order_by(table.c.finish_order)).scalars())


def imports(tx: Connection, experiment: str) -> int:
    """How many trials were run elsewhere."""
    where = (table.c.experiment == experiment, table.c.state == TrialState.SUCCEEDED, table.c.attempts == 0)
    return tx.execute(select(func.count()).where(*where)).scalar_one()


def repeated(tx: Connection, experiment: str) -> int:
    """How many trials that repeat others have ended, imported ones left out."""
    ended = table.c.state.in_([state for state in TrialState if state.finished])
    where = (table.c.experiment == experiment, _HERE, table.c.repeat_of.is_not(None), ended)
    return tx.execute(select(func.count()).where(*where)).scalar_one()


def counts(tx: Connection, experiment: str) -> dict[TrialState, int]:
    query = select(table.c.state, func.count()).where(table.c.experiment == experiment).group_by(table.c.state)
    return {TrialState(state): count for state, count in tx.execute(query)}


def attempts(tx: Connection, experiment: str, number: int) -> list[Attempt]:
    columns = [column for column in attempt_table.columns if column.name not in ("experiment", "number")]
    where = (attempt_table.c.experiment == experiment, attempt_table.c.number == number)
    query = select(*columns).where(*where).order_by(attempt_table.c.attempt)
    return [Attempt(**row._mapping) for row in tx.execute(query)]


def since(tx: Connection, experiment: str, numbers: Collection[int]) -> dict[int, str]:
    """From when on these trials, which run, would have run until now had they not waited between their attempts."""
    columns = attempt_table.c
    query = select(columns.number, func.max(columns.started), func.coalesce(func.sum(_days), 0.0))
    query = query.where(columns.experiment == experiment, columns.number.in_(numbers)).group_by(columns.number)
    return {number: timestamp(seconds(last) - days * 86400) for number, last, days in tx.execute(query)}


def retried(tx: Connection, experiment: str) -> dict[int, list[Attempt]]:
    """The attempts of all trials that were started more than once or wait for it, by their numbers, in order."""
    columns = [column for column in attempt_table.columns if column.name != "experiment"]
    again = or_(table.c.attempts > 1, table.c.state == TrialState.WAITING)
    query = select(*columns).join(table, and_(*_same)).where(table.c.experiment == experiment, again)
    found: dict[int, list[Attempt]] = {}
    for row in tx.execute(query.order_by(attempt_table.c.number, attempt_table.c.attempt)):
        values = dict(row._mapping)
        found.setdefault(values.pop("number"), []).append(Attempt(**values))
    return found


def _key(experiment: str, number: int) -> tuple[Any, Any]:
    return table.c.experiment == experiment, table.c.number == number


def _attempt_key(experiment: str, number: int, attempt: int) -> tuple[Any, Any, Any]:
    columns = attempt_table.c
    return columns.experiment == experiment, columns.number == number, columns.attempt == attempt


def _trial(row: Row[Any]) -> Trial:
    values = dict(row._mapping)
    del values["experiment"]
    return Trial(**{**values, "state": TrialState(values["state"])})
