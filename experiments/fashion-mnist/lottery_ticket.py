"""Lottery tickets: LeNet-300-100 is trained, pruned and put back to its first weights, round after round.

Beside the ticket, the same connections are trained from other random weights.

    python lottery_ticket.py --sparsity .8 --rounds 5
    python lottery_ticket.py --data digits         # in seconds, without a data set
    autoprune run lottery_ticket.yml               # as trials: how many rounds, and which learning rate
"""

import copy

import torch
from nets import LeNet300
from training import Run, parser, positive

from autoprune.compression.torch import LotteryTicketPruner, load_masks

arguments = parser(__doc__, epochs=3, learning_rate=2e-3)
arguments.add_argument("--sparsity", type=float, default=0.8, help="of each layer, at the end; default .8")
arguments.add_argument("--rounds", type=positive, default=5, help="rounds after the dense one; default 5")
run = Run.start(arguments)
options = run.options


def optimizer_of(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=options.learning_rate)


model = LeNet300()
optimizer = optimizer_of(model)
config_list = [{"prune_iterations": options.rounds, "sparsity": options.sparsity, "op_types": ["default"]}]
pruner = LotteryTicketPruner(model, config_list, optimizer)
pruner.compress()
for number in pruner.get_prune_iterations():
    pruner.prune_iteration_start()
    for _ in range(options.epochs):
        loss = run.train_epoch(model, optimizer)
    run.tell(f"round {number}", loss, model)
    if number == 0:
        dense = copy.deepcopy(model)

chance = LeNet300()
load_masks(chance, pruner.masks)
optimizer = optimizer_of(chance)
for _ in range(options.epochs):
    run.train_epoch(chance, optimizer)

run.finish(model, pruner.masks, dense=dense, other_first_weights=chance)
