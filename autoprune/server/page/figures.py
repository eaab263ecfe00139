"""The figures of `autoprune.plots` as the page shows them: their JSON, which Plotly draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import plotly.graph_objects as go
from fastapi import APIRouter, Query, Response

from autoprune.errors import NotFoundError, did_you_mean
from autoprune.plots import Theme, intermediate, layer_bars, untitle
from autoprune.plots.gallery import EXHIBITS, Exhibit, Subject
from autoprune.server.api.common import LARGEST_NUMBER, Id, Source, TrialNumber
from autoprune.server.page.errors import PageRoute

Numbers = Annotated[list[Annotated[int, Query(ge=0, le=LARGEST_NUMBER)]], Query(default_factory=list, max_length=100)]

WIDE = ("history", "layers_heatmap", "parallel_coordinates", "slices", "timeline")
"""Those that need the whole width of a page."""

_BY_NAME: Mapping[str, Exhibit] = {exhibit.name: exhibit for exhibit in EXHIBITS}

router = APIRouter(prefix="/experiments/{id}", route_class=PageRoute)


@router.get("/figures/{name}.json")
def get_figure(results: Source, id: Id, name: str, theme: Theme = "light") -> Response:
    """A figure of an experiment."""
    if name not in _BY_NAME:
        raise NotFoundError(f"there is no figure {name[:40]}; {did_you_mean(name[:40], list(_BY_NAME))}")
    subject = Subject(results, results.experiment(id), theme)
    figure = _BY_NAME[name].draw(subject)
    if figure is None:
        raise NotFoundError(f"experiment {subject.experiment.id} has nothing that the figure {name} could show")
    return _sent(figure)


@router.get("/curves.json")
def get_curves(results: Source, id: Id, trial: Numbers, theme: Theme = "light") -> Response:
    """What some trials reported on their way, over each other."""
    return _sent(intermediate(results.curves(id, trial), theme))


@router.get("/trials/{number}/layers.json")
def get_layers(results: Source, id: Id, number: TrialNumber, theme: Theme = "light") -> Response:
    """The layers of one trial, as asked for and as they became."""
    return _sent(layer_bars(results.trial(id, number), theme))


def _sent(figure: go.Figure) -> Response:
    """Without its title, which the page has in its own words; what it notes is put beside it, in lines that fit."""
    note = untitle(figure)
    figure.update_layout(meta={"note": note})
    return Response(figure.to_json(), media_type="application/json")
