"""Training: a learner, the loop over a cohort of learners, optimizer, CUDA graphs, probes.

May import every room above it in `tests/whole/test_rooms.py`, but knows no job and no suite.
Read `learner.py` first, then `cohort.py`.
"""
