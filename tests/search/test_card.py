"""The card of a model: a page made of a result alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprune.compression.cost import ZEROS
from autoprune.search.card import card, headline, verdict
from autoprune.search.result import Contender, LayerShare, Result, Verdict

CONTENDERS = [
    Contender(17, "", 80.9, [80.4, 80.8], [80.1, 80.3]),
    Contender(1, "lamp", 80.2, [80.2, 80.0], [79.9, 79.7, 80.0]),
    Contender(2, "uniform", 52.5, [], [51.9]),
]
RESULT = Result(
    experiment="resnet8-261121-abcd",
    trial=18,
    task="Task",
    file="/somewhere/task.py",
    arguments={"width": 12, "data": "digits"},
    pruner="level",
    kind="weights",
    form="masked",
    maximize=True,
    budget={"kind": "sparsity", "given": 0.95, "achieved": 0.95, "limit": 2177},
    epochs=1,
    further=2,
    went_on=True,
    validation={
        "dense": {"default": 88.2},
        "pruned": {"default": 12.1},
        "trained": {"default": 80.8},
        "final": {"default": 81.5},
    },
    test={"dense": {"default": 87.9}, "final": {"default": 81.1}},
    verdict=Verdict(17, 1, 0.2, True, "The search is ahead."),
    contenders=CONTENDERS,
    layers=[LayerShare("conv", 0.25, 0.25, 81, 108), LayerShare("fc", 0.9, 0.9, 48, 480)],
    figures=[
        {"name": "parameters", "before": 44000, "after": 44000, "ratio": 1.0},
        {"name": "nonzeros", "before": 44000, "after": 2641, "ratio": 16.66},
        {"name": "macs", "before": 1234567, "after": 1234567, "ratio": 1.0},
        {"name": "median ms, batch 1", "before": 0.5, "after": 0.25, "ratio": None},
        {"name": "peak memory, batch 1", "before": 9000, "after": 9000, "ratio": 1.0},
    ],
    notes=[ZEROS],
    files=["model.safetensors", "model.masks.safetensors", "card.md", "result.json"],
    again="autoprune refit resnet8-261121-abcd --trial 18",
    said="In short.",
)


def row(page: str, *cells: str) -> bool:
    return f"| {' | '.join(cells)} |" in page.splitlines()


def test_tells_everything_once() -> None:
    page = card(RESULT)
    assert page.startswith("# resnet8-261121-abcd, trial 18\n")
    assert "In short." in page
    assert "`Task` of `task.py` with `width=12`, `data='digits'`, pruned by `level` and trained for 1 epoch" in page
    assert "The budget is a sparsity of the searched layers of 0.95. This model has 0.95." in page
    assert row(page, "dense", "88.2", "87.9")
    assert row(page, "pruned, before training", "12.1", "-")
    assert row(page, "**this model**, trained for 2 more epochs", "81.5", "81.1")
    assert row(page, "**found by the search**", "17", "80.9", "80.6 ± 0.2 (2)", "80.2 (2)")
    assert row(page, "lamp", "1", "80.2", "80.1 ± 0.2 (2)", "79.87 (3)")
    assert row(page, "uniform", "2", "52.5", "-", "51.9 (1)")
    assert row(page, "`conv`", "0.2500", "0.2500", "81", "108")
    assert row(page, "parameters that are not zero", "44,000", "2,641", "16.66x")
    assert "The search is ahead." in page
    assert "```sh\nautoprune refit resnet8-261121-abcd --trial 18\n```" in page
    assert 'load_masks(model, "model.masks.safetensors")' in page
    assert "Task(width=12, data='digits').build()" in page
    assert "/somewhere" not in page


def test_zeros_are_never_called_a_speed_up() -> None:
    page = card(RESULT)
    assert row(page, "latency, batch 1, ms", "0.5", "0.25", "-")
    assert ZEROS[1:] in page
    assert "as large and as fast as before" in page
    assert headline(RESULT) == (
        "81.5 on validation (dense 88.2), 81.1 on test (dense 87.9); 16.66x fewer parameters that are not zero."
    )


def test_a_smaller_model() -> None:
    latency = {"name": "median ms, batch 1", "before": 0.5, "after": 0.25, "ratio": 2.0}
    counts = [{"name": name, "before": 400, "after": 100, "ratio": 4.0} for name in ("parameters", "nonzeros", "macs")]
    small = replace(
        RESULT, form="compact", kind="filters", notes=[], files=["model.safetensors"], figures=[*counts, latency]
    )
    page = card(small)
    assert "really smaller" in page
    assert "load_compact(Task(width=12, data='digits').build, \"model.safetensors\")" in page
    assert "load_masks" not in page
    assert row(page, "latency, batch 1, ms", "0.5", "0.25", "2.00x")
    assert "4.00x fewer parameters, 4.00x fewer MACs, 0.25 ms for one example in place of 0.5." in headline(small)


def test_a_trial_made_again_is_compared_with_nothing() -> None:
    page = card(replace(RESULT, verdict=None))
    assert "Beside" not in page
    assert "lamp" not in page


def test_training_on_that_did_not_help() -> None:
    page = card(replace(RESULT, went_on=False))
    assert "Training for 2 more epochs did not make it better on validation, and was not kept." in page
    assert "more epochs |" not in page


AHEAD = Verdict(17, 1, 0.2, True)
DIFFERS = (
    "80.6 against 80.1 on validation. The difference of 0.5 is more than noise (t test, 5 %), with a standard "
    "deviation of 0.2 of one evaluation."
)
TESTED = " On test, by which nothing was chosen, it has 80.2 against 79.87."


@pytest.mark.parametrize(("found", "expected"), [
    (AHEAD, f"The search is ahead of the best starting point, lamp (trial 1): {DIFFERS}{TESTED}"),
    (Verdict(17, 1, 0.6, False), "The search is not ahead of the best starting point, lamp (trial 1): 80.6 against "
     "80.1 on validation. The difference of 0.5 is no more than noise (t test, 5 %), with a standard deviation of 0.6 "
     f"of one evaluation.{TESTED}"),
    (Verdict(17, 1, None, None), "Nobody can tell whether the search is ahead of the best starting point, lamp "
     f"(trial 1): 80.6 against 80.1 on validation, but too few repeats for the noise.{TESTED}"),
    (Verdict(1, 1, 0.2, False), "The search is not ahead: nothing that it found is better than the best starting "
     "point, lamp (trial 1); this model is made of that."),
    (Verdict(17, None, None, None), "The search began without a starting point to compare it with."),
])  # fmt: skip
def test_says_plainly_whether_the_search_is_ahead(found: Verdict, expected: str) -> None:
    assert verdict(found, CONTENDERS, maximize=True) == expected


@pytest.mark.parametrize(("tests", "maximize", "expected"), [
    (([80.2], [79.0]), True, f": {DIFFERS} On test, by which nothing was chosen, it has 80.2 against 79."),
    (([79.0], [80.2]), True, f", on validation alone: {DIFFERS.replace(' on validation', '')} On test, by which "
     "nothing was chosen, it has 79 against 80.2."),
    (([79.0, None], [79.0]), True, f", on validation alone: {DIFFERS.replace(' on validation', '')} On test, by which "
     "nothing was chosen, it has 79 against 79."),
    (([79.0], [80.2]), False, f": {DIFFERS} On test, by which nothing was chosen, it has 79 against 80.2."),
    (([80.2], [79.0]), False, f", on validation alone: {DIFFERS.replace(' on validation', '')} On test, by which "
     "nothing was chosen, it has 80.2 against 79."),
    (([], [80.2]), True, f": {DIFFERS}"),
    (([80.2], [None]), True, f": {DIFFERS}"),
    (([], []), True, f": {DIFFERS}"),
])  # fmt: skip
def test_claims_nothing_that_test_denies(
    tests: tuple[list[float | None], list[float | None]], maximize: bool, expected: str
) -> None:
    winner, rival, other = CONTENDERS
    tested = [replace(winner, test=tests[0]), replace(rival, test=tests[1]), other]
    opening = "The search is ahead of the best starting point, lamp (trial 1)"
    assert verdict(AHEAD, tested, maximize=maximize) == f"{opening}{expected}"


@pytest.mark.parametrize(("budget", "expected"), [
    ({"kind": "macs", "given": 0.35, "achieved": 430000, "dense": 1234567},
     "The budget is 0.35 of the MACs of the dense model. This model has 430,000 of 1,234,567."),
    ({"kind": "parameters", "given": 250000.0, "achieved": 249990},
     "The budget is 250,000 parameters. This model has 249,990."),
    ({"kind": "latency", "given": "5ms", "achieved": 4.9},
     "The budget is a latency of 5ms. This model has 4.9 ms."),
])  # fmt: skip
def test_budgets(budget: dict[str, object], expected: str) -> None:
    assert expected in card(replace(RESULT, budget=budget))


def test_numbers_that_are_none() -> None:
    lost = replace(RESULT, validation={**RESULT.validation, "pruned": {"default": None}})
    assert row(card(lost), "pruned, before training", "-", "-")
