"""A whole experiment as one HTML file, which opens from the disk and asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import fmean
from typing import Any

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from autoprune.labels import figure_name
from autoprune.plots._data import part, written
from autoprune.plots._naming import names
from autoprune.plots._style import CONFIG, called, template, untitle
from autoprune.plots.gallery import EXHIBITS, Subject
from autoprune.protocol import DEFAULT
from autoprune.records import JSON
from autoprune.results import Results
from autoprune.results.export import leaves
from autoprune.results.models import Best, ExperimentDetail
from autoprune.results.shapes import came_from

_LEADERS = 20
_PARAMETERS = 12
_STAGES = {"dense": "dense", "pruned": "pruned, before training", "trained": "trained", "final": "this model"}


def report(results: Results, id: str | None = None) -> str:
    """The page: what was searched, the best trials, the model of a task, and all figures that have something to show.

    It is light or dark as whoever looks at it likes it.
    """
    experiment = results.experiment(id)
    subject = Subject(results, experiment)
    drawn = {exhibit: exhibit.draw(subject) for exhibit in EXHIBITS}
    figures = {exhibit: figure for exhibit, figure in drawn.items() if figure is not None and figure.data}
    notes = {exhibit: untitle(figure) for exhibit, figure in figures.items()}
    return _template().render(
        experiment=experiment,
        about=[pair for pair in _about(experiment) if pair[1]],
        best=experiment.best,
        parameters=_parameters(experiment.best) if experiment.best else [],
        leaders=_leaders(results.top(experiment.id, count=_LEADERS).items),
        facts=subject.facts,
        model=results.result(experiment.id),
        exhibits=[(exhibit, exhibit.titled(subject), notes[exhibit]) for exhibit in figures],
        drawing={
            "figures": {exhibit.name: _without_template(figure) for exhibit, figure in figures.items()},
            "templates": {theme: template(theme).to_plotly_json() for theme in ("light", "dark")},
            "config": dict(CONFIG),
        },
        plotly=Markup(get_plotlyjs()),
    )


@dataclass(frozen=True)
class Table:
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autoprune.plots", ""),
        autoescape=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    environment.filters |= {"digest": _digest, "written": written, "mean": _mean, "figure_name": figure_name}
    environment.globals |= {"STAGES": _STAGES, "DEFAULT": DEFAULT}
    return environment.get_template("report.html")


def _digest(script: str) -> str:
    """What a content security policy calls a script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _about(experiment: ExperimentDetail) -> Iterator[tuple[str, str]]:
    """What was searched, and how far."""
    config, limits = experiment.config, experiment.limits
    counts = sorted(experiment.trials.items())
    spent = (limits.maxExperimentDuration, "in all"), (limits.maxTrialDuration, "a trial")
    allowed = [
        f"{limits.maxTrialNumber:,} trials" if limits.maxTrialNumber else "",
        *(f"{_clock(time)} {of}" if time else "" for time, of in spent),
        f"{limits.trialConcurrency} at a time" if limits.trialConcurrency else "",
    ]
    budget = {kind: amount for kind, amount in (config.get("budget") or {}).items() if amount is not None}
    tuner = config.get("tuner") or {}
    yield "state", f"{experiment.state}{f': {experiment.message}' if experiment.message else ''}"
    yield "trials", ", ".join(f"{count:,} {called(state)}" for state, count in counts)
    yield "limits", ", ".join(limit for limit in allowed if limit)
    yield "tuner", f"{tuner.get('name') or tuner.get('className') or ''}, {experiment.optimize_mode}"
    yield "task", str(config.get("task") or "")
    yield "budget", ", ".join(f"{kind} {written(amount)}" for kind, amount in budget.items())
    yield "began", experiment.created
    yield "ended", experiment.ended or ""
    yield "trials ran for", _clock(experiment.duration)


def _parameters(trial: Best) -> list[tuple[str, JSON]]:
    given = dict(leaves(trial.parameters))
    return [(name, given[path]) for path, name in names(list(given)).items()]


def _leaders(leaders: Sequence[Best]) -> Table:
    """The best trials; of many parameters the first."""
    rows = [dict(leaves(trial.parameters)) for trial in leaders]
    paths = list(dict.fromkeys(path for row in rows for path in row))
    shown = paths[:_PARAMETERS]
    words = names(shown)
    repeated = any(trial.repeats for trial in leaders)
    columns = [
        "trial",
        "value",
        *(["mean of repeats"] if repeated else []),
        "seconds",
        "from",
        *(words[path] for path in shown),
    ]
    cells = [
        [
            str(trial.number),
            written(trial.value),
            *([f"{written(trial.mean)} ({trial.repeats})" if trial.repeats else ""] if repeated else []),
            written(trial.duration),
            came_from(trial),
            *(written(row.get(path)) for path in shown),
        ]
        for trial, row in zip(leaders, rows, strict=True)
    ]
    return Table(columns, cells, part(len(shown), len(paths), "parameters", "the first"))


def _without_template(figure: go.Figure) -> dict[str, Any]:
    plain: dict[str, Any] = figure.to_plotly_json()
    return {**plain, "layout": {name: value for name, value in plain["layout"].items() if name != "template"}}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
