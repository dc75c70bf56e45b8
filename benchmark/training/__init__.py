"""Training: learners, the loop that trains a cohort of them, optimizer, CUDA graphs and probes.

Imports the rooms before it in `tests/whole/test_rooms.py`, and no jobs or suites. Read `learner.py`
first, then `cohort.py`.
"""
