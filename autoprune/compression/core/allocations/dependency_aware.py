"""Every layer the same sparsity, and layers whose filters go together lose the same ones.

The scores of a group are summed filter by filter; a grouped convolution loses as many filters in each of its groups.
"""

from __future__ import annotations

from autoprune.compression.core.allocations.uniform import Uniform


class DependencyAware(Uniform):
    name = "dependency_aware"
    couples = True
