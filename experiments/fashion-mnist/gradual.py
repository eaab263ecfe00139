"""Gradual pruning (AGP): the sparsity of LeNet-300-100 grows while it trains on.

The masks move after each epoch, and the last epoch is for what is left.

    python gradual.py --sparsity .95 --epochs 4
    python gradual.py --allocation lamp --learning-rate .002
    python gradual.py --data digits                # in seconds, without a data set
    autoprune run gradual.yml                      # as trials: which allocation, and which learning rate
"""

import torch
from nets import LeNet300
from training import Run, parser

from autoprune.compression.torch import AGPPruner

arguments = parser(__doc__, epochs=4, learning_rate=1e-3)
arguments.add_argument("--sparsity", type=float, default=0.95, help="share of all weights to prune; default .95")
arguments.add_argument(
    "--allocation",
    choices=("uniform", "global", "erk", "lamp"),
    default="uniform",
    help="how the budget is divided among the layers; default uniform",
)
run = Run.start(arguments)
options = run.options

dense, model = run.dense(LeNet300), run.dense(LeNet300)
pruner = AGPPruner(
    model,
    [
        {
            "initial_sparsity": 0,
            "final_sparsity": options.sparsity,
            "end_epoch": options.epochs - 1,
            "allocation": options.allocation,
            "op_types": ["default"],
        }
    ],
)
pruner.compress()

optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
for epoch in range(options.epochs):
    loss = run.train_epoch(model, optimizer)
    pruner.update_epoch(epoch + 1)
    run.tell(f"epoch {epoch + 1}", loss, model)

run.finish(model, pruner.masks, dense=dense)
