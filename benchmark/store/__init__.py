"""The results folder: run folders, claims, checkpoints, records, and atomic writes.

May import `config` and `processes`, never torch. Read `folder.py` first, then `record.py`.
"""
