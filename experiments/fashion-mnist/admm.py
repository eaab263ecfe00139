"""ADMM: LeNet-5 trains towards a sparse network, so that the cut at the end costs little; then what is left trains on.

The shares that are kept are those of the paper: 20 % of conv1, 8 % of conv2, .9 % of fc1 and 7 % of fc2.

    python admm.py --iterations 8 --rho .003
    python admm.py --data digits                   # in seconds, without a data set
    autoprune run admm.yml                         # as trials: how strong a pull, and which learning rate
"""

import copy

import torch
from nets import LeNet5
from torch.nn.functional import cross_entropy
from training import Run, evaluate, parser, positive

from autoprune.compression.torch import ADMMPruner, LevelPruner

KEPT = {"conv1": 0.2, "conv2": 0.08, "fc1": 0.009, "fc2": 0.07}

arguments = parser(__doc__, epochs=2, learning_rate=1e-3)
arguments.add_argument("--iterations", type=positive, default=6, help="of ADMM, an epoch each; default 6")
arguments.add_argument("--rho", type=float, default=3e-3, help="weight of the pull towards sparsity; default .003")
run = Run.start(arguments)
options = run.options

dense, model = run.dense(LeNet5), run.dense(LeNet5)
config_list = [{"sparsity": 1 - kept, "op_names": [name]} for name, kept in KEPT.items()]
optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
pruner = ADMMPruner(
    model,
    config_list,
    optimizer=optimizer,
    batches=run.batches(),
    loss=cross_entropy,
    iterations=options.iterations,
    rho=options.rho,
)
pruner.compress()
print("||W - Z|| after each iteration:", ", ".join(f"{residual:.2f}" for residual in pruner.residuals))

cut = copy.deepcopy(dense)
LevelPruner(cut, config_list).compress()
print(f"validation accuracy after the cut: {evaluate(model, run.validation):.2%}")
print(f"the same cut without ADMM: {evaluate(cut, run.validation):.2%}")

optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
for epoch in range(options.epochs):
    loss = run.train_epoch(model, optimizer)
    run.tell(f"epoch {epoch + 1}", loss, model)

run.finish(model, pruner.masks, dense=dense)
