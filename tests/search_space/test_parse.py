"""Reading a search space, and every mistake in it with its place and remedy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sample_spaces import SPACES

from autoprune.document import parse
from autoprune.errors import ConfigError
from autoprune.search_space import (
    Branch,
    Choice,
    Constant,
    Normal,
    RandInt,
    Space,
    Uniform,
    parse_space,
    space_from_plain,
)

MISTAKES = [
    ('{"_type": "unifrom", "_value": [0, 1]}', "1:17: x: given _type 'unifrom'", "did you mean uniform?"),
    ('{"_type": 3, "_value": [0, 1]}', "1:17: x: given _type 3", "valid: choice, randint"),
    ('{"_type": "uniform"}', "1:7: x: given a table without _value", ""),
    ('{"_value": [0, 1]}', "1:7: x: given a table without _type", ""),
    ('{"_type": "uniform", "_valeu": [0, 1]}', "1:28: x: given the key _valeu", "did you mean _value?"),
    ('{"type": "uniform", "_value": [0, 1]}', "1:8: x: given the key type", "did you mean _type?"),
    ('{"_type": "uniform", "_value": [0, 1], "more": 1}', "1:46: x: given the key more", "valid: _type, _value"),
    ("0.5", "1:7: x: given 0.5; expected a definition", 'for a fixed value: {"_type": "choice", "_value": [0.5]}'),
    ('{"_type": "uniform", "_value": [0.9, 0.1]}', "1:38: x: given [0.9, 0.1]", "swap them: [0.1, 0.9]"),
    ('{"_type": "uniform", "_value": [1, 1]}', "given [1, 1]; expected low below high", "for a fixed value use choice"),
    ('{"_type": "randint", "_value": [3, 3]}', "given [3, 3]; expected low below high", "high is exclusive"),
    ('{"_type": "uniform", "_value": [0, 1, 2]}', "1:38: x: given a list of 3; expected [low, high] for uniform", ""),
    ('{"_type": "quniform", "_value": [0, 1]}', "given a list of 2; expected [low, high, q] for quniform", ""),
    ('{"_type": "uniform", "_value": 3}', "1:38: x: given 3; expected [low, high] for uniform", ""),
    ('{"_type": "uniform", "_value": ["0.1", 1]}', "1:39: x: given '0.1'; expected a finite number", "without quotes"),
    ('{"_type": "uniform", "_value": [0, true]}', "1:42: x: given true; expected a finite number as high", ""),
    ('{"_type": "uniform", "_value": [0, 1e999]}', "1:42: x: given '1e999'; expected a finite number as high", ""),
    ('{"_type": "randint", "_value": [0.5, 3]}', "1:39: x: given 0.5; expected a whole number", "quniform has steps"),
    ('{"_type": "randint", "_value": [0, 3.0]}', "1:42: x: given 3.0; expected a whole number", "write 3"),
    ('{"_type": "quniform", "_value": [0, 1, 0]}', "1:46: x: given q 0; expected q above 0", ""),
    ('{"_type": "quniform", "_value": [0.1, 0.4, 1]}', "given q 1; expected a q with a multiple", "at most 0.3"),
    ('{"_type": "loguniform", "_value": [0, 1]}', "1:42: x: given low 0; expected low above 0", "such as 1e-4"),
    ('{"_type": "qloguniform", "_value": [-1, 1, 1]}', "given low -1; expected low above 0", ""),
    ('{"_type": "normal", "_value": [0, 0]}', "1:41: x: given sigma 0; expected sigma above 0", ""),
    ('{"_type": "qlognormal", "_value": [0, 1, -1]}', "given q -1; expected q above 0", ""),
    ('{"_type": "choice", "_value": []}', "1:37: x: given an empty list; expected a list of at least one option", ""),
    ('{"_type": "choice", "_value": "relu"}', "given 'relu'; expected a list of at least one option", ""),
    ('{"_type": "choice", "_value": [1, 2, 1.0]}', "1:44: x: given the same option 1.0 as on line 1", ""),
    (
        '{"_type": "choice", "_value": [{"_name": "a"}, {"_name": "a"}]}',
        "1:64: x: given the same _name 'a' as on line 1; expected each _name once",
        "",
    ),
    ('{"_type": "choice", "_value": [{"a": 1}]}', "1:38: x/#0: given a nested option without _name", 'add "_name"'),
    ('{"_type": "choice", "_value": [{"name": "a"}]}', "1:39: x/#0: given a nested option", "did you mean _name"),
    ('{"_type": "choice", "_value": [{"a": 1}, "b"]}', "1:38: x/#0: given a nested option", 'add "_name"'),
    ('{"_type": "choice", "_value": [{"_name": "b"}, {"a": 1}]}', "1:54: x/#1: given a nested option", "_name"),
    (
        '{"_type": "choice", "_value": [{"_name": "b"}, {"a": {"_type": "uniform", "_value": [0, 1]}}]}',
        "1:54: x/#1: given a nested option without _name",
        "",
    ),
    ('{"_type": "choice", "_value": [{"a": 1}, {"a": 1.0}]}', "given the same option a table as on line 1", ""),
    ('{"_type": "choice", "_value": [{"_name": 1}]}', "1:48: x/#0: given _name 1; expected a string", "in quotes"),
    (
        '{"_type": "choice", "_value": [{"_name": "a", "b": 3}]}',
        "1:58: x/a/b: given 3; expected a definition",
        'for a fixed value: {"_type": "choice", "_value": [3]}',
    ),
    ('{"_type": "choice", "_value": [[{"_name": "a"}]]}', "given a table inside a list as an option", ""),
    (
        '{"_type": "choice", "_value": [{"_type": "uniform", "_value": [0, 2]}, 1]}',
        "given the same option 1 as on line 1",
        "",
    ),
    (
        '{"_type": "choice", "_value": [{"_type": "uniform", "_value": [0, 2]}, {"_type": "normal","_value": [9, 1]}]}',
        "given an option with the same values as on line 1; expected options that their values tell apart",
        "make each a table with a _name",
    ),
]


def problems(text: str) -> ConfigError:
    node, _ = parse(text, "space.json", json=True)
    with pytest.raises(ConfigError) as raised:
        parse_space(node)
    return raised.value


@pytest.mark.parametrize(("definition", "said", "remedy"), MISTAKES)
def test_a_mistake_is_named_with_its_place(definition: str, said: str, remedy: str) -> None:
    error = problems(f'{{"x": {definition}}}')
    assert said in str(error)
    assert remedy in error.problems[0].remedy
    assert len(error.problems) == 1
    mark = error.problems[0].mark
    assert mark is not None
    assert mark.line == 1


def test_all_mistakes_are_shown_at_once() -> None:
    lines = [f'"x{index}": {definition}' for index, (definition, _, _) in enumerate(MISTAKES)]
    error = problems("{\n" + ",\n".join(lines) + "}")
    assert [problem.mark.line for problem in error.problems if problem.mark] == list(range(2, len(MISTAKES) + 2))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty search space; expected at least one parameter"),
        ("{}", "an empty search space; expected at least one parameter"),
        ("[1]", "given a list; expected a table of parameter names"),
        ('{"_type": "uniform", "_value": [0, 1]}', "given a definition without a name"),
    ],
)
def test_the_whole_must_be_a_table_of_definitions(text: str, said: str) -> None:
    assert said in str(problems(text))


def test_plain_data_has_no_lines_but_a_name() -> None:
    with pytest.raises(ConfigError, match=r"^my space: x: given _type 'unifrom'"):
        space_from_plain({"x": {"_type": "unifrom", "_value": [0, 1]}}, "my space")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_plain_data_must_be_finite(value: float) -> None:
    with pytest.raises(ConfigError, match="expected a finite number"):
        space_from_plain({"x": {"_type": "uniform", "_value": [0, value]}})
    with pytest.raises(ConfigError, match="expected a finite number"):
        space_from_plain({"x": {"_type": "choice", "_value": [value]}})
    with pytest.raises(ConfigError, match="expected a finite number"):
        space_from_plain({"x": {"_type": "choice", "_value": [{"a": [value]}, {"a": 1}]}})


def test_every_type_is_read() -> None:
    members = space_from_plain(SPACES["every type"]).members
    assert members["choice"] == Choice(tuple(Constant(value) for value in ["relu", 3, 0.5, None, True, [1, 2]]))
    assert members["randint"] == RandInt(-2, 7)
    assert members["qloguniform"] == Uniform(1, 100, log=True, q=3)
    assert members["qlognormal"] == Normal(1, 1, log=True, q=0.25)
    assert [member.kind for member in members.values()] == list(members)


def test_tables_of_values_are_options() -> None:
    values: list[Any] = [{"lr": 0.1, "sizes": [1, {"a": None}]}, {"lr": True}, {"lr": 1}, {}]
    space = space_from_plain({"x": {"_type": "choice", "_value": values}})
    assert space.members["x"] == Choice(tuple(Constant(value) for value in values))


@pytest.mark.parametrize(
    "forgetful",
    [
        {"lr": {"_type": "uniform", "_value": [0, 1]}},
        {"lr": {"_typ": "uniform", "_value": [0, 1]}},
        {"inner": {"_name": "a"}},
        {"list": [{"_type": "choice", "_value": [1]}]},
    ],
)
def test_a_definition_among_tables_means_a_name_was_forgotten(forgetful: Any) -> None:
    with pytest.raises(ConfigError, match="x/#1: given a nested option without _name"):
        space_from_plain({"x": {"_type": "choice", "_value": [{"lr": 1}, forgetful]}})


def test_choices_nest_to_any_depth() -> None:
    plain: Any = {"_type": "uniform", "_value": [0, 1]}
    for depth in range(30):
        branch = {"_name": f"b{depth}", "inner": plain}
        plain = {"_type": "choice", "_value": [branch, {"_type": "choice", "_value": [f"w{depth}"]}]}
    assert len(list(space_from_plain({"x": plain}).dimensions())) == 61


def test_the_seed_file_is_read_with_its_trailing_commas() -> None:
    text = """{
      "prune_method": {"_type": "choice", "_value": [  // which
        {"_name": "agp", "conv0_sparsity": {"_type": "uniform", "_value": [0.1, 0.9],},},
      ]},
    }"""
    node, _ = parse(text, "space.json", json=True)
    assert parse_space(node) == Space({"prune_method": Choice((Branch("agp", {"conv0_sparsity": Uniform(0.1, 0.9)}),))})


def test_yaml_and_json_read_alike() -> None:
    yaml_text = "lr:\n  _type: loguniform\n  _value: [1e-5, 1e-1]\nuse:\n  _type: choice\n  _value: [no, off]\n"
    space = parse_space(parse(yaml_text, "space.yml")[0])
    definitions = {
        "lr": {"_type": "loguniform", "_value": [1e-5, 0.1]},
        "use": {"_type": "choice", "_value": ["no", "off"]},
    }
    assert space == parse_space(parse(json.dumps(definitions), "space.json", json=True)[0])
