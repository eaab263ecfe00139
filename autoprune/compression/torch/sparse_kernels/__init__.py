"""Zeros that pay: Linear layers that skip them, where a measurement on this device says that it is faster.

kernels -> timing -> replacing, and `record` is what was tried
"""

from autoprune.compression.torch.sparse_kernels.kernels import SemiStructuredLinear as SemiStructuredLinear
from autoprune.compression.torch.sparse_kernels.kernels import SparseLinear as SparseLinear
from autoprune.compression.torch.sparse_kernels.record import SparseReport as SparseReport
from autoprune.compression.torch.sparse_kernels.record import SparseRow as SparseRow
from autoprune.compression.torch.sparse_kernels.replacing import sparse_report as sparse_report
from autoprune.compression.torch.sparse_kernels.replacing import to_sparse as to_sparse
