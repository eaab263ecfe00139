"""One ranking over all layers: the scores are compared as they are."""

from __future__ import annotations

from autoprune.compression.core.allocations.base import Allocation


class Global(Allocation):
    name = "global"
    ranks = True
