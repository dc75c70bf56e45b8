"""What a job writes while it trains: checkpoints, records, and why a run failed."""

from __future__ import annotations

import contextlib
import io
import traceback
from collections.abc import Sequence
from typing import Any, TypeVar

import torch

from benchmark.config.errors import UserError, explain_os_error
from benchmark.config.runs import ImportedTeacher, ProbeRun, TrainRun
from benchmark.job.claimed_run import ClaimedRun, JobContext, log_line, utc_now
from benchmark.job.cost import measure_cost
from benchmark.job.final_evaluation import EvaluationResult, FinalEvaluation, Operations
from benchmark.job.resuming import checkpoint_state, environments_of, known_fields, plugins_of
from benchmark.store.folder import Store
from benchmark.store.record import (
    Epoch,
    FinalResult,
    NetworkReference,
    Record,
    WrittenFile,
)
from benchmark.training import probes
from benchmark.training.cohort import Cohort
from methods.registry.check import describe_error

T = TypeVar("T")


def record_epoch(claimed: ClaimedRun, context: JobContext, final: FinalEvaluation) -> None:
    """Log and checkpoint an epoch; after the last one, finish the run.

    Where the disk refuses a file, only this run fails; the others of its cohort go on.
    """
    try:
        write_epoch(claimed, context, final)
    except OSError as error:
        claimed.learner.abandoned = True
        log_line(f"{claimed.run.id} FAILED: {explain_os_error(error)}")
        record_crash([claimed], error)
        with contextlib.suppress(OSError):
            claimed.claim.release()


def write_epoch(claimed: ClaimedRun, context: JobContext, final: FinalEvaluation) -> None:
    """Write a failure, or a checkpoint and after the last epoch the record. Raises OSError."""
    learner = claimed.learner
    if learner.failure is not None:
        claimed.folder.write_failure(*learner.failure)
        log_line(f"{claimed.run.id} FAILED: {learner.failure.message}")
        claimed.claim.release()
        return
    log_epoch(claimed)
    if not claimed.claim.beat(progress_of(claimed)):
        log_line(f"{claimed.run.id} was claimed by another process; leaving it")
        learner.abandoned = True
        return
    claimed.folder.save_checkpoint(serialise(checkpoint_state(claimed, context)))
    if learner.epoch == learner.epochs:
        finish_run(claimed, context, final)


def log_epoch(claimed: ClaimedRun) -> None:
    """Log the losses and the accuracy of the last epoch."""
    learner = claimed.learner
    row = learner.history[-1]
    losses = " ".join(f"{name} {value:.4g}" for name, value in row["losses"].items())
    log_line(
        f"{claimed.run.id} epoch {learner.epoch}/{learner.epochs} {row['phase']} {losses} "
        f"top1 {row['top1']:.2f}"
    )


def progress_of(claimed: ClaimedRun) -> dict[str, Any]:
    """Return the progress that the run's claim shows."""
    learner = claimed.learner
    row = learner.history[-1]
    return {
        "epoch": learner.epoch,
        "epochs": learner.epochs,
        "phase": row["phase"],
        "top1": row["top1"],
    }


def finish_run(claimed: ClaimedRun, context: JobContext, final: FinalEvaluation) -> None:
    """Evaluate a trained run, write its files, the record last, and release its claim."""
    learner = claimed.learner
    # Before the evaluation, which may change what the method keeps.
    weights = serialise(learner.method.deployed(learner.student).state_dict())
    evaluation = evaluate_finished(claimed, final)
    record = build_record(claimed, context, weights, evaluation, final.cast)
    claimed.folder.finish(record, weights, evaluation and evaluation.predictions)
    claimed.claim.release()


def build_record(
    claimed: ClaimedRun,
    context: JobContext,
    weights: bytes,
    evaluation: EvaluationResult | None,
    cast: Cohort,
) -> Record:
    """Return the record of a trained run; ``cast``: the cohort that it was trained in."""
    run, learner = claimed.run, claimed.learner
    last = learner.history[-1]
    operations = evaluation.operations if evaluation else Operations()
    environments = environments_of(claimed, context)
    return Record(
        schema=1,
        id=run.id,
        **origin_fields(claimed, context.store),
        config=run.as_json(),
        result=FinalResult(**{key: last[key] for key in ("top1", "top5", "test_loss", "epoch")}),
        history=tuple(known_fields(Epoch, row) for row in learner.history),
        weights=WrittenFile.of(weights),
        predictions=evaluation and WrittenFile.of(evaluation.predictions),
        preprocessing=cast.preprocessing,
        measures=evaluation and evaluation.measures,
        cost=measure_cost(claimed, context, cast.stream.count, operations),
        environment=environments[-1],
        earlier_environments=tuple(environments[:-1]),
        plugins=plugins_of(run),
        started=claimed.started,
        finished=utc_now(),
    )


def origin_fields(claimed: ClaimedRun, store: Store) -> dict[str, Any]:
    """Return the fields of a record that name the kind of run and the run that it needed."""
    run = claimed.run
    if isinstance(run, ProbeRun):
        summary = probes.probe_summary(claimed.learner)
        return {
            "kind": "probe",
            "backbone": network_reference(run.backbone, store),
            "probe": summary,
        }
    return {"kind": "train", "teacher": run.teacher and network_reference(run.teacher, store)}


def network_reference(run: TrainRun | ImportedTeacher, store: Store) -> NetworkReference:
    """Return what a record says of another finished run: its id, accuracy and weights."""
    record = store.run(run.id).load_record()
    return NetworkReference(id=run.id, top1=record.result.top1, sha256=record.weights.sha256)


def evaluate_finished(claimed: ClaimedRun, final: FinalEvaluation) -> EvaluationResult | None:
    """Evaluate a trained network. None of a probe, and where that fails: the run itself is good."""
    run = claimed.run
    if not isinstance(run, TrainRun):
        return None
    try:
        return final.evaluate(claimed.learner, with_teacher=run.teacher is not None)
    except (torch.OutOfMemoryError, MemoryError):
        raise  # a smaller cohort will have room
    except Exception as error:  # noqa: BLE001  (a plug-in may raise anything)
        log_line(f"{run.id} is not measured: {describe_error(error, type(claimed.learner.method))}")
        return None


def record_crash(claimed_runs: Sequence[ClaimedRun], error: Exception) -> None:
    """Write what stopped the job as the failure of each run that it stopped."""
    message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    if isinstance(error, OSError):
        message = explain_os_error(error)
    for claimed in claimed_runs:
        # Not of runs that are done, that failed before, or that another process has claimed.
        if claimed.folder.state() == "running" and not claimed.claim.lost:
            # On a full disk this fails too; then the launcher reports the exit code.
            with contextlib.suppress(OSError):
                trace = "".join(traceback.format_exception(error))
                claimed.folder.write_failure("error", message, trace)


def serialise(state: Any) -> bytes:  # noqa: ANN401
    """Return tensors and plain data as bytes that `torch.load(weights_only=True)` reads."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
