"""Models that run elsewhere: ONNX files and torch.export programs, each checked before its file is there.

written = export_onnx(small, "small.onnx", example_input)       # pip install autoprune[onnx]
written = export_program(small, "small.pt2", example_input)     # torch.export.load("small.pt2").module()

A model is exported in evaluation mode, a masked one with its zeros. The file is then run, on the example and on other
batch sizes where it takes any, and compared with the model: one that computes something else is not written.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import masking
from autoprune.compression.torch.comparing import (
    Case,
    Cases,
    arguments,
    has_batch,
    returned,
    said,
)
from autoprune.compression.torch.feeding import call
from autoprune.compression.torch.nested import each_tensor, tensors
from autoprune.compression.torch.untouched import modes_kept, random_state_kept

_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_LOUD = ("torch.onnx", "torch.fx.experimental.symbolic_shapes", "onnxscript")
_WARNINGS = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r"The tensor attributes? (self\.\S*_flat_weights\[\d+\],? ?)+w(as|ere) assigned during export",
    r"No complete tensor found in the group! Returning the first one",
)


@dataclass(frozen=True)
class ExportedOnnx:
    """An ONNX file, and by how much its outputs differ at most from the model's, in ONNX Runtime.

    `files` is the file itself, and beside it the weights where a single file cannot hold them.
    """

    path: Path
    files: tuple[Path, ...]
    bytes: int
    difference: float
    batches: tuple[int, ...]
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __str__(self) -> str:
        ends = f"{', '.join(self.inputs)} -> {', '.join(self.outputs)}"
        return f"{_written(self.files, self.bytes)}, opset {self.opset}, {ends}; {_checked(self, 'ONNX Runtime')}"


@dataclass(frozen=True)
class ExportedProgramFile:
    """A file of torch.export, and by how much its outputs differ at most from the model's, loaded again."""

    path: Path
    bytes: int
    difference: float
    batches: tuple[int, ...]

    def __str__(self) -> str:
        return f"{_written((self.path,), self.bytes)}; {_checked(self, 'torch')}"


def export_onnx(
    model: nn.Module, path: str | Path, example_input: Any, *, dynamic_batch: bool = True, opset: int | None = None
) -> ExportedOnnx:
    """Write a model as ONNX, once ONNX Runtime computes what the model computes.

    The batch size is the first dimension of the first tensor of `forward`. With `dynamic_batch`, every tensor whose
    first dimension that is takes any batch size.
    """
    where, place = "export_onnx", Path(path)
    _check_place(where, place, ".onnx")
    _require_onnx(where)
    with _evaluating(model):
        cases = Cases.of(where, model, example_input, any_batch=dynamic_batch)
        program = _translated(cases, _captured(cases, model, dynamic_batch), opset)
        with _draft(where, place) as draft:
            program.save(draft)
            session = _session(cases, draft)
            difference = cases.difference("ONNX Runtime", lambda inputs: _run(session, inputs))
            files = _moved(draft, place)
    size = sum(file.stat().st_size for file in files)
    ends = (tuple(each.name for each in side) for side in (session.get_inputs(), session.get_outputs()))
    return ExportedOnnx(place, files, size, difference, cases.batches, program.model.opset_imports[""], *ends)


def export_program(
    model: nn.Module, path: str | Path, example_input: Any, *, dynamic_batch: bool = True
) -> ExportedProgramFile:
    """Write a model as a torch.export program, once the loaded file computes what the model computes.

    The batch size is the first dimension of the first tensor of `forward`. With `dynamic_batch`, every tensor whose
    first dimension that is takes any batch size.
    """
    where, place = "export_program", Path(path)
    _check_place(where, place, ".pt2")
    with _evaluating(model):
        cases = Cases.of(where, model, example_input, any_batch=dynamic_batch)
        program = _captured(cases, model, dynamic_batch)
        program.example_inputs = None  # they would be written into the file
        with _draft(where, place) as draft:
            with _quiet():
                torch.export.save(program, draft)
                loaded = torch.export.load(draft).module()
            difference = cases.difference("torch", lambda inputs: returned(where, call(loaded, inputs)))
            _moved(draft, place)
    return ExportedProgramFile(place, place.stat().st_size, difference, cases.batches)


def _check_place(where: str, path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise CompressionError(f"{where}: given {str(path)!r}; expected a name that ends in {suffix}")
    if not path.parent.is_dir():
        raise CompressionError(f"{where}: given {str(path)!r}; expected a folder that exists (create {path.parent})")


def _require_onnx(where: str) -> None:
    for name in _NEEDED:
        try:
            import_module(name)
        except ImportError as error:
            raise CompressionError(
                f"{where}: given an installation without {name} ({error}); expected {', '.join(_NEEDED)} "
                "(pip install autoprune[onnx])"
            ) from None


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode with its masks in force; modes and random numbers are put back."""
    with modes_kept(model), random_state_kept(), torch.no_grad():
        model.eval()
        for _, _, held in masking.all_masked(model):
            held.enforce()
        yield


@contextmanager
def _draft(where: str, path: Path) -> Iterator[Path]:
    """Where to write first: a file of the same name in a folder that is gone afterwards."""
    try:
        with TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
            yield Path(folder) / path.name
    except OSError as error:
        raise CompressionError(f"{where}: given {str(path)!r}; expected a file that can be written ({error})") from None


def _moved(draft: Path, path: Path) -> tuple[Path, ...]:
    """Everything that was written, in its place: the file itself last, when all that it needs is there."""
    beside = sorted(each for each in draft.parent.iterdir() if each != draft)
    for each in (*beside, draft):
        each.replace(path.parent / each.name)
    return (path, *(path.parent / each.name for each in beside))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters print, log and warn of: missing packages, opsets, their own deprecations.

    What matters of it is checked here instead: the opset that came out, the outputs, and every value.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        for message in _WARNINGS:
            warnings.filterwarnings("ignore", message)
        for name in _LOUD:
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL)
        stack.enter_context(redirect_stdout(StringIO()))
        stack.enter_context(redirect_stderr(StringIO()))
        yield


def _captured(cases: Cases, model: nn.Module, dynamic_batch: bool) -> ExportedProgram:
    """Traced by torch.export: with two rows or more, as a single one would be taken for a constant."""
    case = next((each for each in cases.cases if each.batch > 1), cases.cases[0])
    named = isinstance(case.inputs, Mapping)
    args, kwargs = ((), dict(case.inputs)) if named else (tuple(case.inputs), {})
    shapes = _shapes(cases, model, case) if dynamic_batch else None
    try:
        with _quiet():
            program = torch.export.export(model, args, kwargs, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        raise _cannot_trace(cases, error) from error
    return _without_sources(program)


def _shapes(cases: Cases, model: nn.Module, case: Case) -> Any:
    """For each argument of `forward`, which of its dimensions may be of any size."""
    given = arguments(model, case.inputs)
    for name in given:
        if inspect.signature(model.forward).parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            raise CompressionError(
                f"{cases.where}: given a {cases.model} with forward(**{name}), where torch.export cannot leave the "
                "batch size open; expected arguments with names of their own (or dynamic_batch=False)"
            )
    free = {0: Dim("batch")}
    return each_tensor(given, lambda tensor: free if has_batch(tensor, case.batch) else None, lambda _: None)


def _cannot_trace(cases: Cases, error: Exception) -> CompressionError:
    given, only = f"{cases.where}: given a {cases.model}", cases.batches[0]
    if "Constraints violated" in str(error):
        return CompressionError(
            f"{given} whose code settles the batch size; expected one that takes any "
            f"(dynamic_batch=False exports it for batches of {only} alone)"
        )
    return CompressionError(
        f"{given} that torch.export cannot trace ({said(error)}); expected one whose control flow does not hang on "
        "the values of its inputs"
    )


def _without_sources(program: ExportedProgram) -> ExportedProgram:
    """Without the lines and paths of the code it was traced from, which would be written into the file."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return program


def _translated(cases: Cases, program: ExportedProgram, opset: int | None) -> Any:
    """As ONNX, with the dimension of the batch called so."""
    try:
        with _quiet():
            made: Any = torch.onnx.export(program, dynamo=True, verbose=False, opset_version=opset)
            free = {size for value in made.model.graph.inputs for size in value.shape if not isinstance(size, int)}
            made.rename_axes(dict.fromkeys(free, "batch"))
    except Exception as error:
        raise CompressionError(
            f"{cases.where}: given a {cases.model} that torch.onnx cannot translate ({said(error)}); expected "
            "operations that ONNX has (export_program takes them all)"
        ) from error
    if opset not in (None, made.model.opset_imports[""]):
        raise CompressionError(
            f"{cases.where}: given opset={opset}; expected one that torch.onnx can write for this model "
            f"(opset={made.model.opset_imports['']})"
        )
    return made


def _session(cases: Cases, path: Path) -> Any:
    runtime: Any = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise cases.cannot_run("in ONNX Runtime", error) from error


def _run(session: Any, inputs: Any) -> tuple[Tensor, ...]:
    names = [each.name for each in session.get_inputs()]
    arrays = [tensor.numpy(force=True) for tensor in tensors(inputs)]
    return tuple(torch.from_numpy(array) for array in session.run(None, dict(zip(names, arrays, strict=True))))


def _written(files: Sequence[Path], size: int) -> str:
    return f"{' and '.join(map(str, files))}: {size:,} bytes"


def _checked(made: ExportedOnnx | ExportedProgramFile, runtime: str) -> str:
    batches = ", ".join(map(str, made.batches))
    return f"differs from the model by {made.difference:.2g} at most in {runtime}, at batch {batches}"
