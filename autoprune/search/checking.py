"""What can be wrong with a task is found before anything takes long."""

from __future__ import annotations

from autoprune.compression.core.errors import CompressionError
from autoprune.errors import UsageError
from autoprune.search import loading
from autoprune.search.job import Job
from autoprune.search.pruning import Data, check_pruner, kind_of
from autoprune.search.scaling import Kind
from autoprune.search.settings import Settings


def checked(settings: Settings) -> tuple[Job, dict[str, Kind]]:
    """The task, whose model takes its example input and can meet the budget, and what goes with each pruner."""
    source = settings.task
    task = loading.load_task(source)
    model = loading.build(task, source)
    job = Job(settings, task, loading.example_of(task, source, model))
    try:
        for pruner in settings.search["pruners"]:
            check_pruner(pruner, Data.of(task))
    except CompressionError as error:
        raise UsageError(f"search.pruners: {error}") from None
    kinds = {pruner: kind_of(pruner) for pruner in settings.search["pruners"]}
    for kind in dict.fromkeys(kinds.values()):
        job.scaler(kind, model)
    return job, kinds
