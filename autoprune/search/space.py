"""The search space of a model, nested as users write theirs: a pruner, and inside it a sparsity for each group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from autoprune.records import JSON, Group, Parameters

METHOD = "prune_method"
ENDING = "_sparsity"
HIGHEST = 0.99
_MARGIN = 4


def highest_for(sparsities: Iterable[float]) -> float:
    """Where sparsities end in a space that has these inside, and a quarter of the least density of them as well."""
    least = min((1 - sparsity for sparsity in sparsities), default=1.0)
    return max(HIGHEST, 1 - float(f"{least / _MARGIN:.1g}"))


def space_of(groups: Mapping[str, Sequence[Group]], highest: float = HIGHEST) -> dict[str, JSON]:
    """The space, from the groups that each pruner has."""
    sparsity = {"_type": "uniform", "_value": [0.0, highest]}
    branches = [{"_name": pruner, **{group.name + ENDING: sparsity for group in own}} for pruner, own in groups.items()]
    return {METHOD: {"_type": "choice", "_value": branches}}


def parameters_of(pruner: str, sparsities: Mapping[str, float]) -> dict[str, JSON]:
    """The parameters of a trial that prunes so."""
    return {METHOD: {"_name": pruner, **{f"{group}{ENDING}": value for group, value in sparsities.items()}}}


def read_parameters(parameters: Parameters) -> tuple[str, dict[str, float]]:
    """The pruner, and the sparsity of each group."""
    chosen = parameters[METHOD]
    sparsities = {name.removesuffix(ENDING): float(value) for name, value in chosen.items() if name.endswith(ENDING)}
    return chosen["_name"], sparsities
