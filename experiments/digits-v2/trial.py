"""One trial: 90 % of all weights of three layers go; a result after each epoch lets the assessor stop the hopeless."""

import torch
from network import evaluate, prepared, train_epoch

import autoprune
from autoprune.compression.torch import AGPPruner, LevelPruner, achieved_sparsity, layer_sizes

TOTAL_SPARSITY = 0.9
EPOCHS = 8

params = autoprune.get_parameters()
model = prepared()
sizes = layer_sizes(model)
sparsity = autoprune.scale_to_target({name: params[name] for name in sizes}, sizes, TOTAL_SPARSITY)

if params["method"] == "agp":
    schedule = {"initial_sparsity": 0, "end_epoch": EPOCHS - 2}
    pruner = AGPPruner(model, [{"final_sparsity": sparsity[name], "op_names": [name], **schedule} for name in sizes])
else:
    pruner = LevelPruner(model, [{"sparsity": sparsity[name], "op_names": [name]} for name in sizes])
pruner.compress()

torch.manual_seed(0)
optimizer = torch.optim.Adam(model.parameters(), lr=params["learning_rate"])
for epoch in range(EPOCHS):
    train_epoch(model, optimizer)
    pruner.update_epoch(epoch + 1)
    autoprune.report_intermediate_result(evaluate(model))

autoprune.report_final_result({"default": evaluate(model), "sparsity": achieved_sparsity(model)})
