"""What may be changed of an experiment at any time: its limits, a trial run once more, a trial with parameters that
somebody gives, results from elsewhere.

A change is one transaction. A running manager makes it when a command asks, and answers the command in the same
transaction, so that no kill can have it made twice, or made and not answered. Where no manager runs, whoever asks
makes it, under the lock; `resume` goes on with it.
"""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from autoprune.config import ExperimentConfig, check_parameters
from autoprune.errors import UsageError
from autoprune.manager.constraints import violations
from autoprune.records import JSON, ExperimentState, Parameters, Trial, TrialState, timestamp
from autoprune.store import Event, Experiment, Store, Workspace, events, experiments, trials

LIMITS = ("trialConcurrency", "maxTrialNumber", "maxExperimentDuration")


@dataclass(frozen=True)
class Change:
    """What was changed, and the events that tell of it. `opens` where a finished experiment has something to do."""

    events: Sequence[Event]
    config: ExperimentConfig | None = None
    again: Trial | None = None
    enqueued: Trial | None = None
    imported: int = 0
    opens: bool = False


def make(tx: Connection, id: str, kind: str, data: JSON, time: str) -> Change:
    """Make a change of this kind. Raises UsageError before anything is written where it cannot be made."""
    experiment = experiments.get(tx, id)
    match kind:
        case "update":
            return _update(tx, experiment, data, time)
        case "retry":
            return _retry(tx, experiment, int(data["trial"]), time)
        case "enqueue":
            return _enqueue(tx, experiment, data["parameters"], time)
        case "import":
            return _import(tx, experiment, data["file"], data["trials"], time)
        case _:
            raise UsageError(f"this manager does not know the command {kind!r}")


def make_here(id: str, kind: str, data: JSON, workspace: Workspace, store: Store) -> Change:
    """Make a change of an experiment that no manager runs."""
    with workspace.lock(id), store.write(durable=True) as tx:
        change = make(tx, id, kind, data, timestamp(clock.time()))
        experiment = experiments.get(tx, id)
        if experiment.state is ExperimentState.DONE and change.opens:
            message = f"there is more to do; go on with: autoprune resume {id}"
            experiments.set_state(tx, id, ExperimentState.STOPPED, experiment.ended, message)
    return change


def _update(tx: Connection, experiment: Experiment, limits: dict[str, JSON], time: str) -> Change:
    for name in limits:
        if name not in LIMITS:
            raise UsageError(f"given {name}; expected one of {', '.join(LIMITS)}")
    before = ExperimentConfig.from_json(experiment.config)
    config = ExperimentConfig.changed(experiment.config, limits)
    experiments.set_config(tx, experiment.id, config.to_json())
    created = trials.created(tx, experiment.id)
    opens = _allows_more(config, experiment, created) and not _allows_more(before, experiment, created)
    changed = {name: config.to_json()[name] for name in limits}
    event = events.add(tx, experiment.id, time, "experiment_updated", changed)
    return Change([event], config=config, opens=opens)


def _allows_more(config: ExperimentConfig, experiment: Experiment, created: int) -> bool:
    limit = config.max_trial_number
    return (limit is None or created < limit) and not _time_is_up(config, experiment)


def _time_is_up(config: ExperimentConfig, experiment: Experiment) -> bool:
    limit = config.max_experiment_duration
    return limit is not None and experiment.active_seconds >= limit


def _check_time(config: ExperimentConfig, experiment: Experiment) -> None:
    if _time_is_up(config, experiment):
        raise UsageError(
            f"experiment {experiment.id} has used up its maxExperimentDuration; give it more with: "
            f"autoprune update {experiment.id} --max-duration"
        )


def _retry(tx: Connection, experiment: Experiment, number: int, time: str) -> Change:
    trial = trials.get(tx, experiment.id, number)
    if not trial.state.finished:
        raise UsageError(f"trial {number} of {experiment.id} has not ended: it is {trial.state}")
    if trial.state is TrialState.SUCCEEDED:
        raise UsageError(f"trial {number} of {experiment.id} has succeeded, and its result stands")
    _check_time(ExperimentConfig.from_json(experiment.config), experiment)
    trials.reopen(tx, experiment.id, number)
    data: dict[str, JSON] = {"trial": number, "state": trial.state}
    data |= {} if trial.repeat_of is None else {"repeat_of": trial.repeat_of}
    event = events.add(tx, experiment.id, time, "trial_retried", data)
    return Change([event], again=trials.get(tx, experiment.id, number), opens=True)


def _enqueue(tx: Connection, experiment: Experiment, parameters: Parameters, time: str) -> Change:
    config = ExperimentConfig.from_json(experiment.config)
    check_parameters(config, parameters)
    created, limit = trials.created(tx, experiment.id), config.max_trial_number
    if limit is not None and created >= limit:
        raise UsageError(
            f"experiment {experiment.id} has all trials of its maxTrialNumber, {limit}; give it more with: "
            f"autoprune update {experiment.id} --max-trials {created + 1}"
        )
    _check_time(config, experiment)
    counts = trials.counts(tx, experiment.id)
    finished = sum(count for state, count in counts.items() if state.finished)
    number = trials.next_number(tx, experiment.id)
    trial = Trial(number, TrialState.WAITING, parameters, created=time, known=finished)
    trials.create(tx, experiment.id, trial)
    event = events.add(tx, experiment.id, time, "trial_enqueued", {"trial": number, "parameters": dict(parameters)})
    return Change([event], enqueued=trial, opens=True)


def _import(tx: Connection, experiment: Experiment, file: str, results: Sequence[JSON], time: str) -> Change:
    number, order = trials.next_number(tx, experiment.id), trials.next_order(tx, experiment.id)
    constraints = ExperimentConfig.from_json(experiment.config).constraints
    arrived = [
        Trial(
            number=number + place,
            state=TrialState.SUCCEEDED,
            parameters=result["parameters"],
            value=result["metrics"]["default"],
            metrics=result["metrics"],
            created=time,
            ended=time,
            message=f"imported from {file}",
            finish_order=order + place,
            origin=result.get("origin", ""),
            repeat_of=None if result.get("repeat_of") is None else number + result["repeat_of"],
            feasible=not violations(result["metrics"], constraints),
        )
        for place, result in enumerate(results)
    ]
    trials.create_all(tx, experiment.id, arrived)
    return Change([_arrival(tx, experiment.id, trial, time) for trial in arrived], imported=len(arrived))


def _arrival(tx: Connection, experiment: str, trial: Trial, time: str) -> Event:
    data: dict[str, JSON] = {"trial": trial.number, "value": trial.value, "parameters": dict(trial.parameters)}
    data |= {"message": trial.message} | ({} if trial.feasible else {"feasible": False})
    return events.add(tx, experiment, time, "trial_imported", data)
