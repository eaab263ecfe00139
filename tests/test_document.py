"""Files as trees: JSON's scalars, a mark on every node, and duplicate keys found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.document import Items, Scalar, Table, describe, from_plain, parse, plain, read
from autoprune.errors import ConfigError, Mark

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=40), inner, max_size=3),
    max_leaves=8,
)


def value(text: str) -> Any:
    node, problems = parse(text, "f.yml")
    assert problems == []
    return plain(node)


@given(_json)
def test_json_is_read_as_json(data: Any) -> None:
    node, problems = parse(json.dumps({"it": data}), "f.json", json=True)
    assert problems == []
    assert plain(node) == {"it": data}


@given(_json)
def test_plain_values_and_back(data: Any) -> None:
    assert plain(from_plain(data, "f")) == data


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("-1.5E+2", -150.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("007", 7),
        ("no", "no"),
        ("on", "on"),
        ("True", True),
        ("~", None),
        ("'1'", "1"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("100h", "100h"),
    ],
)
def test_scalars_are_those_of_json(text: str, expected: Any) -> None:
    found = value(f"it: {text}")["it"]
    assert found == expected
    assert type(found) is type(expected)


def test_json_may_have_comments_trailing_commas_and_tabs() -> None:
    text = '{\t// first\n"url": "http://x/*y*/", /* more\n lines */ "list": [1, 2,],\n}'
    node, problems = parse(text, "f.json", json=True)
    assert problems == []
    assert plain(node) == {"url": "http://x/*y*/", "list": [1, 2]}
    assert isinstance(node, Table)
    assert node.entries[1].mark == Mark("f.json", 3, 11)


def test_every_node_has_its_mark() -> None:
    node, _ = parse("a: 1\nb:\n  - x\n  - {c: 2}\n", "f.yml")
    assert isinstance(node, Table)
    assert [entry.mark for entry in node] == [Mark("f.yml", 1, 1), Mark("f.yml", 2, 1)]
    items = node.get("b")
    assert isinstance(items, Items)
    assert [item.mark.line for item in items.items] == [3, 4]
    inner = items.items[1]
    assert isinstance(inner, Table)
    assert inner.get("c") == Scalar(2, Mark("f.yml", 4, 9))


def test_duplicate_keys_are_problems_and_the_first_counts() -> None:
    node, problems = parse("a: 1\nb: {c: 1, c: 2}\na: 3\n", "f.yml")
    assert plain(node) == {"a": 1, "b": {"c": 1}}
    assert [str(problem.mark) for problem in problems] == ["f.yml:2:11", "f.yml:3:1"]
    assert "first on line 1" in str(problems[1])


def test_merge_keys_and_aliases() -> None:
    assert value("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: *x\n")["y"] == {"a": 1, "b": 3}
    _, problems = parse("y: {<<: 3}\n", "f.yml")
    assert "expected a table to merge" in str(problems[0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1, 2", "f.yml:"),
        ("a: *b", "f.yml:1:4"),
        ("a: &a [*a]", "an alias to a value it is inside of"),
        ("a: 1\n---\nb: 2\n", "f.yml:2:1"),
        ("a: b: c", "f.yml:1:5"),
    ],
)
def test_what_cannot_be_parsed_says_where(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match="expected") as error:
        parse(text, "f.yml")
    assert said in str(error.value)


@pytest.mark.parametrize("text", ["", "# nothing\n", "\ufeff"])
def test_nothing_is_an_empty_table(text: str) -> None:
    assert value(text) == {}


def test_infinite_numbers_and_odd_keys_are_problems() -> None:
    _, problems = parse("a: 1e999\n? [1]\n: 2\n", "f.yml")
    assert [problem.given for problem in problems] == ["1e999", "a list or table as a key"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a file that can be read"):
        read(tmp_path / "missing.yml")
    latin = tmp_path / "latin.yml"
    latin.write_bytes("a: Zo\xeb".encode("latin-1"))
    with pytest.raises(ConfigError, match="byte 0xeb at 5; expected UTF-8 text"):
        read(latin, "shown.yml")


def test_a_file_name_says_whether_it_is_json(tmp_path: Path) -> None:
    file = tmp_path / "space.json"
    file.write_text('{"a": 1, // one\n}')
    assert plain(read(file)[0]) == {"a": 1}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "an empty table"),
        ({"a": 1}, "a table"),
        ([], "an empty list"),
        (None, "nothing"),
        (True, "true"),
        ("x", "'x'"),
        ("x" * 80, "'" + "x" * 56 + "..."),
    ],
)
def test_values_as_errors_quote_them(data: Any, text: str) -> None:
    assert describe(from_plain(data, "f")) == text


def test_deep_nesting_is_a_problem_and_no_crash() -> None:
    with pytest.raises(ConfigError, match="nested very deeply"):
        parse("a: " + "[" * 900 + "]" * 900, "deep.yml")
