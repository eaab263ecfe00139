"""The child process of `autoprune compress` and `autoprune cost`."""

from __future__ import annotations

from autoprune.compression.command.serving import serve

if __name__ == "__main__":
    serve({"compress": f"{__package__}.compressing", "cost": f"{__package__}.costing"})
