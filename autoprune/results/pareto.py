"""Which results no other result beats when several numbers count."""

from __future__ import annotations

from collections.abc import Sequence


def front(losses: Sequence[Sequence[float]]) -> list[int]:
    """The places of the results that no other dominates, where smaller is better; of equal ones, all.

    One dominates another that is nowhere better and somewhere worse. In ascending order a result can only be
    dominated by an earlier one, and then by an earlier one of the front; so each is compared with the front alone.
    """
    import numpy as np

    if not losses:
        return []
    distinct, which = np.unique(np.asarray(losses, dtype=float), axis=0, return_inverse=True)
    kept: list[int] = []
    best = np.empty_like(distinct)
    for place, candidate in enumerate(distinct):
        if not (best[: len(kept)] <= candidate).all(axis=1).any():
            best[len(kept)] = candidate
            kept.append(place)
    return [int(place) for place in np.flatnonzero(np.isin(which.reshape(-1), kept))]
