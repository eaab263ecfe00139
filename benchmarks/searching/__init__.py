"""What `benchmarks/search.py` is made of.

A problem (a network under a budget, or a function with a known optimum) says what an allocation is worth. A method
finds an allocation in so many trials. A memo keeps what is known, so that nothing is trained twice and a run that was
killed goes on. A summary compares, and a chart draws.
"""
