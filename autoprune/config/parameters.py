"""Whether parameters that somebody gives are of an experiment's search space."""

from __future__ import annotations

from autoprune.config.model import ExperimentConfig
from autoprune.errors import ConflictError
from autoprune.records import Parameters
from autoprune.search_space import flatten


def check_parameters(config: ExperimentConfig, parameters: Parameters) -> None:
    """Raises ConfigError with every place where they are not, and ConflictError where the space is not known yet."""
    if config.task is not None and not config.search_space:
        raise ConflictError("the search space of this task is known once its model has been studied; try again then")
    flatten(config.space, parameters)
