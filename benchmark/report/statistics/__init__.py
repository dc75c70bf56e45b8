"""Statistical tests and intervals for the few seeds of each cell, and for methods over all pairs.

`significance.py` has the tests on plain numbers; `analysis.py` applies them to a suite's results.
"""
