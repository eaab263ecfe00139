"""How much each parameter matters to the result: by how much worse a forest predicts where its values are shuffled.

The forest learns the order of the results, so that a few that went astray do not outweigh all others. It is judged on
trials that it has not seen. A parameter of one branch of a choice is not that of another, and is shuffled among the
trials that have it. The same trials give the same answer.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from autoprune.records import JSON, Trial, TrialState
from autoprune.results.models import Importance
from autoprune.search_space.leaves import is_number
from autoprune.search_space.space import member_path
from autoprune.store.trials import Outline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Codes = NDArray[np.float32]
    Ranks = NDArray[np.float64]

FEWEST = 10
"""Trials that have to have succeeded before anything is said."""
MOST = 1000
"""Trials that are looked at; of more, a sample."""
_FOLDS = 3
_TREES = 64
_SHUFFLES = 4
_AT_ONCE = 8
"""Columns that are shuffled before the forest is asked: many at once are faster, and take more memory."""
_SEED = 7


def sample(trials: Sequence[Outline]) -> list[int]:
    """The numbers of the trials to look at: own results, at the most MOST of them."""
    known = [trial.number for trial in trials if trial.repeat_of is None and trial.state is TrialState.SUCCEEDED]
    return known if len(known) <= MOST else sorted(random.Random(_SEED).sample(known, MOST))


def importances(trials: Sequence[Trial]) -> list[Importance]:
    """Every parameter with its share of what the parameters explain, the largest first; the shares sum to 1.

    Empty where fewer than FEWEST of the trials have a value, or where no parameter explains anything beyond chance.
    """
    known = [trial for trial in trials if is_number(trial.value)]
    if len(known) < FEWEST:
        return []
    names, codes, ranks = _table(known)
    losses = _losses(codes, ranks) if names else []
    total = sum(losses)
    if not total > 0:
        return []
    shares = [Importance(name=name, importance=loss / total) for name, loss in zip(names, losses, strict=True)]
    return sorted(shares, key=lambda share: (-share.importance, share.name))


def _table(trials: Sequence[Trial]) -> tuple[list[str], Codes, Ranks]:
    """The parameters' paths, a column of codes for each, and the ranks of the results from 0 to 1."""
    import numpy as np
    from scipy.stats import rankdata

    rows = [dict(paths(trial.parameters)) for trial in trials]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [_codes([(name in row, row.get(name)) for row in rows]) for name in names]
    codes = np.array(columns, dtype=np.float32).reshape(len(names), len(rows)).T
    return names, codes, rankdata([trial.value for trial in trials]) / len(trials)


def paths(parameters: Mapping[str, JSON], above: str = "") -> Iterator[tuple[str, JSON]]:
    """Every parameter with its path in the search space; a choice's path leads to its branch's name, and on from it."""
    for name, value in parameters.items():
        path = member_path(above, name)
        if not isinstance(value, Mapping):
            yield path, value
        elif "_name" in value:
            yield path, value["_name"]
            inner = {key: item for key, item in value.items() if key != "_name"}
            yield from paths(inner, f"{member_path(f'{path}/', str(value['_name']))}/")
        else:
            yield from paths(value, f"{path}/")


def _codes(values: Sequence[tuple[bool, JSON]]) -> list[float]:
    """The places of values among all different ones: numbers by size, all else by its text; NaN where there is none."""
    given = [value for there, value in values if there]
    numbers = all(is_number(value) for value in given)
    keys = [value if numbers else str(value) for value in given]
    places = {key: float(place) for place, key in enumerate(sorted(set(keys)))}
    left = iter(keys)
    return [places[next(left)] if there else math.nan for there, _ in values]


def _losses(codes: Codes, ranks: Ranks) -> list[float]:
    """For each column, by how much the squared error grows where it is shuffled; what only chance explains is 0."""
    import numpy as np
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.model_selection import KFold

    there = ~np.isnan(codes)
    filled = np.where(there, codes, np.nanmedian(codes, axis=0, keepdims=True)).astype(np.float32)
    varied = np.flatnonzero(np.nanmax(codes, axis=0) > np.nanmin(codes, axis=0))
    if not len(varied):
        return [0.0] * codes.shape[1]
    draw = np.random.default_rng(_SEED)
    losses = np.zeros(codes.shape[1])
    for learned, judged in KFold(_FOLDS, shuffle=True, random_state=_SEED).split(filled):
        forest = ExtraTreesRegressor(_TREES, min_samples_leaf=2, random_state=_SEED)
        forest.fit(filled[learned], ranks[learned])
        error = np.square(forest.predict(filled[judged]) - ranks[judged]).mean()
        for start in range(0, len(varied), _AT_ONCE):
            columns = varied[start : start + _AT_ONCE]
            rows = [_shuffled(filled[judged], there[judged], column, draw) for column in columns.tolist()]
            foretold = forest.predict(np.concatenate(rows)).reshape(len(columns), _SHUFFLES, -1)
            losses[columns] += np.square(foretold - ranks[judged]).mean(axis=(1, 2)) - error
    return [float(loss) for loss in np.maximum(losses, 0.0)]


def _shuffled(rows: Codes, there: NDArray[np.bool_], column: int, draw: np.random.Generator) -> Codes:
    """The rows _SHUFFLES times over, with the values of one column shuffled among the rows that have them."""
    import numpy as np

    copies = np.tile(rows, (_SHUFFLES, 1))
    places = np.flatnonzero(there[:, column])
    for copy in range(_SHUFFLES):
        copies[copy * len(rows) + places, column] = draw.permutation(rows[places, column])
    return copies
