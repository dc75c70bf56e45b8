"""Which jobs start next, and where: on this machine, or in the queue of a Slurm cluster.

May import `job/file.py` and the rooms before `job`. Read `schedule.py` first. Without torch.
"""
