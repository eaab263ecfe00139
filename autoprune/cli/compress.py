"""`autoprune compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autoprune.cli._common import examples, print_json
from autoprune.cli._subject import batch_sizes_option, function_in_file, subject, subject_options

_SUFFIX = ".safetensors"


@click.command(
    epilog=examples(
        "autoprune compress model.py:build --pruner l1 --sparsity 0.5 --data data.py:batches --out small.safetensors",
        "autoprune compress model.py:Net --pruner fpgm --sparsity 0.3 --input 1,3,224,224 --out small.safetensors",
        "autoprune compress model.py:Net --pruner taylor --config prune.yml --data data.py:batches --out s.safetensors",
    )
)
@subject_options
@click.option(
    "--pruner",
    required=True,
    metavar="NAME",
    help="l1, l2, fpgm, slim, taylor, apoz or mean, which prune filters and make the model smaller; level, lamp, nm, "
    "wanda and the like only make weights zero.",
)
@click.option(
    "--sparsity",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="SHARE",
    help="The share of the filters of each layer that goes, such as 0.5.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A config_list as YAML or JSON, in place of --sparsity.",
)
@click.option(
    "--mode",
    metavar="NAME",
    help="How a budget is divided among layers: dependency_aware (usual for filters with --sparsity: layers that are "
    "added lose the same ones), uniform, global, erk or lamp.",
)
@click.option("--round-to", type=click.IntRange(min=1), metavar="N", help="Leave a multiple of N filters in a layer.")
@click.option(
    "--loss",
    default="cross_entropy",
    show_default=True,
    metavar="NAME",
    help="For pruners that look at gradients: a loss of torch.nn.functional, or FILE.py:FUNCTION.",
)
@click.option(
    "--batches",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="Look at no more than N batches of --data.",
)
@click.option("--no-recalibrate", is_flag=True, help="Keep BatchNorm statistics, in place of new ones from --data.")
@click.option("--inexact", is_flag=True, help="Remove channels that a LayerNorm normalises over, too; outputs change.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Where to write (.safetensors)."
)
@click.option("--onnx", type=click.Path(path_type=Path), metavar="FILE", help="Export it as ONNX, too (.onnx).")
@click.option("--force", is_flag=True, help="Write over files that are there.")
@batch_sizes_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    model: str,
    weights: Path | None,
    data: str | None,
    inputs: tuple[str, ...],
    pruner: str,
    sparsity: float | None,
    config: Path | None,
    mode: str | None,
    round_to: int | None,
    loss: str,
    batches: int,
    no_recalibrate: bool,
    inexact: bool,
    out: Path,
    onnx: Path | None,
    force: bool,
    batch_sizes: tuple[int, ...],
    as_json: bool,
) -> None:
    """Prune the model that MODEL.py:FUNCTION builds, once and without training, and make it really smaller.

    FUNCTION is called without arguments and returns a torch.nn.Module; a class does, too. Filters go from all layers
    they touch, BatchNorm statistics are taken anew from --data, and parameters, MACs, file size, latency and memory
    are measured before and after. Layers of which nothing can be removed, such as the last, are left alone.

    The file loads with load_compact(build, FILE) wherever the model's class is. Pruners of single weights (level, ...)
    make nothing smaller or faster, since zeros are computed like any other value: then the masked weights are
    written, with the masks beside them, and the command says so.
    """
    from autoprune.cli._figures import show_compressed
    from autoprune.errors import UsageError
    from autoprune.probe import COMPRESSION, ask

    if sparsity is not None and config is not None:
        raise UsageError("given both --sparsity and --config; expected one of them")
    if config is not None and not config.is_file():
        raise UsageError(f"--config: given {str(config)!r}; expected a file that is there")
    given = subject(model, weights, data, inputs)
    choice = {
        "pruner": pruner,
        "sparsity": sparsity,
        "config": None if config is None else str(config),
        "mode": mode,
        "round_to": round_to,
        "loss": function_in_file("--loss", loss) if ":" in loss else loss,
        "batches": batches,
        "inexact": inexact,
    }
    _check_place("--out", out, _SUFFIX, force=force)
    if onnx is not None:
        _check_place("--onnx", onnx, ".onnx", force=force)
    answer: dict[str, Any] = ask(
        COMPRESSION,
        "compress",
        {
            "subject": given,
            "choice": choice,
            "out": str(out),
            "onnx": None if onnx is None else str(onnx),
            "recalibrate": not no_recalibrate,
            "batch_sizes": batch_sizes,
        },
    )
    if as_json:
        print_json(answer)
    else:
        show_compressed(answer)


def _check_place(option: str, path: Path, suffix: str, *, force: bool) -> None:
    from autoprune.errors import UsageError

    if path.suffix != suffix:
        raise UsageError(f"{option}: given {str(path)!r}; expected a name that ends in {suffix}")
    if not path.parent.is_dir():
        raise UsageError(f"{option}: given {str(path)!r}; expected a folder that is there (create {path.parent})")
    beside = path.with_suffix(f".masks{suffix}") if option == "--out" else path
    for each in (path, beside):
        if each.exists() and not force:
            raise UsageError(f"{option}: {each} is there already; expected a new name, or --force to write over it")
