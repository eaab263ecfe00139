"""Results over HTTP: a REST API under `/api/v1` and a page, in a process of its own.

`app` puts it together, `api` and `page` are its addresses, `access` lets nobody in without the token or under a foreign
name, `guard` stands around it all, `problems` are its errors. `commanding` leaves commands for managers, `live` tells
what happens. `serve` runs it in this process, `process` in a child, behind a `door`. It never writes results.
"""
