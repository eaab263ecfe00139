"""What a script imports, read from its text, so that a fork server can import the libraries once for all trials.

The script and the modules that it names from its own folders are read, not run. Only libraries known to be quiet are
imported for it: that starts no thread, draws no random number and touches no GPU. The user's own modules are left to
each trial, which finds them as they are on the disk then.
"""

from __future__ import annotations

import ast
import importlib.machinery
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TORCH = ("torch", "torch._dynamo", "torch.utils.data", "numpy.random")
_QUIET = frozenset(["autoprune", "numpy", "pandas", "PIL", "safetensors", "scipy", "sklearn", "torch", "torchvision"])
_MORE: Mapping[str, tuple[str, ...]] = {
    "autoprune": ("autoprune.trial.api",),
    "autoprune.compression.torch": _TORCH,
    "numpy": ("numpy.random",),
    "torch": _TORCH,
    "torchvision": _TORCH,
}
"""What is imported along: with torch, what the first optimizer of every trial would import anew."""

_READ_AT_IMPORT = ("GOMP_", "KMP_", "MKL_", "NUMEXPR_", "NPY_", "OMP_", "OPENBLAS_", "PYTORCH_", "TORCH")
_MOST_FILES = 500


@dataclass(frozen=True)
class Reading:
    """The modules to import before any trial; and the environment variables that the script sets itself, and that
    these modules read when they are imported."""

    libraries: Sequence[str]
    variables: Sequence[str]


def read(script: Path, folders: Sequence[Path] = ()) -> Reading:
    """Reads a script; `folders` hold modules of the user's, too."""
    found: set[str] = set()
    variables: set[str] = set()
    for tree in _trees(script, [script.parent, *folders]):
        for name in _imports(tree):
            if name.split(".")[0] in _QUIET:
                found.add(name)
                found.update(*(more for prefix, more in _MORE.items() if f"{name}.".startswith(f"{prefix}.")))
        variables |= {name for name in _strings(tree) if name.startswith(_READ_AT_IMPORT)}
    light = all(name.startswith("autoprune") for name in found)
    return Reading(sorted(found), [] if light else sorted(variables))


def modules_in(folder: Path) -> set[str]:
    """The names by which a script that lies in this folder finds what lies beside it, before any library."""
    endings = importlib.machinery.all_suffixes()
    files = {entry.name.removesuffix(ending) for entry in folder.iterdir() for ending in endings if entry.suffix}
    return files | {entry.parent.name for entry in folder.glob("*/__init__.py")}


def _trees(script: Path, folders: Sequence[Path]) -> Iterator[ast.Module]:
    """The script, and the modules of these folders that it imports, and that those import."""
    seen: set[Path] = set()
    waiting = [script]
    while waiting and len(seen) < _MOST_FILES:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        yield tree
        own = {name.split(".")[0] for name in _imports(tree)} - _QUIET
        waiting += [found for name in sorted(own) for folder in folders for found in _files(folder, name)]


def _files(folder: Path, name: str) -> Iterator[Path]:
    """The files of a module or package of this folder."""
    if (folder / f"{name}.py").is_file():
        yield folder / f"{name}.py"
    elif (folder / name).is_dir():
        yield from sorted((folder / name).rglob("*.py"))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _strings(tree: ast.Module) -> Iterator[str]:
    """Every string that stands in the text by itself, such as the name in `os.environ["OMP_NUM_THREADS"] = "1"`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
