"""What an experiment is set to: the one declaration of every field.

Names, types, ranges, defaults, sentences and the places NNI's v1 files put a field are all here; the loader, the
translation of v1 files, the JSON Schema and the reference page are derived from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator

from autoprune.config.problems import problems_of, walk
from autoprune.config.search import Bounds, BudgetConfig, SearchConfig
from autoprune.config.values import (
    MOST,
    MOST_AT_ONCE,
    Duration,
    Flag,
    Folder,
    GpuIndices,
    Place,
    Section,
    TaskClass,
    Text,
    refuse,
)
from autoprune.document import from_plain
from autoprune.errors import ConfigError, did_you_mean
from autoprune.records import JSON, OptimizeMode
from autoprune.registry import fold
from autoprune.runners import runners
from autoprune.search_space import Space, space_from_plain

DEFAULT_TUNER = "TPE"
DEFAULT_TUNER_OF_TASKS = "auto"
PRUNERS, PRUNERS_OF_FILTERS = ("gradual", "level"), ("l1",)
"""What tasks are pruned by where nothing is said."""
STORED = "stored configuration"


@dataclass(frozen=True)
class V1:
    """Where NNI's v1 files put a field."""

    path: str


class TunerConfig(Section):
    """Which tuner, and its arguments: one that is found by `name`, or a class of your own by `className`."""

    name: Annotated[Text | None, V1("tuner.builtinTunerName")] = Field(
        default=None, description="Name of a tuner; TPE when neither name nor className is given."
    )
    class_name: Text | None = Field(
        default=None, description="A class of your own as module.Class, or an Optuna sampler by its dotted path."
    )
    code_directory: Annotated[Folder | None, V1("tuner.codeDir")] = Field(
        default=None, description="Folder that holds the module of className; without it, an installed module."
    )
    class_args: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the tuner, such as optimize_mode and seed."
    )

    @model_validator(mode="after")
    def _one_of_name_and_class(self) -> Self:
        if (self.name is None) == (self.class_name is None):
            raise refuse("one of name and className")
        return self

    @property
    def optimize_mode(self) -> OptimizeMode:
        return OptimizeMode(self.class_args.get("optimize_mode") or OptimizeMode.MAXIMIZE)

    @property
    def objectives(self) -> dict[str, OptimizeMode]:
        """What is optimised beside the default metric; a class of your own may mean something else by the word."""
        given = self.class_args.get("objectives")
        modes = list(OptimizeMode)
        if not isinstance(given, Mapping) or not all(mode in modes for mode in given.values()):
            return {}
        return {str(name): OptimizeMode(mode) for name, mode in given.items()}

    @property
    def seed(self) -> int | None:
        """What the file gives; None leaves the choice to the run."""
        seed = self.class_args.get("seed")
        return None if seed is None else int(seed)


class AssessorConfig(Section):
    """Which assessor, and its arguments."""

    name: Annotated[Text, V1("assessor.builtinAssessorName")] = Field(description="Name of an assessor.")
    class_args: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the assessor; optimize_mode follows the tuner's."
    )


def _platform(value: str) -> str:
    """The name of a runner, as the runner itself spells it."""
    known = {fold(name): name for name in runners.names()}
    if fold(value) not in known:
        raise refuse(f"one of {', '.join(known.values())}", did_you_mean(value, list(known.values())))
    return known[fold(value)]


def _list_platforms(schema: dict[str, JSON]) -> None:
    schema["enum"] = runners.names()


class TrainingServiceConfig(Section):
    """Where trials run."""

    platform: Annotated[Text, AfterValidator(_platform), V1("trainingServicePlatform")] = Field(
        default="local",
        description="local starts processes on this machine; debug is for tests of autoprune.",
        json_schema_extra=_list_platforms,
    )
    use_active_gpu: Annotated[Flag, V1("localConfig.useActiveGpu")] = Field(
        default=False, description="Whether trials may use GPUs on which other programs run."
    )
    max_trial_number_per_gpu: Annotated[int, V1("localConfig.maxTrialNumPerGpu")] = Field(
        default=1, ge=1, description="How many trials may share one GPU."
    )
    gpu_indices: Annotated[GpuIndices | None, V1("localConfig.gpuIndices")] = Field(
        default=None, description="The GPUs that trials may use."
    )
    warm_start: Flag = Field(
        default=True,
        description="Whether python trials start from a process that has imported their libraries already.",
    )


class ExperimentConfig(Section):
    """An experiment's settings, checked and complete: paths absolute, durations in seconds, the space as JSON."""

    experiment_name: Text = Field(description="Name of the experiment; by default the name of the file's folder.")
    search_space: dict[str, Any] = Field(
        description="The search space itself. Exactly one of searchSpace and searchSpaceFile is given."
    )
    trial_command: Annotated[Text | None, V1("trial.command")] = Field(
        default=None,
        description="Shell command that runs one trial, started in trialCodeDirectory. Exactly one of trialCommand and "
        "task is given.",
    )
    task: TaskClass | None = Field(
        default=None, description="File and class of a task, such as task.py:Task: autoprune prunes and trains itself."
    )
    task_arguments: dict[str, Any] = Field(default_factory=dict, description="Arguments of the task's class.")
    budget: BudgetConfig | None = Field(default=None, description="What every trial of a task keeps to.")
    search: SearchConfig = Field(default=SearchConfig(), description="What is searched of a task's model, and how.")
    starting_points: list[dict[str, Any]] = Field(
        default_factory=list, description="Parameters of trials that run before the tuner is asked."
    )
    constraints: dict[str, Bounds] = Field(
        default_factory=dict,
        validate_default=True,
        description="Numbers of the final result that must keep within bounds; a trial that breaks one is never best.",
    )
    trial_code_directory: Annotated[Folder, V1("trial.codeDir")] = Field(
        default=Path(), description="Folder of the trial's code, which must exist."
    )
    trial_concurrency: int = Field(default=1, ge=1, le=MOST_AT_ONCE, description="How many trials run at a time.")
    trial_gpu_number: Annotated[int, V1("trial.gpuNum")] = Field(default=0, ge=0, description="GPUs each trial gets.")
    max_trial_number: Annotated[int | None, V1("maxTrialNum")] = Field(
        default=None, ge=1, le=MOST, description="Stop after this many trials."
    )
    max_experiment_duration: Annotated[Duration | None, V1("maxExecDuration")] = Field(
        default=None, description="Stop the experiment after this time."
    )
    max_trial_duration: Duration | None = Field(default=None, description="Stop a trial that runs longer.")
    max_trial_retries: int = Field(default=0, ge=0, description="How often a failed trial is started again.")
    tuner: TunerConfig = Field(
        default=TunerConfig(name=DEFAULT_TUNER), description="Proposes the parameters of each trial."
    )
    assessor: AssessorConfig | None = Field(default=None, description="Stops trials that do badly; none by default.")
    training_service: TrainingServiceConfig = Field(default=TrainingServiceConfig(), description="Where trials run.")
    experiment_working_directory: Annotated[Place | None, V1("logDir")] = Field(
        default=None, description="The workspace: folder for the database and the trials' files."
    )
    tuner_timeout: Duration = Field(
        default=120.0, description="A tuner that takes longer than this over one answer is started again."
    )

    @field_validator("constraints")
    @classmethod
    def _with_those_of_the_budget(cls, given: dict[str, Bounds], info: ValidationInfo) -> dict[str, Bounds]:
        budget: BudgetConfig | None = info.data.get("budget")
        return given if budget is None else {**budget.bounds, **given}

    @field_validator("trial_concurrency")
    @classmethod
    def _undisturbed(cls, count: int, info: ValidationInfo) -> int:
        budget: BudgetConfig | None = info.data.get("budget")
        if count > 1 and budget is not None and budget.latency is not None:
            raise refuse(
                "1 beside budget.latency", "latency is measured, so trials run one at a time; write trialConcurrency: 1"
            )
        return count

    @classmethod
    def from_json(cls, data: Mapping[str, JSON]) -> Self:
        """The inverse of `to_json`; folders are not looked for."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            node = from_plain(data, STORED)
            raise ConfigError(problems_of(error, cls, lambda location: walk(node, location))) from None

    @classmethod
    def changed(cls, stored: Mapping[str, JSON], limits: Mapping[str, JSON]) -> Self:
        """A stored one with other limits; what is wrong with these is told by their names, without a place."""
        try:
            return cls.from_json({**stored, **limits})
        except ConfigError as error:
            raise ConfigError(replace(problem, mark=None) for problem in error.problems) from None

    def to_json(self) -> dict[str, JSON]:
        """JSON under the names of the file."""
        return self.model_dump(mode="json", by_alias=True)

    @cached_property
    def space(self) -> Space:
        """The parsed search space."""
        return space_from_plain(self.search_space, STORED)

    @property
    def pruners(self) -> list[str]:
        """What a task is pruned by: as the file says, else what serves its budget."""
        filters = self.budget is not None and (self.budget.sparsity or self.budget.parameters) is None
        return self.search.pruners or list(PRUNERS_OF_FILTERS if filters else PRUNERS)

    @property
    def optimize_mode(self) -> OptimizeMode:
        return self.tuner.optimize_mode

    @property
    def objectives(self) -> dict[str, OptimizeMode]:
        return self.tuner.objectives

    @property
    def seed(self) -> int | None:
        return self.tuner.seed


class ConfigFile(ExperimentConfig):
    """What a file may hold beyond what a configuration keeps."""

    search_space_file: Annotated[Text | None, V1("searchSpacePath")] = Field(
        default=None, description="JSON or YAML file that holds the search space."
    )
