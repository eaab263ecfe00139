"""Curves as tables: a row for a group, a column for a sparsity, what is missing left empty."""

from __future__ import annotations

from typing import Any

from autoprune.results.curves import curve_lines, curve_tables

WEIGHTS: dict[str, Any] = {
    "dense": {"default": 91.25},
    "groups": {
        "level": [
            {"name": "conv1", "layers": ["conv1"], "size": 72, "units": None},
            {"name": "conv2", "layers": ["conv2"], "size": 1152, "units": None},
        ]
    },
    "curves": [
        {"pruner": "level", "group": "conv1", "sparsities": [0.5, 0.69], "values": [80.0, None]},
        {"pruner": "level", "group": "conv2", "sparsities": [0.5, 0.7], "values": [91.0, 85.25]},
    ],
}


def test_lines_are_aligned() -> None:
    assert curve_lines(WEIGHTS) == [
        "level: the model where one layer alone has this sparsity, untrained (dense: 91.25)",
        "layer   size  0.5    0.7",
        "conv1     72   80      -",
        "conv2  1,152   91  85.25",
    ]


def test_what_stands_for_a_pruner_that_is_not_scanned_itself_is_shown_with_its_groups() -> None:
    """Of gradual pruning the curves are those of level."""
    (groups,) = WEIGHTS["groups"].values()
    facts = {**WEIGHTS, "groups": {"gradual": groups}}
    assert curve_lines(facts) == curve_lines(WEIGHTS)
    filters = [{"name": "conv1", "layers": ["conv1"], "size": 72, "units": 8}]
    other = {"pruner": "l1", "group": "conv1", "sparsities": [0.5], "values": [80.0]}
    facts |= {"groups": {"l1": filters, "gradual": groups}, "curves": [other, *WEIGHTS["curves"]]}
    assert [(table.pruner, len(table.rows)) for table in curve_tables(facts)] == [("l1", 1), ("level", 2)]


def test_groups_of_few_filters_stand_in_the_nearest_columns() -> None:
    facts = {
        **WEIGHTS,
        "groups": {
            "l1": [
                {"name": "few", "layers": ["a"], "size": 900, "units": 4},
                {"name": "many", "layers": ["b"], "size": 90, "units": 100},
            ]
        },
        "curves": [
            {"pruner": "l1", "group": "few", "sparsities": [0.5, 0.75], "values": [1.0, 2.0]},
            {"pruner": "l1", "group": "many", "sparsities": [0.5, 0.7, 0.9], "values": [3.0, 4.0, 5.0]},
        ],
    }
    (table,) = curve_tables(facts)
    assert table.columns == ("layer", "size", "0.5", "0.7", "0.9")
    assert table.rows == (("few", "4 filters", "1", "2", ""), ("many", "100 filters", "3", "4", "5"))


def test_without_a_scan_there_is_no_table() -> None:
    assert curve_tables({**WEIGHTS, "curves": []}) == []
    assert curve_lines({**WEIGHTS, "curves": []}) == []
