"""One training job: claim its runs, train them together, write their records.

    python -m benchmark.job JOB.json

A local process and a cluster task are started by this same command line. Starting a job again
resumes its runs from their checkpoints.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

import methods
from benchmark.config.errors import UserError
from benchmark.job.building import BuildFailures, build_cohort
from benchmark.job.claimed_run import ClaimedRun, JobContext, claim_runs, log_line
from benchmark.job.cost import open_energy_meter
from benchmark.job.file import Job
from benchmark.job.final_evaluation import FinalEvaluation
from benchmark.job.recording import finish_run, record_crash, record_epoch
from benchmark.job.resuming import load_checkpoint_state, resume
from benchmark.processes.contract import end_with_launcher
from benchmark.processes.distributed import Ranks, join_process_group
from benchmark.processes.interrupts import ending_signals, interrupt, raise_if_interrupted
from benchmark.processes.screen import tolerant_output
from benchmark.store.folder import Store
from benchmark.training import cuda_graphs, numerics
from benchmark.training.cohort import Cohort, train_learners
from benchmark.training.learner import Learner


def main(arguments: Sequence[str]) -> int:
    """Run the job whose file is named on the command line; return the exit code."""
    signal.signal(signal.SIGTERM, interrupt)  # the launcher's, so never ignored
    # A cluster sends its warning to every process of a task; only the launcher acts on it.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    end_with_launcher()
    try:
        job = Job.read(Path(arguments[0]))
        for plugin in job.plugins:
            methods.add_file(Path(plugin))
    except (UserError, OSError, methods.BadMethod) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    with ending_signals(signal.SIGINT, signal.SIGHUP), contextlib.ExitStack() as stack:
        ranks, device = stack.enter_context(join_process_group(job.device))
        return run_job(JobContext(job, Store(Path(job.results)), device, ranks), stack)


def run_job(context: JobContext, stack: contextlib.ExitStack) -> int:
    """Train the runs of a job that can be claimed, with its other processes; return the exit code.

    ``stack`` holds the claims until it closes.
    """
    ranks = context.ranks
    claimed_runs: list[ClaimedRun] = []
    try:
        if ranks.is_main:
            # One by one: where the disk refuses a claim, the earlier ones are in the list.
            for claimed in claim_runs(context.job, context.store, stack):
                claimed_runs.append(claimed)
                raise_if_interrupted()
        run_ids = ranks.broadcast([claimed.run.id for claimed in claimed_runs])
        if not ranks.is_main:
            claimed_runs = [ClaimedRun.of_other_rank(context.store.run(id_)) for id_ in run_ids]
        train_claimed_runs(claimed_runs, context)
    except Exception as error:  # noqa: BLE001  (each run must have its failure, whatever it was)
        with contextlib.suppress(OSError):
            print(traceback.format_exc(), file=sys.stderr, flush=True)
        cause = ranks.root_cause(error)
        if ranks.is_main:
            record_crash(claimed_runs, cause)
        return 1
    return 0


def train_claimed_runs(claimed_runs: Sequence[ClaimedRun], context: JobContext) -> None:
    """Train runs together; where memory runs out, train one half of them after the other."""
    try:
        train_cohort(claimed_runs, context)
    except (torch.OutOfMemoryError, MemoryError):
        if context.ranks.size > 1:
            raise
        # Not those that are done, that failed, or that another process has claimed.
        left = [c for c in claimed_runs if c.folder.state() == "running" and not c.claim.lost]
        if len(left) < 2:
            raise
    else:
        return
    # Outside the except block, whose traceback would keep every tensor alive.
    train_in_halves(left, context)


def train_in_halves(claimed_runs: Sequence[ClaimedRun], context: JobContext) -> None:
    """Train the first half of the runs, then the second, each from its checkpoints."""
    middle = len(claimed_runs) // 2
    log_line(f"out of memory with {len(claimed_runs)} learners: going on with {middle} at a time")
    for claimed in claimed_runs:
        claimed.halved += 1
        vars(claimed).pop("learner", None)  # frees its tensors
    for half in (claimed_runs[:middle], claimed_runs[middle:]):
        gc.collect()
        torch.cuda.empty_cache()
        train_claimed_runs(half, context)


def train_cohort(claimed_runs: Sequence[ClaimedRun], context: JobContext) -> None:
    """Train runs together, each from its checkpoint, and write a record as each one ends."""
    if not claimed_runs:
        return
    assert len({claimed.run.stream_key for claimed in claimed_runs}) == 1
    numerics.apply_profile(claimed_runs[0].run.numerics)
    failures, ranks = BuildFailures(), context.ranks
    cast = build_cohort([claimed.run for claimed in claimed_runs], context, failures)
    by_id = {claimed.run.id: claimed for claimed in claimed_runs}
    for learner in cast.learners:
        by_id[learner.name].learner, learner.ranks = learner, ranks
        # Where one of several processes fails, the others wait for it: then the job fails.
        with failures.alone(learner.name) if ranks.size == 1 else contextlib.nullcontext():
            resume_from_checkpoint(by_id[learner.name], ranks)
    cast = leave_out_failed(cast, by_id, context, failures)
    final = FinalEvaluation(cast)
    for learner in cast.learners:
        if learner.epoch == learner.epochs and ranks.is_main:
            # An earlier job was killed between the last epoch and the record.
            finish_run(by_id[learner.name], context, final)

    def after_epoch(learner: Learner) -> None:
        if ranks.is_main:
            record_epoch(by_id[learner.name], context, final)
        learner.abandoned = ranks.broadcast(learner.abandoned)

    loop = cuda_graphs.make_graph_loop(cast.stream, log_line)
    meter = open_energy_meter(context)
    train_learners(cast.learners, cast.teacher, cast.stream, cast.test, after_epoch, loop, meter)


def leave_out_failed(
    cast: Cohort, by_id: Mapping[str, ClaimedRun], context: JobContext, failures: BuildFailures
) -> Cohort:
    """Record why runs could not be built and release their claims; return the others' cohort."""
    for run_id, error in failures.causes.items() if context.ranks.is_main else ():
        claimed = by_id[run_id]
        log_line(f"{run_id} FAILED: {error}")
        print("".join(traceback.format_exception(error)), file=sys.stderr, flush=True)
        record_crash([claimed], error)
        with contextlib.suppress(OSError):
            claimed.claim.release()
    learners = [learner for learner in cast.learners if learner.name not in failures.causes]
    return cast._replace(learners=learners)


def resume_from_checkpoint(claimed: ClaimedRun, ranks: Ranks) -> None:
    """Load the run's newest checkpoint into its learner, if there is one."""
    state = ranks.broadcast(load_checkpoint_state(claimed) if ranks.is_main else None)
    if state is not None:
        resume(claimed, state, ranks.size)


if __name__ == "__main__":
    try:
        with tolerant_output():
            status = main(sys.argv[1:])
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
