"""From trials to a model: make the chosen one or take its weights, train it on, test, measure, and save it."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from autoprune.compression.command.subject import cost_of, tell
from autoprune.compression.cost import Comparison, Cost, compare
from autoprune.errors import UsageError
from autoprune.latency import REPORTED
from autoprune.protocol import DEFAULT, REPORT
from autoprune.records import JSON
from autoprune.search.card import card, headline, verdict
from autoprune.search.checkpoint import CHECKPOINT, MASKS, WEIGHTS, Checkpoint, load, replacing, save
from autoprune.search.figures import Sizes, by_layer, share_gone, sizes_of
from autoprune.search.job import Allocation, Job
from autoprune.search.loading import finite
from autoprune.search.order import Candidate, Order, Run
from autoprune.search.result import Contender, LayerShare, Result, Values, Verdict

RESULT = "result.json"
CARD = "card.md"
_THREADS = "OMP_NUM_THREADS"
_FILES = (WEIGHTS, MASKS, CARD, RESULT, REPORT)


@dataclass(frozen=True)
class Made:
    """A model in the end: trained as its trial was, and further if that made it better."""

    trial: int
    trained: nn.Module
    trained_values: Values
    model: nn.Module
    values: Values
    went_on: bool


def finish(job: Job, order: Order) -> Result:
    """Make the model, and write it with its card and the result."""
    _check_place(order.out)
    job.prepare()
    dense = job.dense()
    allocation = job.allocation(dense, order.candidates[0].parameters)
    before = sizes_of(dense, allocation.sparsities)
    tell("measures the dense model")
    dense_values, dense_test = job.score(dense), _tests(job, dense)
    dense_cost = cost_of(dense, job.example)
    with _as_a_trial(order):
        pruned = job.pruned(job.dense(), allocation)
        pruned_values = job.score(copy.deepcopy(pruned))
        run, trained, trained_values = _trained(job, order, pruned)
        made = _made(job, order, run, trained, trained_values)
    tested = [_tested(job, candidate, made) for candidate in order.candidates]
    tell("measures the smaller model")
    cost = cost_of(made.model, job.example)
    after = sizes_of(made.model, before)
    compared = compare(dense_cost, cost)
    result = Result(
        experiment=order.experiment,
        trial=made.trial,
        task=job.settings.task.name,
        file=job.settings.task.file,
        arguments=job.settings.task.arguments,
        pruner=allocation.pruner,
        kind=allocation.kind,
        form=cost.form,
        maximize=job.settings.maximize,
        budget=_budget(job, allocation, before, after, made.model, cost),
        epochs=job.settings.search["epochs"],
        further=order.epochs,
        went_on=made.went_on,
        validation=_stages(dense=dense_values, pruned=pruned_values, trained=made.trained_values, final=made.values),
        test=_stages(dense=dense_test, final=_tests(job, made.model)),
        verdict=_verdict(job, order, tested),
        contenders=tested,
        layers=_layers(allocation, before, after),
        figures=[asdict(figure) for figure in compared.figures],
        notes=_notes(compared),
        files=(),
        again=_command(job, order, made),
    )
    return _written(replace(result, said=headline(result)), made.model, order.out)


def _trained(job: Job, order: Order, pruned: nn.Module) -> tuple[Run, nn.Module, Values]:
    """The best run of the first candidate whose weights were kept, or its trial made again."""
    runs = order.candidates[0].runs
    kept = [] if order.anew else [run for run in runs if run.has_weights]
    if kept:
        run = _best(job, kept)
        model = load(job.build, run.kept)
        return run, model, job.score(model)
    tell(f"trains trial {runs[0].trial} again")
    *_, values = job.fine_tuned(pruned, runs[0].trial)
    return runs[0], pruned, values


def _made(job: Job, order: Order, run: Run, trained: nn.Module, values: Values) -> Made:
    """Train on, and keep the better of both."""
    if not order.epochs:
        return Made(run.trial, trained, values, trained, values, False)
    tell(f"trains it on for {_epochs(order.epochs)}")
    further = copy.deepcopy(trained)
    job.train(further, order.epochs, "final", run.trial)
    further_values = job.score(further)
    went_on = _is_better(job, further_values, values)
    tell(f"{_default(further_values)}, from {_default(values)}: {'is kept' if went_on else 'is not kept'}")
    best = (further, further_values) if went_on else (trained, values)
    return Made(run.trial, trained, values, *best, went_on)


@contextmanager
def _as_a_trial(order: Order) -> Iterator[None]:
    """With the threads that trials have: sums in another order are other sums."""
    before = torch.get_num_threads()
    if order.threads is not None and _THREADS not in os.environ:
        torch.set_num_threads(order.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _best(job: Job, runs: Sequence[Run]) -> Run:
    best = runs[0]
    for run in runs[1:]:
        if _is_better(job, {DEFAULT: run.value}, {DEFAULT: best.value}):
            best = run
    return best


def _is_better(job: Job, one: Values, other: Values) -> bool:
    """Whether it is ahead; what is not a number is behind."""
    new, old = finite(one)[DEFAULT], finite(other)[DEFAULT]
    return new is not None and (old is None or job.better(new, old))


def _tested(job: Job, candidate: Candidate, made: Made) -> Contender:
    """With the test values of all models that were kept of it; or of the one that was made again."""
    first, *repeats = candidate.runs
    test: list[float | None] = []
    if job.offers("test"):
        kept = [run for run in candidate.runs if run.has_weights]
        if kept:
            tell(f"tests trial {candidate.trial}{f' ({candidate.name})' if candidate.name else ''}")
        test = [finite(job.score(load(job.build, run.kept), "test"))[DEFAULT] for run in kept]
        if not kept and any(run.trial == made.trial for run in candidate.runs):
            test = [finite(job.score(made.trained, "test"))[DEFAULT]]
    return Contender(
        candidate.trial, candidate.name, first.value, [run.value for run in repeats if run.value is not None], test
    )


def _tests(job: Job, model: nn.Module) -> Values:
    return job.score(model, "test") if job.offers("test") else {}


def _stages(**stages: Values) -> dict[str, Values]:
    """Those that have values."""
    return {name: finite(values) for name, values in stages.items() if values}


def _default(values: Values) -> str:
    return f"{values[DEFAULT]:.4g}"


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def _budget(
    job: Job, allocation: Allocation, before: Sizes, after: Sizes, model: nn.Module, cost: Cost
) -> dict[str, JSON]:
    """The budget in numbers, and what the model has of it."""
    given = job.settings.budget
    if given is None:
        return {}
    achieved: Mapping[str, float | None] = {
        "sparsity": share_gone(before, after),
        "parameters": cost.parameters if allocation.kind == "filters" else cost.nonzeros,
        "macs": cost.macs,
        "size": cost.weight_memory,
        "latency": job.latency(model).get(REPORTED),
    }
    return {**allocation.budget, "kind": given.kind, "given": given.amount, "achieved": achieved[given.kind]}


def _verdict(job: Job, order: Order, tested: Sequence[Contender]) -> Verdict | None:
    """With its sentence; None for a trial made again."""
    found = order.verdict
    return None if found is None else replace(found, said=verdict(found, tested, maximize=job.settings.maximize))


def _layers(allocation: Allocation, before: Sizes, after: Sizes) -> list[LayerShare]:
    return [LayerShare(name, **found) for name, found in by_layer(allocation, before, after).items()]


def _notes(compared: Comparison) -> list[str]:
    return list(dict.fromkeys((*compared.notes, *compared.after.notes)))


def _command(job: Job, order: Order, made: Made) -> str:
    """What makes the same model again, since its seeds come from its number."""
    longer = "" if order.epochs == job.settings.final_epochs else f" --epochs {order.epochs}"
    return f"autoprune refit {order.experiment} --trial {made.trial}{longer}"


def _check_place(out: Path) -> None:
    """What is there will be gone: it may be an earlier model, and nothing else."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"given the file {out}; expected a folder for the model")
    others = sorted(each.name for each in out.iterdir() if each.name not in _FILES) if out.exists() else []
    if others:
        raise UsageError(
            f"given the folder {out}, which has {others[0]}; expected a new one, or one of an earlier model"
        )


def _written(result: Result, model: nn.Module, out: Path) -> Result:
    """The folder has all of it, or stays as it was."""
    with replacing(out) as folder:
        result = replace(result, files=[*save(model, folder), CARD, RESULT])
        (folder / CARD).write_text(card(result), encoding="utf-8")
        (folder / RESULT).write_text(json.dumps(asdict(result), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return result


def clear(outputs: Iterable[str]) -> None:
    """Remove what trials that were stopped have left of their training."""
    for output in outputs:
        Checkpoint(Path(output, CHECKPOINT)).drop()
