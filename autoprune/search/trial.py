"""One trial of a task: prune as the tuner proposes, scaled to the budget, train, evaluate, and say what it costs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from autoprune.compression.command.failing import Failure, show
from autoprune.errors import AutopruneError
from autoprune.protocol import KEEP_VARIABLE
from autoprune.records import Parameters
from autoprune.search.checkpoint import CHECKPOINT, KEPT, Checkpoint, replacing, save
from autoprune.search.evaluated import Evaluated
from autoprune.search.figures import by_layer, figures, sizes_of
from autoprune.search.job import Allocation, Job
from autoprune.search.settings import VARIABLE, Settings
from autoprune.standings import SAME_AS
from autoprune.trial import api


def main() -> None:
    """Run the trial that the environment speaks of. What fails in the task is shown as its user would see it."""
    file = Path(os.environ[VARIABLE])
    keeps = KEEP_VARIABLE in os.environ
    try:
        trial = Trial(Job.of(Settings.read(file)), api.get_sequence_id(), api.get_output_dir(), keeps)
        trial.run(api.get_parameters(), Evaluated(file.parent / "allocations"))
    except AutopruneError as error:
        if isinstance(error, Failure):
            show(error)
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


class Trial:
    """The trial of this number. One that keeps its weights trains in any case, also where its allocation is known."""

    def __init__(self, job: Job, number: int, output: Path, keeps: bool) -> None:
        self._job = job
        self._number = number
        self._output = output
        self._keeps = keeps
        self._checkpoint = Checkpoint(output / CHECKPOINT)

    def run(self, parameters: Parameters, evaluated: Evaluated) -> None:
        """Report the final result: what `evaluate` says, and what the model costs."""
        dense = self._job.dense()
        allocation = self._job.allocation(dense, parameters)
        known = None if self._keeps else evaluated.find(allocation)
        if known is not None and known.trial != self._number:
            api.report_final_result({**known.report, SAME_AS: known.trial})
            return
        before = sizes_of(dense, allocation.sparsities)
        model, values = self._trained(dense, allocation)
        layers = by_layer(allocation, before, sizes_of(model, before))
        left = {**figures(before, model, self._job.example), "layers": layers}
        report = {**values, **left, **self._job.latency(model)}
        if self._keeps:
            with replacing(self._output / KEPT) as folder:
                save(model, folder)
        evaluated.add(allocation, self._number, report)
        api.report_final_result(report)
        self._checkpoint.drop()

    def _trained(self, dense: nn.Module, allocation: Allocation) -> tuple[nn.Module, Mapping[str, float]]:
        """The model at the end of its training, and how good it is. After each part but the last, it says how it
        stands, and an attempt that is cut short there goes on from there."""
        scores = self._checkpoint.scores()
        model = self._checkpoint.model(self._job.build) if scores else self._job.pruned(dense, allocation)
        for values in scores:
            api.report_intermediate_result(values)
        parts = len(self._job.settings.parts)
        for values in self._job.fine_tuned(model, self._number, len(scores)):
            scores.append(values)
            if len(scores) < parts:
                self._checkpoint.write(model, scores)
                api.report_intermediate_result(values)
        return model, scores[-1]
