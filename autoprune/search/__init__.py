"""Automatic sparsity search: from a model and a budget to the best smaller model.

This room knows models and runs only in child processes: a probe, which tells the rest what a model is made of, or a
trial, which prunes, trains and evaluates. What leaves it are records, such as `ModelFacts`.
"""
