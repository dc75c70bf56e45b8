"""One job: build what a cohort names, train it, write its records. Starting it again resumes it.

    python -m benchmark.job JOB.json

is the same command line for a local process and for a cluster.
"""

from __future__ import annotations

import contextlib
import gc
import io
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

import methods
from benchmark import assemble, environment, models, probe
from benchmark.cohort import Cast, Learner, train
from benchmark.data import find
from benchmark.data.stream import Tests
from benchmark.errors import UserError
from benchmark.evaluate import evaluate
from benchmark.member import Member, now, say, take
from benchmark.models.network import Network
from benchmark.plan import Job
from benchmark.runs import Imported, TrainRun
from benchmark.store import Damaged, Store, explain
from benchmark.transfer import ProbeRun, Run

TEACHER_TOLERANCE = 0.2
"""Percent of test images, two at least: what another device's or version's arithmetic may move."""


def main(arguments: Sequence[str]) -> int:
    """Run the job whose file is named on the command line."""
    signal.signal(signal.SIGTERM, interrupted)
    # A cluster's warning goes to every process of a job; the one that started us answers it.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    job = Job.read(Path(arguments[0]))
    store = Store(Path(job.results))
    for plugin in job.plugins:
        methods.add_file(Path(plugin))
    with contextlib.ExitStack() as held:
        members = list(take(job, store, held))
        try:
            train_members(members, job, store)
        except Exception as error:  # noqa: BLE001  (whatever it is, the runs must say why they failed)
            record_crash(members, error)
            print(traceback.format_exc(), file=sys.stderr, flush=True)
            return 1
    return 0


def interrupted(_signal: int, _frame: object) -> NoReturn:
    """Turn SIGTERM into what Ctrl-C does: claims are released on the way out."""
    raise KeyboardInterrupt


def train_members(members: Sequence[Member], job: Job, store: Store) -> None:
    """Train what was claimed; where memory runs out, one half of it after the other."""
    try:
        train_cohort(members, job, store)
    except (torch.OutOfMemoryError, MemoryError):
        left = [member for member in members if member.folder.state() != "done"]
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
        train_members(half, job, store)


def train_cohort(members: Sequence[Member], job: Job, store: Store) -> None:
    """Train members together, from wherever each stands."""
    if not members:
        return
    assert len({member.run.cohort_key for member in members}) == 1
    assemble.be_strict()
    cast = cast_of([member.run for member in members], job, store)
    by_name = {member.run.id: member for member in members}
    for member, learner in zip(members, cast.learners, strict=True):
        member.learner = learner
        resume(member)
        if learner.epoch == learner.epochs:
            finish(member, job, store)  # it died between its last epoch and its record

    def after_epoch(learner: Learner) -> None:
        settle(by_name[learner.name], job, store)

    train(cast.learners, cast.teacher, cast.stream, cast.test, after_epoch)


def cast_of(runs: Sequence[Run], job: Job, store: Store) -> Cast:
    """Build a cohort, its teacher measured again."""
    root, device = Path(job.data), torch.device(job.device)
    first, trained = runs[0], [run for run in runs if isinstance(run, TrainRun)]
    for run in runs:
        check_version(run, root)
    if not isinstance(first, TrainRun):
        probes = [run for run in runs if isinstance(run, ProbeRun)]
        return probe.cast_of(probes, store, root, device)
    source = find(first.dataset.name, root)
    stream, test = assemble.streams(first, source, source.load(root), device)
    teacher = assemble.teacher(trained, store, source, device)
    if teacher is not None:
        verify(teacher, first, store, test)
    learners = [assemble.learner(r, source, stream.labels, teacher, device) for r in trained]
    return Cast(learners, stream, test, teacher)


def check_version(run: Run, root: Path) -> None:
    """Raise UserError where a folder of images is not what it was when the run was planned."""
    name, version = run.dataset.name, run.dataset.version
    if find(name, root).version != version:
        raise UserError(
            f"the images of {name} have changed since this run was planned; start the suite again"
        )


def verify(teacher: Network, run: TrainRun, store: Store, test: Tests) -> None:
    """Measure the teacher again before it teaches. Raises UserError where its record says another.

    Weights can be sound and still be put into a network that computes something else.
    """
    assert run.teacher is not None
    if isinstance(run.teacher, Imported) and (run.dataset.limit or run.dataset.validation):
        return  # it was measured on all test images
    said, found = store.run(run.teacher.id).read_record()["result"]["top1"], evaluate(teacher, test)
    if abs(found.top1 - said) > max(TEACHER_TOLERANCE, 100 * 2 / len(test.labels)):
        raise UserError(
            f"the teacher {run.teacher.id} has a test top-1 of {found.top1:.2f} here, and its "
            f"record says {said:.2f}: other code or other images than it was measured with"
        )


# ---------------------------------------------------------------- what is written


def resume(member: Member) -> None:
    """Go on from the run's checkpoint, if it has one."""
    try:
        loaded = member.folder.load_checkpoint()
    except Damaged as damage:
        say(f"{damage}; {member.run.id} starts from the beginning")
        loaded = None
    if loaded is None:
        return
    if loaded.note is not None:
        say(f"{member.run.id} {loaded.note}")
    state = torch.load(io.BytesIO(loaded.payload), map_location="cpu", weights_only=True)
    member.started = state["started"]
    member.learner.load_state(state["learner"])


def settle(member: Member, job: Job, store: Store) -> None:
    """After an epoch: checkpoint it, show it, and at the end record it."""
    learner = member.learner
    if learner.failure is not None:
        member.folder.write_failure(*learner.failure)
        say(f"{member.run.id} FAILED: {learner.failure.message}")
        member.claim.release()
        return
    row = learner.history[-1]
    losses = " ".join(f"{name} {value:.4g}" for name, value in row["losses"].items())
    say(
        f"{member.run.id} epoch {learner.epoch}/{learner.epochs} {row['phase']} {losses} "
        f"top1 {row['top1']:.2f}"
    )
    state = {"started": member.started, "learner": learner.state()}
    member.folder.save_checkpoint(serialise(state))
    progress = {
        "epoch": learner.epoch,
        "epochs": learner.epochs,
        "phase": row["phase"],
        "top1": row["top1"],
    }
    if not member.claim.beat(progress):
        say(f"{member.run.id} was taken over by somebody else")
        learner.abandoned = True
        return
    if learner.epoch == learner.epochs:
        finish(member, job, store)


def finish(member: Member, job: Job, store: Store) -> None:
    """Write weights, then the record: once it exists, the run is done."""
    learner, run = member.learner, member.run
    deployed = learner.method.deployed(learner.student)
    sha256 = member.folder.save_weights(serialise(deployed.state_dict()))
    last = learner.history[-1]
    record = {
        "schema": 1,
        "id": run.id,
        **facts_of(run, learner, store),
        "config": run.as_json(),
        "result": {key: last[key] for key in ("top1", "top5", "test_loss", "epoch")},
        "history": learner.history,
        "weights": {"sha256": sha256},
        "cost": {
            "seconds": sum(row["seconds"] for row in learner.history),
            "peak_memory_mb": environment.peak_memory_mb(),
            "halved": member.halved,
            **sizes_of(run, learner),
        },
        "environment": environment.describe(job.device, torch.get_num_threads()),
        "started": member.started,
        "finished": now(),
    }
    member.folder.write_record(record)
    member.folder.discard_checkpoints()
    member.claim.release()


def facts_of(run: Run, learner: Learner, store: Store) -> dict[str, Any]:
    """Say what kind of run it was, and on which other it rests."""
    if isinstance(run, ProbeRun):
        chosen = probe.summary(learner)
        return {"kind": "probe", "backbone": told(run.backbone, store), "probe": chosen}
    return {"kind": "train", "teacher": told(run.teacher, store)}


def told(need: TrainRun | Imported | None, store: Store) -> dict[str, Any] | None:
    """Say which network that was and how good."""
    if need is None:
        return None
    record = store.run(need.id).read_record()
    return {
        "id": need.id,
        "top1": record["result"]["top1"],
        "sha256": record["weights"]["sha256"],
    }


def sizes_of(run: Run, learner: Learner) -> dict[str, int]:
    """Count parameters: the student's, the connectors', and of what is deployed."""
    deployed = learner.method.deployed(learner.student)
    # Frozen ones too: what SimKD deploys has the teacher's classifier in it.
    whole = sum(p.numel() for p in deployed.parameters())
    if isinstance(run, ProbeRun):
        return {"parameters": whole, "connector_parameters": 0, "deployed_parameters": whole}
    return {
        "parameters": models.count_parameters(learner.student),
        "connector_parameters": models.count_parameters(learner.method),
        "deployed_parameters": whole,
    }


def record_crash(members: Sequence[Member], error: Exception) -> None:
    """What stopped the whole job is written down for each run that it stopped."""
    message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    if isinstance(error, OSError):
        message = explain(error)
    for member in members:
        if member.folder.state() != "done":
            # With the disk full this fails too; the launcher then tells the exit code.
            with contextlib.suppress(OSError):
                member.folder.write_failure("error", message, traceback.format_exc())


def serialise(state: Any) -> bytes:  # noqa: ANN401
    """Turn tensors and plain data into bytes that `torch.load(weights_only=True)` reads."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
