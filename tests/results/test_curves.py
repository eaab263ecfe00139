"""Curves as tables: of each group the sparsities that were measured, and below each its value."""

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
        "layer   size     point    1      2",
        "conv1     72  sparsity  0.5   0.69",
        "conv1            value   80      -",
        "conv2  1,152  sparsity  0.5    0.7",
        "conv2            value   91  85.25",
    ]


def test_what_stands_for_a_pruner_that_is_not_scanned_itself_is_shown_with_its_groups() -> None:
    """Of gradual pruning the curves are those of level."""
    (groups,) = WEIGHTS["groups"].values()
    facts = {**WEIGHTS, "groups": {"gradual": groups}}
    assert curve_lines(facts) == curve_lines(WEIGHTS)
    filters = [{"name": "conv1", "layers": ["conv1"], "size": 72, "units": 8}]
    other = {"pruner": "l1", "group": "conv1", "sparsities": [0.5], "values": [80.0]}
    facts |= {"groups": {"l1": filters, "gradual": groups}, "curves": [other, *WEIGHTS["curves"]]}
    assert [(table.pruner, len(table.rows)) for table in curve_tables(facts)] == [("l1", 2), ("level", 4)]


def test_each_group_has_its_own_sparsities() -> None:
    """Where few filters can go, 0.938 is no 0.95 and no 0.98, and of two that are near to one another both are told."""
    facts = {
        **WEIGHTS,
        "groups": {
            "l1": [
                {"name": "few", "layers": ["a"], "size": 900, "units": 32},
                {"name": "many", "layers": ["b"], "size": 90, "units": 64},
                {"name": "other", "layers": ["c"], "size": 9, "units": 2},
            ]
        },
        "curves": [
            {"pruner": "l1", "group": "few", "sparsities": [0.9375, 0.96875], "values": [60.56, 45.28]},
            {"pruner": "l1", "group": "many", "sparsities": [0.906, 0.953, 0.984], "values": [37.2, 30.0, 10.5]},
        ],
    }
    (table,) = curve_tables(facts)
    assert table.columns == ("layer", "size", "point", "1", "2", "3")
    assert table.rows == (
        ("few", "32 filters", "sparsity", "0.938", "0.969", ""),
        ("few", "", "value", "60.56", "45.28", ""),
        ("many", "64 filters", "sparsity", "0.906", "0.953", "0.984"),
        ("many", "", "value", "37.2", "30", "10.5"),
        ("other", "2 filters", "sparsity", "", "", ""),
        ("other", "", "value", "", "", ""),
    )


def test_without_a_scan_there_is_no_table() -> None:
    assert curve_tables({**WEIGHTS, "curves": []}) == []
    assert curve_lines({**WEIGHTS, "curves": []}) == []
