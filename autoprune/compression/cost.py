"""What a model costs: `measure(model, example_input)`, and two models beside each other: `compare(before, after)`.

Counts are exact and times are measured on the device at hand. Zeros alone save no time: kernels compute them like any
other value. So models that differ only by zeros are never said to differ in time, whatever the clock showed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from autoprune.compression.core.errors import CompressionError, shown

if TYPE_CHECKING:
    from rich.console import Group
    from torch import nn

ZEROS = (
    "zeros are computed like any other value, so masks gain no time: speedup() removes channels, "
    "to_sparse() changes kernels"
)
BUSY = (
    "latency was measured while other programs kept the processors busy, and no calm moment came; measure again on a "
    "quiet machine"
)
CALM = 0.5
"""Up to this share of the time, waiting for a processor does not touch the median."""
_ANY = "-"


@dataclass(frozen=True)
class Latency:
    """Milliseconds that a forward of one batch takes: the middle of `repeats`, and what 95 % of them stay below.

    `peak_memory` is the most bytes held at once in a forward: weights, buffers, input, and all that it allocates.
    `waited` is for what share of the time its threads together waited for a processor, which other programs had; None
    of one thread, and where the system does not tell.
    """

    batch_size: int
    median_ms: float
    p95_ms: float
    repeats: int
    threads: int
    device: str
    peak_memory: int
    waited: float | None = None

    @property
    def disturbed(self) -> bool:
        return self.waited is not None and self.waited > CALM


@dataclass(frozen=True)
class LayerCost:
    """A layer with parameters of its own; what it shares with one before it is counted there.

    `requested` and `achieved` are the shares of zeros in its weights (not its biases) that pruners were asked for and
    that there are; what a compact model has lost with channels of either side counts as zeros there. `macs` leaves out
    layers inside of it, and is None for a layer that is never called: unused, or one whose weights its parent computes
    with. `channels` has, of each side that lost any, how many of how many.
    """

    name: str
    type: str
    parameters: int
    nonzeros: int | None
    macs: int | None
    requested: float | None
    achieved: float | None
    channels: Mapping[str, tuple[int, int]]

    @property
    def cells(self) -> tuple[str, ...]:
        sides = ", ".join(f"{side} {now} of {before}" for side, (now, before) in self.channels.items())
        shares = (_share(self.requested), _share(self.achieved))
        return (self.name or "(model)", self.type, *map(_count, self._counts), *shares, sides or _ANY)

    def to_dict(self) -> dict[str, Any]:
        channels = {side: {"now": now, "before": before} for side, (now, before) in self.channels.items()}
        return {**asdict(replace(self, channels={})), "channels": channels}

    @property
    def _counts(self) -> tuple[int | None, ...]:
        return self.parameters, self.nonzeros, self.macs


@dataclass(frozen=True, repr=False)
class Cost:
    """What a model costs. `str` and `repr` are tables; so is `rich.print`.

    `dense_bytes` is the size of its state_dict as safetensors. `sparse_bytes` is that with each tensor coded by its
    zeros (a bitmask or positions, and the values that are not zero) and compressed with zlib, whatever is shortest.
    `macs` are the multiply-accumulates of one forward of the whole `example_input`. `weight_memory` is what parameters
    and buffers hold in memory. `requested` and `achieved` are over the layers that pruners were asked to prune;
    without any, `achieved` is over the weights of all. What was left out or can not be known is None.
    """

    form: str
    parameters: int
    nonzeros: int | None
    macs: int | None
    dense_bytes: int
    sparse_bytes: int | None
    weight_memory: int | None
    requested: float | None
    achieved: float | None
    latency: tuple[Latency, ...]
    layers: tuple[LayerCost, ...]

    @property
    def macs_elsewhere(self) -> int | None:
        """Of products that are in none of its layers, such as those of a function for attention."""
        return None if self.macs is None else self.macs - sum(layer.macs or 0 for layer in self.layers)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the figures leave open."""
        said = {
            ZEROS: self.form == "masked",
            "MACs were left out, or could not be counted": self.macs is None,
            BUSY: any(each.disturbed for each in self.latency),
        }
        return tuple(text for text, holds in said.items() if holds)

    def to_dict(self) -> dict[str, Any]:
        return {
            **asdict(replace(self, layers=())),
            "latency": [asdict(each) for each in self.latency],
            "layers": [layer.to_dict() for layer in self.layers],
            "macs_elsewhere": self.macs_elsewhere,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return _text(self._tables, self.notes)

    __repr__ = __str__

    def __rich__(self) -> Group:
        return _rich(self._tables, self.notes)

    @property
    def _tables(self) -> list[_Table]:
        rows = [layer.cells for layer in self.layers]
        if self.macs_elsewhere:
            rows.append(("elsewhere", "", "", "", _count(self.macs_elsewhere), "", "", ""))
        counts = (_count(self.parameters), _count(self.nonzeros), _count(self.macs))
        rows.append(("in all", self.form, *counts, _share(self.requested), _share(self.achieved), ""))
        layers = ("layer", "type", "parameters", "nonzeros", "MACs", "requested", "achieved", "channels")
        sizes = (("file", self.dense_bytes), ("file, sparse", self.sparse_bytes), ("in memory", self.weight_memory))
        tables = [_Table(layers, rows, 2), _Table(("size", "bytes"), [(name, _count(size)) for name, size in sizes], 1)]
        return [*tables, self._times] if self.latency else tables

    @property
    def _times(self) -> _Table:
        headings = ("batch", "median ms", "p95 ms", "repeats", "threads", "peak memory", "device")
        rows = [
            (
                str(each.batch_size),
                f"{each.median_ms:.4g}",
                f"{each.p95_ms:.4g}",
                str(each.repeats),
                str(each.threads),
                _count(each.peak_memory),
                each.device,
            )
            for each in self.latency
        ]
        return _Table(headings, rows, 1)


@dataclass(frozen=True)
class Figure:
    """One figure of two models, and how many times the second goes into the first; None where that says nothing."""

    name: str
    before: float | None
    after: float | None
    ratio: float | None

    @property
    def cells(self) -> tuple[str, ...]:
        return (
            self.name,
            _figure(self.before),
            _figure(self.after),
            _ANY if self.ratio is None else f"{self.ratio:.2f}x",
        )


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two models beside each other. A ratio is before / after: 2 is half the size, or half the time."""

    before: Cost
    after: Cost

    @property
    def figures(self) -> tuple[Figure, ...]:
        names = ("parameters", "nonzeros", "macs", "dense_bytes", "sparse_bytes", "weight_memory")
        counts = [_compared(name, getattr(self.before, name), getattr(self.after, name)) for name in names]
        return (*counts, *self._latencies)

    @property
    def notes(self) -> tuple[str, ...]:
        """Why the times have no ratio, where they have none."""
        if not self._pairs:
            return ()
        if self._zeros_only:
            return (ZEROS,)
        if not self._same_device:
            return ("latency was measured on different devices or numbers of threads, so there is no ratio of it",)
        return (BUSY,) if self._disturbed else ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "figures": [asdict(figure) for figure in self.figures],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return _text([self._table], self.notes)

    __repr__ = __str__

    def __rich__(self) -> Group:
        return _rich([self._table], self.notes)

    @property
    def _table(self) -> _Table:
        shares = [
            (name, _share(getattr(self.before, name)), _share(getattr(self.after, name)), _ANY) for name in _SHARES
        ]
        headings = ("", f"before ({self.before.form})", f"after ({self.after.form})", "before / after")
        return _Table(headings, [*(figure.cells for figure in self.figures), *shares], 1)

    @property
    def _latencies(self) -> list[Figure]:
        figures = []
        for before, after in self._pairs:
            time = _compared(f"median ms, batch {before.batch_size}", before.median_ms, after.median_ms)
            told = self._same_device and not self._zeros_only and not self._disturbed
            figures.append(time if told else replace(time, ratio=None))
            figures.append(_compared(f"peak memory, batch {before.batch_size}", before.peak_memory, after.peak_memory))
        return figures

    @property
    def _pairs(self) -> list[tuple[Latency, Latency]]:
        later = {each.batch_size: each for each in self.after.latency}
        return [(each, later[each.batch_size]) for each in self.before.latency if each.batch_size in later]

    @property
    def _same_device(self) -> bool:
        return all((one.device, one.threads) == (two.device, two.threads) for one, two in self._pairs)

    @property
    def _disturbed(self) -> bool:
        return any(each.disturbed for pair in self._pairs for each in pair)

    @property
    def _zeros_only(self) -> bool:
        """Whether the second model is masked, or the two differ by nothing but zeros, masked or not."""
        sizes = [(each.parameters, each.macs, each.dense_bytes) for each in (self.before, self.after)]
        zeros = self.before.nonzeros != self.after.nonzeros or self.before.form == "masked"
        return self.after.form == "masked" or (sizes[0] == sizes[1] and zeros)


_SHARES = ("requested", "achieved")


def measure(
    model: nn.Module,
    example_input: Any,
    *,
    batch_sizes: Sequence[int] = (1,),
    warmup: int = 5,
    repeats: int = 30,
    latency: bool = True,
    macs: bool = True,
) -> Cost:
    """What this model costs: counted, and timed on its device with batches of these sizes.

    `example_input` is a tensor, a tuple of arguments or a dict of keyword arguments; MACs are those of it as it is.
    To time another batch size, it is repeated or cut along the first dimension, and keeps its memory format. The model
    runs in eval mode and is afterwards as before. `latency=False` and `macs=False` leave those out: a model on the
    meta device can not be timed, and one whose operations depend on values can not be counted there.
    """
    from autoprune.compression.torch.measuring.measured import measured

    return measured(model, example_input, batch_sizes, warmup, repeats, timed=latency, with_macs=macs)


def compare(before: Cost, after: Cost) -> Comparison:
    """Two measured models beside each other, with ratios."""
    for name, given in (("before", before), ("after", after)):
        if not isinstance(given, Cost):
            raise CompressionError(f"compare.{name}: given {shown(given)}; expected a Cost, as measure() gives it")
    return Comparison(before, after)


@dataclass(frozen=True)
class _Table:
    """Rows under headings; the first `left` columns are aligned to the left, and so is the last where it is text."""

    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    left: int

    def __str__(self) -> str:
        lines = [self.headings, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(self._aligned(line, widths)).rstrip() for line in lines)

    def rich(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table()
        for index, heading in enumerate(self.headings):
            table.add_column(heading, justify="left" if self._is_left(index) else "right")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def _aligned(self, line: tuple[str, ...], widths: list[int]) -> list[str]:
        cells = enumerate(zip(line, widths, strict=True))
        return [cell.ljust(width) if self._is_left(index) else cell.rjust(width) for index, (cell, width) in cells]

    def _is_left(self, index: int) -> bool:
        return index < self.left or self.headings[index] in ("channels", "device")


def _text(tables: Sequence[_Table], notes: Sequence[str]) -> str:
    return "\n\n".join(map(str, tables)) + "".join(f"\n\n{note}" for note in notes)


def _rich(tables: Sequence[_Table], notes: Sequence[str]) -> Group:
    from rich.console import Group
    from rich.text import Text

    return Group(*(table.rich() for table in tables), *map(Text, notes))


def _compared(name: str, before: float | None, after: float | None) -> Figure:
    ratio = before / after if before is not None and after else None
    return Figure(name, before, after, ratio)


def _figure(value: float | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _count(value)


def _count(value: int | float | None) -> str:
    return _ANY if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return _ANY if value is None else f"{value:.4g}"
