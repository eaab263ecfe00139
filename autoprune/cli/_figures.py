"""What `compress` and `cost` print: counts with separators, sizes in bytes, times in milliseconds."""

from __future__ import annotations

from typing import Any

import click

from autoprune.cli._common import note
from autoprune.cli._tables import print_fields, print_heading, print_table

Answer = dict[str, Any]

_NAMES = {
    "parameters": "parameters",
    "nonzeros": "nonzeros",
    "macs": "MACs",
    "dense_bytes": "file, bytes",
    "sparse_bytes": "file, zeros left out, bytes",
    "weight_memory": "weights in memory, bytes",
}
_LAYERS = ("layer", "type", "parameters", "nonzeros", "MACs", "pruned")
_MASKED = (
    "nothing is smaller or faster: single weights are zero, and zeros are computed like any other value "
    "(pruners of filters remove them: --pruner l1)"
)


def show_compressed(answer: Answer) -> None:
    """Before and after beside each other, what was asked for and what came of it, and what stays."""
    rows = [
        (_name(figure["name"]), _number(figure["before"]), _number(figure["after"]), _ratio(figure["ratio"]))
        for figure in answer["figures"]
    ]
    print_table(("", "before", "after", "ratio"), rows, numeric=("before", "after", "ratio"))
    _show_filters(answer)
    _show_staying(answer)
    if answer["kind"] == "masked":
        click.echo(f"\n{_MASKED}")
    else:
        for text in answer["notes"]:
            click.echo(f"\n{text}")
    weights, *more = answer["files"]
    load = f"load_compact(build, {weights!r})" if answer["kind"] == "compact" else "load_state_dict, as any weights"
    note(f"wrote {weights}: loads by {load}" + "".join(f"; and {path}" for path in more))


def show_cost(answer: Answer, *, layers: bool) -> None:
    """A figure a line, and the layers below."""
    counts = [(name, _number(answer[key])) for key, name in _NAMES.items()]
    times = [
        (f"batch {each['batch_size']}", f"{_ms(each['median_ms'])} (95 % below {_ms(each['p95_ms'])})")
        for each in answer["latency"]
    ]
    memory = [
        (f"peak memory, batch {each['batch_size']}, bytes", _number(each["peak_memory"])) for each in answer["latency"]
    ]
    print_fields([*counts, *((f"latency, {name}", text) for name, text in times), *memory])
    for text in answer["notes"]:
        click.echo(f"\n{text}")
    if layers:
        click.echo()
        rows = [_layer(layer) for layer in answer["layers"]]
        if answer["macs_elsewhere"]:
            rows.append(("(elsewhere)", "", "", "", _number(answer["macs_elsewhere"]), ""))
        print_table(_LAYERS, rows, numeric=_LAYERS[2:])


def _show_filters(answer: Answer) -> None:
    filters = answer["filters"]
    if filters:
        before, after = (sum(layer[side] for layer in filters) for side in ("before", "after"))
        print_heading(f"filters: {before - after:,} of {before:,} removed ({1 - after / before:.1%}){_asked(answer)}")
        rows = [
            (each["layer"], _requested(each), f"{1 - each['after'] / each['before']:.4g}",
             f"{each['before']} -> {each['after']}")
            for each in filters
        ]  # fmt: skip
        print_table(("layer", "requested", "achieved", "filters"), rows, numeric=("requested", "achieved", "filters"))
    elif answer["kind"] == "masked":
        achieved = answer["after"]["achieved"]
        print_heading(f"weights: {achieved:.4g} of them are zero{_asked(answer)}")


def _requested(layer: Answer) -> str:
    return f"{layer['requested']:.4g}{' in all' if layer['pooled'] else ''}"


def _asked(answer: Answer) -> str:
    return "" if answer["requested"] is None else f", requested {answer['requested']:.4g}"


def _show_staying(answer: Answer) -> None:
    staying = [(each["layer"], f"{each['channels']} masked", each["reason"]) for each in _compaction(answer, "staying")]
    alone = [(layer, "all", reason) for layer, reason in answer["left_alone"].items()]
    if staying or alone:
        click.echo()
        rows = [
            (layer, filters, why.replace("inexact=True", "--inexact")) for layer, filters, why in (*staying, *alone)
        ]
        print_table(("stays", "filters", "why"), rows)


def _compaction(answer: Answer, key: str) -> list[dict[str, Any]]:
    return list(answer["compaction"][key]) if answer["compaction"] else []


def _layer(layer: Answer) -> tuple[str, ...]:
    pruned = "-" if layer["achieved"] is None else f"{layer['achieved']:.4g}"
    counts = [_number(layer[key]) for key in ("parameters", "nonzeros", "macs")]
    return (layer["name"] or "(model)", layer["type"], *counts, pruned)


def _name(name: str) -> str:
    kind, _, batch = name.partition(", ")
    if kind == "median ms":
        return f"latency, {batch}"
    return f"peak memory, {batch}, bytes" if kind == "peak memory" else _NAMES.get(name, name)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else _ms(value)


def _ms(value: float) -> str:
    return f"{value:.3g} ms"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"
