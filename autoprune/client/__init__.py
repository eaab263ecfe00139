"""Results over HTTP, from Python: what `autoprune.Experiment` offers on this machine, of the experiments of a server.

`client` is a server, `experiment` one experiment there; `connection` turns answers into models and problems into
errors, and `stream` reads events.
"""

from autoprune.client.client import Client
from autoprune.client.experiment import RemoteExperiment

__all__ = ["Client", "RemoteExperiment"]
