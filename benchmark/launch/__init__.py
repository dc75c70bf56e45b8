"""Start jobs: as processes of this machine, or in the queue of a Slurm cluster.

May import `job/file.py` and the rooms before `job`. Does not load torch on import.
Read `schedule.py` first (which runs form a job), then `local.py` or `slurm_submit.py`.
"""
