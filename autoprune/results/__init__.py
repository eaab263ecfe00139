"""What the store holds, as people and programs want to see it.

The command line's `--json` and the REST API show the same models (`models`), made by the same queries (`Results`);
`export` writes whole experiments. Nothing here writes to the store.
"""

from autoprune.results.export import write_csv, write_json
from autoprune.results.leaders import NoBestError, best
from autoprune.results.reader import MAX_PAGE, Results

__all__ = ["MAX_PAGE", "NoBestError", "Results", "best", "write_csv", "write_json"]
