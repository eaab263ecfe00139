"""Quantizers for PyTorch: a layer computes with weights and activations of few bits, and trains in float.

`base` has what all quantizers share; one file each holds an algorithm.
"""
