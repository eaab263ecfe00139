"""The card of a model: what it is, how good it is and beside what, what it costs, how to load it and make it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from autoprune.labels import figure_name
from autoprune.protocol import DEFAULT
from autoprune.records import JSON
from autoprune.search.checkpoint import MASKS, WEIGHTS
from autoprune.search.result import Contender, Result, Verdict

_NOTHING = "-"
_BUDGETS = {
    "sparsity": "sparsity of the searched layers",
    "parameters": "parameters",
    "macs": "MACs",
    "size": "bytes of weights",
    "latency": "latency",
}


def card(result: Result) -> str:
    """The whole page, as Markdown."""
    return "\n\n".join(_sections(result)) + "\n"


def _sections(result: Result) -> Iterator[str]:
    yield f"# {result.experiment}, trial {result.trial}"
    yield _summary(result)
    yield result.said
    if result.budget:
        yield _budget(result)
    yield "## How good it is"
    yield _table(("", "validation", "test"), _stages(result))
    if result.further and not result.went_on:
        yield f"Training for {_epochs(result.further, 'more ')} did not make it better on validation, and was not kept."
    if result.verdict is not None:
        yield "## Beside the allocations that it started from"
        yield result.verdict.said
        yield from _contenders(result)
    yield "## Layers"
    yield _table(("layer", "requested", "achieved", f"{result.kind} kept", "of"), _layers(result))
    yield "## What it costs"
    yield _table(("", "dense", "this model", "dense / this"), _costs(result))
    for note in result.notes:
        yield f"{note[0].upper()}{note[1:]}."
    yield "## Load it"
    yield _loading(result)
    yield "## Make it again"
    yield f"```sh\n{result.again}\n```"
    yield "It is the same model but for rounding, on the same machine with as many threads, while the task is the same."


def headline(result: Result) -> str:
    """How good the model is and what it costs, beside the dense one."""
    seen = [
        f"{_number(values['final'][DEFAULT])} on {name} (dense {_number(values['dense'][DEFAULT])})"
        for name, values in (("validation", result.validation), ("test", result.test))
        if values
    ]
    smaller = result.form == "compact"
    names = ("parameters", "macs") if smaller else ("nonzeros",)
    by_name = {figure["name"]: figure for figure in result.figures}
    fewer = [f"{_times(by_name[name])} fewer {figure_name(name)}" for name in names if by_name[name]["ratio"]]
    latency = by_name["median ms, batch 1"]
    if smaller and latency["ratio"]:
        fewer.append(f"{latency['after']:.3g} ms for one example in place of {latency['before']:.3g}")
    return f"{', '.join(seen)}; {', '.join(fewer)}."


def verdict(found: Verdict, contenders: Sequence[Contender], *, maximize: bool) -> str:
    """Whether the search is ahead of the best starting point: by more than noise on validation, and what test says."""
    if found.rival is None:
        return "The search began without a starting point to compare it with."
    by_trial = {each.trial: each for each in contenders}
    winner, rival = by_trial[found.winner], by_trial[found.rival]
    best = f"the best starting point, {rival.name} (trial {rival.trial})"
    if winner is rival:
        return f"The search is not ahead: nothing that it found is better than {best}; this model is made of that."
    means = _mean(winner), _mean(rival)
    beside = f"{_number(means[0])} against {_number(means[1])}"
    on_test, denied = _on_test(_known(winner.test), _known(rival.test), maximize)
    if found.ahead is None:
        why = "too few repeats for the noise" if found.noise is None else "repeats are equal, whatever their seeds"
        return f"Nobody can tell whether the search is ahead of {best}: {beside} on validation, but {why}.{on_test}"
    ahead, more = ("is", "more") if found.ahead else ("is not", "no more")
    where = f", on validation alone: {beside}" if found.ahead and denied else f": {beside} on validation"
    return (
        f"The search {ahead} ahead of {best}{where}. The difference of {_number(abs(means[0] - means[1]))} is {more} "
        f"than noise (t test, 5 %), with a standard deviation of {_number(found.noise)} of one evaluation.{on_test}"
    )


def _on_test(winner: Sequence[float], rival: Sequence[float], maximize: bool) -> tuple[str, bool]:
    """What test says of the two, and whether it denies that the first is better; nothing where one was not tested."""
    if not winner or not rival:
        return "", False
    means = fmean(winner), fmean(rival)
    said = f" On test, by which nothing was chosen, it has {_number(means[0])} against {_number(means[1])}."
    return said, not (means[0] > means[1] if maximize else means[0] < means[1])


def _summary(result: Result) -> str:
    task = f"`{result.task}` of `{Path(result.file).name}`"
    given = f" with {', '.join(f'`{name}={value!r}`' for name, value in result.arguments.items())}"
    further = f", and for {_epochs(result.further, 'more ')}" if result.went_on else ""
    forms = {
        "masked": "Single weights are zero; the model is as large and as fast as before.",
        "compact": "Filters are gone: the model is really smaller.",
    }
    return (
        f"The model of {task}{given if result.arguments else ''}, pruned by `{result.pruner}` and trained for "
        f"{_epochs(result.epochs)}{further}. {forms.get(result.form, 'Nothing of it is gone.')}"
    )


def _budget(result: Result) -> str:
    kind, given, achieved = (result.budget[name] for name in ("kind", "given", "achieved"))
    name, has = _BUDGETS[kind], f"{_number(achieved)}{' ms' if kind == 'latency' else ''}"
    if kind == "sparsity" or isinstance(given, str):
        asked = f"a {name} of {_number(given)}"
    elif given < 1:
        asked = f"{given:.6g} of the {name} of the dense model"
    else:
        asked = f"{_number(given)} {name}"
    of = f" of {_number(result.budget['dense'])}" if kind != "sparsity" and "dense" in result.budget else ""
    within = f", measured, within {result.budget['tolerance'] * 100:g} %" if "tolerance" in result.budget else ""
    return f"The budget is {asked}{within}. This model has {has}{of}."


def _stages(result: Result) -> Iterator[tuple[str, ...]]:
    """The model on its way; validation and test."""
    further = f", trained for {_epochs(result.further, 'more ')}" if result.went_on else ""
    names = {
        "dense": "dense",
        "pruned": "pruned, before training",
        "trained": f"trained for {_epochs(result.epochs)}",
        "final": f"**this model**{further}",
    }
    for stage, name in names.items():
        yield name, *(_number(values.get(stage, {}).get(DEFAULT)) for values in (result.validation, result.test))


def _contenders(result: Result) -> Iterator[str]:
    noise = None if result.verdict is None else result.verdict.noise
    rows = [
        (
            each.name or "**found by the search**",
            str(each.trial),
            _number(each.validation),
            _spread(each.repeats, noise),
            _spread(_known(each.test), None),
        )
        for each in result.contenders
    ]
    yield _table(("allocation", "trial", "validation", "repeats", "test"), rows)
    spread = "" if noise is None else "; ± is the standard deviation of one evaluation"
    yield (
        "Repeats are means over fresh seeds, with their number in parentheses" + spread + ". The validation value of "
        "whatever was chosen for it is partly luck; repeats and test are not."
    )


def _spread(values: Sequence[float], noise: float | None) -> str:
    if not values:
        return _NOTHING
    return f"{_number(fmean(values))}{f' ± {_number(noise)}' if noise is not None else ''} ({len(values)})"


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(contender: Contender) -> float:
    """Of its repeats, which tell more than the value for which it was chosen."""
    values = contender.repeats or [contender.validation or 0.0]
    return fmean(values)


def _layers(result: Result) -> Iterator[tuple[str, ...]]:
    for each in result.layers:
        yield f"`{each.name}`", f"{each.requested:.4f}", f"{each.sparsity:.4f}", _number(each.kept), _number(each.of)


def _costs(result: Result) -> Iterator[tuple[str, ...]]:
    for each in result.figures:
        yield figure_name(each["name"]), _number(each["before"]), _number(each["after"]), _times(each)


def _times(figure: Mapping[str, JSON]) -> str:
    return _NOTHING if figure["ratio"] is None else f"{figure['ratio']:.2f}x"


def _loading(result: Result) -> str:
    """Code that works where the task's file can be imported and the files of the card are in the current folder."""
    module, task = Path(result.file).stem, result.task
    made = f"{task}({', '.join(f'{name}={value!r}' for name, value in result.arguments.items())})"
    if MASKS in result.files:
        lines = [
            "from safetensors.torch import load_file",
            f"from {module} import {task}",
            "",
            "from autoprune.compression.torch import load_masks",
            "",
            f"model = {made}.build()",
            f'model.load_state_dict(load_file("{WEIGHTS}"))',
            f'load_masks(model, "{MASKS}")  # what is pruned stays so in further training',
        ]
    else:
        lines = [
            f"from {module} import {task}",
            "",
            "from autoprune.compression.torch import load_compact",
            "",
            f'model = load_compact({made}.build, "{WEIGHTS}")',
        ]
    return "\n".join(
        [f"In this folder, with `{Path(result.file).name}` where Python finds it:", "", "```python", *lines, "```"]
    )


def _epochs(count: int, more: str = "") -> str:
    return f"{count} {more}epoch{'' if count == 1 else 's'}"


def _number(value: JSON) -> str:
    if value is None:
        return _NOTHING
    if isinstance(value, float) and not (value.is_integer() and abs(value) >= 1000):
        return f"{value:.4g}"
    return value if isinstance(value, str) else f"{int(value):,}"


def _table(headings: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> str:
    """All but the first column to the right."""
    rule = ["---", *("---:" for _ in headings[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *rows))
