"""A YAML file to one `ExperimentConfig`, or to one error with everything that is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from autoprune.config.algorithms import check_assessor, check_tuner
from autoprune.config.model import ConfigFile, ExperimentConfig
from autoprune.config.nni import IGNORED, PLATFORMS, REFUSED
from autoprune.config.overrides import override
from autoprune.config.problems import Location, problems_of, walk
from autoprune.config.starting import check_starting_points
from autoprune.config.translate import Draft, Found, leaves, translate
from autoprune.config.values import BASE, nearest_file, parse_flag
from autoprune.document import Node, Scalar, Table, describe, from_plain, plain, read
from autoprune.errors import ConfigError, Mark, Problem
from autoprune.records import JSON
from autoprune.runners import missing_script
from autoprune.search_space import Space, parse_space

PLAIN = "configuration"
"""What errors and results call a configuration that came from no file."""
INLINE, IN_FILE = "searchSpace", "searchSpaceFile"
COMMAND, TASK = "trialCommand", "task"
_OF_TASKS = ("taskArguments", "budget", "search")
"""What says nothing without a task."""
_GPU_FIELDS = tuple(f"trainingService.{name}" for name in ("useActiveGpu", "maxTrialNumberPerGpu", "gpuIndices"))


@dataclass(frozen=True)
class Loaded:
    """A configuration, what is to be said about its file, and the file's path."""

    config: ExperimentConfig
    notes: tuple[str, ...]
    source: str


def load(path: Path | str, overrides: Sequence[str] = ()) -> Loaded:
    """Reads a file with `key=value` overrides over it. Raises `ConfigError` with every problem of the file, of the
    search space file it names, and of the overrides."""
    path = Path(path)
    root, form = read(path)
    return _load(root, form, overrides, path.parent, str(path))


def load_plain(data: Mapping[str, JSON], overrides: Sequence[str] = ()) -> Loaded:
    """The same for a dict with the fields of a file; its relative paths start from the current folder."""
    problems: list[Problem] = []
    root = from_plain(_spelled(data, "", problems), PLAIN)
    return _load(root, problems, overrides, Path(), PLAIN)


def _spelled(value: JSON, path: str, problems: list[Problem]) -> JSON:
    """The value as a file would have it: paths as text, arrays and their numbers as lists and numbers."""
    match value:
        case Mapping():
            return {str(key): _spelled(item, f"{path}.{key}".strip("."), problems) for key, item in value.items()}
        case list() | tuple():
            return [_spelled(item, path, problems) for item in value]
        case str() | bool() | None:
            return value
        case Path():
            return str(value)
        case _ if hasattr(value, "tolist"):
            return _spelled(value.tolist(), path, problems)
        case int() | float():
            return value
    expected = "text, a number, True, False, None, a list or a dict"
    problems.append(Problem(path, f"{value!r} ({type(value).__name__})", expected, Mark(PLAIN)))
    return None


def _load(root: Node, form: Sequence[Problem], overrides: Sequence[str], folder: Path, source: str) -> Loaded:
    if not isinstance(root, Table):
        raise ConfigError([Problem("", describe(root), "a table of fields", root.mark), *form])
    draft = translate(root)
    draft.problems.extend(form)
    override(draft, overrides)
    _refuse(draft)
    notes = _notes(draft)
    _check_task(draft)
    space = None if TASK in draft.found else _read_space(draft, folder)
    base = folder.absolute()
    check_tuner(draft, space, base)
    check_assessor(draft)
    check_starting_points(draft, space)
    config = _validate(draft, base)
    if config is not None:
        _check_script(draft, config)
    if config is None or draft.problems:
        raise ConfigError(draft.problems)
    return Loaded(config, notes, source)


def _check_task(draft: Draft) -> None:
    """A task, whose space is made from its model once the experiment runs, or a command and a space."""
    if TASK not in draft.found:
        if COMMAND not in draft.found and not draft.meant(COMMAND, TASK):
            draft.complain(COMMAND, f"{COMMAND}, or {TASK}", f"write {COMMAND}: python3 trial.py")
        for path in draft.found:
            if path.split(".")[0] in _OF_TASKS:
                draft.complain(path, f"{TASK} beside it", f"write {TASK}: task.py:Task")
        return
    for path in (COMMAND, INLINE, IN_FILE):
        if path in draft.found:
            draft.complain(path, f"no {path} beside {TASK}", "a task brings its own; keep one of the two")
            del draft.found[path]


def _check_script(draft: Draft, config: ExperimentConfig) -> None:
    """A command that is Python and a script: the script has to be there."""
    missing = config.trial_command and missing_script(config.trial_command, config.trial_code_directory)
    if missing:
        draft.complain(COMMAND, "a script that exists", nearest_file(missing))


def _refuse(draft: Draft) -> None:
    for path, refusal in REFUSED.items():
        found = draft.found.get(path)
        if found and parse_flag(plain(found.node)) not in refusal.harmless:
            draft.complain(path, refusal.expected, refusal.remedy)


def _notes(draft: Draft) -> tuple[str, ...]:
    """One line for each field that is read and changes nothing."""
    reasons = {path: reason for path, reason in IGNORED.items() if path in draft.found}
    gpus = draft.found.get("trialGpuNumber")
    if gpus is None or plain(gpus.node) == 0:
        reasons |= {path: "trials ask for no GPU" for path in _GPU_FIELDS if path in draft.found}
    listed = sorted((draft.found[path].mark, draft.found[path].spelling, reasons[path]) for path in reasons)
    return tuple(f"{mark}: {spelling} is not used: {reason}" for mark, spelling, reason in listed)


def _read_space(draft: Draft, folder: Path) -> Space | None:
    """The search space, which ends inline in the draft; None, with problems noted, where there is none."""
    inline, file = draft.found.get(INLINE), draft.found.get(IN_FILE)
    if inline and file:
        later = max((inline, file), key=lambda found: found.mark)
        draft.problems.append(
            Problem(later.spelling, f"{INLINE} and {IN_FILE}", "one of them", later.mark, "take one away")
        )
    elif not inline and not file and not draft.meant(INLINE, IN_FILE):
        draft.complain(INLINE, f"{INLINE} or {IN_FILE}", f"write {IN_FILE}: search_space.json")
    node = _open_space(draft, folder) if file else inline.node if inline else None
    if node is None:
        return None
    try:
        space = parse_space(node)
    except ConfigError as error:
        draft.problems.extend(error.problems)
        return None
    draft.found.setdefault(INLINE, Found(IN_FILE, node, node.mark))
    return space


def _open_space(draft: Draft, folder: Path) -> Node | None:
    found = draft.found[IN_FILE]
    if not isinstance(found.node, Scalar) or not isinstance(found.node.value, str):
        draft.complain(IN_FILE, "the path of a file", f"a search space itself belongs under {INLINE}")
        return None
    path = folder / Path(found.node.value).expanduser()
    if not path.is_file():
        draft.complain(IN_FILE, "a file that exists", nearest_file(path.absolute()))
        return None
    try:
        node, problems = read(path)
    except ConfigError as error:
        draft.problems.extend(error.problems)
        return None
    draft.problems.extend(problems)
    return node


def _validate(draft: Draft, base: Path) -> ExperimentConfig | None:
    """The file as the model sees it. A search space that is missing or wrong has had its problem already."""
    data: dict[str, JSON] = {"experimentName": base.name or "experiment", "trialCodeDirectory": "."}
    if TASK in draft.found:
        data[INLINE] = {}
    for path, _ in leaves():
        if path in draft.found:
            _insert(data, path, plain(draft.found[path].node))
    if draft.problems and not isinstance(data.get(INLINE), dict):
        data[INLINE] = {}
    data.pop(IN_FILE, None)

    def locate(location: Location) -> tuple[Node | None, Mark]:
        return _locate(draft, location)

    try:
        return ExperimentConfig.model_validate(data, context={BASE: base})
    except ValidationError as error:
        known = {(problem.path, problem.mark) for problem in draft.problems}
        found = problems_of(error, ConfigFile, locate)
        draft.problems.extend(
            _platform(problem, draft)
            for problem in found
            if (problem.path, problem.mark) not in known and not draft.meant(problem.path)
        )
        return None


def _insert(data: dict[str, JSON], path: str, value: JSON) -> None:
    *sections, name = path.split(".")
    for section in sections:
        data = data.setdefault(section, {})
    data[name] = value


def _locate(draft: Draft, location: Location) -> tuple[Node | None, Mark]:
    """The node of the field that a model's location lies in."""
    for count in range(len(location), 0, -1):
        found = draft.found.get(".".join(map(str, location[:count])))
        if found:
            return walk(found.node, location[count:])
    return None, draft.at(".".join(map(str, location)))


def _platform(problem: Problem, draft: Draft) -> Problem:
    """A platform of NNI's gets its own remedy."""
    if problem.path != "trainingService.platform":
        return problem
    name = plain(draft.found[problem.path].node)
    remedy = PLATFORMS.get(str(name).casefold(), problem.remedy)
    return Problem(problem.path, problem.given, problem.expected, problem.mark, remedy)
