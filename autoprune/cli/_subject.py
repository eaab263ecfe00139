"""What `compress` and `cost` are about, as arguments: a function that builds a model, its weights, and its inputs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from autoprune.errors import UsageError, did_you_mean

Function = TypeVar("Function", bound=Callable[..., Any])

_INPUT = re.compile(r"(\d+(?:,\d+)*)(?::(\w+))?")
_DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


batch_sizes_option = click.option(
    "--batch-size",
    "batch_sizes",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1,),
    show_default=True,
    metavar="N",
    help="Measure latency at this batch size; may be repeated.",
)


def subject_options(function: Function) -> Function:
    """`MODEL.py:FUNCTION`, `--weights`, `--data` and `--input`, as `model`, `weights`, `data` and `inputs`."""
    for option in (
        click.option(
            "--input",
            "inputs",
            multiple=True,
            metavar="SHAPE[:DTYPE]",
            help="An example input of random numbers, such as 1,3,224,224 or 1,128:int64 (zeros and ones); once for "
            "each argument of the model.",
        ),
        click.option(
            "--data",
            metavar="FILE.py:FUNCTION",
            help="A function that returns batches: pairs (inputs, target), or inputs alone.",
        ),
        click.option(
            "--weights",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Weights to load into the model: safetensors, or a state dict that torch.save wrote.",
        ),
        click.argument("model", metavar="MODEL.py:FUNCTION"),
    ):
        function = option(function)
    return function


def subject(
    model: str, weights: Path | None, data: str | None, inputs: tuple[str, ...], compact: Path | None = None
) -> dict[str, Any]:
    """The same for the child process, as far as it can be checked without torch."""
    if bool(data) == bool(inputs):
        given = "both --data and --input" if data else "neither --data nor --input"
        raise UsageError(f"given {given}; expected one of them: what the model is run on (--input 1,3,224,224)")
    if weights is not None and compact is not None:
        raise UsageError("given both --weights and --compact; expected one of them: a compact file has the weights")
    for option, path in (("--weights", weights), ("--compact", compact)):
        if path is not None and not path.is_file():
            raise UsageError(f"{option}: given {str(path)!r}; expected a file that is there")
    return {
        "model": function_in_file("MODEL", model),
        "weights": None if weights is None else str(weights),
        "compact": None if compact is None else str(compact),
        "data": None if data is None else function_in_file("--data", data),
        "inputs": [_input(text) for text in inputs],
    }


def function_in_file(option: str, text: str) -> dict[str, str]:
    """`FILE.py:FUNCTION` as `file` and `name`; whether the file has such a function, the child finds out."""
    file, colon, name = text.rpartition(":")
    if not colon or not name.isidentifier():
        example = f"{(text if not colon else file) or 'model.py'}:build"
        raise UsageError(f"{option}: given {text!r}; expected FILE.py:FUNCTION, such as {example}")
    path = Path(file)
    if path.suffix != ".py":
        raise UsageError(f"{option}: given the file {file!r}; expected one that ends in .py")
    if not path.is_file():
        folder = path.parent
        beside = sorted(each.name for each in folder.glob("*.py"))[:8] if folder.is_dir() else []
        hint = f" ({did_you_mean(path.name, beside)})" if beside else ""
        raise UsageError(f"{option}: given the file {file!r}; expected one that is there{hint}")
    return {"file": file, "name": name}


def _input(text: str) -> dict[str, Any]:
    found = _INPUT.fullmatch(text.replace(" ", ""))
    if found is None:
        raise UsageError(f"--input: given {text!r}; expected SHAPE[:DTYPE], such as 1,3,224,224 or 1,128:int64")
    dtype = found[2] or _DTYPES[0]
    if dtype not in _DTYPES:
        raise UsageError(f"--input: given the type {dtype!r}; expected one of torch's ({did_you_mean(dtype, _DTYPES)})")
    return {"shape": [int(size) for size in found[1].split(",")], "dtype": dtype}
