"""Processes: start a child process, identify a process, and join the processes of one job.

Imports only `config`. Only `distributed.py` loads torch. Read `contract.py` first.
"""
