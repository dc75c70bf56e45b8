"""One training process: `python -m benchmark.job FILE` claims runs, trains them, writes records.

May import `suite` and the rooms before it. Read `file.py` first, then `__main__.py`.
"""
