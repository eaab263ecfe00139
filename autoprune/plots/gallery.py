"""All figures that an experiment has, each with a sentence that says how to read it: for the page and the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import plotly.graph_objects as go

from autoprune.latency import REPORTED
from autoprune.plots._data import ranked, succeeded
from autoprune.plots._style import Theme
from autoprune.plots.concurrency import concurrency
from autoprune.plots.duration import duration
from autoprune.plots.history import history
from autoprune.plots.importance import importance
from autoprune.plots.intermediate import intermediate
from autoprune.plots.layer_bars import layer_bars
from autoprune.plots.layers_heatmap import layers_heatmap
from autoprune.plots.parallel_coordinates import parallel_coordinates
from autoprune.plots.pareto import budget_line, front, pareto
from autoprune.plots.sensitivity import sensitivity
from autoprune.plots.slices import slices
from autoprune.plots.timeline import timeline
from autoprune.protocol import DEFAULT
from autoprune.records import JSON, OptimizeMode
from autoprune.results import Results
from autoprune.results.importance import paths
from autoprune.results.leaders import objectives
from autoprune.results.models import Attempt, ExperimentDetail, Importance, Report, Trial
from autoprune.results.reader import NEWEST
from autoprune.search_space.leaves import is_number

_SAMPLE = 1000
_COSTS = ("macs", "parameters", "bytes", REPORTED, "sparsity")


@dataclass(frozen=True)
class Subject:
    """What figures are of; each thing is read once, when a figure asks for it."""

    results: Results
    experiment: ExperimentDetail
    theme: Theme = "light"

    @property
    def mode(self) -> OptimizeMode:
        return OptimizeMode(self.experiment.optimize_mode)

    @cached_property
    def outlines(self) -> list[Trial]:
        """All trials, without what they ran with."""
        return self.results.outlines(self.experiment.id)

    @cached_property
    def retried(self) -> dict[int, list[Attempt]]:
        return self.results.retried(self.experiment.id)

    @cached_property
    def sample(self) -> list[Trial]:
        """Trials that succeeded, whole; of very many, some."""
        return self.results.sample_trials(self.experiment.id, most=_SAMPLE)

    def of(self, every: Sequence[Trial]) -> int | None:
        """How many trials there are of those that a figure is of, where the sample has not all of them."""
        return len(every) if len(succeeded(self.outlines)) > len(self.sample) else None

    @property
    def started(self) -> int | None:
        """How many trials have started, where the curves are of the newest of them alone."""
        count = sum(trial.attempts > 0 for trial in self.outlines)
        return count if count > NEWEST else None

    @cached_property
    def facts(self) -> Mapping[str, JSON] | None:
        return self.results.facts(self.experiment.id)

    @cached_property
    def importance(self) -> list[Importance]:
        return self.results.importance(self.experiment.id)

    @cached_property
    def curves(self) -> dict[int, list[Report]]:
        return self.results.curves(self.experiment.id)

    @property
    def cost(self) -> str | None:
        """The number that values are weighed against: what the budget limits, else one that is optimised as well, else
        a cost that is reported."""
        if line := budget_line(self.facts):
            return line[0]
        best = self.experiment.best
        told = {name for name, value in best.metrics.items() if is_number(value) and name != DEFAULT} if best else ()
        optimised = objectives(self.experiment.config)
        return next((name for name in (*optimised, *_COSTS) if name in told), None)

    @property
    def has_layers(self) -> bool:
        best = self.experiment.best
        return self.facts is not None or (best is not None and "layers" in best.metrics)


@dataclass(frozen=True)
class Exhibit:
    """A figure, and how to read it. It is left out where an experiment such as this one never has it."""

    name: str
    title: str
    reading: str
    make: Callable[[Subject], go.Figure]
    applies: Callable[[Subject], bool] = lambda _subject: True

    def titled(self, subject: Subject) -> str:
        """Its title, where `{cost}` is what values are weighed against."""
        return self.title.format(cost=subject.cost)

    def draw(self, subject: Subject) -> go.Figure | None:
        """None where it does not apply."""
        return self.make(subject) if self.applies(subject) else None


def _pareto(subject: Subject) -> go.Figure:
    x = subject.cost or ""
    line = budget_line(subject.facts)
    trials = subject.results.outlines(subject.experiment.id, x)
    best = front(trials, x, subject.mode, objectives(subject.experiment.config).get(x))
    return pareto(trials, best, x, subject.mode, line[1] if line else None, subject.theme)


def _best_layers(subject: Subject) -> go.Figure:
    return layer_bars(subject.results.best(subject.experiment.id), subject.theme)


def _slices(subject: Subject) -> go.Figure:
    """Of the parameters that matter most, or of all while nothing can be said about that."""
    important = [item.name for item in subject.importance]
    names = important or [name for trial in subject.sample for name, _ in paths(trial.parameters)]
    of = subject.of(succeeded(subject.outlines))
    return slices(subject.sample, names, subject.theme, of=of, facts=subject.facts)


def _parallel(subject: Subject) -> go.Figure:
    of = subject.of(ranked(subject.outlines, subject.mode))
    return parallel_coordinates(subject.sample, subject.mode, subject.theme, of=of, facts=subject.facts)


EXHIBITS: Sequence[Exhibit] = (
    Exhibit(
        "history",
        "History",
        "Each sign is a trial at its value; the line is the best so far. Where it has been flat for long, more trials "
        "are unlikely to help.",
        lambda subject: history(subject.outlines, subject.mode, subject.theme),
    ),
    Exhibit(
        "pareto",
        "Value against {cost}",
        "Each sign is a trial; no other trial beats those on the line in both.",
        _pareto,
        lambda subject: subject.cost is not None,
    ),
    Exhibit(
        "layers_heatmap",
        "Layers over trials",
        "A column for each trial and a row for each layer; the darker, the more of the layer is gone.",
        lambda subject: layers_heatmap(subject.sample, subject.theme, of=subject.of(succeeded(subject.outlines))),
        lambda subject: subject.has_layers,
    ),
    Exhibit(
        "layer_bars",
        "Layers of the best trial",
        "Of the best trial, what was asked of each layer beside what came of it.",
        _best_layers,
        lambda subject: subject.has_layers and subject.experiment.best is not None,
    ),
    Exhibit(
        "sensitivity",
        "Sensitivity of layers",
        "How good the untrained model is where one group of layers alone is pruned. Those whose curves fall late can "
        "lose most.",
        lambda subject: sensitivity(subject.facts or {}, subject.theme),
        lambda subject: bool(subject.facts and subject.facts["curves"]),
    ),
    Exhibit(
        "parallel_coordinates",
        "Parallel coordinates",
        "Each line is a trial, from parameter to parameter to its value: strong lines are good, the best is orange. "
        "Where strong lines meet, that value is a good one.",
        _parallel,
    ),
    Exhibit(
        "importance",
        "Importance of parameters",
        "How much of the differences between values each parameter explains. Those near zero could as well be fixed.",
        lambda subject: importance(subject.importance, subject.theme),
    ),
    Exhibit(
        "slices",
        "Slices",
        "The value of each trial over one parameter at a time, the most important first. A slope means that the "
        "parameter matters.",
        _slices,
    ),
    Exhibit(
        "intermediate",
        "Curves",
        "What each of the newest trials reported on its way; later trials are stronger.",
        lambda subject: intermediate(subject.curves, subject.theme, of=subject.started),
    ),
    Exhibit(
        "timeline",
        "Timeline",
        "When each trial ran, and what became of it.",
        lambda subject: timeline(subject.outlines, subject.theme, retried=subject.retried),
    ),
    Exhibit(
        "concurrency",
        "Trials at a time",
        "How many trials ran beside each other. Below the limit, slots were empty.",
        lambda subject: concurrency(subject.outlines, subject.theme, retried=subject.retried),
    ),
    Exhibit(
        "duration",
        "Durations",
        "How long trials took. A tail to the right is where a limit on a trial's duration saves time.",
        lambda subject: duration(subject.outlines, subject.theme),
    ),
)
