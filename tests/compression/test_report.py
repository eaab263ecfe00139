"""The report: what was asked of each layer, what is kept of it, and whether a schedule is under way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from autoprune.compression import Report, report
from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import AGPPruner, LayerInfo, LevelPruner, Pruner, unwrap

AGP = [{"initial_sparsity": 0.0, "final_sparsity": 0.8, "start_epoch": 0, "end_epoch": 10}]


def fc(sparsity: float) -> list[dict[str, Any]]:
    return [{"sparsity": sparsity, "op_names": ["fc"]}]


def test_rows_and_totals(net: nn.Module) -> None:
    LevelPruner(net, [{"sparsity": 0.5}, {"sparsity": 0.75, "op_names": ["fc"]}]).compress()
    made = report(net)
    rows = [(row.layer, row.parameter, row.type, row.requested, row.kept, row.total) for row in made.rows]
    assert rows == [
        ("conv0", "weight", "Conv2d", "0.5", 18, 36),
        ("conv1", "weight", "Conv2d", "0.5", 108, 216),
        ("fc", "weight", "Linear", "0.75", 240, 960),
    ]
    assert [row.achieved for row in made.rows] == [0.5, 0.5, 0.75]
    assert (made.kept, made.total, made.achieved) == (366, 1212, 1 - 366 / 1212)
    assert made.pruners == ("LevelPruner",)
    assert made.unfinished == ()


def test_the_table_is_aligned(net: nn.Module) -> None:
    LevelPruner(net, [{"sparsity": 0.5, "op_names": ["conv0", "fc"]}]).compress()
    assert str(report(net)).splitlines() == [
        "layer   parameter  type    requested  achieved  kept  total",
        "conv0   weight     Conv2d  0.5          0.5000    18     36",
        "fc      weight     Linear  0.5          0.5000   480    960",
        "in all                                  0.5000   498    996",
    ]


def test_a_budget_that_layers_share(net: nn.Module) -> None:
    LevelPruner(net, [{"total_sparsity": 0.8}]).compress()
    made = report(net)
    assert {row.requested for row in made.rows} == {"0.8 in all"}
    assert made.achieved == pytest.approx(0.8, abs=1 / 1212)
    assert len({row.achieved for row in made.rows}) > 1


def test_a_schedule_under_way_is_named(net: nn.Module) -> None:
    pruner = AGPPruner(net, AGP)
    pruner.compress()
    assert report(net).unfinished == ("AGPPruner: now 0 of a schedule that ends at 0.8",)
    pruner.update_epoch(2)
    made = report(net)
    assert {row.requested for row in made.rows} == {"0.3904 of 0.8"}
    assert made.unfinished == ("AGPPruner: now 0.3904 of a schedule that ends at 0.8",)
    assert str(made).splitlines()[-1] == made.unfinished[0]
    pruner.update_epoch(10)
    assert report(net).unfinished == ()
    assert {row.requested for row in report(net).rows} == {"0.8"}


def test_entries_with_schedules_of_their_own(net: nn.Module) -> None:
    short = {"final_sparsity": 0.5, "end_epoch": 1, "op_names": ["fc"]}
    late = {"final_sparsity": 0.6, "start_epoch": 5, "end_epoch": 6, "op_names": ["conv0"]}
    pruner = AGPPruner(net, [*AGP, short, late])
    pruner.compress()
    pruner.update_epoch(5)
    assert [row.requested for row in report(net).rows] == ["0 of 0.6", "0.7 of 0.8", "0.5"]
    assert report(net).unfinished == ("AGPPruner: now 0 to 0.7 of a schedule that ends at 0.6 to 0.8",)


def test_two_pruners_on_one_model(net: nn.Module) -> None:
    LevelPruner(net, fc(0.5)).compress()
    AGPPruner(net, [{**AGP[0], "initial_sparsity": 0.25}]).compress()
    rows = {row.layer: row for row in report(net).rows}
    assert rows["fc"].requested == "0.5 and 0.25 of 0.8"
    assert rows["fc"].achieved == 0.5
    assert rows["conv0"].requested == "0.25 of 0.8"
    assert sorted(report(net).pruners) == ["AGPPruner", "LevelPruner"]


def test_rows_show_where_masks_meet(net: nn.Module) -> None:
    class Even(Pruner):
        def calc_mask(self, layer: LayerInfo, weight: Tensor) -> Tensor:
            return (torch.arange(weight.numel()) % 2 == 0).view_as(weight)

    class Third(Even):
        def calc_mask(self, layer: LayerInfo, weight: Tensor) -> Tensor:
            return (torch.arange(weight.numel()) % 3 == 0).view_as(weight)

    for kind in (Even, Third):
        kind(net, [{"op_names": ["fc"]}]).compress()
    (row,) = report(net).rows
    assert (row.kept, row.total, row.requested) == (160, 960, "- and -")


def test_masks_may_be_given(net: nn.Module) -> None:
    pruner = LevelPruner(net, fc(0.5))
    _, masks = pruner.compress()
    assert report(net, masks) == report(net)
    pruner.unwrap()
    (row,) = report(net, masks).rows
    assert (row.layer, row.kept, row.total, row.requested) == ("fc", 480, 960, "-")


def test_given_masks_must_fit(net: nn.Module) -> None:
    with pytest.raises(CompressionError, match=r"report: given a mask for 'fcc'.*did you mean fc\?"):
        report(net, {"fcc": {"weight": torch.ones(10, 96, dtype=torch.bool)}})


def test_a_model_without_masks(net: nn.Module) -> None:
    LevelPruner(net, fc(0.5)).compress()
    unwrap(net)
    with pytest.raises(CompressionError, match="report: given a model without masks"):
        report(net)


def test_a_shared_weight_is_one_row(tied: nn.Module) -> None:
    LevelPruner(tied, [{"sparsity": 0.5}]).compress()
    assert [(row.layer, row.total) for row in report(tied).rows] == [("embed", 96), ("mix", 64)]


def test_the_dict_is_json(net: nn.Module) -> None:
    AGPPruner(net, [{**AGP[0], "initial_sparsity": 0.5, "op_names": ["fc"]}]).compress()
    assert json.loads(json.dumps(report(net).to_dict())) == {
        "layers": [
            {
                "layer": "fc",
                "parameter": "weight",
                "type": "Linear",
                "requested": [{"pruner": "AGPPruner", "sparsity": 0.5, "target": 0.8, "pooled": False}],
                "achieved": 0.5,
                "kept": 480,
                "total": 960,
            }
        ],
        "achieved": 0.5,
        "kept": 480,
        "total": 960,
        "unfinished": ["AGPPruner: now 0.5 of a schedule that ends at 0.8"],
    }


def test_rich_shows_the_same(net: nn.Module) -> None:
    AGPPruner(net, AGP).compress()
    console = Console(width=120, color_system=None, record=True, file=None, quiet=False)
    with console.capture() as shown:
        console.print(report(net))
    for word in ("conv0", "Conv2d", "0 of 0.8", "1212", "in all", "now 0 of a schedule that ends at 0.8"):
        assert word in shown.get()


def test_a_report_stays_as_it_was(net: nn.Module, train: Callable[..., None]) -> None:
    pruner = AGPPruner(net, AGP)
    pruner.compress()
    first = report(net)
    pruner.update_epoch(10)
    assert isinstance(first, Report)
    assert first.achieved == 0.0
    assert report(net).achieved == pytest.approx(0.8, abs=2 / 1212)


def test_neither_torch_nor_rich_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, autoprune.compression as c; print(sorted({'torch', 'rich', 'numpy', 'yaml'} & set(sys.modules)));"
        "c.load_configure; print('torch' in sys.modules);"
        "from autoprune.compression.reporting import report; print(c.report is report)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split("\n")[:3] == ["[]", "False", "True"]


def test_a_name_that_compression_has_not() -> None:
    import autoprune.compression as compression

    with pytest.raises(AttributeError, match="has no attribute 'reprot'"):
        _ = compression.reprot
    assert set(dir(compression)) >= {"report", "Report", "load_configure"}
