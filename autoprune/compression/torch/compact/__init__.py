"""Really smaller models: channels that are masked everywhere they matter are cut out of every layer they touch.

graph -> agreement -> plan -> cutting -> checking

`graph` asks Torch-Pruning which channels of which layers go together, `agreement` says of which the masks agree that
they can go, `plan` is that as a record, `cutting` applies it to a module, and `checking` runs both models to see that
the cut changed nothing. `speedup` does all of it.
"""
