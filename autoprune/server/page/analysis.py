"""All figures of an experiment, each with a sentence that says how to read it, and the same in numbers."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from autoprune.plots.gallery import EXHIBITS, Subject
from autoprune.results.curves import curve_tables, heading
from autoprune.server.api.common import Id, Source
from autoprune.server.page.errors import PageRoute
from autoprune.server.page.figures import WIDE
from autoprune.server.page.rendering import render

router = APIRouter(route_class=PageRoute)


@router.get("/experiments/{id}/analysis")
def analysis_page(request: Request, results: Source, id: Id) -> Response:
    experiment = results.experiment(id)
    subject = Subject(results, experiment)
    return render(
        request,
        "analysis.html",
        tab="Analysis",
        experiment=experiment,
        figures=[exhibit for exhibit in EXHIBITS if exhibit.applies(subject)],
        subject=subject,
        wide=WIDE,
        statistics=results.statistics(experiment.id),
        tables=curve_tables(subject.facts) if subject.facts else [],
        heading=lambda pruner: heading(pruner, subject.facts or {}),
        command="",
    )
