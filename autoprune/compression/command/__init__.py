"""What `autoprune compress` and `autoprune cost` do, in a process of its own: the command line never imports torch.

    python -m autoprune.compression.command compress|cost

reads a request from standard input, one line of JSON, and writes one answer to standard output. When its input ends, so
does it, with its process group.
"""
