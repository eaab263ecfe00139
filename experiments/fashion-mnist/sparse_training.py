"""Sparse training: LeNet-300-100 has 5 % of its weights from the start, and moves them to where they are wanted.

After each epoch but the last, the smallest go and as many grow where the momentum of absent weights is largest.

    python sparse_training.py --density .05 --epochs 8
    python sparse_training.py --growth random      # what the momentum is worth
    python sparse_training.py --data digits        # in seconds, without a data set
    autoprune run sparse_training.yml              # as trials: which rate, and where weights grow
"""

import torch
from nets import LeNet300
from training import Run, parser

from autoprune.compression.torch import SparsePruner

arguments = parser(__doc__, epochs=8, learning_rate=5e-3)
arguments.add_argument("--density", type=float, default=0.05, help="share of the weights in use; default .05")
arguments.add_argument("--prune-rate", type=float, default=0.5, help="share that moves after an epoch; default .5")
arguments.add_argument("--growth", choices=("momentum", "gradient", "random"), default="momentum")
run = Run.start(arguments)
options = run.options

dense, model = run.dense(LeNet300), LeNet300()
optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
pruner = SparsePruner(
    model,
    [{"density": options.density, "op_types": ["default"]}],
    optimizer,
    prune_rate=options.prune_rate,
    epochs=options.epochs,
    growth=options.growth,
)
pruner.compress()

for epoch in range(options.epochs):
    loss = run.train_epoch(model, optimizer)
    run.tell(f"epoch {epoch + 1}", loss, model)
    if epoch + 1 < options.epochs:  # what grows after the last epoch would stay zero
        pruner.update_epoch(epoch + 1)

run.finish(model, pruner.masks, dense=dense)
