"""What the manager and the command line ask of a task, in a process of its own, which imports torch.

    python -m autoprune.search.command study|space|finish

A request is one line of JSON on standard input, and the answer one on standard output.
"""
