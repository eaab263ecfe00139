"""Results of other experiments: what `export` wrote, and NNI's `[{"parameter": ..., "value": ...}]`.

Only trials that succeeded with a number for everything that is optimised are of use to a tuner; the others are left
out, each with its reason. Parameters must be of the search space of the experiment that takes the trials in.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from autoprune.document import describe, from_plain
from autoprune.errors import ConfigError, Mark, Problem, UsageError
from autoprune.protocol import DEFAULT
from autoprune.records import JSON, Trial, TrialState
from autoprune.results.export import FORMAT, VERSION
from autoprune.results.models import clean
from autoprune.search_space import Space, flatten
from autoprune.search_space.leaves import is_number

_EXPECTED = 'what `autoprune export --format json` writes, or NNI\'s [{"parameter": ..., "value": ...}]'

_LONGEST = 300


@dataclass(frozen=True)
class Arrived:
    """What a file has to give, and why the other trials are of no use.

    Of each trial of use these are `{"parameters", "metrics"}`, and where the file says so `origin` and `repeat_of`, the
    latter as a place in `trials`.
    """

    trials: Sequence[dict[str, JSON]]
    left_out: Sequence[str]

    def known(self, existing: Collection[Trial]) -> int:
        """How many of these results are there already."""
        succeeded = (trial for trial in existing if trial.state is TrialState.SUCCEEDED)
        seen = {_key(trial.parameters, trial.metrics) for trial in succeeded}
        return sum(_key(trial["parameters"], trial["metrics"]) in seen for trial in self.trials)


def read_results(
    text: str, file: str, space: Space, objectives: Collection[str] = (DEFAULT,), *, skip_misfits: bool = False
) -> Arrived:
    """The trials in the text of a file that have a number for each of the objectives.

    Raises ConfigError with every place where they are not of the space, unless those trials are to be left out.
    """
    found: list[dict[str, JSON]] = []
    places: dict[int, int] = {}
    left_out: list[str] = []
    problems: list[Problem] = []
    for index, item in enumerate(_items(text, file)):
        where = f"items[{index}]"
        parameters, metrics, reason = _read(item, where, file)
        lacking = [name for name in objectives if not is_number(metrics.get(name))]
        misfits = [] if reason or lacking else _misfits(space, parameters, where, file)
        if reason or lacking:
            left_out.append(f"{where}: {reason or 'no number for ' + ', '.join(lacking)}")
        elif misfits and skip_misfits:
            left_out.append(f"{where}: not of this search space")
        elif misfits:
            problems += misfits
        else:
            whence = _whence(item, where, file, places)
            if type(number := item.get("number")) is int:
                places[number] = len(found)
            found.append({"parameters": parameters, "metrics": clean(metrics), **whence})
    if problems:
        raise ConfigError(problems)
    return Arrived(found, left_out)


def _items(text: str, file: str) -> list[JSON]:
    try:
        data = json.loads(text, parse_int=_int)
    except json.JSONDecodeError as error:
        mark = Mark(file, error.lineno, error.colno)
        raise ConfigError([Problem("", f"no JSON ({error.msg})", _EXPECTED, mark)]) from None
    except RecursionError:
        raise ConfigError([Problem("", "JSON that is nested too deeply", _EXPECTED, Mark(file))]) from None
    if isinstance(data, Mapping) and data.get("format", FORMAT) == FORMAT and isinstance(data.get("items"), list):
        if data.get("version", VERSION) != VERSION:
            raise UsageError(f"{file} has version {data['version']}; this autoprune reads {VERSION}: upgrade autoprune")
        data = data["items"]
    if not isinstance(data, list):
        _refuse(file, "", data, _EXPECTED)
    return data


def _int(digits: str) -> float:
    """A whole number; one that no float can hold is not finite."""
    return int(digits) if len(digits) < _LONGEST else math.inf


def _read(item: JSON, where: str, file: str) -> tuple[dict[str, JSON], dict[str, JSON], str]:
    """A trial's parameters and metrics, and why it is of no use, where it is not."""
    if not isinstance(item, dict):
        _refuse(file, where, item, "a trial")
    key = "parameter" if "parameter" in item else "parameters"
    parameters = item.get(key)
    if not isinstance(parameters, dict):
        _refuse(file, f"{where}.{key}", parameters, "a trial's parameters")
    if key == "parameter":
        return parameters, _nni_metrics(item.get("value")), ""
    state, metrics = item.get("state"), item.get("metrics")
    if state not in list(TrialState):
        _refuse(file, f"{where}.state", state, f"one of {', '.join(TrialState)}")
    if metrics is not None and not isinstance(metrics, dict):
        _refuse(file, f"{where}.metrics", metrics, "a table of numbers")
    metrics = {**(metrics or {}), DEFAULT: item.get("value")}
    return parameters, metrics, "" if state == TrialState.SUCCEEDED else str(state)


def _whence(item: dict[str, JSON], where: str, file: str, places: Mapping[int, int]) -> dict[str, JSON]:
    """The starting point that a trial was, and the place of the one that it repeats, where they are told."""
    origin, repeat_of = item.get("origin", ""), item.get("repeat_of")
    if not isinstance(origin, str):
        _refuse(file, f"{where}.origin", origin, "text")
    if repeat_of is not None and type(repeat_of) is not int:
        _refuse(file, f"{where}.repeat_of", repeat_of, "the number of a trial")
    told: dict[str, JSON] = {"origin": origin} if origin else {}
    if repeat_of is not None and repeat_of in places:
        told["repeat_of"] = places[repeat_of]
    return told


def _nni_metrics(value: JSON) -> dict[str, JSON]:
    """A number, a dict with `default`, or either of them as JSON in a string."""
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_int=_int)
        except (json.JSONDecodeError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {DEFAULT: value}


def _misfits(space: Space, parameters: dict[str, Any], where: str, file: str) -> list[Problem]:
    try:
        flatten(space, parameters)
    except ConfigError as error:
        return [
            Problem(f"{where}: {problem.path}", problem.given, problem.expected, Mark(file), problem.remedy)
            for problem in error.problems
        ]
    return []


def _refuse(file: str, path: str, given: JSON, expected: str) -> NoReturn:
    raise ConfigError([Problem(path, describe(from_plain(given, file)), expected, Mark(file))])


def _key(parameters: Mapping[str, JSON], metrics: Mapping[str, JSON]) -> str:
    return json.dumps([dict(parameters), dict(metrics)], sort_keys=True)
