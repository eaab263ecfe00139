"""autoprune finds the sparsest version of a network that still does its job.

A trial script imports this package and calls `get_parameters`, `report_intermediate_result` and
`report_final_result`; `Experiment` runs an experiment from Python, and `Client` asks a server about them. Names resolve
on first use, so that importing costs milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from autoprune.client import Client
    from autoprune.compression.core.scaling import scale_to_target
    from autoprune.experiment import Experiment
    from autoprune.search.task import Task
    from autoprune.trial.api import (
        get_current_parameter,
        get_experiment_id,
        get_next_parameter,
        get_output_dir,
        get_parameters,
        get_sequence_id,
        get_trial_id,
        report_final_result,
        report_final_results,
        report_intermediate_result,
    )

__all__ = [
    "Client",
    "Experiment",
    "Task",
    "__version__",
    "get_current_parameter",
    "get_experiment_id",
    "get_next_parameter",
    "get_output_dir",
    "get_parameters",
    "get_sequence_id",
    "get_trial_id",
    "report_final_result",
    "report_final_results",
    "report_intermediate_result",
    "scale_to_target",
]

_ELSEWHERE = {
    "Client": "autoprune.client",
    "Experiment": "autoprune.experiment",
    "Task": "autoprune.search.task",
    "scale_to_target": "autoprune.compression.core.scaling",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'autoprune' has no attribute {name!r}")
    value = getattr(import_module(_ELSEWHERE.get(name, "autoprune.trial.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
