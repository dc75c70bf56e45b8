"""The command line: a function for each verb, the flags, and the output on the screen.

May import every room; only `run_all.py` imports this one. Read `main.py` first.
"""
