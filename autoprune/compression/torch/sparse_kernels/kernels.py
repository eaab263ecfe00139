"""Linear layers that compute without the zeros of their weights: for inference, in the place of an nn.Linear.

CSR has the lead on a CPU: a value and a 32-bit index for each weight that is kept. MKL multiplies it with a vector, or
with columns, about twice as fast as with the 64-bit indices that torch makes by itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError

_HALVES = (torch.float16, torch.bfloat16)
_AMPERE = (8, 0)


class SparseLinear(nn.Module):
    """A Linear with its weight as CSR. In `state_dict` are the three plain tensors that CSR is made of, and the bias.

    It does not train. It takes the dtype and the device of its values, which `.to()` moves, and no autocast.
    """

    crow_indices: Tensor
    col_indices: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Of a dense weight, as nn.Linear has it; nothing is shared with it."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        compressed = weight.detach().to_sparse_csr()
        values = compressed.values()
        index = torch.int32 if values.numel() <= torch.iinfo(torch.int32).max else torch.int64
        self.register_buffer("crow_indices", compressed.crow_indices().to(index))
        self.register_buffer("col_indices", compressed.col_indices().to(index))
        self.values = nn.Parameter(values, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        """The weight as a sparse CSR tensor, on the memory of the three."""
        return self._csr(checked=False)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        rows = input.reshape(-1, self.in_features)
        try:
            output = self._one(rows[0]) if len(rows) == 1 else self._many(rows.t()).t().contiguous()
        except NotImplementedError as error:
            raise CompressionError(
                f"SparseLinear: given values of {self.values.dtype} on {self.values.device.type}; expected ones that "
                f"torch multiplies there as CSR ({error})"
            ) from None
        return output.reshape(*input.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        kept = self.values.numel()
        shape = f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        return f"{shape}, kept={kept} of {self.in_features * self.out_features}"

    def _one(self, row: Tensor) -> Tensor:
        return torch.mv(self.weight, row) if self.bias is None else torch.addmv(self.bias, self.weight, row)

    def _many(self, columns: Tensor) -> Tensor:
        if self.bias is None:
            return torch.mm(self.weight, columns)
        return torch.addmm(self.bias.unsqueeze(1), self.weight, columns)

    def _csr(self, *, checked: bool) -> Tensor:
        shape = (self.out_features, self.in_features)
        parts = self.crow_indices, self.col_indices, self.values.detach()
        return torch.sparse_csr_tensor(*parts, shape, check_invariants=checked)

    def _check(self, given: Tensor) -> None:
        _refuse_training(self)
        if given.shape[-1:] != (self.in_features,) or given.dtype != self.values.dtype:
            raise CompressionError(
                f"SparseLinear: given an input of shape {tuple(given.shape)} and {given.dtype}; expected "
                f"{self.in_features} features in its last dimension and {self.values.dtype}"
            )
        if torch.is_autocast_enabled(given.device.type):
            raise CompressionError(
                "SparseLinear: given a call under autocast; expected one without (convert the dense model with "
                f".to(dtype) and call to_sparse again; {given.device.type} may have no sparse kernel of that dtype)"
            )

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, metadata: Any, strict: bool, *lists: Any
    ) -> None:
        """As any module does, and refuse indices out of bounds: kernels would read memory that is not theirs."""
        *_, errors = lists
        before = len(errors)
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, *lists)
        if len(errors) > before or self.values.is_meta:
            return
        try:
            self._csr(checked=True)
        except RuntimeError as error:
            errors.append(f"{prefix}crow_indices and {prefix}col_indices are no CSR of this shape: {error}")


class SemiStructuredLinear(nn.Linear):
    """A Linear with a 2:4 weight in the compressed form of torch, which tensor cores multiply. It does not train."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        rows, columns = weight.shape
        super().__init__(columns, rows, bias is not None, device="meta")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The PyTorch API of SparseSemiStructuredTensor is in prototype stage")
            compressed = torch.sparse.to_sparse_semi_structured(weight.detach().contiguous())
        self.weight = nn.Parameter(compressed, requires_grad=False)
        if bias is not None:
            self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)

    def forward(self, input: Tensor) -> Tensor:
        _refuse_training(self)
        return super().forward(input)


Kernel = type[SparseLinear] | type[SemiStructuredLinear]


def kernels_for(weight: Tensor) -> dict[str, Kernel]:
    """What may compute with this weight, by the name it has in records."""
    found: dict[str, Kernel] = {"csr": SparseLinear}
    if weight.dtype in _HALVES and _has_sparse_tensor_cores(weight.device) and is_two_four(weight):
        found["2:4"] = SemiStructuredLinear
    return found


def is_two_four(weight: Tensor) -> bool:
    """Whether no four neighbours in a row hold more than two weights that are not zero."""
    rows, columns = weight.shape
    return columns % 4 == 0 and bool(((weight.reshape(rows, -1, 4) != 0).sum(2) <= 2).all())


def _has_sparse_tensor_cores(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _AMPERE


def _refuse_training(layer: nn.Module) -> None:
    if layer.training:
        name = type(layer).__name__
        raise CompressionError(
            f"{name}: given a call in training mode; expected eval mode: it is for inference only (call eval(), or "
            "train the dense model and call to_sparse again)"
        )


def _spend_beta_warning() -> None:
    """torch warns once for each process that CSR is in beta state; nobody here can act on it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")
        torch.zeros(1, 1).to_sparse_csr()


_spend_beta_warning()
