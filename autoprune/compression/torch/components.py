"""What every entry may say beside its sparsity: what is pruned as one, and how a budget is divided among layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from autoprune.compression.core import allocations
from autoprune.compression.core.allocations.base import Allocation
from autoprune.compression.core.config_list import Key, Target, integer_key, sparsity_key
from autoprune.compression.core.errors import remedy
from autoprune.compression.core.formulas import pruned_count
from autoprune.compression.torch import granularities
from autoprune.compression.torch.choosing import Budget
from autoprune.compression.torch.coupling import Coupling, Tracing, filter_count, same_filters
from autoprune.compression.torch.granularities.base import Granularity
from autoprune.compression.torch.layers import LayerInfo, layer_info
from autoprune.errors import Problem

COMPONENT_KEYS: tuple[Key, ...] = (
    Key("granularity", granularities.EXPECTED, granularities.is_granularity).optional(),
    Key(
        "allocation",
        f"one of {', '.join(allocations.names())}",
        lambda value: value in allocations.names(),
        spellings=("mode",),
    ).optional(),
    sparsity_key("max_sparsity_per_layer").optional(),
    integer_key("round_to", least=1).optional(),
)


def granularity_of(settings: Mapping[str, Any], default: str) -> Granularity:
    return granularities.read(settings.get("granularity", default))


def allocation_of(settings: Mapping[str, Any], default: str) -> Allocation:
    """As the entry says; `total_sparsity` is one budget for all its layers, ranked together."""
    usual = allocations.find(default)
    if "allocation" in settings:
        return allocations.find(settings["allocation"])
    return allocations.find("global") if "total_sparsity" in settings and not usual.ranks else usual


def fixed_sparsity(granularity: object) -> float | None:
    """The sparsity of a pattern such as 2:4, which an entry need not repeat."""
    return granularities.read(granularity).sparsity() if granularities.is_granularity(granularity) else None


def component_problems(
    where: str, target: float, granularity: Granularity, allocation: Allocation, settings: Mapping[str, Any]
) -> list[Problem]:
    """What does not go together in one entry."""
    problems = []
    cap = settings.get("max_sparsity_per_layer")
    fixed = granularity.sparsity()
    if fixed is not None and pruned_count(10**6, target) != pruned_count(10**6, fixed):
        problems.append(
            Problem(where, f"sparsity {target} with a pattern", f"{fixed}, which the pattern makes, or none")
        )
    if fixed is not None and allocation.shares:
        given = f"the allocation {allocation.name} with a pattern"
        problems.append(Problem(where, given, "uniform: the pattern says how much every layer loses"))
    elif granularity.in_rows and allocation.ranks:
        given = f"the allocation {allocation.name} with {granularity.name}"
        problems.append(Problem(where, given, "uniform or erk: every row of a layer loses the same number"))
    if allocation.couples and granularity.name != "filter":
        problems.append(Problem(where, f"{granularity.name} with {allocation.name}", "the granularity filter"))
    if "round_to" in settings and granularity.name != "filter":
        problems.append(Problem(where, f"{granularity.name} with round_to", "the granularity filter"))
    elif "round_to" in settings and allocation.ranks:
        given = f"the allocation {allocation.name} with round_to"
        problems.append(Problem(where, given, "uniform, erk or dependency_aware: a ranking says how many of each go"))
    if cap is not None and not allocation.shares:
        problems.append(
            Problem(where, "max_sparsity_per_layer alone", "total_sparsity beside it, which it caps, or an allocation")
        )
    return problems


def budgets_of(
    targets: Sequence[Target], allocation: Allocation, now: float, last: float, shapes: Sequence[tuple[int, ...]]
) -> list[Budget]:
    """One entry's budgets: one for all its layers where scores are ranked together, else one for each layer."""
    if allocation.ranks:
        return [Budget(targets, now, last, allocation)]
    most = targets[0].entry.settings.get("max_sparsity_per_layer")
    named = {str(index): shape for index, shape in enumerate(shapes)}
    divided, final = allocation.divide(named, now, most), allocation.divide(named, last, most)
    return [
        Budget([target], divided[str(index)], final[str(index)], allocation) for index, target in enumerate(targets)
    ]


def coupled_as_said(
    budgets: Sequence[Budget], groups: Sequence[Sequence[str]], infos: Mapping[str, LayerInfo]
) -> tuple[list[Budget], list[Problem]]:
    """The budgets of the layers of each group made one."""
    problems: list[Problem] = []
    by_name = {budget.targets[0].layer.name: budget for budget in budgets if budget.allocation.couples}
    if by_name and not groups:
        where = next(iter(by_name.values())).targets[0].entry.where
        expected = (
            "dummy_input=..., an input of the model from which groups are found, or groups=[[...], ...], the names of "
            "layers that lose the same filters"
        )
        return list(budgets), [Problem(where, "the allocation dependency_aware without groups", expected)]
    taken: dict[str, Budget] = {}
    for number, group in enumerate(groups):
        where = f"groups[{number}]"
        for name in group:
            if name in taken:
                problems.append(Problem(where, repr(name), "each layer in one group"))
            elif name not in by_name:
                valid = remedy(name, by_name)
                problems.append(
                    Problem(where, repr(name), "a layer that this pruner prunes by dependency", remedy=valid)
                )
        own = [by_name[name] for name in group if name in by_name and name not in taken]
        counts = list(dict.fromkeys(filter_count(infos[budget.targets[0].layer.name]) for budget in own))
        if len(counts) > 1:
            given = f"layers of {' and '.join(map(str, counts))} filters"
            problems.append(Problem(where, given, "as many in each: they are pruned together"))
        problems += _differing(own, where)
        if own and not problems:
            taken |= dict.fromkeys(
                group, _merged(own, same_filters([infos[budget.targets[0].layer.name] for budget in own]))
            )
        taken |= {name: by_name[name] for name in group if name in by_name and name not in taken}
    return _each_once(budgets, lambda budget: taken.get(budget.targets[0].layer.name, budget)), problems


def coupled_as_traced(
    budgets: Sequence[Budget], model: nn.Module, tracing: Tracing
) -> tuple[list[Budget], list[Problem]]:
    """The budgets of layers that share channels made one."""
    problems: list[Problem] = []
    single = [budget for budget in budgets if budget.allocation.couples]
    found = tracing.couplings(model, [layer_info(model, budget.targets[0]) for budget in single]) if single else []
    merged: dict[int, Budget] = {}
    for places, coupling in found:
        own = [single[place] for place in places]
        problems += _differing(own, own[0].targets[0].entry.where)
        merged |= dict.fromkeys(map(id, own), _merged(own, coupling))
    return _each_once(budgets, lambda budget: merged.get(id(budget), budget)), problems


def _merged(own: Sequence[Budget], coupling: Coupling) -> Budget:
    return replace(own[0], targets=[target for budget in own for target in budget.targets], coupling=coupling)


def _differing(own: Sequence[Budget], where: str) -> list[Problem]:
    """Layers that go together need one sparsity, now and at the end."""
    if len({(budget.sparsity, budget.target) for budget in own}) <= 1:
        return []
    layers = ", ".join(f"{budget.targets[0].layer.name!r} ({_asked(budget)})" for budget in own)
    return [Problem(where, f"layers of different sparsities, {layers}", "one sparsity: they are pruned together")]


def _asked(budget: Budget) -> str:
    now = "" if budget.sparsity == budget.target else f"{budget.sparsity:.4g} of "
    return f"{now}{budget.target:.4g}"


def _each_once(budgets: Sequence[Budget], whole: Callable[[Budget], Budget]) -> list[Budget]:
    return list({id(made): made for made in map(whole, budgets)}.values())


def multiple_of(targets: Sequence[Target]) -> int:
    """Of what the number of filters that stay is a multiple in all these layers."""
    return math.lcm(*(target.entry.settings.get("round_to", 1) for target in targets))


def limits_of(targets: Sequence[Target]) -> list[int]:
    """The most weights that each layer of a ranked budget may lose: its cap, and never the whole layer."""
    most = [max(target.layer.size - 1, 0) for target in targets]
    cap = targets[0].entry.settings.get("max_sparsity_per_layer")
    if cap is None:
        return most
    return [min(limit, pruned_count(target.layer.size, cap)) for limit, target in zip(most, targets, strict=True)]


def budget_problems(targets: Sequence[Target], sparsity: float) -> list[Problem]:
    """A budget that its layers cannot spend."""
    total, most = sum(target.layer.size for target in targets), sum(limits_of(targets))
    if pruned_count(total, sparsity) <= most:
        return []
    entry = targets[0].entry
    name = "total_sparsity" if "total_sparsity" in entry.settings else "sparsity"
    expected = f"at most {most / total:.10g}, what its layers allow"
    return [Problem(f"{entry.where}.{name}", repr(sparsity), expected)]
