"""The command line: one function a command, its flags, and what a person sees.

May import every room; nothing imports this one but `run_all.py`. Read `main.py` first.
"""
