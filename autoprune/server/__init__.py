"""Results over HTTP: a read-only REST API under `/api/v1`, in a process of its own.

`app` puts it together, `routes` are its addresses, `access` lets nobody in without the token or under a foreign
name, `problems` are its errors. `serve` runs it in this process, `process` in a child. It never writes results.
"""
