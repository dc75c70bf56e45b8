"""Slurm's configuration files, with the settings that a cluster on one machine needs."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Sequence
from pathlib import Path

# Slurm 22.05 needs a character device for each GPU. It never opens them, so any will do.
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")

SLURM = """\
ClusterName=kd
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
# A requeued job waits until its credential has expired, 120 s by default.
AuthInfo=socket={folder}/munge.socket,cred_expire=6
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log

# No cgroups, and nodes may claim more than this machine has.
ProctrackType=proctrack/linuxproc
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu

# Short, because tests wait for them. A lost node is noticed after 15 s.
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SlurmdTimeout=5
MessageTimeout=5
KillWait=2
ReturnToService=2
# Small, so that a test can afford an array over it.
MaxArraySize=33

# Without the flag a preempted job gets no signal and cannot write a checkpoint.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal

AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounting_port}
AccountingStoragePass={folder}/munge.socket
AccountingStorageTRES=gres/gpu

NodeName=DEFAULT CPUs=4 RealMemory=16384 Gres=gpu:{gpus}
{nodes}
PartitionName=DEFAULT Nodes=ALL MaxTime=1-0 DefaultTime=10 DefMemPerCPU=64
PartitionName=low PriorityTier=1 PreemptMode=REQUEUE GraceTime=15
PartitionName=main PriorityTier=10 PreemptMode=OFF Default=YES
PartitionName=high PriorityTier=20 PreemptMode=OFF
"""

SLURMDBD = """\
AuthInfo=socket={folder}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={accounting_port}
CommunicationParameters=NoInAddrAny
SlurmUser={user}
PidFile={folder}/slurmdbd.pid
LogFile={folder}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={user}
StorageLoc=slurm
"""


def configure(folder: Path, nodes: Sequence[str], gpus: int, port: int) -> None:
    """Write the files of a cluster that listens on ``port`` and the ports after it."""
    host = socket.gethostname().partition(".")[0]
    at = f"NodeHostname={host} NodeAddr=127.0.0.1"
    values = {
        "folder": folder,
        "host": host,
        "user": user(),
        "port": port,
        "accounting_port": port + 1,
        "gpus": gpus,
        "nodes": "\n".join(f"NodeName={n} {at} Port={p}" for p, n in enumerate(nodes, port + 2)),
    }
    for name in ("log", "state", *(f"spool-{node}" for node in nodes)):
        (folder / name).mkdir()
    for name in ("slurmdbd.conf", "munge.key"):
        (folder / name).touch(0o600)  # Slurm and munge refuse files that others can read
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "slurm.conf").write_text(SLURM.format_map(values))
    (folder / "slurmdbd.conf").write_text(SLURMDBD.format_map(values))
    (folder / "gres.conf").write_text("".join(f"Name=gpu File={d}\n" for d in DEVICES[:gpus]))


def user() -> str:
    """Return the user name that all daemons run under."""
    return pwd.getpwuid(os.getuid()).pw_name
