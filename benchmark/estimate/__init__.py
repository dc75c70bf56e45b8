"""Estimate how long a suite will take and how much disk space it needs, before it is run.

May import `launch` and the rooms before it. Read `forecast.py` first, which prints the estimate.
"""
