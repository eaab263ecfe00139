"""Filter pruning: a small convolutional network loses half of its filters, and what is left trains on.

`l1` and `fpgm` choose by the weights alone, `apoz` and `taylor` look at twenty batches, and `slim` first trains an
epoch with a penalty on the scales of BatchNorm, then ranks the channels of all layers together.

    python filters.py --method taylor --sparsity .5
    python filters.py --method slim --data digits  # in seconds, without a data set
    autoprune run filters.yml                      # as trials: which method, and which learning rate
"""

import torch
from nets import ConvNet
from torch.nn.functional import cross_entropy
from training import Run, parser

from autoprune.compression.torch import (
    ActivationAPoZRankPruner,
    FPGMPruner,
    L1NormPruner,
    Pruner,
    SlimPruner,
    TaylorFOWeightPruner,
)


def pruner_of(method: str, model: torch.nn.Module, sparsity: float) -> Pruner:
    filters = [{"sparsity": sparsity, "op_types": ["Conv2d"]}]
    if method == "l1":
        return L1NormPruner(model, filters)
    if method == "fpgm":
        return FPGMPruner(model, filters)
    if method == "apoz":
        return ActivationAPoZRankPruner(model, filters, training_batches=20, batches=run.batches())
    if method == "taylor":
        return TaylorFOWeightPruner(model, filters, training_batches=20, batches=run.batches(), loss=cross_entropy)
    channels = [{"sparsity": sparsity, "max_sparsity_per_layer": (1 + sparsity) / 2, "op_types": ["BatchNorm2d"]}]
    trains = {"optimizer": torch.optim.Adam(model.parameters(), lr=options.learning_rate), "training_epochs": 1}
    return SlimPruner(model, channels, batches=run.batches(), loss=cross_entropy, scale=options.scale, **trains)


arguments = parser(__doc__, epochs=2, learning_rate=2e-3)
arguments.add_argument("--method", choices=("l1", "fpgm", "apoz", "taylor", "slim"), default="l1", help="default l1")
arguments.add_argument("--sparsity", type=float, default=0.5, help="share of the filters to prune; default .5")
arguments.add_argument("--scale", type=float, default=1e-3, help="of Slim's penalty; default .001")
run = Run.start(arguments)
options = run.options

dense, model = run.dense(ConvNet), run.dense(ConvNet)
pruner = pruner_of(options.method, model, options.sparsity)
pruner.compress()

optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
for epoch in range(options.epochs):
    loss = run.train_epoch(model, optimizer)
    run.tell(f"epoch {epoch + 1}", loss, model)

run.finish(model, pruner.masks, dense=dense)
