"""One trial: prune the trained network as the tuner says, fine-tune it, and report how good it still is."""

import torch
from network import evaluate, prepared, train_epoch

import autoprune
from autoprune.compression.torch import AGPPruner, LevelPruner, achieved_sparsity, layer_sizes

TOTAL_SPARSITY = 0.8
EPOCHS = 4

model = prepared()
params = autoprune.get_parameters()
method = params["prune_method"]
raw = {"conv0": method["conv0_sparsity"], "conv1": method["conv1_sparsity"]}
sparsity = autoprune.scale_to_target(raw, layer_sizes(model, raw), TOTAL_SPARSITY)

config_list_level = [
    {"sparsity": sparsity["conv0"], "op_name": "conv0"},
    {"sparsity": sparsity["conv1"], "op_name": "conv1"},
]
schedule = {"initial_sparsity": 0, "start_epoch": 0, "end_epoch": 3, "frequency": 1}
config_list_agp = [
    {"final_sparsity": sparsity["conv0"], "op_name": "conv0", **schedule},
    {"final_sparsity": sparsity["conv1"], "op_name": "conv1", **schedule},
]
PRUNERS = {"level": LevelPruner(model, config_list_level), "agp": AGPPruner(model, config_list_agp)}
pruner = PRUNERS[method["_name"]]
pruner.compress()

torch.manual_seed(0)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(EPOCHS):
    train_epoch(model, optimizer)
    pruner.update_epoch(epoch + 1)
    autoprune.report_intermediate_result(evaluate(model))

autoprune.report_final_result({"default": evaluate(model), "sparsity": achieved_sparsity(model)})
