"""What every entry may say beside its sparsity: what is pruned as one, and how a budget is divided among layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoprune.compression.core import allocations
from autoprune.compression.core.allocations.base import Allocation
from autoprune.compression.core.config_list import Key, Target, sparsity_key
from autoprune.compression.core.errors import remedy
from autoprune.compression.core.formulas import pruned_count
from autoprune.compression.torch import granularities
from autoprune.compression.torch.choosing import Budget
from autoprune.compression.torch.granularities.base import Granularity
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
    where: str, target: float, granularity: Granularity, allocation: Allocation, cap: float | None
) -> list[Problem]:
    """What does not go together in one entry."""
    problems = []
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


def coupled(
    budgets: Sequence[Budget], groups: Sequence[Sequence[str]], filters: Mapping[str, int]
) -> tuple[list[Budget], list[Problem]]:
    """The budgets of the layers of each group made one."""
    problems: list[Problem] = []
    by_name = {budget.targets[0].layer.name: budget for budget in budgets if budget.allocation.couples}
    if by_name and not groups:
        where = next(iter(by_name.values())).targets[0].entry.where
        expected = "groups=[[...], ...]: the names of layers that lose the same filters"
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
        if len({budget.sparsity for budget in own}) > 1:
            problems.append(Problem(where, "layers of different sparsities", "one sparsity: they are pruned together"))
        if len(numbers := list(dict.fromkeys(filters[budget.targets[0].layer.name] for budget in own))) > 1:
            given = f"layers of {' and '.join(map(str, numbers))} filters"
            problems.append(Problem(where, given, "as many in each: they are pruned together"))
        if own:
            merged = Budget([each.targets[0] for each in own], own[0].sparsity, own[0].target, own[0].allocation)
            taken |= dict.fromkeys(group, merged)
    result: list[Budget] = []
    for budget in budgets:
        whole = taken.get(budget.targets[0].layer.name, budget)
        if not any(whole is each for each in result):
            result.append(whole)
    return result, problems


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
