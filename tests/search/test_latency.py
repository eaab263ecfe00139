"""Budgets of time: by a clock that is made up, what is chosen; by the real one, that it can be asked."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autoprune.errors import UsageError
from autoprune.latency import TOLERANCE, highest, milliseconds
from autoprune.search import channels
from autoprune.search.grouping import Granularity
from autoprune.search.latency import LatencyScaler
from autoprune.search.pruning import pruned
from autoprune.search.scaling import Budget
from autoprune.search.timing import Notes, Stopwatch, times, times_by_layer
from tests.compression import recount
from tests.compression.compacting import chain, conv, image
from tests.search.bench import Bench

LAYERS = ("0", "2", "4")


def wide_net() -> nn.Module:
    return chain(
        conv(3, 40), nn.ReLU(), conv(40, 64), nn.ReLU(), conv(64, 40), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(40, 5),
    )  # fmt: skip


@dataclass
class Clock:
    """A second for each million of multiply-accumulates, after `overhead` milliseconds; rounded up to whole `steps`.

    The machine is slower by `drift` at each round. `asked` counts the models that were timed beside the dense one. The
    table says that all layers take as long.
    """

    overhead: float = 100.0
    steps: float = 0.001
    drift: float = 1.0
    asked: int = 0
    speed: float = field(default=1.0, init=False)

    def times(self, models: Sequence[nn.Module], example: Any) -> list[list[float]]:
        self.asked += len(models) > 1
        rounds = []
        for _ in range(3):
            rounds.append([self.speed * self.of(model, example) for model in models])
            self.speed *= self.drift
        return [list(each) for each in zip(*rounds, strict=True)]

    def of(self, model: nn.Module, example: Any) -> float:
        return -(-(self.overhead + recount.macs(model, example) / 1000) // self.steps) * self.steps

    def by_layer(self, model: nn.Module, example: Any) -> Mapping[str, float]:
        return {"": 1.0, "0": 10.0, "2": 10.0, "4": 10.0, "7": 1.0}


class Broken(Clock):
    """Nobody may ask it."""

    def times(self, models: Sequence[nn.Module], example: Any) -> list[list[float]]:
        raise AssertionError("timed again")

    def by_layer(self, model: nn.Module, example: Any) -> Mapping[str, float]:
        raise AssertionError("timed again")


def scaler_of(
    budget: float | str, clock: Clock, file: Path | None = None, granularity: Granularity = "layer"
) -> LatencyScaler:
    model, example = wide_net(), image()
    watch = Stopwatch(model, example, Notes(file), clock.times, clock.by_layer)
    return LatencyScaler(model, example, Budget("latency", budget), granularity, watch)


def really(layers: Mapping[str, float], clock: Clock) -> float:
    """The time of the model that pruners make of it, as a share of the dense one's."""
    model, example = wide_net(), image()
    dense = clock.of(model, example)
    return clock.of(pruned(model, "l1", layers, example), example) / dense


def proposals(count: int) -> Iterator[dict[str, float]]:
    draw = random.Random(5)
    return ({layer: draw.uniform(0, 0.95) for layer in LAYERS} for _ in range(count))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_plans_are_within_the_limit_and_near_it(share: float) -> None:
    """Whatever the table says of the layers; a channel is worth less than the tolerance here."""
    clock = Clock(overhead=0.0)
    scaler = scaler_of(share, clock)
    for proposal in proposals(8):
        assert (1 - TOLERANCE) * share <= really(scaler.scaled(proposal), clock) <= share


def test_a_time_is_as_good_as_a_share() -> None:
    dense = Clock().of(wide_net(), image())
    one, other = scaler_of(0.5, Clock()), scaler_of(f"{dense / 2:.9f}ms", Clock())
    for proposal in proposals(3):
        assert one.scaled(proposal) == other.scaled(proposal)
    assert other.described() == {
        "kind": "latency",
        "limit": pytest.approx(dense / 2),
        "dense": dense,
        "least": pytest.approx(dense * one.described()["least"] / dense),
        "most": dense,
        "tolerance": 0.05,
    }


def test_a_machine_that_slows_down_meanwhile_changes_nothing() -> None:
    """Of models that are timed in turn, the ratio is the same."""
    steady, slowing = scaler_of(0.4, Clock()), scaler_of(0.4, Clock(drift=1.1))
    for proposal in proposals(3):
        assert slowing.scaled(proposal) == steady.scaled(proposal)


@pytest.mark.parametrize("steps", [500.0, 2000.0])
def test_time_that_goes_in_steps_is_never_above(steps: float) -> None:
    """As that of kernels which work on many channels at once."""
    clock = Clock(steps=steps)
    scaler = scaler_of(0.5, clock)
    for proposal in proposals(4):
        assert really(scaler.scaled(proposal), clock) <= 0.5


def test_the_proportions_of_densities_are_those_proposed() -> None:
    """Within two channels of 40 or 64: whatever still fits stays."""
    layers = scaler_of(0.3, Clock()).scaled({"0": 0.6, "2": 0.2, "4": 0.6})
    first, second, third = (1 - layers[name] for name in LAYERS)
    assert first == pytest.approx(third, abs=2 / 40)
    assert second == pytest.approx(2 * first, abs=4 / 40 + 2 / 64)


@pytest.mark.parametrize("granularity", ["layer", "stage"])
def test_what_was_chosen_once_is_chosen_again(tmp_path: Path, granularity: Granularity) -> None:
    """By another process, at a time when all would take something else; and from what came out, the same comes out."""
    file = tmp_path / "latency.json"
    first = scaler_of(0.5, Clock(steps=300.0), file, granularity)
    given = list(proposals(4))
    chosen = [first.scaled(proposal) for proposal in given]
    later = scaler_of(0.5, Broken(), file, granularity)
    assert [later.scaled(proposal) for proposal in given] == chosen
    assert [later.scaled(later.of_groups(layers)) for layers in chosen] == chosen
    assert later.described() == first.described()
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == [file.name]


def test_a_search_that_was_cut_short_goes_on(tmp_path: Path) -> None:
    """Of what was measured before, nothing is measured again."""
    whole, file = Clock(), tmp_path / "latency.json"
    proposal = next(proposals(1))
    chosen = scaler_of(0.5, whole, file).scaled(proposal)
    notes = json.loads(file.read_text())
    shares = {name for name in notes if name.startswith("share")}
    assert whole.asked == len(shares)
    file.write_text(json.dumps({name: value for name, value in notes.items() if not name.startswith("for")}))
    assert scaler_of(0.5, Broken(), file).scaled(proposal) == chosen


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (0.01, r"^budget\.latency: given 0\.01; expected what can be reached, as measured here: 0\.0\d+ to 1 of the "),
        ("1us", r"^budget\.latency: given 1us; expected what can be reached, as measured here: \d+\.?\d*ms to \S+ms$"),
        ("1000s", r"^budget\.latency: given 1000s; expected what can be reached"),
    ],
)
def test_what_can_not_be_reached_is_refused_with_what_can(budget: float | str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        scaler_of(budget, Clock(overhead=200.0))


def test_the_least_that_can_be_reached_is_reached() -> None:
    """With one filter of each layer, where nothing that is slower is within the limit."""
    clock = Clock(overhead=200.0, steps=1000.0)
    numbers = scaler_of(0.5, clock).described()
    least = scaler_of(numbers["least"] / numbers["dense"] * (1 + 1e-9), clock)
    assert really(least.scaled(dict.fromkeys(LAYERS, 0.5)), clock) * numbers["dense"] == pytest.approx(1000.0)


def test_layers_shrink_with_both_of_their_sides() -> None:
    """Of 10 for each convolution, and 2 for the rest: the first one keeps half of its filters, the second half of its
    filters and inputs, the third a half of its inputs; the last layer and the rest stay."""
    scaler = scaler_of(0.5, Clock())
    whole, half = scaler.left(dict.fromkeys(LAYERS, 0.0)), scaler.left({"0": 0.5, "2": 0.5, "4": 0.0})
    assert whole is not None
    assert half is not None
    assert half / whole == pytest.approx((10 / 2 + 10 / 4 + 10 / 2 + 2) / 32)


@given(st.floats(0.01, 1000), st.sampled_from(["us", "ms", "s"]))
def test_times_with_units(number: float, unit: str) -> None:
    assert milliseconds(f"{number:f}{unit}") == pytest.approx(
        float(f"{number:f}") * 1000 ** ["us", "ms", "s"].index(unit) / 1000
    )
    assert highest(f"{number:f} ms") == ("latency_ms", pytest.approx(1.05 * float(f"{number:f}")))


def test_the_first_of_two_measurements_stands(tmp_path: Path) -> None:
    one, other = Notes(tmp_path / "notes.json"), Notes(tmp_path / "notes.json")
    assert one.known("a", lambda: 1.0) == 1.0
    assert other.known("b", lambda: 2.0) == 2.0
    assert one.known("b", lambda: 3.0) == 2.0
    assert other.known("a", lambda: 3.0) == 1.0
    assert Notes(None).known("a", lambda: 3.0) == 3.0


def test_layers_are_timed_without_those_in_them() -> None:
    model = nn.Sequential(conv(3, 8), nn.Sequential(nn.ReLU(), conv(8, 8))).train()
    found = times_by_layer(model, image())
    assert found.keys() == {"", "0", "1", "1.0", "1.1"}
    assert all(ms > 0 for ms in found.values())
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_models_are_timed_in_turn() -> None:
    order: list[str] = []
    model, other = (chain(nn.Linear(4, 4)) for _ in range(2))
    for name, each in (("one", model), ("other", other)):
        each.register_forward_hook(lambda *_, name=name: order.append(name))
    found = times([model, other], torch.zeros(7, 4))
    assert order == ["one", "other"] * (len(order) // 2)
    assert len(found[0]) == len(found[1]) >= 30
    assert min(map(min, found)) > 0


def test_one_trial_looks_once_for_what_can_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, monkeypatch, task="Images", pruner="l1", budget={"macs": 0.5})
    parameters, job, looked = bench.parameters(0.5), bench.job, []
    traced = channels.traced
    monkeypatch.setattr(channels, "traced", lambda *given: looked.append(given) or traced(*given))
    model = job.dense()
    small = job.pruned(model, job.allocation(model, parameters))
    assert len(looked) == 1
    assert recount.parameters(small) < recount.parameters(job.dense())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_trials_by_the_real_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal parameters come to equal models, and each says how long it takes."""
    bench = Bench(tmp_path, monkeypatch, task="Wide", pruner="l1", budget={"latency": 0.5})
    job = replace(bench.job, settings=replace(bench.job.settings, folder=tmp_path))
    monkeypatch.setattr(Bench, "job", property(lambda _: job))
    parameters = bench.parameters(0.3, 0.6, 0.5)
    reports = [bench.trial(number, parameters, keep=True)[-1].values for number in (0, 1)]
    assert reports[0]["layers"] == reports[1]["layers"]
    assert 0 < reports[0]["sparsity"] < 1
    assert all(report["latency_ms"] > 0 and report["latency_share"] > 0 for report in reports)
    notes = json.loads((tmp_path / "latency.json").read_text())
    dense = job.scaler("filters", job.dense()).described()["dense"]
    assert notes["dense"] == dense == pytest.approx(reports[0]["latency_ms"] / reports[0]["latency_share"])
    result = bench.finish([bench.candidate(parameters, {0: 1.0})], epochs=0)
    assert result["budget"]["tolerance"] == TOLERANCE
    assert result["budget"]["achieved"] > 0
    card = (tmp_path / "best" / "card.md").read_text()
    assert "The budget is 0.5 of the latency of the dense model, measured, within 5 %. This model has " in card
