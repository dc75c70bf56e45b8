"""How good a network is: accuracy, calibration, similarity to its teacher.

May import the rooms before it, but no `report`. Read `accuracy.py` first, then `measures.py`.
"""
