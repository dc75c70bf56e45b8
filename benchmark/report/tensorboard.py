"""Event files for TensorBoard, made from records without torch: one folder a run."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmark.config.errors import UserError
from benchmark.report.report_data import ReportData
from benchmark.report.results.outcomes import Results
from benchmark.report.results.quantities import flatten
from benchmark.store.atomic import write_atomic
from benchmark.store.claim import Holder, read_claim
from benchmark.store.folder import RunFolder
from benchmark.store.manifest import ManifestColumn

try:
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.summary.writer.record_writer import RecordWriter
except ImportError as error:
    remedy = "Install it: pip install -e '.[tensorboard]'"
    raise UserError(f"tensorboard is not installed ({error}). {remedy}") from error

PREFIX = "events.out.tfevents."
"""TensorBoard recognises event files by this part of their names."""


def write(data: ReportData) -> Path:
    """Write an event file for each run and return the folder `tensorboard/SUITE`.

    The folder of a run is `SUITE/ROW/PAIR/sSEED`. The files of a run that is still running have
    the epochs at which this function was called. Once the run is done, a file with the whole
    history replaces them in TensorBoard.

    Raises UserError: a record is damaged.
    """
    manifest = data.results.manifest
    suite_folder = data.results_folder / "tensorboard" / safe_folder_name(manifest.suite)
    images = manifest.measure.split()[0]  # test or validation
    for folder, run in _run_folders(data.results):
        run_folder = RunFolder(data.runs_folder / run)
        if run_folder.record.exists():
            try:
                run_folder.load_record()
            except UserError:  # the tables name it
                continue
            _write_finished_run(suite_folder / folder, run_folder, images)
            continue
        holder = read_claim(run_folder.path)
        if holder and {"epoch", "top1"} <= holder.progress.keys():
            _write_current_epoch(suite_folder / folder, run, images, holder)
    return suite_folder


def safe_folder_name(name: str) -> str:
    """Return a folder name for any text. Different texts have different names."""
    quoted = quote(name, safe=" +@,=()")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")


def _run_folders(results: Results) -> Iterator[tuple[str, str]]:
    """Yield the event folder and id of each run; a teacher of several columns has several."""
    columns = results.manifest.columns
    with_dataset = len({column.dataset for column in columns}) > 1
    for index, column in enumerate(columns):
        pair = _pair_folder(column, with_dataset)
        if column.teacher_run:
            yield f"teacher/{pair}", column.teacher_run
        for method in results.manifest.methods:
            for outcome in results.students[index, method]:
                if outcome.run:
                    yield f"{safe_folder_name(method)}/{pair}/s{outcome.seed}", outcome.run


def _pair_folder(column: ManifestColumn, with_dataset: bool) -> str:
    dataset = f"{column.dataset} " if with_dataset else ""
    return safe_folder_name(f"{dataset}{column.teacher} {column.student}")


def _write_finished_run(folder: Path, run_folder: RunFolder, images: str) -> None:
    # This name sorts after the files of single epochs. TensorBoard reads files in this order and
    # continues after the last one that it has read.
    path = folder / f"{PREFIX}{run_folder.path.name}.whole"
    if path.exists() and path.stat().st_mtime >= run_folder.record.stat().st_mtime:
        return
    record = run_folder.read_record()
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, encode_events(_events_of_record(record, images)))
    for other in folder.glob(f"{PREFIX}*"):
        # Keep this run's files of single epochs: a TensorBoard that has one of them open would
        # not read any further if it were deleted.
        if not other.name.startswith(f"{PREFIX}{run_folder.path.name}."):
            other.unlink(missing_ok=True)


def _write_current_epoch(folder: Path, run: str, images: str, holder: Holder) -> None:
    epoch, top1 = holder.progress["epoch"], holder.progress["top1"]
    path = folder / f"{PREFIX}{run}.{epoch:06d}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        event = _scalar_event(holder.heartbeat, epoch, {f"{images}/top1": top1})
        write_atomic(path, encode_events([event]))


def encode_events(events: Iterator["Event"] | list["Event"]) -> bytes:
    """Return the bytes of an event file."""
    file = BytesIO()
    writer = RecordWriter(file)
    for event in (Event(file_version="brain.Event:2"), *events):
        writer.write(event.SerializeToString())
    return file.getvalue()


def _events_of_record(record: Mapping[str, Any], images: str) -> Iterator["Event"]:
    """Yield the run's parameters, then its epochs.

    A record has no time for each epoch. It is computed from the start of the run and the duration
    of each epoch.
    """
    start = SessionLog(status=SessionLog.START)  # makes TensorBoard discard the earlier events
    time = datetime.fromisoformat(record.get("started") or "1970-01-01T00:00:00Z").timestamp()
    config = {k: v for k, v in flatten(record["config"]).items() if not k.startswith("teacher")}
    parameters = {k: v for k, v in config.items() if isinstance(v, bool | int | float | str)}
    yield Event(wall_time=time, session_log=start)
    yield Event(wall_time=time, summary=hparams_pb(parameters, record["id"], time))
    for epoch in record["history"]:
        time += epoch.get("seconds") or 0.0
        values = {f"{images}/{name}": epoch.get(name) for name in ("top1", "top5")}
        values |= {f"{images}/loss": epoch.get("test_loss"), "learning rate": epoch.get("lr")}
        values |= {f"loss/{name}": value for name, value in epoch.get("losses", {}).items()}
        yield _scalar_event(time, epoch["epoch"], values)


def _scalar_event(time: float, step: int, values: Mapping[str, float | None]) -> "Event":
    present = [
        Summary.Value(tag=tag, simple_value=value)
        for tag, value in values.items()
        if value is not None
    ]
    return Event(wall_time=time, step=step, summary=Summary(value=present))
