"""Configuration: an experiment file, in NNI's v1 or v2 spelling, becomes one frozen `ExperimentConfig`."""

from autoprune.config.load import Loaded, load, load_plain
from autoprune.config.model import AssessorConfig, ExperimentConfig, TrainingServiceConfig, TunerConfig
from autoprune.config.parameters import check_parameters
from autoprune.config.schema import schema
from autoprune.config.values import format_duration, parse_duration

__all__ = [
    "AssessorConfig",
    "ExperimentConfig",
    "Loaded",
    "TrainingServiceConfig",
    "TunerConfig",
    "check_parameters",
    "format_duration",
    "load",
    "load_plain",
    "parse_duration",
    "schema",
]
