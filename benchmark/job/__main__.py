"""One job: build what a cohort names, train it, write its records. Starting it again resumes it.

    python -m benchmark.job JOB.json

is the same command line for a local process and for a cluster.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch

import methods
from benchmark.config.errors import UserError
from benchmark.config.runs import Imported, ProbeRun, Run, TrainRun
from benchmark.data import find
from benchmark.data.stream import Tests
from benchmark.evaluation.accuracy import evaluate
from benchmark.job.claimed_run import Member, Place, say, take
from benchmark.job.cost import energy_meter
from benchmark.job.file import Job
from benchmark.job.final_evaluation import Exam
from benchmark.job.recording import finish, read_state, record_crash, settle
from benchmark.models.network import Network
from benchmark.processes.contract import on_a_leash
from benchmark.processes.distributed import Ranks, joined
from benchmark.store.folder import Store
from benchmark.training import build, cuda_graphs, numerics
from benchmark.training import probes as probe
from benchmark.training.cohort import Cast, train
from benchmark.training.learner import Learner

TEACHER_TOLERANCE = 0.2
"""Percent of test images, two at least: what another device's or version's arithmetic may move."""


def main(arguments: Sequence[str]) -> int:
    """Run the job whose file is named on the command line."""
    signal.signal(signal.SIGTERM, interrupted)
    # A cluster's warning goes to every process of a job; the one that started us answers it.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    on_a_leash()
    job = Job.read(Path(arguments[0]))
    for plugin in job.plugins:
        methods.add_file(Path(plugin))
    with contextlib.ExitStack() as held:
        return work(job, *held.enter_context(joined(job.device)), held)


def work(job: Job, ranks: Ranks, device: torch.device, held: contextlib.ExitStack) -> int:
    """Do what can be done of a job, together with its other processes; return the exit code."""
    store = Store(Path(job.results))
    members: list[Member] = []
    try:
        for member in take(job, store, held) if ranks.leads else ():
            members.append(member)  # one by one: the disk may refuse the next
        taken = ranks.tell([member.run.id for member in members])
        if not ranks.leads:
            members = [Member.beside(store.run(run_id)) for run_id in taken]
        train_members(members, Place(job, store, device, ranks))
    except Exception as error:  # noqa: BLE001  (whatever it is, the runs must say why they failed)
        with contextlib.suppress(OSError):
            print(traceback.format_exc(), file=sys.stderr, flush=True)
        cause = ranks.cause(error)
        if ranks.leads:
            record_crash(members, cause)
        return 1
    return 0


def interrupted(_signal: int, _frame: object) -> NoReturn:
    """Turn SIGTERM into what Ctrl-C does: claims are released on the way out."""
    raise KeyboardInterrupt


def train_members(members: Sequence[Member], place: Place) -> None:
    """Train what was claimed; where memory runs out, one half of it after the other."""
    try:
        train_cohort(members, place)
    except (torch.OutOfMemoryError, MemoryError):
        if place.ranks.size > 1:
            raise
        # Not those that are done, that have failed or that are somebody else's by now.
        left = [m for m in members if m.folder.state() == "running" and not m.claim.lost]
        if len(left) < 2:
            raise
        halves = left[: len(left) // 2], left[len(left) // 2 :]
    else:
        return
    # Out of the except block, whose traceback would keep every tensor alive.
    say(f"out of memory with {len(left)} learners: going on with {len(halves[0])} at a time")
    for member in left:
        member.halved += 1
        vars(member).pop("learner", None)
    for half in halves:
        gc.collect()
        torch.cuda.empty_cache()
        train_members(half, place)


def train_cohort(members: Sequence[Member], place: Place) -> None:
    """Train members together, from wherever each stands."""
    if not members:
        return
    assert len({member.run.stream_key for member in members}) == 1
    numerics.adopt(members[0].run.numerics)
    cast, ranks = cast_of([member.run for member in members], place), place.ranks
    by_name, exam = {member.run.id: member for member in members}, Exam(cast)
    for member, learner in zip(members, cast.learners, strict=True):
        member.learner, learner.ranks = learner, ranks
        resume(member, ranks)
        if learner.epoch == learner.epochs and ranks.leads:
            finish(member, place, exam)  # it died between its last epoch and its record

    def after_epoch(learner: Learner) -> None:
        if ranks.leads:
            settle(by_name[learner.name], place, exam)
        learner.abandoned = ranks.tell(learner.abandoned)

    loop = cuda_graphs.loop_for(cast.stream, say)
    meter = energy_meter(place)
    train(cast.learners, cast.teacher, cast.stream, cast.test, after_epoch, loop, meter)


def cast_of(runs: Sequence[Run], place: Place) -> Cast:
    """Build a cohort, its teacher measured again."""
    root, store, device = Path(place.job.data), place.store, place.device
    first, trained = runs[0], [run for run in runs if isinstance(run, TrainRun)]
    for run in runs:
        check_version(run, root)
    if not isinstance(first, TrainRun):
        if place.ranks.size > 1:
            raise UserError("a probe is the work of one process")
        probes = [run for run in runs if isinstance(run, ProbeRun)]
        return probe.cast_of(probes, store, root, device)
    source = find(first.dataset.name, root)
    stream, test = build.streams(first, source, source.load(root), device, place.ranks)
    teacher = build.teacher(trained, store, source, device)
    if teacher is not None:
        verify(teacher, next(run for run in trained if run.teacher), test, place)
    learners = [build.learner(r, source, stream.labels, teacher, device) for r in trained]
    return Cast(learners, stream, test, teacher)


def check_version(run: Run, root: Path) -> None:
    """Raise UserError where a folder of images is not what it was when the run was planned."""
    name, version = run.dataset.name, run.dataset.version
    if find(name, root).version != version:
        raise UserError(
            f"the images of {name} have changed since this run was planned; start the suite again"
        )


def verify(teacher: Network, run: TrainRun, test: Tests, place: Place) -> None:
    """Measure the teacher again before it teaches. Raises UserError where its record says another.

    Weights can be sound and still be put into a network that computes something else.
    """
    assert run.teacher is not None
    if isinstance(run.teacher, Imported) and (run.dataset.limit or run.dataset.validation):
        return  # it was measured on all test images
    said = place.store.run(run.teacher.id).read_record()["result"]["top1"]
    found = evaluate(teacher, test, place.ranks)
    if abs(found.top1 - said) > max(TEACHER_TOLERANCE, 100 * 2 / len(test.labels)):
        raise UserError(
            f"the teacher {run.teacher.id} has a test top-1 of {found.top1:.2f} here, and its "
            f"record says {said:.2f}: other code or other images than it was measured with"
        )


def resume(member: Member, ranks: Ranks) -> None:
    """Go on from the run's checkpoint, if it has one."""
    state = ranks.tell(read_state(member) if ranks.leads else None)
    if state is not None:
        member.started = state["started"]
        member.learner.load_state(state["learner"])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
