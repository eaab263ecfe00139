"""How many bytes a model takes in a file: as safetensors, and coded by its zeros.

The first is computed as the format is defined, without writing. For the second, each tensor is really encoded, in the
shortest of three ways: as it is; a bit for each element and the values that are not zero; or their positions, of the
fewest of 1, 2, 4 or 8 bytes that do, and the values. That is compressed with zlib (level 1) where it makes it smaller.
A byte tells the way, and the header with names and shapes is that of the first.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch.layers import original

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_POSITIONS = (np.uint8, np.uint16, np.uint32, np.uint64)
_STRETCH = 1 << 24


def stored(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of its state_dict, as a file has them: a shared one under each of its names."""
    state = model.state_dict()
    return {original(name): _dense(value) for name, value in state.items() if isinstance(value, Tensor)}


def dense_bytes(tensors: Mapping[str, Tensor]) -> int:
    """The size of the safetensors file of these tensors."""
    return _header_bytes(tensors) + sum(map(_size, tensors.values()))


def sparse_bytes(tensors: Mapping[str, Tensor]) -> int:
    """The size of the same file with its tensors coded by their zeros and compressed."""
    return _header_bytes(tensors) + sum(1 + _encoded_bytes(each) for each in tensors.values())


def _header_bytes(tensors: Mapping[str, Tensor]) -> int:
    """A length of 8 bytes, and a JSON of names, types, shapes and places, filled up to a multiple of 8."""
    types = _types(tensors)
    order = list(types)
    place = 0
    entries = {}
    for name, tensor in sorted(tensors.items(), key=lambda item: (order.index(item[1].dtype), item[0].encode())):
        end = place + _size(tensor)
        entries[name] = {"dtype": types[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    return 8 + -(-len(text) // 8) * 8


def _types(tensors: Mapping[str, Tensor]) -> dict[torch.dtype, str]:
    """The format's names of the types, in the order that it stores them in: read from a file of empty tensors."""
    dtypes = {str(each.dtype): each.dtype for each in tensors.values()}
    try:
        written = save({name: torch.empty(0, dtype=dtype) for name, dtype in dtypes.items()})
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise CompressionError(
            f"measure: given tensors of {', '.join(dtypes)}; expected types that safetensors can hold ({error})"
        ) from None
    length = int.from_bytes(written[:8], "little")
    header = json.loads(written[8 : 8 + length])
    return {dtypes[name]: header[name]["dtype"] for name in header}


def _encoded_bytes(tensor: Tensor) -> int:
    """Everything but an element whose bits are all zero is kept, -0.0 too: the tensor comes back to the bit."""
    elements = tensor.detach().cpu().contiguous().view(-1).view(_INTEGERS[tensor.element_size()]).numpy()
    keep = elements != 0
    kept, item, width = int(np.count_nonzero(keep)), elements.itemsize, _position(elements.size)
    plain, bits, positions = elements.nbytes, -(-elements.size // 8) + kept * item, kept * (width.itemsize + item)
    shortest = min(plain, bits, positions)
    if shortest == plain:
        parts = [elements]
    elif shortest == bits:
        parts = [np.packbits(keep), elements[keep]]
    else:
        parts = [np.flatnonzero(keep).astype(width), elements[keep]]
    return min(shortest, _compressed_bytes(parts))


def _position(size: int) -> np.dtype[np.unsignedinteger]:
    return next(np.dtype(each) for each in _POSITIONS if size - 1 <= np.iinfo(each).max)


def _compressed_bytes(parts: list[NDArray[np.generic]]) -> int:
    compressor = zlib.compressobj(1)
    size = 0
    for part in parts:
        data = part.view(np.uint8)
        for start in range(0, data.size, _STRETCH):
            size += len(compressor.compress(data[start : start + _STRETCH].data))
    return size + len(compressor.flush())


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _dense(tensor: Tensor) -> Tensor:
    semi_structured = isinstance(tensor, torch.sparse.SparseSemiStructuredTensor)
    return tensor.to_dense() if semi_structured or tensor.layout != torch.strided else tensor
