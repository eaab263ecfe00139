"""The script that a trial of a task runs. What it imports, a warm start has imported for all trials."""

import numpy.random  # noqa: F401
import torch  # noqa: F401

import autoprune.search.trial

if __name__ == "__main__":
    autoprune.search.trial.main()
