"""One trial: train a small network on scikit-learn's digits, prune it as the tuner says, fine-tune it, report."""

from collections import OrderedDict

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.functional import cross_entropy

import autoprune
from autoprune.compression.torch import AGPPruner, LevelPruner, achieved_sparsity, layer_sizes

TOTAL_SPARSITY = 0.9  # of all weights, in every trial: what is searched for is where they go
DENSE_EPOCHS, SPARSE_EPOCHS = 20, 15

images, labels = load_digits(return_X_y=True)
train_images, validation_images, train_labels, validation_labels = map(
    torch.tensor, train_test_split(images.astype("float32") / 16, labels, random_state=0)
)


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for batch in torch.randperm(len(train_labels)).split(64):
        optimizer.zero_grad()
        cross_entropy(model(train_images[batch]), train_labels[batch]).backward()
        optimizer.step()


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    return (model(validation_images).argmax(1) == validation_labels).float().mean().item()


# The parameters of this trial, by the names of search_space.json.
params = autoprune.get_parameters()

# The network to prune. Yours is probably trained already: load it here.
torch.manual_seed(0)
layers = {"first": nn.Linear(64, 128), "relu0": nn.ReLU(), "second": nn.Linear(128, 64), "relu1": nn.ReLU()}
model = nn.Sequential(OrderedDict(layers, last=nn.Linear(64, 10)))
optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
for _ in range(DENSE_EPOCHS):
    train_epoch(model, optimizer)

# Sparsities for the three layers with the tuner's proportions and the total that is wanted, to the weight.
sizes = layer_sizes(model)
sparsity = autoprune.scale_to_target({name: params[name] for name in sizes}, sizes, TOTAL_SPARSITY)

if params["method"] == "agp":
    schedule = {"initial_sparsity": 0, "end_epoch": SPARSE_EPOCHS - 5}
    pruner = AGPPruner(model, [{"final_sparsity": sparsity[name], "op_names": [name], **schedule} for name in sizes])
else:
    pruner = LevelPruner(model, [{"sparsity": sparsity[name], "op_names": [name]} for name in sizes])
pruner.compress()

# Fine-tune what is left; the pruned weights stay zero. Each report shows how it stands.
optimizer = torch.optim.Adam(model.parameters(), lr=params["learning_rate"])
for epoch in range(SPARSE_EPOCHS):
    train_epoch(model, optimizer)
    pruner.update_epoch(epoch + 1)
    autoprune.report_intermediate_result(accuracy(model))

# Keep the model, and report: `default` is what the tuner maximises, the rest is for you.
torch.save(model.state_dict(), autoprune.get_output_dir() / "model.pt")
autoprune.report_final_result({"default": accuracy(model), "sparsity": achieved_sparsity(model)})
