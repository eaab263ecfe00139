"""The networks of `experiments/`, each under the budget of its experiment; each seed has weights of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from safetensors.torch import save_model
from torch import nn

from autoprune.config import ExperimentConfig, load
from autoprune.manager.tasks import request_of
from autoprune.records import Group, Parameters, StartingPoint
from autoprune.search import loading
from autoprune.search.command import studying
from autoprune.search.figures import figures, sizes_of
from autoprune.search.job import Allocation, Job
from autoprune.search.preparing import weights_file
from autoprune.search.pruning import GRADUAL
from autoprune.search.settings import Settings
from autoprune.search.space import highest_for, read_parameters, space_of
from autoprune.search_space import space_from_plain
from searching.memo import Memo
from searching.methods import BY_HAND
from searching.problems import Options, Problem, Refit, Tried

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "experiments" / "fashion-mnist"))
import data

EXPERIMENTS = Path(__file__).resolve().parent.parent.parent / "experiments"
NETWORKS = {
    "resnet8": "fashion-resnet8/config.yml",
    "lenet300": "fashion-lenet300/config.yml",
    "lenet5": "fashion-lenet5/config.yml",
    "resnet8-macs": "fashion-resnet8/macs.yml",
}
SET_BY_HAND = {"lenet5": "fashion-lenet5/by_hand.yml"}

data.load = cache(data.load)
"""Before a task imports it."""


class Network(Problem):
    """A network, prepared and studied once. Its trials are those of `autoprune run`."""

    def __init__(self, name: str, seed: int, options: Options, memo: Memo) -> None:
        self.name, self.seed, self._memo = name, seed, memo
        config = _config(NETWORKS[name], options)
        given = _settings(config, seed, options)
        self.job = Job.of(Settings.of(given))
        self._question = {"network": name, "task": self.job.settings.task.key, "seed": seed, "budget": given["budget"]}
        _prepare(self.job)
        question = {"study": given["search"]["pruners"], **self._question}
        facts = memo.answer(question, lambda: studying.run(settings=given))
        self.leaders, self.repeats = config.search.leaders, config.search.repeats
        self.dense, self.starts = facts["dense"]["default"], [StartingPoint(**start) for start in facts["starts"]]
        self.space = space_from_plain(facts["space"])
        groups = {pruner: [Group(**group) for group in own] for pruner, own in facts["groups"].items()}
        classical = {pruner: own for pruner, own in groups.items() if pruner != GRADUAL}
        self.classical = space_from_plain(space_of(classical, highest_for(self._started(self.starts))))
        self.raw = space_from_plain(space_of(classical))
        self.budget = facts["budget"]
        self.limit = self.budget["limit"] / self.budget["dense"]
        self._layers = [layer for group in next(iter(classical.values())) for layer in group.layers]
        if name in SET_BY_HAND:
            points = _config(SET_BY_HAND[name], options).starting_points
            self.starts += [StartingPoint(BY_HAND, parameters) for parameters in points]

    def allocation(self, parameters: Parameters, scaled: bool) -> str:
        return self._allocation(parameters, scaled).key

    def trial(self, parameters: Parameters, scaled: bool, number: int) -> Tried:
        allocation = self._allocation(parameters, scaled)
        known = self._known("trial", allocation.key, number, lambda: self._trained(self._pruned(allocation), number))
        return Tried(known["default"], self._used(known))

    def refit(self, parameters: Parameters, number: int, times: int = 1) -> Refit:
        allocation = self._allocation(parameters, True)
        return self.refit_of(allocation.key, lambda: self._pruned(allocation), number, times)

    def refit_of(self, name: str, make: Callable[[], nn.Module], number: int, times: int = 1) -> Refit:
        """Train a smaller model, however it was made, so many times as long as a trial, and test it."""

        def find() -> Mapping[str, Any]:
            model = make()
            return {**self._trained(model, number, times), "test": self.job.score(model, "test")["default"]}

        known = self._known("refit" if times == 1 else f"refit x{times}", name, number, find)
        return Refit(known["default"], known["test"], self._used(known))

    @staticmethod
    def _started(starts: Sequence[StartingPoint]) -> list[float]:
        return [sparsity for start in starts for sparsity in read_parameters(start.parameters)[1].values()]

    @cached_property
    def whole(self) -> nn.Module:
        """The dense network, for what only looks at it."""
        return self.job.dense()

    def _known(self, what: str, allocation: str, number: int, find: Callable[[], Any]) -> Mapping[str, Any]:
        question = {what: allocation, "number": number, "parts": self.job.settings.parts, **self._question}
        known: Mapping[str, Any] = self._memo.answer(question, find)
        return known

    def _allocation(self, parameters: Parameters, scaled: bool) -> Allocation:
        job = self.job if scaled else replace(self.job, settings=replace(self.job.settings, budget=None))
        return job.allocation(self.whole, parameters)

    def _pruned(self, allocation: Allocation) -> nn.Module:
        return self.job.pruned(self.job.dense(), allocation)

    def _trained(self, model: nn.Module, number: int, times: int = 1) -> dict[str, Any]:
        """How good the model is after the training of a trial, and what is left of it."""
        settings = self.job.settings
        longer = replace(settings, search={**settings.search, "epochs": times * settings.search["epochs"]})
        *_, values = replace(self.job, settings=longer).fine_tuned(model, number)
        return {**values, **figures(sizes_of(self.whole, self._layers), model, self.job.example)}

    def _used(self, report: Mapping[str, Any]) -> float:
        """The share of the dense whole, of what the budget counts."""
        kind = self.budget["kind"]
        if kind == "sparsity":
            return 1 - float(report["sparsity"])
        counted = {"size": "bytes"}.get(kind, kind)
        return float(report[counted]) / float(self.budget["dense"])


def _config(file: str, options: Options) -> ExperimentConfig:
    """The experiment, as its file has it but for the options."""
    given = {
        "taskArguments.images": options.images,
        "taskArguments.data": options.data,
        "taskArguments.prepare_epochs": options.prepare_epochs,
        "search.epochs": options.epochs,
        "search.pruners": f"[{', '.join(options.pruners)}]" if options.pruners else None,
    }
    return load(EXPERIMENTS / file, [f"{key}={value}" for key, value in given.items() if value is not None]).config


def _settings(config: ExperimentConfig, seed: int, options: Options) -> dict[str, Any]:
    """What the manager tells the processes of such an experiment."""
    return request_of(config, options.work / str(seed), seed)


def _prepare(job: Job) -> None:
    """Train the dense network with the seed, and keep its weights where `autoprune run` looks for them."""
    source, seed = job.settings.task, job.settings.seed
    file = weights_file(job.settings.prepared, source)
    if file.exists():
        return
    model = loading.build(job.task, source, seed)
    with loading.calling(source, "prepare", seed):
        job.task.prepare(model)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}")
    save_model(model, str(partial))
    partial.replace(file)
