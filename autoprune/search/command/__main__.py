"""The child process."""

from __future__ import annotations

from autoprune.compression.command.serving import serve

if __name__ == "__main__":
    answers = {"check": "checking", "space": "spacing", "study": "studying", "finish": "finishing"}
    serve({task: f"{__package__}.{module}" for task, module in answers.items()})
