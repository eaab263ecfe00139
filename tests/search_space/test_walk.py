"""Parameters from a space, and the flat form: inverses of each other for any space."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_spaces import DEEP, EVERY_TYPE, SEED, SPACES, spaces

from autoprune.errors import ConfigError, UsageError
from autoprune.search_space import Choice, defaults, flatten, sample, space_from_plain, unflatten


@given(spaces, st.integers(0, 2**32))
def test_flatten_and_unflatten_are_inverses(plain: Any, seed: int) -> None:
    space = space_from_plain(plain)
    parameters = sample(space, random.Random(seed))
    flat = flatten(space, parameters)
    assert unflatten(space, flat) == parameters
    assert flatten(space, unflatten(space, flat)) == flat


@given(spaces, st.integers(0, 2**32))
def test_parameters_survive_json(plain: Any, seed: int) -> None:
    space = space_from_plain(plain)
    parameters = sample(space, random.Random(seed))
    again = json.loads(json.dumps(parameters, allow_nan=False))
    assert again == parameters
    assert flatten(space, again) == flatten(space, parameters)


@given(spaces)
def test_every_path_names_one_dimension(plain: Any) -> None:
    space = space_from_plain(plain)
    paths = [path for path, _ in space.dimensions()]
    assert len(set(paths)) == len(paths)
    for seed in range(5):
        assert set(flatten(space, sample(space, random.Random(seed)))) <= set(paths)


@given(spaces)
def test_defaults_are_of_the_space(plain: Any) -> None:
    space = space_from_plain(plain)
    flat = flatten(space, defaults(space))
    assert all(flat[path] == 0 for path, dim in space.dimensions() if isinstance(dim, Choice) and path in flat)


def test_nested_parameters_are_as_nni_gives_them() -> None:
    space = space_from_plain(SEED)
    flat = {"prune_method": 1, "prune_method/level/conv0_sparsity": 0.3}
    assert unflatten(space, flat) == {"prune_method": {"_name": "level", "conv0_sparsity": 0.3}}


def test_defaults_are_first_options_and_medians() -> None:
    assert defaults(space_from_plain(SEED)) == {"prune_method": {"_name": "agp", "conv0_sparsity": 0.5}}
    values = defaults(space_from_plain(EVERY_TYPE))
    assert values == {
        "choice": "relu",
        "randint": 2,
        "uniform": 0.25,
        "quniform": 0.5,
        "loguniform": 0.001,
        "qloguniform": 9.0,
        "normal": 3.0,
        "qnormal": 0.0,
        "lognormal": 1.0,
        "qlognormal": 2.75,
    }


def test_values_are_plain() -> None:
    values = sample(space_from_plain(EVERY_TYPE), random.Random(0))
    assert type(values["randint"]) is int
    numeric = [value for key, value in values.items() if key not in ("choice", "randint")]
    assert all(type(value) is float for value in numeric)


def test_a_list_option_is_not_shared() -> None:
    space = space_from_plain({"a": {"_type": "choice", "_value": [[1, 2]]}})
    defaults(space)["a"].append(3)
    assert defaults(space) == {"a": [1, 2]}


def test_paths_are_told_apart_whatever_the_names() -> None:
    paths = [path for path, _ in space_from_plain(DEEP).dimensions()]
    assert paths == [
        "layer",
        "layer/conv/kernel",
        "layer/conv/kernel/small/size",
        "layer/conv/kernel/large/size",
        "layer/conv/width",
        "layer/#1",
        "layer/#1/#1",
        "a~1b",
    ]


def test_sampling_is_a_function_of_the_generator() -> None:
    for plain in SPACES.values():
        space = space_from_plain(plain)
        assert sample(space, random.Random(1)) == sample(space, random.Random(1))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "prune_method: given nothing; expected a value"),
        ({"a/b": 1, "c~#": 2}, "\na/b: given a parameter; expected only those of the space"),
        ({"a/b": 1, "c~#": 2}, "\nc~#: given a parameter; expected only those of the space"),
        ({"prune_method": "agp"}, "prune_method: given 'agp'; expected one of: agp, level"),
        ({"prune_method": {"_name": "l1"}}, "prune_method: given _name 'l1'; expected one of: agp, level"),
        ({"prune_method": {"_name": "agp"}}, "prune_method/agp/conv0_sparsity: given nothing"),
        (
            {"prune_method": {"_name": "agp", "conv0_sparsity": 0.05}},
            "conv0_sparsity: given 0.05; expected a number from 0.1 to 0.9",
        ),
        (
            {"prune_method": {"_name": "agp", "conv0_sparsity": True}},
            "conv0_sparsity: given true; expected a number from 0.1 to 0.9",
        ),
        (
            {"prune_method": {"_name": "agp", "conv0_sparsity": 0.5, "conv1_sparsity": 0.5}},
            "prune_method/agp/conv1_sparsity: given a parameter; expected only those of the space "
            "(did you mean conv0_sparsity?)",
        ),
    ],
)
def test_parameters_of_another_space_are_refused(parameters: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        flatten(space_from_plain(SEED), parameters)
    assert message in str(error.value)


def test_a_missing_flat_value_is_named() -> None:
    with pytest.raises(UsageError, match="prune_method/agp/conv0_sparsity"):
        unflatten(space_from_plain(SEED), {"prune_method": 0})


def test_importing_it_costs_little() -> None:
    code = "import sys, autoprune.search_space; print([m for m in ('numpy', 'pydantic', 'optuna') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tables_of_values_are_told_apart_as_json_does() -> None:
    values: list[Any] = [{"a": 1}, {"a": True}, {"a": 1, "b": [2]}, {}]
    space = space_from_plain({"x": {"_type": "choice", "_value": values}})
    assert [flatten(space, {"x": value})["x"] for value in values] == [0, 1, 2, 3]
    assert flatten(space, {"x": {"a": 1.0}}) == {"x": 0}
    with pytest.raises(ConfigError, match="expected one of"):
        flatten(space, {"x": {"a": 2}})
