"""The data sets, one file each. `digits.py` is the shortest example."""
