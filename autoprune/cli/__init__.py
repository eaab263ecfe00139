"""The command line: one file per command, each imported only when it is called.

A command's module holds a click command named `command`; `main.py` lists them with their summaries. At import a
module may need click and `_common` alone, and its function imports the rest, so that `--help` answers at once.
"""
