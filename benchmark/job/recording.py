"""What a job writes while it trains: checkpoints, records, and why something failed."""

from __future__ import annotations

import contextlib
import io
import traceback
from collections.abc import Sequence
from typing import Any

import torch

from benchmark.config.errors import UserError, explain
from benchmark.config.runs import Imported, ProbeRun, Run, TrainRun
from benchmark.job.claimed_run import Member, Place, now, say
from benchmark.job.cost import cost_of
from benchmark.job.final_evaluation import Exam, Findings
from benchmark.store import environment
from benchmark.store.folder import Damaged, Store
from benchmark.training import probes
from benchmark.training.learner import Learner
from benchmark.training.numerics import precision
from methods.registry.check import blame


def read_state(member: Member) -> dict[str, Any] | None:
    """Return what the run's newest sound checkpoint holds."""
    try:
        loaded = member.folder.load_checkpoint()
    except Damaged as damage:
        say(f"{damage}; {member.run.id} starts from the beginning")
        loaded = None
    if loaded is None:
        return None
    if loaded.note is not None:
        say(f"{member.run.id} {loaded.note}")
    state: dict[str, Any] = torch.load(
        io.BytesIO(loaded.payload), map_location="cpu", weights_only=True
    )
    return state


def settle(member: Member, place: Place, exam: Exam) -> None:
    """After an epoch: checkpoint it, show it, and at the end record it.

    What the disk refuses is this run's failure; the others of its cohort go on.
    """
    try:
        write_down(member, place, exam)
    except OSError as error:
        member.learner.abandoned = True
        say(f"{member.run.id} FAILED: {explain(error)}")
        record_crash([member], error)
        with contextlib.suppress(OSError):
            member.claim.release()


def write_down(member: Member, place: Place, exam: Exam) -> None:
    """Checkpoint an epoch or record a failure. Raises OSError."""
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
    state = {"started": member.started, "learner": learner.state()}
    member.folder.save_checkpoint(serialise(state))
    if learner.epoch == learner.epochs:
        finish(member, place, exam)


def finish(member: Member, place: Place, exam: Exam) -> None:
    """Write weights and predictions, then the record: once it exists, the run is done."""
    learner, run = member.learner, member.run
    deployed = learner.method.deployed(learner.student)
    sha256 = member.folder.save_weights(serialise(deployed.state_dict()))
    found, last = examined(member, exam), learner.history[-1]
    if found is not None:
        member.folder.save_predictions(found.predictions)
    record = {
        "schema": 1,
        "id": run.id,
        **facts_of(run, learner, place.store),
        "config": run.as_json(),
        "result": {key: last[key] for key in ("top1", "top5", "test_loss", "epoch")},
        "history": learner.history,
        "weights": {"sha256": sha256},
        "measures": found and found.measures,
        "cost": cost_of(member, place, exam.cast.stream.count)
        | (found.operations if found else {}),
        "environment": {
            **environment.describe(str(place.device), torch.get_num_threads()),
            "processes": place.ranks.size,
            "autocast": told_precision(run, place),
        },
        "started": member.started,
        "finished": now(),
    }
    member.folder.write_record(record)
    member.folder.discard_checkpoints()
    member.claim.release()


def examined(member: Member, exam: Exam) -> Findings | None:
    """Measure a finished network; None of a probe, and where that fails: the run itself has not."""
    run = member.run
    if not isinstance(run, TrainRun):
        return None
    try:
        return exam.of(member.learner, taught=run.teacher is not None)
    except (torch.OutOfMemoryError, MemoryError):
        raise  # a smaller cohort will have room
    except Exception as error:  # noqa: BLE001  (a plug-in may raise anything)
        say(f"{run.id} is not measured: {blame(error, type(member.learner.method))}")
        return None


def told_precision(run: Run, place: Place) -> str | None:
    """Say what networks computed in where that was not float32: a profile leaves it to devices."""
    narrow = precision(run.numerics, place.device)
    return None if narrow is None else str(narrow).removeprefix("torch.")


def facts_of(run: Run, learner: Learner, store: Store) -> dict[str, Any]:
    """Say what kind of run it was, and on which other it rests."""
    if isinstance(run, ProbeRun):
        chosen = probes.summary(learner)
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


def record_crash(members: Sequence[Member], error: Exception) -> None:
    """What stopped the whole job is written down for each run that it stopped."""
    message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    if isinstance(error, OSError):
        message = explain(error)
    for member in members:
        # Those that are done, that had failed before or that are somebody else's by now were not.
        if member.folder.state() == "running" and not member.claim.lost:
            # With the disk full this fails too; the launcher then tells the exit code.
            with contextlib.suppress(OSError):
                member.folder.write_failure("error", message, traceback.format_exc())


def serialise(state: Any) -> bytes:  # noqa: ANN401
    """Turn tensors and plain data into bytes that `torch.load(weights_only=True)` reads."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
