"""Suites: a suite file is expanded to a grid of runs: rows (methods) x columns (pairs) x seeds.

Imports `training` and the rooms before it. Read `schema.py` first, then `grid.py`.
"""
