"""Commands: what is asked over HTTP becomes a row in the store, which the experiment's manager obeys.

The server changes nothing by itself. What can be known to be wrong is refused before the row is written; the manager
checks again, and its answer is in the row. Where no manager runs nobody would obey, and the error says what to type.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from autoprune.config import ExperimentConfig, check_parameters
from autoprune.errors import ConflictError, UsageError
from autoprune.records import JSON, ExperimentState, timestamp
from autoprune.results import Results
from autoprune.results.models import Command
from autoprune.store import Experiment, commands, experiments, trials

LIMITS: Mapping[str, str] = {
    "trialConcurrency": "--concurrency",
    "maxTrialNumber": "--max-trials",
    "maxExperimentDuration": "--max-duration",
}
"""What can be changed of an experiment, and the options of `autoprune update` that do it."""

_LONGEST_TYPED = 500
_DEEPEST = 50
_Data: TypeAlias = Mapping[str, JSON]


def send(results: Results, id: str, kind: str, data: _Data) -> Command:
    """Leave a command for the manager of an experiment, without waiting for it.

    `data` is `{}` for stop, `{"trial": n}` for kill and retry, limits by their names in the configuration for update,
    and `{"parameters": {...}}` for enqueue. Raises UsageError for what cannot be, NotFoundError for an unknown trial,
    and ConflictError where no manager runs.
    """
    with results.store.read() as tx:
        experiment = experiments.get(tx, experiments.resolve(tx, id))
        if kind in ("kill", "retry"):
            trials.get(tx, experiment.id, data["trial"])
    data = _checked(experiment, kind, data)
    if not results.workspace.locked(experiment.id):
        state = results.experiment(experiment.id).state
        why, typed = _to_type(experiment.id, state, kind, data)
        raise ConflictError(f"nothing runs experiment {experiment.id}: it is {state}; to {why}, type: {typed}")
    with results.store.write(durable=True) as tx:
        command = commands.send(tx, experiment.id, kind, dict(data), timestamp(time.time()))
    return get(results, experiment.id, command)


def get(results: Results, id: str, command: int) -> Command:
    """What became of a command. Its manager may have ended before it could obey."""
    experiment = results.resolve(id)
    alive = results.workspace.locked(experiment)
    with results.store.read() as tx:
        found = commands.of_experiment(tx, experiment, command)
    answer = found.answer or ""
    if found.done is None and not alive:
        answer = f"experiment {experiment} ended before it could {found.kind}"
    fields = {name: getattr(found, name) for name in ("id", "kind", "trial", "created", "done")}
    fields["state"] = "refused" if answer else "pending" if found.done is None else "done"
    return Command(**fields, experiment=experiment, answer=answer)


def _checked(experiment: Experiment, kind: str, data: _Data) -> _Data:
    """What to ask of the manager; durations are in seconds. Raises UsageError for what no manager would do."""
    match kind:
        case "update":
            if not data or not set(data) <= set(LIMITS):
                raise UsageError(f"given {', '.join(data) or 'no limit'}; expected some of {', '.join(LIMITS)}")
            config = ExperimentConfig.changed(experiment.config, data).to_json()
            return {name: config[name] for name in data}
        case "enqueue":
            _check_depth(data["parameters"])
            check_parameters(ExperimentConfig.from_json(experiment.config), data["parameters"])
        case "stop" | "kill" | "retry":
            pass
        case _:
            raise UsageError(f"given the command {kind!r}; expected stop, update, kill, retry or enqueue")
    return data


def _check_depth(value: JSON) -> None:
    """Raises UsageError for what is nested too deep for anyone who has to walk through it."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise UsageError(f"given parameters nested deeper than {_DEEPEST}; expected them nested as the search space is")


def _inside(value: JSON) -> Iterable[JSON]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def _to_type(id: str, state: ExperimentState, kind: str, data: _Data) -> tuple[str, str]:
    """What can be done of an experiment that nothing runs, and the command line that does it."""
    match kind:
        case "update":
            options = (f"{LIMITS[name]} {'none' if value is None else value}" for name, value in data.items())
            return "change it", f"autoprune update {id} {' '.join(options)}"
        case "retry":
            return "have the trial run again", f"autoprune trial retry {data['trial']} --experiment {id}"
        case "enqueue":
            given = shlex.quote(json.dumps(data["parameters"]))
            parameters = given if len(given) <= _LONGEST_TYPED else "FILE"
            return "have the trial run", f"autoprune trial enqueue {id} --parameters {parameters}"
        case _ if state is ExperimentState.INTERRUPTED:
            return "end what its manager left running", f"autoprune stop {id}"
        case _:
            return "go on with it", f"autoprune resume {id}"
