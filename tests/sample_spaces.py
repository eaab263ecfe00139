"""Search spaces to test with: a few by hand, and any number from hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

SEED = {
    "prune_method": {
        "_type": "choice",
        "_value": [
            {"_name": "agp", "conv0_sparsity": {"_type": "uniform", "_value": [0.1, 0.9]}},
            {"_name": "level", "conv0_sparsity": {"_type": "uniform", "_value": [0.01, 0.9]}},
        ],
    }
}
EVERY_TYPE = {
    "choice": {"_type": "choice", "_value": ["relu", 3, 0.5, None, True, [1, 2]]},
    "randint": {"_type": "randint", "_value": [-2, 7]},
    "uniform": {"_type": "uniform", "_value": [-1.5, 2]},
    "quniform": {"_type": "quniform", "_value": [0, 1, 0.1]},
    "loguniform": {"_type": "loguniform", "_value": [1e-5, 0.1]},
    "qloguniform": {"_type": "qloguniform", "_value": [1, 100, 3]},
    "normal": {"_type": "normal", "_value": [3, 2]},
    "qnormal": {"_type": "qnormal", "_value": [0, 5, 0.5]},
    "lognormal": {"_type": "lognormal", "_value": [0, 1]},
    "qlognormal": {"_type": "qlognormal", "_value": [1, 1, 0.25]},
}
DEEP = {
    "layer": {
        "_type": "choice",
        "_value": [
            {
                "_name": "conv",
                "kernel": {
                    "_type": "choice",
                    "_value": [
                        {"_name": "small", "size": {"_type": "randint", "_value": [1, 4]}},
                        {"_name": "large", "size": {"_type": "quniform", "_value": [5, 11, 2]}},
                        "none",
                    ],
                },
                "width": {"_type": "loguniform", "_value": [8, 512]},
            },
            {"_type": "choice", "_value": ["skip", {"_type": "uniform", "_value": [0, 1]}]},
            {"_name": "empty"},
        ],
    },
    "a/b": {"_type": "uniform", "_value": [0, 1]},
}
SPACES: dict[str, Any] = {
    "seed": SEED,
    "every type": EVERY_TYPE,
    "choice in choice": DEEP,
    "one option": {"only": {"_type": "choice", "_value": ["this"]}, "x": {"_type": "uniform", "_value": [0, 1]}},
}

_names = st.text(st.characters(codec="ascii", exclude_characters="\x00"), min_size=1, max_size=4).filter(
    lambda name: name != "_name"
)
_numbers = st.floats(-1e6, 1e6)


def _ordered(low: Any, high: Any) -> Any:
    return st.tuples(low, high).filter(lambda pair: pair[0] < pair[1])


def _definition(kind: str, value: Any) -> dict[str, Any]:
    return {"_type": kind, "_value": list(value)}


def _stepped(kind: str, bounds: Any, least: float) -> Any:
    """Bounds with a step that divides them into 1 to 50 parts, so that one multiple is inside."""
    parts = st.integers(1, 50)
    return st.tuples(bounds, parts).map(
        lambda drawn: _definition(kind, [*drawn[0], max((drawn[0][1] - drawn[0][0]) / drawn[1] / 2, least)])
    )


_range = _ordered(_numbers, _numbers).filter(lambda pair: pair[1] - pair[0] > 1e-3)
_positive = _ordered(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)).filter(lambda pair: pair[1] > pair[0] * 1.001)
_spread = st.tuples(st.floats(-10, 10), st.floats(1e-3, 10))
_steps = st.floats(1e-3, 10)

leaves = st.one_of(
    _ordered(st.integers(-1000, 1000), st.integers(-1000, 1000)).map(lambda pair: _definition("randint", pair)),
    _range.map(lambda pair: _definition("uniform", pair)),
    _positive.map(lambda pair: _definition("loguniform", pair)),
    _stepped("quniform", _range, 1e-9),
    _stepped("qloguniform", _positive, 1e-12),
    _spread.map(lambda pair: _definition("normal", pair)),
    _spread.map(lambda pair: _definition("lognormal", pair)),
    st.tuples(_spread, _steps).map(lambda drawn: _definition("qnormal", [*drawn[0], drawn[1]])),
    st.tuples(_spread, _steps).map(lambda drawn: _definition("qlognormal", [*drawn[0], drawn[1]])),
)


@st.composite
def _choices(draw: st.DrawFn, depth: int) -> dict[str, Any]:
    """A choice of words, branches, and at most one leaf and one choice, which share no words with it."""
    options: list[Any] = [f"{depth} {word}" for word in draw(st.lists(_names, max_size=3, unique=True))]
    options += draw(st.sampled_from([[], [None], [True, False], [["a", 1], ["a", 2]]])) if depth == 0 else []
    if depth < 2:
        for name in draw(st.lists(_names, max_size=2, unique=True)):
            options.append({"_name": f"{depth} {name}", **draw(_groups(depth + 1))})
    if depth < 2 and draw(st.booleans()):
        options.append(draw(_choices(depth + 2)))
    elif draw(st.booleans()):
        options.append(draw(leaves))
    return _definition("choice", draw(st.permutations(options or ["only"])))


def _groups(depth: int) -> Any:
    return st.dictionaries(_names, st.one_of(leaves, _choices(depth)), min_size=0 if depth else 1, max_size=3)


spaces = _groups(0)
"""Valid search spaces as plain dicts."""
