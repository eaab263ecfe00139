"""The samples that NNI's documents print, as printed but for their import lines.

One line is corrected, where a dict was called as a function. Names that a sample expects of the reader (`model`,
`trainer`, `epoch_num`) are given by the test.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoprune.compression.torch import achieved_sparsity

Names = dict[str, Any]


@pytest.fixture
def names(net: nn.Module) -> Names:
    """What a reader has: a model, an optimizer, a trainer of one epoch and a criterion."""
    batches = [(torch.randn(8, 1, 8, 8), torch.randint(10, (8,))) for _ in range(4)]

    def trainer(model: nn.Module, optimizer: torch.optim.Optimizer, criterion: Callable[..., Tensor]) -> None:
        model.train()
        for inputs, target in batches:
            optimizer.zero_grad()
            torch.autograd.backward(criterion(model(inputs), target))
            optimizer.step()

    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return {"model": net, "optimizer": optimizer, "trainer": trainer, "criterion": functional.cross_entropy}


def run(sample: str, names: Names) -> Names:
    exec(sample, names)
    return names


def shares(pruner: Any) -> dict[str, float]:
    return {name: 1 - float(layer["weight"].double().mean()) for name, layer in pruner.masks.items()}


KEYWORDS = """
from autoprune.compression.torch import AGPruner
pruner = AGPruner(initial_sparsity=0, final_sparsity=0.8, start_epoch=1, end_epoch=10, frequency=1)
pruner(model)
for epoch in range(1, 11):
    pruner.update_epoch(epoch)
"""

SENSITIVITY = """
from autoprune.compression.torch import SensitivityPruner

pruner = SensitivityPruner(sparsity = 0.8)
pruner(model)
for epoch in range(3):
    pruner.update_epoch(epoch)
"""

LEVEL = """
from autoprune.compression.torch import LevelPruner
config_list = [{ 'sparsity': 0.8, 'op_types': ['default'] }]
pruner = LevelPruner(model, config_list)
pruner.compress()
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


@pytest.mark.parametrize(
    "sample", [KEYWORDS, SENSITIVITY, LEVEL, LEVEL_CALLED, AGP, AGP.replace("['default']", "'default'")]
)
def test_weights_pruned_to_80_percent(names: Names, sample: str) -> None:
    run(sample, names)
    assert achieved_sparsity(names["model"]) == pytest.approx(0.8, abs=2e-3)


LOTTERY = """
from autoprune.compression.torch import LotteryTicketPruner
config_list = [{
    'prune_iterations': 5,
    'sparsity': 0.8,
    'op_types': ['default']
}]
pruner = LotteryTicketPruner(model, config_list, optimizer)
pruner.compress()
for _ in pruner.get_prune_iterations():
    pruner.prune_iteration_start()
    for epoch in range(epoch_num):
        trainer(model, optimizer, criterion)
"""


def test_lottery_ticket(names: Names) -> None:
    names["epoch_num"] = 1
    pruner = run(LOTTERY, names)["pruner"]
    assert set(shares(pruner)) == {"conv0", "conv1", "fc"}
    assert all(share == pytest.approx(0.8, abs=0.03) for share in shares(pruner).values())


FILTERS = """
from autoprune.compression.torch import {name}
config_list = [{{ 'sparsity': {sparsity}, 'op_types': ['Conv2d'] }}]
pruner = {name}(model, config_list)
masked_model, masks = pruner.compress()
pruner.update_epoch(1)
"""


@pytest.mark.parametrize(
    ("name", "sparsity"),
    [("FPGMPruner", 0.5), ("L1FilterPruner", 0.8), ("L1NormPruner", 0.8), ("L2NormPruner", 0.8), ("FPGMPruner", 0.8)],
)
def test_filters_of_convolutions(names: Names, name: str, sparsity: float) -> None:
    run(FILTERS.format(name=name, sparsity=sparsity), names)
    assert names["masked_model"] is names["model"]
    expected = {"conv0": int(4 * sparsity) / 4, "conv1": int(6 * sparsity) / 6}
    assert shares(names["pruner"]) == pytest.approx(expected)


LEVEL_RETURNING = LEVEL.replace("pruner.compress()", "masked_model, masks = pruner.compress()")


def test_level_returns_model_and_masks(names: Names) -> None:
    run(LEVEL_RETURNING, names)
    assert names["masked_model"] is names["model"]
    assert set(names["masks"]) == {"conv0", "conv1", "fc"}


SLIM = """
from autoprune.compression.torch import SlimPruner
config_list = [{ 'sparsity': 0.8, 'op_types': ['BatchNorm2d'] }]
pruner = SlimPruner(model, config_list, trainer, optimizer, criterion, training_epochs=1)
masked_model, masks = pruner.compress()
"""

SLIM_ALONE = """
from autoprune.compression.torch import SlimPruner
config_list = [{ 'sparsity': 0.8, 'op_types': ['BatchNorm2d'] }]
pruner = SlimPruner(model, config_list)
pruner.compress()
masks = pruner.masks
"""

BATCHES = """
from autoprune.compression.torch import {name}
config_list = [{{ 'sparsity': 0.8, 'op_types': ['BatchNorm2d'] }}]
pruner = {name}(model, config_list, trainer, optimizer, criterion, training_batches=20)
masked_model, masks = pruner.compress()
"""


@pytest.mark.parametrize(
    "sample",
    [
        SLIM,
        SLIM_ALONE,
        BATCHES.format(name="ActivationAPoZRankPruner"),
        BATCHES.format(name="ActivationMeanRankPruner"),
        BATCHES.format(name="TaylorFOWeightPruner"),
        BATCHES.format(name="ADMMPruner"),
    ],
)
def test_channels_of_batch_norms_by_data(names: Names, sample: str) -> None:
    """.8 of four channels is three, and gamma and beta go together."""
    run(sample, names)
    masks = names["masks"]["bn"]
    assert int((~masks["weight"]).sum()) == 3
    assert torch.equal(masks["weight"], masks["bias"])
    norm = names["model"].bn
    assert torch.equal(norm.weight != 0, masks["weight"])
    assert not bool(norm.bias[~masks["weight"]].any())


OWN_PRUNER = """
from autoprune.compression import torch as torchCompressor
class YourPruner(torchCompressor.Pruner):
    def __init__(self, your_input):
        pass

    # don not change calc_mask() input
    def calc_mask(self, layer_info, weight):
        # you can get layer name in layer_info.name
        # you can get weight data in weight
        # design your mask and return your mask
        your_mask = (weight > 0).to(weight.dtype)
        seen.append(layer_info.name)
        return your_mask

    # you can also design your method help to generate mask
    def your_method(self, your_input):
        #your code
        pass

pruner = YourPruner('anything')
pruner(model)
"""


def test_a_pruner_of_ones_own(names: Names) -> None:
    names["seen"] = []
    run(OWN_PRUNER, names)
    assert names["seen"] == ["conv0", "conv1", "fc"]
    assert all(bool((names["model"].get_submodule(name).weight >= 0).all()) for name in names["seen"])


OWN_QUANTIZER = """
from autoprune.compression import torch as torchCompressor
class YourPruner(torchCompressor.Quantizer):
    def __init__(self, your_input):
        pass

    # don not change quantize_weight() input
    def quantize_weight(self, layer_info, weight):
        # you can get layer name in layer_info.name
        # you can get weight data in weight
        # design your quantizer and return new weight
        new_weight = torch.sign(weight)
        seen.append(layer_info.name)
        return new_weight

    # you can also design your method
    def your_method(self, your_input):
        #your code
        pass
{preprocess}
pruner = YourPruner('anything')
pruner(model)
"""

PREPROCESS = """
    def preprocess_model(self, model):
        #preprocess model
        prepared.append(model)
"""


@pytest.mark.parametrize("preprocess", ["", PREPROCESS])
def test_a_quantizer_of_ones_own(names: Names, preprocess: str) -> None:
    names |= {"seen": [], "prepared": [], "torch": torch}
    run(OWN_QUANTIZER.format(preprocess=preprocess), names)
    model, image = names["model"], torch.randn(2, 1, 8, 8)
    signed = type(model)()
    signed.load_state_dict(model.state_dict())
    with torch.no_grad():
        for name in ("conv0", "conv1", "fc"):
            signed.get_submodule(name).get_parameter("weight").sign_()
    assert torch.allclose(model.eval()(image), signed.eval()(image))
    assert {"conv0", "conv1", "fc"} <= set(names["seen"])
    assert names["prepared"] == ([model] if preprocess else [])


CONFIGURE = """
tfAGPruner:
  config:
    -
        start_epoch: 0
        end_epoch: 16
        frequency: 2
        initial_sparsity: 0.05
        final_sparsity: 0.60
        support_type: default
    -
        prune: False
        start_epoch: 0
        end_epoch: 20
        frequency: 2
        initial_sparsity: 0.05
        final_sparsity: 0.60
        support_type: [Linear]
        support_op: [conv1, conv2]
"""


def test_the_configuration_file(net: nn.Module, tmp_path: Path) -> None:
    """Its second entry excludes what is a Linear layer called conv1 or conv2: nothing, which is no mistake."""
    from autoprune.compression.torch import AGPruner

    net.conv2 = net.act
    path = tmp_path / "prune.yml"
    path.write_text(CONFIGURE)
    pruner = AGPruner(net, path)
    pruner.compress()
    assert shares(pruner)["fc"] == pytest.approx(0.05)
    pruner.update_epoch(16)
    assert set(shares(pruner)) == {"conv0", "conv1", "fc"}
    assert shares(pruner)["fc"] == pytest.approx(0.6)


def test_the_configuration_in_code(net: nn.Module) -> None:
    from autoprune.compression.torch import LevelPruner

    pruner = LevelPruner(net, [{"sparsity": 0.8, "support_layer": "default", "support_op": ["conv0", "fc"]}])
    pruner.compress()
    assert shares(pruner) == {"conv0": pytest.approx(0.8, abs=0.03), "fc": pytest.approx(0.8)}


SEARCH = """
from autoprune.compression.torch import *
params = nni.get_parameters()
conv0_sparsity = params['prune_method']['conv0_sparsity']
conv1_sparsity = params['prune_method']['conv1_sparsity']
# these raw sparsity should be scaled if you need total sparsity constrained
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
... # fine tuning
acc = evaluate(model) # evaluation
nni.report_final_results(acc)
"""


@pytest.mark.parametrize("method", ["agp", "level"])
def test_the_search(names: Names, method: str) -> None:
    """Printed as `PRUNERS(...)`, a call of a dict: the one line corrected."""
    reported: list[float] = []

    class Trial:
        @staticmethod
        def get_parameters() -> Names:
            return {"prune_method": {"_name": method, "conv0_sparsity": 0.25, "conv1_sparsity": 0.75}}

        @staticmethod
        def report_final_results(value: float) -> None:
            reported.append(value)

    names |= {"nni": Trial, "evaluate": achieved_sparsity}
    run(SEARCH, names)
    names["pruner"].update_epoch(3)
    assert shares(names["pruner"]) == pytest.approx({"conv0": 0.25, "conv1": 0.75}, abs=0.02)
    assert len(reported) == 1
