"""A YAML file becomes validated values: what a run is, and why its id is what it is.

May import nothing of `benchmark`. Read `recipe.py` first, then `runs.py`. Without torch.
"""
