"""Configuration: YAML files are read and validated, and runs and their ids are defined.

Imports no other room of `benchmark` and never loads torch. Read `recipe.py` first, then `runs.py`.
"""
