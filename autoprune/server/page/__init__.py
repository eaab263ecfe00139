"""The page: HTML made here, which works without JavaScript, and becomes live with it."""

from __future__ import annotations

from fastapi import APIRouter

from autoprune.server.page import analysis, assets, compare, experiments, figures, forms, logs, overview, trial, trials

router = APIRouter(include_in_schema=False)
for part in (assets, experiments, overview, trials, trial, logs, compare, analysis, figures, forms):
    router.include_router(part.router)
