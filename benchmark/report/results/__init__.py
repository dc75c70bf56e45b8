"""The outcome of every run of a suite: read from the run folders, validated and typed.

Read `outcomes.py` first for the types, then `reading.py`, which is the only module that reads
records. `published.py` reads the numbers of the literature.
"""
