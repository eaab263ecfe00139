"""`autoprune cost`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._common import examples, print_json
from autoprune.cli._subject import batch_sizes_option, subject, subject_options


@click.command(
    epilog=examples(
        "autoprune cost model.py:build --input 1,3,224,224",
        "autoprune cost model.py:build --input 1,3,224,224 --batch-size 1 --batch-size 32 --layers",
        "autoprune cost model.py:build --compact small.safetensors --data data.py:batches --json",
    )
)
@subject_options
@click.option(
    "--compact",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Cut the model as this file of `autoprune compress` says, and load its weights.",
)
@batch_sizes_option
@click.option("--layers", is_flag=True, help="List every layer.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    model: str,
    weights: Path | None,
    data: str | None,
    inputs: tuple[str, ...],
    compact: Path | None,
    batch_sizes: tuple[int, ...],
    layers: bool,
    as_json: bool,
) -> None:
    """Measure what the model costs that MODEL.py:FUNCTION builds: parameters, MACs, file size, latency, memory.

    FUNCTION is called without arguments and returns a torch.nn.Module; a class does, too. Latency and memory are those
    of this machine, now. Zeros are counted apart from other parameters, since they make nothing faster.
    """
    from autoprune.cli._figures import show_cost
    from autoprune.probe import COMPRESSION, ask

    given = subject(model, weights, data, inputs, compact)
    answer = ask(COMPRESSION, "cost", {"subject": given, "batch_sizes": batch_sizes})
    if as_json:
        print_json(answer)
    else:
        show_cost(answer, layers=layers)
