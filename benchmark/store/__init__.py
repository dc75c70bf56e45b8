"""The results folder: run folders, claims, records, and files that are written whole or not.

May import `config` and `processes`. Read `folder.py` first, then `record.py`. Without torch.
"""
