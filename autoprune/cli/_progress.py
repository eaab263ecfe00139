"""How a run says what happens, one line per event: JSON, or plain words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from autoprune.manager.journal import Notice


_BLOCKS = "▁▂▃▄▅▆▇█"


def shorten(parameters: Any, limit: int = 70) -> str:
    """Nested parameters on one line: `prune_method=agp conv0_sparsity=.31`."""
    text = " ".join(_pairs(parameters))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _pairs(parameters: Any) -> Iterator[str]:
    for key, value in parameters.items():
        if isinstance(value, dict):
            if "_name" in value:
                yield f"{key}={value['_name']}"
            yield from _pairs({inner: item for inner, item in value.items() if inner != "_name"})
        else:
            yield f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def sparkline(values: Sequence[float], encoding: str, width: int = 40) -> str:
    """A curve as a row of at most `width` blocks, each as high as the last value of its part of the curve.

    Empty where there is no curve yet, or where the encoding has no blocks.
    """
    count = min(len(values), width)
    if count < 2 or not _can_draw(encoding):
        return ""
    points = [values[(place + 1) * len(values) // count - 1] for place in range(count)]
    low, high = min(points), max(points)
    span = high / 2 - low / 2
    heights = [(point / 2 - low / 2) / span if span else 0.0 for point in points]
    return "".join(_BLOCKS[round(height * (len(_BLOCKS) - 1))] for height in heights)


def _can_draw(encoding: str) -> bool:
    try:
        _BLOCKS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def print_json(notice: Notice) -> None:
    click.echo(json.dumps(notice, allow_nan=False))


def print_line(notice: Notice) -> None:
    """One plain line per event, on stderr."""
    line = line_of(notice)
    if line:
        click.echo(f"{notice['time'][11:19]} {line}", err=True)


def line_of(notice: Notice) -> str:
    match notice["event"]:
        case "trial_started":
            again = f" (attempt {notice['attempt']})" if notice["attempt"] else ""
            repeat = f"a repeat of trial {notice['repeat_of']}" if "repeat_of" in notice else ""
            whence = repeat or notice.get("origin", "")
            return (
                f"trial {notice['trial']} started{again}{', ' if whence else ''}{whence}: "
                f"{shorten(notice['parameters'], 200)}"
            )
        case "intermediate_result":
            return f"trial {notice['trial']} reports {number(notice['metrics'].get('default'))}"
        case "trial_ended":
            result = f": {number(notice['value'])}" if notice.get("value") is not None else ""
            message = f" ({notice['message']})" if notice["message"] else ""
            return f"trial {notice['trial']} {notice['state']}{result}{message}"
        case "trial_retried":
            return f"trial {notice['trial']} runs again; it was {notice['state']}"
        case "trial_imported":
            return f"trial {notice['trial']} {notice['message']}: {number(notice['value'])}"
        case "experiment_updated":
            limits = {name: value for name, value in notice.items() if name not in ("event", "time")}
            return f"limits updated: {', '.join(f'{name} {_limit(value)}' for name, value in limits.items())}"
        case "study_ended":
            return "\n".join(("the model is known; the search begins", *notice["lines"]))
        case "progress":
            return str(notice["message"])
        case "warning":
            about = f"trial {notice['trial']}: " if "trial" in notice else ""
            return f"warning: {about}{notice['message']}"
        case "experiment_ended":
            return f"experiment {notice['state']}: {notice['message']}"
        case _:
            return ""


def _limit(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def clock(seconds: float) -> str:
    """`1:02:03`, or `2:03` under an hour."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
