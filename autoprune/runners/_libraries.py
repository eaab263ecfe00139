"""What a script imports, read from its text, so that a fork server can import the libraries once for all trials.

The script and the modules beside it are read, not run. Only libraries known to be quiet are named: importing them
starts no thread, draws no random number and touches no GPU. The user's own modules are left to each trial, which
finds them as they are on the disk then.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
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

_MOST_FILES = 500


def libraries(script: Path, folders: Sequence[Path] = ()) -> list[str]:
    """The modules to import before any trial, in a stable order; `folders` hold modules of the user's, too."""
    found: set[str] = set()
    for name in sorted(_imports(script, [script.parent, *folders])):
        if name.split(".")[0] in _QUIET:
            found.add(name)
            found.update(*(more for prefix, more in _MORE.items() if f"{name}.".startswith(f"{prefix}.")))
    return sorted(found)


def _imports(script: Path, folders: Sequence[Path]) -> set[str]:
    """The dotted names in the import statements of a script and of the modules in these folders that they name."""
    names: set[str] = set()
    read: set[Path] = set()
    waiting = [script]
    while waiting and len(read) < _MOST_FILES:
        file = waiting.pop()
        if file in read:
            continue
        read.add(file)
        for name in _names_in(file):
            names.add(name)
            waiting += [file for folder in folders for file in _files(folder, name.split(".")[0])]
    return names


def _files(folder: Path, name: str) -> Iterator[Path]:
    """The files of a module or package of this folder."""
    if (folder / f"{name}.py").is_file():
        yield folder / f"{name}.py"
    elif (folder / name).is_dir():
        yield from sorted((folder / name).rglob("*.py"))


def _names_in(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
