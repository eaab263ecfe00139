"""What `doctor` looks at. Each check finds out one kind of thing, and says what to do where it is not as it should."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from autoprune.cli._common import DEFAULT_PORT
from autoprune.errors import AutopruneError
from autoprune.records import JSON, ExperimentState
from autoprune.results import Results
from autoprune.runners._watch import Watch
from autoprune.store import Store, Workspace, find_workspace
from autoprune.store.schema import VERSION
from autoprune.store.store import refuse_network_file_system
from autoprune.store.workspace import VARIABLE

LIBRARIES = ("torch", "optuna", "hyperopt")
TORCH_SECONDS = 120.0
_SCARCE, _FULL = 2**30, 2**26
_SHOWN = 5
_ASK_TORCH = """
import torch
works = torch.cuda.is_available() and torch.ones(1, device="cuda").item() == 1
print(torch.cuda.device_count() if works else 0)
"""


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What a check found, and what to do about it."""

    level: Level
    check: str
    found: str
    remedy: str = ""

    def to_json(self) -> dict[str, JSON]:
        return asdict(self)


def findings(workspace: Path | None) -> Iterator[Finding]:
    """All checks in their order, each as soon as it is done."""
    yield from check_python()
    yield from check_libraries()
    yield from check_gpus()
    yield from check_cores()
    yield from check_waking()
    yield from check_workspace(workspace)
    yield from check_port(DEFAULT_PORT)


def check_python() -> Iterator[Finding]:
    from autoprune import __version__

    yield Finding(Level.OK, "autoprune", f"{__version__} in {Path(__file__).parents[1]}")
    yield Finding(Level.OK, "Python", f"{platform.python_version()}, {sys.executable}")
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    if sys.platform == "linux":
        yield Finding(Level.OK, "platform", system)
    elif sys.platform == "darwin":
        about = (
            "reports are looked for every 100 ms; what a manager leaves when it is killed ends by `autoprune stop ID`"
        )
        yield Finding(Level.OK, "platform", system, about)
    else:
        yield Finding(Level.PROBLEM, "platform", system, "use Linux or macOS")


def check_libraries() -> Iterator[Finding]:
    for name in LIBRARIES:
        try:
            yield Finding(Level.OK, name, version(name))
        except PackageNotFoundError:
            remedy = f"{sys.executable} -m pip install {name}"
            yield Finding(Level.PROBLEM, name, "is not installed", remedy)


def check_gpus() -> Iterator[Finding]:
    gpus, complaint = find_gpus()
    if complaint:
        remedy = "see whether nvidia-smi works; after an update of the driver, restart the machine"
        yield Finding(Level.WARNING, "GPUs", f"the driver does not answer: {complaint}", remedy)
    else:
        listed = ", ".join(f"{index}: {name}" for index, name in enumerate(gpus))
        yield Finding(Level.OK, "GPUs", listed or "none: trials run on the CPU, with trialGpuNumber: 0")
    yield from check_torch(len(gpus))


def find_gpus() -> tuple[list[str], str]:
    """The names of this machine's GPUs, and what the driver complains about; neither where there is no driver."""
    import pynvml

    absent = (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [], "" if error.value in absent else str(error)
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return [str(pynvml.nvmlDeviceGetName(handle)) for handle in handles], ""
    except pynvml.NVMLError as error:
        return [], str(error)
    finally:
        pynvml.nvmlShutdown()


def check_torch(gpus: int, seconds: float = TORCH_SECONDS) -> Iterator[Finding]:
    """In a process of its own: what a broken installation may do to the one that imports it is no limit."""
    name = "import torch"
    try:
        result = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        remedy = "the disk may be slow, or the GPU's driver hang; try nvidia-smi"
        yield Finding(Level.PROBLEM, name, f"has not finished for {seconds:g} seconds", remedy)
        return
    if result.returncode:
        complaint = (result.stderr.strip().splitlines() or [f"it ended with exit code {result.returncode}"])[-1]
        remedy = "trials with torch will fail so, too; install a torch for this Python and this machine: pytorch.org"
        yield Finding(Level.PROBLEM, name, complaint, remedy)
        return
    usable = int(result.stdout.split()[-1])
    if gpus and not usable:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        remedy = (
            f"CUDA_VISIBLE_DEVICES is {hidden!r}" if hidden is not None else "install a torch with CUDA: pytorch.org"
        )
        yield Finding(Level.WARNING, name, f"works, but can use none of the {gpus} GPUs", remedy)
    else:
        yield Finding(Level.OK, name, f"works, with {usable} GPUs" if usable else "works, on the CPU")


def check_cores() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is None:
        yield Finding(Level.OK, "cores", f"{cores}; a trial gets {cores} // trialConcurrency threads, at least one")
    elif threads.isdecimal() and int(threads) <= cores:
        yield Finding(Level.OK, "cores", f"{cores}; a trial gets {threads} threads, as OMP_NUM_THREADS says")
    else:
        remedy = "unset OMP_NUM_THREADS, and each trial gets its share of the cores"
        yield Finding(Level.WARNING, "cores", f"{cores}, and OMP_NUM_THREADS is {threads}", remedy)
    allowed = _allowed_cores(Path("/sys/fs/cgroup/cpu.max"))
    if allowed is not None and allowed < cores:
        remedy = f"set OMP_NUM_THREADS to at most {max(1, int(allowed))} // trialConcurrency"
        yield Finding(Level.WARNING, "cores", f"this container may use only {allowed:g} of them", remedy)


def _allowed_cores(file: Path) -> float | None:
    """How many cores' time a container has, as Linux says it: `200000 100000` is two, `max 100000` all."""
    try:
        quota, period = file.read_text().split()
    except (OSError, ValueError):
        return None
    return int(quota) / int(period) if quota.isdecimal() else None


def check_waking() -> Iterator[Finding]:
    watch = Watch()
    wakes = watch.descriptor is not None
    watch.close()
    if wakes:
        yield Finding(Level.OK, "inotify", "reports are read as they are written")
    elif sys.platform == "linux":
        remedy = "raise its limit: sysctl fs.inotify.max_user_instances=1024"
        yield Finding(Level.WARNING, "inotify", "is used up, so reports are looked for every 100 ms", remedy)


def check_workspace(workspace: Path | None) -> Iterator[Finding]:
    place = find_workspace(workspace)
    yield Finding(Level.OK, "workspace", f"{place.root} ({_why(place, workspace)})")
    folder = next(folder for folder in (place.root, *place.root.parents) if folder.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        what = "cannot be written" if folder.is_dir() else "is a file"
        yield Finding(Level.PROBLEM, "workspace", f"{folder} {what}", f"give --workspace, or set {VARIABLE}")
        return
    yield _disk_space(folder)
    if not place.database.is_file():
        try:
            refuse_network_file_system(place.database)
        except AutopruneError as error:
            yield Finding(Level.PROBLEM, "database", str(error))
        else:
            yield Finding(Level.OK, "database", "none yet: `autoprune run` makes it")
        return
    try:
        store = place.open()
    except AutopruneError as error:
        yield Finding(Level.PROBLEM, "database", str(error))
        return
    try:
        yield Finding(Level.OK, "database", f"opens, schema version {VERSION}")
        yield from _check_experiments(place, store)
    finally:
        store.close()


def _why(place: Workspace, given: Path | None) -> str:
    """How this workspace came to be the one in force."""
    if given is not None:
        return "as --workspace says"
    if os.environ.get(VARIABLE):
        return f"as {VARIABLE} says"
    return "the nearest to the current folder" if place.root.exists() else "not made yet"


def _disk_space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    found = f"{free / 2**30:.1f} GiB free"
    if free >= _SCARCE:
        return Finding(Level.OK, "disk", found)
    level = Level.WARNING if free >= _FULL else Level.PROBLEM
    return Finding(level, "disk", found, "`autoprune delete ID` deletes an experiment with its files")


def _check_experiments(place: Workspace, store: Store) -> Iterator[Finding]:
    """How many there are, and those whose manager died."""
    from autoprune.results.pages import whole

    results = Results(place, store)
    try:
        every = whole(lambda limit, cursor: results.experiments(limit=limit, cursor=cursor)).items
    except (AutopruneError, OSError) as error:
        yield Finding(Level.PROBLEM, "experiments", str(error), f"see whether {place.root} is yours, and readable")
        return
    running = sum(experiment.state is ExperimentState.RUNNING for experiment in every)
    yield Finding(Level.OK, "experiments", f"{len(every)}, of which {running} run now")
    interrupted = [experiment for experiment in every if experiment.state is ExperimentState.INTERRUPTED]
    for experiment in interrupted[:_SHOWN]:
        remedy = f"go on with: autoprune resume {experiment.id}   or end it: autoprune stop {experiment.id}"
        yield Finding(Level.WARNING, "experiments", f"{experiment.id} is INTERRUPTED: its manager died", remedy)
    if interrupted[_SHOWN:]:
        found = f"{len(interrupted) - _SHOWN} more are INTERRUPTED"
        yield Finding(Level.WARNING, "experiments", found, "`autoprune list` shows them")


def check_port(port: int) -> Iterator[Finding]:
    name = f"port {port}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            remedy = "results are served on the next free port; --port N chooses one, --no-server does without"
            yield Finding(Level.WARNING, name, (error.strerror or str(error)).lower(), remedy)
        else:
            yield Finding(Level.OK, name, "free")
