"""The search space of a task's model, which needs no weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from autoprune.records import JSON, Group
from autoprune.search import loading
from autoprune.search.checking import checked
from autoprune.search.scaling import Scaler
from autoprune.search.settings import Settings
from autoprune.search.space import highest_for, space_of


def run(*, settings: Mapping[str, JSON]) -> dict[str, JSON]:
    """The space, and the groups of layers that share a sparsity in it, by pruner."""
    given = Settings.of(settings)
    job, kinds = checked(given)
    model = loading.build(job.task, given.task)
    scalers = {kind: job.scaler(kind, model) for kind in dict.fromkeys(kinds.values())}
    groups: dict[str, Sequence[Group]] = {pruner: scalers[kind].groups for pruner, kind in kinds.items()}
    highest = highest_for(sparsity for scaler in scalers.values() for sparsity in _even(scaler).values())
    named = {pruner: [asdict(group) for group in own] for pruner, own in groups.items()}
    return {"space": space_of(groups, highest), "groups": named}


def _even(scaler: Scaler) -> dict[str, float]:
    """All groups as sparse as the budget asks for on the whole."""
    return scaler.of_groups(scaler.scaled({group.name: 0.5 for group in scaler.groups}))
