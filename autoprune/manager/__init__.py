"""The manager: the loop that turns a configuration into trials, and trials into results.

One process runs one experiment, holding its lock. It asks the tuner, starts trials, reads their reports, lets the
assessor judge, and writes down what happened; it never computes anything itself. What each file does:

- `launch` makes an experiment of a configuration, or takes up one that was interrupted
- `loop` is the loop; `verdict` decides how an attempt ended, `recover` what an earlier manager left behind
- `journal` is the only writer of an experiment's results
- `ask` leaves a command for a manager that runs, from any process, and waits for its answer
- `advisor` is the tuner and the assessor; they run in a process of their own, which `advisor_client` talks to
"""
