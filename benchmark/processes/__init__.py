"""Processes of this machine: how one is started, recognised and joined with others.

May import `config`. Read `contract.py` first. Without torch, but for `distributed.py`.
"""
