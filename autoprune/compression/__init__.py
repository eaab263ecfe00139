"""Pruning as a library: it needs no experiment, no store and no command line.

`core` holds what is true on any framework and imports no framework; `torch` prunes PyTorch modules. Names resolve
on first use, so that importing this package imports neither torch nor rich.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoprune.compression import cost
    from autoprune.compression.core.configure import load_configure
    from autoprune.compression.cost import Cost, compare, measure
    from autoprune.compression.reporting import Report, report

__all__ = ["Cost", "Report", "compare", "cost", "load_configure", "measure", "report"]

_HOMES = {"load_configure": "core.configure", "Report": "reporting", "report": "reporting"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'autoprune.compression' has no attribute {name!r}")
    home = import_module(f"autoprune.compression.{_HOMES.get(name, 'cost')}")
    value = home if name == "cost" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
