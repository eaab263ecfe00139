"""Sparse models in files: weights and masks as safetensors, which need no pickle and load into the plain model.

written = pruner.export("model.safetensors")       # and model.masks.safetensors beside it
plain.load_state_dict(safetensors.torch.load_file("model.safetensors"))
load_masks(plain, "model.masks.safetensors")       # to go on training, sparse
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.reporting import Report, report
from autoprune.compression.torch import masking, named_masks
from autoprune.compression.torch.layers import holders, original
from autoprune.compression.torch.masking import Request, Vote
from autoprune.compression.torch.named_masks import NamedTensors

SUFFIX = ".safetensors"
_OWNER = "load_masks"


@dataclass(frozen=True, repr=False)
class Exported:
    """The two files that were written, and what is in them.

    A schedule that had not reached its target when they were written is named in `unfinished`, in the text of this
    record and in the files' metadata.
    """

    weights: Path
    masks: Path
    report: Report

    @property
    def unfinished(self) -> tuple[str, ...]:
        return self.report.unfinished

    def __str__(self) -> str:
        lines = (f"{self.weights} and {self.masks}: sparsity {self.report.achieved:.4g}", *self.unfinished)
        return "\n".join(lines)

    __repr__ = __str__


def export(model: nn.Module, path: str | Path) -> Exported:
    """Write a masked model: weights with their zeros under the model's own names to `path`, masks beside it.

    The metadata of both files has the pruners, the sparsity achieved, what is unfinished, and the report as JSON.
    """
    weights = Path(path)
    check_place(weights)
    for _, _, held in masking.all_masked(model):
        held.enforce()
    carried = named_masks.carried(model)
    written = Exported(weights, weights.with_suffix(f".masks{SUFFIX}"), report(model))
    masks = {f"{each.layer}.{each.parameter}".lstrip("."): each.keep for each in carried}
    write({weights: storable(model.state_dict()), written.masks: storable(masks)}, _metadata(written.report))
    return written


def load_masks(model: nn.Module, masks: NamedTensors | str | Path) -> dict[str, dict[str, Tensor]]:
    """Mask a model as `compress` did when it returned these masks, or when they were exported.

    Masks that were loaded before are replaced, those of a pruner stay. `unwrap(model)` takes them off.
    """
    given = _read(Path(masks)) if isinstance(masks, str | Path) else masks
    found = named_masks.matched(model, given, "load_masks")
    masking.drop(model, _OWNER, keep_zeros=False)
    sharing = holders(model)
    loaded: dict[str, dict[str, Tensor]] = {}
    for each in found:
        parameter = each.module.get_parameter(each.parameter)
        held = [masking.attach(module, name) for module, name in sharing[id(parameter)]]
        held[0].set_vote(_OWNER, Vote(each.keep.to(parameter.device, copy=True), Request(_OWNER, None, None)))
        loaded.setdefault(each.layer, {})[each.parameter] = each.keep.to(parameter.device, copy=True)
    return loaded


def check_place(path: Path, called: str = "export") -> None:
    if path.suffix != SUFFIX:
        raise CompressionError(f"{called}: given {str(path)!r}; expected a name that ends in {SUFFIX}")
    if not path.parent.is_dir():
        raise CompressionError(f"{called}: given {str(path)!r}; expected a folder that exists (create {path.parent})")


def _metadata(made: Report) -> dict[str, str]:
    return {
        "format": "pt",
        "pruner": ", ".join(made.pruners),
        "achieved_sparsity": repr(made.achieved),
        "unfinished": "\n".join(made.unfinished),
        "report": json.dumps(made.to_dict()),
    }


def storable(state: Mapping[str, object], called: str = "export") -> dict[str, Tensor]:
    """Tensors that the format can hold: on the CPU, in one piece, and a memory of its own for each."""
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in state.items():
        if not isinstance(value, Tensor) or not _can_be_stored(value):
            given = (
                f"{value.dtype}, {value.layout}, {value.device}" if isinstance(value, Tensor) else type(value).__name__
            )
            raise CompressionError(
                f"{called}: given {given} under {name!r}; expected a dense tensor with plain numbers"
            )
        plain = value.detach().cpu().contiguous()
        pointer = plain.untyped_storage().data_ptr()
        tensors[original(name)] = plain.clone() if pointer in seen else plain
        seen.add(pointer)
    return tensors


def _can_be_stored(value: Tensor) -> bool:
    numbers = value.dtype != torch.complex128 and not value.is_quantized
    return numbers and value.layout == torch.strided and not value.is_meta


def write(files: Mapping[Path, dict[str, Tensor]], metadata: dict[str, str], called: str = "export") -> None:
    """All of these files of one folder, or none: each is whole before the first takes its place."""
    folder = next(iter(files)).parent
    try:
        with TemporaryDirectory(dir=folder, prefix=".export-") as drafts:
            for path, tensors in files.items():
                _save(tensors, Path(drafts) / path.name, metadata)
            for path in files:
                (Path(drafts) / path.name).replace(path)
    except (OSError, SafetensorError) as error:
        names = " and ".join(str(path) for path in files)
        raise CompressionError(f"{called}: given {names}; expected files that can be written ({error})") from None


def _save(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """With the rights that any new file here has; the library would leave it to its owner alone."""
    path.touch()
    rights = stat.S_IMODE(path.stat().st_mode)
    save_file(tensors, path, metadata)
    path.chmod(rights)


def _read(path: Path) -> NamedTensors:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CompressionError(f"load_masks: given {str(path)!r}; expected a file of masks ({error})") from None
    masks: dict[str, dict[str, Tensor]] = {}
    for name, keep in tensors.items():
        layer, _, parameter = name.rpartition(".")
        masks.setdefault(layer, {})[parameter] = keep
    return masks
