"""Pruning as a library: it needs no experiment, no store and no command line.

`core` holds what is true on any framework and imports no framework; `torch` prunes PyTorch modules. Names resolve
on first use, so that importing this package imports neither torch nor rich.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoprune.compression.core.configure import load_configure
    from autoprune.compression.reporting import Report, report

__all__ = ["Report", "load_configure", "report"]

_ELSEWHERE = {"load_configure": "autoprune.compression.core.configure"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'autoprune.compression' has no attribute {name!r}")
    value = getattr(import_module(_ELSEWHERE.get(name, "autoprune.compression.reporting")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
