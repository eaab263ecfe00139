"""Whether a task can be searched: its class, its model, its pruners and its budget."""

from __future__ import annotations

from collections.abc import Mapping

from autoprune.records import JSON
from autoprune.search.checking import checked
from autoprune.search.settings import Settings


def run(*, settings: Mapping[str, JSON]) -> None:
    checked(Settings.of(settings))
