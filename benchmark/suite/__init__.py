"""A suite file becomes a grid of runs: rows (methods) x columns (pairs) x seeds.

May import `training` and the rooms before it. Read `schema.py` first, then `grid.py`.
"""
