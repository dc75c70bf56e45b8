"""How good a network is: accuracy, calibration, similarity to its teacher.

May import `config`, `models` and `data`. Read `accuracy.py` first.
"""
