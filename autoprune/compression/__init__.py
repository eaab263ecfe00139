"""Pruning as a library: it needs no experiment, no store and no command line.

`core` holds what is true on any framework and imports no framework; `torch` prunes PyTorch modules. Importing
this package imports neither.
"""
