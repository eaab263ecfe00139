"""One file for each pruning algorithm: a subclass of `Pruner`, found by its name."""
