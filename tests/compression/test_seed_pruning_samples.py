"""The printed samples for Level and AGP run; only their import lines differ."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from autoprune.compression.torch import achieved_sparsity

LEVEL = """
from autoprune.compression.torch import LevelPruner
config_list = [{ 'sparsity': 0.8, 'op_types': ['default'] }]
pruner = LevelPruner(model, config_list)
pruner.compress()
"""

LEVEL_RETURNING = """
from autoprune.compression.torch import LevelPruner
config_list = [{ 'sparsity': 0.8, 'op_types': ['default'] }]
pruner = LevelPruner(model, config_list)
masked_model, masks = pruner.compress()
assert masked_model is model
"""

LEVEL_CALLED = """
from autoprune.compression import torch as torchCompressor
pruner = torchCompressor.LevelPruner([{'sparsity':0.8,'support_type': 'default'}])
pruner(model)
"""

AGP = """
from autoprune.compression.torch import AGP_Pruner
config_list = [{
    'initial_sparsity': 0,
    'final_sparsity': 0.8,
    'start_epoch': 0,
    'end_epoch': 10,
    'frequency': 1,
    'op_types': ['default']
}]
pruner = AGP_Pruner(model, config_list)
pruner.compress()
for epoch in range(10):
    pruner.update_epoch(epoch + 1)
"""

AGP_STRING_TYPE = AGP.replace("['default']", "'default'")

AGP_KEYWORDS = """
from autoprune.compression.torch import AGPruner
pruner = AGPruner(initial_sparsity=0, final_sparsity=0.8, start_epoch=1, end_epoch=10, frequency=1)
pruner(model)
for epoch in range(1, 11):
    pruner.update_epoch(epoch)
"""


@pytest.mark.parametrize("sample", [LEVEL, LEVEL_RETURNING, LEVEL_CALLED, AGP, AGP_STRING_TYPE, AGP_KEYWORDS])
def test_samples_prune_to_80_percent(net: nn.Module, sample: str) -> None:
    exec(sample, {"model": net})
    assert achieved_sparsity(net) == pytest.approx(0.8, abs=2e-3)


SEARCH = """
from autoprune.compression.torch import *
conv0_sparsity = params['prune_method']['conv0_sparsity']
conv1_sparsity = params['prune_method']['conv1_sparsity']
config_list_level = [{ 'sparsity': conv0_sparsity, 'op_name': 'conv0' },
                     { 'sparsity': conv1_sparsity, 'op_name': 'conv1' }]
config_list_agp = [{'initial_sparsity': 0, 'final_sparsity': conv0_sparsity,
                    'start_epoch': 0, 'end_epoch': 3,
                    'frequency': 1,'op_name': 'conv0' },
                   {'initial_sparsity': 0, 'final_sparsity': conv1_sparsity,
                    'start_epoch': 0, 'end_epoch': 3,
                    'frequency': 1,'op_name': 'conv1' },]
PRUNERS = {'level':LevelPruner(model, config_list_level), 'agp':AGPPruner(model, config_list_agp)}
pruner = PRUNERS[params['prune_method']['_name']]
pruner.compress()
"""


@pytest.mark.parametrize("method", ["agp", "level"])
def test_the_search_sample(net: nn.Module, method: str) -> None:
    """Printed as `PRUNERS(...)`, a call of a dict: the one line corrected."""
    params = {"prune_method": {"_name": method, "conv0_sparsity": 0.25, "conv1_sparsity": 0.75}}
    names: dict[str, Any] = {"model": net, "params": params}
    exec(SEARCH, names)
    names["pruner"].update_epoch(3)
    shares = {name: 1 - float(layer["weight"].float().mean()) for name, layer in names["pruner"].masks.items()}
    assert shares == {"conv0": 0.25, "conv1": 0.75}
