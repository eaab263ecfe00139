"""Figures of results, as Plotly's: the page, the report and notebooks show the same ones.

    from autoprune import plots
    plots.history(experiment.trials(), "maximize")

Each takes what `autoprune.results` or `autoprune.Experiment` gives, and returns a `plotly.graph_objects.Figure` for a
light or a dark page (`theme`). Whatever names, parameters and messages say is shown as it is written, and experiments
of any size are drawn quickly: a figure that leaves something out says so below its title.
"""

from autoprune.plots._style import CONFIG, Theme, template, untitle
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

__all__ = [
    "CONFIG",
    "Theme",
    "budget_line",
    "concurrency",
    "duration",
    "front",
    "history",
    "importance",
    "intermediate",
    "layer_bars",
    "layers_heatmap",
    "parallel_coordinates",
    "pareto",
    "sensitivity",
    "slices",
    "template",
    "timeline",
    "untitle",
]
