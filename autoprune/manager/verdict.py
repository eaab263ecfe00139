"""How an attempt ended: a pure function from what was seen to a state."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from autoprune.config.search import Bounds
from autoprune.errors import nearest
from autoprune.manager.constraints import violations
from autoprune.records import JSON, Exit, Metric, TrialState
from autoprune.search_space.leaves import is_number


class Cut(Enum):
    """Why the manager ended an attempt before its time."""

    ASSESSOR = "the assessor stopped it"
    CANCELED = "canceled by command"
    TOO_LONG = "it ran longer than maxTrialDuration"
    OVER = "the experiment ended: maxExperimentDuration"
    INTERRUPTED = "the experiment was interrupted"


@dataclass(frozen=True)
class Ending:
    """What becomes of the trial. WAITING means that it runs again, as its next attempt."""

    state: TrialState
    value: float | None = None
    metrics: Mapping[str, JSON] = field(default_factory=dict)
    message: str = ""
    feasible: bool = True


_CUT_STATES = {
    Cut.CANCELED: TrialState.USER_CANCELED,
    Cut.OVER: TrialState.USER_CANCELED,
    Cut.TOO_LONG: TrialState.FAILED,
    Cut.INTERRUPTED: TrialState.WAITING,
}


def conclude(
    exit: Exit | None,
    final: Metric | None,
    last: Metric | None,
    cut: Cut | None,
    reason: str,
    complaint: str,
    objectives: Collection[str] = (),
    constraints: Mapping[str, Bounds] = MappingProxyType({}),
) -> Ending:
    """The ending of an attempt with this first final and last intermediate report.

    `reason` is the assessor's, `complaint` what standard error says of a failure, `objectives` what a final result has
    to hold beside its default, and `constraints` what its numbers have to keep within. A final report decides whatever
    came after it; an attempt whose end nobody saw (`exit` is None) runs again unless it had one.
    """
    if final is not None:
        return _finished(final, exit, cut, objectives, constraints)
    if cut is Cut.ASSESSOR:
        value, metrics = (last.value, last.values) if last is not None else (None, {})
        return Ending(TrialState.EARLY_STOPPED, value, metrics, reason or cut.value)
    if cut is not None:
        return Ending(_CUT_STATES[cut], message=cut.value)
    if exit is None:
        return Ending(TrialState.WAITING, message="nobody saw how it ended")
    if exit.ok:
        return Ending(TrialState.INVALID, message="it ended without a final result: call report_final_result once")
    return Ending(TrialState.FAILED, message=f"{describe(exit)}{': ' if complaint else ''}{complaint}")


def _finished(
    final: Metric,
    exit: Exit | None,
    cut: Cut | None,
    objectives: Collection[str],
    constraints: Mapping[str, Bounds],
) -> Ending:
    if final.value is None:
        return Ending(TrialState.INVALID, None, final.values, "its final result is not a finite number")
    missing = [_missing(name, final.values) for name in objectives if not is_number(final.values.get(name))]
    if missing:
        return Ending(TrialState.INVALID, None, final.values, "; ".join(missing))
    unclean = f"{describe(exit)} after the final result" if exit is not None and not exit.ok else ""
    warning = f"{cut.value}, after the final result" if cut is not None else unclean
    broken = "; ".join(map(str, violations(final.values, constraints)))
    said = [f"not feasible: {broken}"] if broken else []
    message = "; ".join([*said, *([warning] if warning else [])])
    return Ending(TrialState.SUCCEEDED, final.value, final.values, message, feasible=not broken)


def _missing(name: str, values: Mapping[str, JSON]) -> str:
    """Why a report does not serve an objective."""
    if name in values:
        return f"its final result has {name} {values[name]!r}; expected a finite number, since {name} is an objective"
    others = [other for other in values if other != "default"]
    close = nearest(name, others)
    hint = f" (did {close} mean {name}?)" if close else ""
    return f"its final result lacks {name}, which is an objective; it reported {', '.join(values)}{hint}"


def describe(exit: Exit) -> str:
    return f"signal {exit.signal}" if exit.code is None else f"exit code {exit.code}"
