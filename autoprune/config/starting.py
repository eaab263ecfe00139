"""Whether starting points are of the search space."""

from __future__ import annotations

from autoprune.config.translate import Draft
from autoprune.document import Items, Node, Scalar, Table, plain
from autoprune.errors import ConfigError, Mark, Problem
from autoprune.records import Parameters
from autoprune.search_space import Space, flatten

FIELD = "startingPoints"


def check_starting_points(draft: Draft, space: Space | None) -> None:
    """Problems for all that is not of the space. That of a task is not known yet."""
    found = draft.found.get(FIELD)
    if space is None or found is None or not isinstance(found.node, Items):
        return
    for place, node in enumerate(found.node.items):
        if isinstance(node, Table):
            for problem in misfits(space, plain(node), place):
                path = problem.path.removeprefix(f"{FIELD}.{place}.")
                draft.problems.append(
                    Problem(problem.path, problem.given, problem.expected, _mark(node, path), problem.remedy)
                )


def misfits(space: Space, parameters: Parameters, place: int) -> list[Problem]:
    """What is wrong with the starting point in this place of the list."""
    try:
        flatten(space, parameters)
    except ConfigError as error:
        return [
            Problem(f"{FIELD}.{place}.{problem.path}", problem.given, problem.expected, None, problem.remedy)
            for problem in error.problems
        ]
    return []


def _mark(node: Node, path: str) -> Mark:
    """Where a path of the space leads in parameters. Names of branches are steps of the path, but not of them."""
    if not isinstance(node, Table):
        return node.mark
    branch = node.get("_name")
    inside = path.removeprefix(f"{branch.value}/") if isinstance(branch, Scalar) else path
    steps = [entry for entry in node if f"{inside}/".startswith(f"{entry.key}/")]
    if not steps:
        return node.mark
    step = max(steps, key=lambda entry: len(entry.key))
    return _mark(step.node, inside[len(step.key) + 1 :])
