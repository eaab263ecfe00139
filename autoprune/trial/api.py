"""The functions of the trial API; `import autoprune` offers them all.

Inside an experiment the runner says by environment variables where the parameters are and where reports go.
Outside one, `python trial.py` runs alone: it gets the search space's first choices and midpoints, from the file
that AUTOPRUNE_SEARCH_SPACE names, and its reports are printed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from autoprune import protocol
from autoprune.errors import TrialError, did_you_mean
from autoprune.records import JSON

_STANDALONE = "standalone"

_lock = threading.Lock()
_reports: dict[str, int] = {}


def get_parameters() -> dict[str, JSON]:
    """This trial's parameters, nested as the search space is; the same at every call."""
    folder = _attempt()
    if folder is None:
        return _standalone_parameters()
    parameters: dict[str, JSON] = json.loads((folder / protocol.PARAMETERS).read_text(encoding="utf-8"))
    return parameters


get_next_parameter = get_parameters


def get_current_parameter(tag: str | None = None) -> JSON:
    """All parameters, or the one called `tag`."""
    parameters = get_parameters()
    if tag is None:
        return parameters
    if tag not in parameters:
        raise TrialError(f"no parameter is called {tag!r} ({did_you_mean(tag, list(parameters))})")
    return parameters[tag]


def report_intermediate_result(metric: object) -> None:
    """Report how it stands, as often as you like: a number, or a dict whose `default` is the number to optimise."""
    _report(metric, final=False)


def report_final_result(metric: object) -> None:
    """Report the trial's result, once: a number, or a dict whose `default` is the number to optimise."""
    _report(metric, final=True)


report_final_results = report_final_result


def get_experiment_id() -> str:
    """The id of the experiment this trial belongs to."""
    return os.environ.get(protocol.EXPERIMENT_VARIABLE, _STANDALONE)


def get_trial_id() -> str:
    """An id of this trial that no other trial of any experiment has."""
    return os.environ.get(protocol.TRIAL_VARIABLE, _STANDALONE)


def get_sequence_id() -> int:
    """The number of this trial in its experiment, from 0."""
    return int(os.environ.get(protocol.SEQUENCE_VARIABLE, "0"))


def get_output_dir() -> Path:
    """A folder for what the trial wants to keep; a trial that is run again finds it as it left it."""
    folder = Path(os.environ.get(protocol.OUTPUT_VARIABLE, "autoprune-output")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _attempt() -> Path | None:
    folder = os.environ.get(protocol.ATTEMPT_VARIABLE)
    return Path(folder) if folder else None


def _report(metric: object, *, final: bool) -> None:
    values = protocol.normalise(metric)
    folder = _attempt()
    with _lock:
        seq = _reports.get(str(folder), 0)
        _reports[str(folder)] = seq + 1
        if folder is not None:
            protocol.append_report(folder, seq, values, final=final)
            return
    kind = "final" if final else f"intermediate {seq}"
    shown = values[protocol.DEFAULT] if len(values) == 1 else values
    print(f"autoprune: {kind}: {shown}", file=sys.stderr, flush=True)


def _standalone_parameters() -> dict[str, JSON]:
    file = os.environ.get(protocol.SPACE_VARIABLE)
    if not file:
        raise TrialError(
            "this script runs outside an experiment, so it has no parameters; run it with `autoprune run config.yml`, "
            f"or alone with {protocol.SPACE_VARIABLE}=search_space.json to get the space's first choices and midpoints"
        )
    from autoprune.document import read
    from autoprune.errors import ConfigError
    from autoprune.search_space import defaults, parse_space

    node, problems = read(Path(file))
    if problems:
        raise ConfigError(problems)
    return dict(defaults(parse_space(node)))
