"""Histories as TensorBoard reads them: a folder a run, made from records, without torch."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmark.config.errors import UserError
from benchmark.report.material import Material
from benchmark.report.results.outcomes import Column, Results
from benchmark.report.results.quantities import flat
from benchmark.store.atomic import write_atomic
from benchmark.store.claim import Holder, read_claim
from benchmark.store.folder import RunFolder

try:
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.summary.writer.record_writer import RecordWriter
except ImportError as error:
    remedy = "To have it: pip install -e '.[tensorboard]'"
    raise UserError(f"tensorboard is not installed ({error}). {remedy}") from error

PREFIX = "events.out.tfevents."  # TensorBoard finds files by it


def write(material: Material) -> Path:
    """Write tensorboard/SUITE/ROW/PAIR/sSEED, each in one file; return SUITE's folder.

    A run that is under way has a point for every epoch that was looked at; once it is done, the
    whole takes their place. Raises UserError for a damaged record.
    """
    outcome = material.outcome
    whole = material.results / "tensorboard" / safe(outcome.manifest.suite)
    images = outcome.manifest.measure.split()[0]  # test or validation
    for place, run in _places(outcome):
        folder = RunFolder(material.runs / run)
        if folder.record.is_file():
            _write_whole(whole / place, folder, images)
        elif (holder := read_claim(folder.path)) and {"epoch", "top1"} <= holder.progress.keys():
            _write_point(whole / place, run, images, holder)
    return whole


def safe(name: str) -> str:
    """A name as one folder of a path, unlike every other name's."""
    shown = quote(name, safe=" +@,=()")
    return shown if shown.strip(".") else shown.replace(".", "%2E")


def _places(outcome: Results) -> Iterator[tuple[str, str]]:
    """Where a run's events lie, and its id; a teacher of several columns is in each."""
    columns = outcome.manifest.columns
    several = len({column.dataset for column in columns}) > 1
    for place, column in enumerate(columns):
        pair = _pair(column, several)
        if column.teacher_run:
            yield f"teacher/{pair}", column.teacher_run
        for method in outcome.manifest.methods:
            for one in outcome.students[place, method]:
                if one.run:
                    yield f"{safe(method)}/{pair}/s{one.seed}", one.run


def _pair(column: Column, with_dataset: bool) -> str:
    dataset = f"{column.dataset} " if with_dataset else ""
    return safe(f"{dataset}{column.teacher} {column.student}")


def _write_whole(place: Path, folder: RunFolder, images: str) -> None:
    # By name behind the points of the same run: a reader goes on from the last that it has read.
    path = place / f"{PREFIX}{folder.path.name}.whole"
    if path.exists() and path.stat().st_mtime >= folder.record.stat().st_mtime:
        return
    record = folder.read_record()
    place.mkdir(parents=True, exist_ok=True)
    write_atomic(path, encoded(_events(record, images)))
    for other in place.glob(f"{PREFIX}*"):
        # Points of the same run stay: a reader that has one open would not get past its absence.
        if not other.name.startswith(f"{PREFIX}{folder.path.name}."):
            other.unlink(missing_ok=True)


def _write_point(place: Path, run: str, images: str, holder: Holder) -> None:
    epoch, top1 = holder.progress["epoch"], holder.progress["top1"]
    path = place / f"{PREFIX}{run}.{epoch:06d}"
    if not path.exists():
        place.mkdir(parents=True, exist_ok=True)
        write_atomic(path, encoded([_event(holder.heartbeat, epoch, {f"{images}/top1": top1})]))


def encoded(events: Iterator["Event"] | list["Event"]) -> bytes:
    """An event file's bytes."""
    file = BytesIO()
    writer = RecordWriter(file)
    for event in (Event(file_version="brain.Event:2"), *events):
        writer.write(event.SerializeToString())
    return file.getvalue()


def _events(record: Mapping[str, Any], images: str) -> Iterator["Event"]:
    """Parameters, then the epochs, each at the time when it must have ended."""
    start = SessionLog(status=SessionLog.START)  # at which a reader forgets the points
    time = datetime.fromisoformat(record["started"]).timestamp()
    config = {k: v for k, v in flat(record["config"]).items() if not k.startswith("teacher")}
    known = {k: v for k, v in config.items() if isinstance(v, bool | int | float | str)}
    yield Event(wall_time=time, session_log=start)
    yield Event(wall_time=time, summary=hparams_pb(known, record["id"], time))
    for epoch in record["history"]:
        time += epoch.get("seconds", 0.0)
        values = {f"{images}/{name}": epoch.get(name) for name in ("top1", "top5")}
        values |= {f"{images}/loss": epoch.get("test_loss"), "learning rate": epoch.get("lr")}
        values |= {f"loss/{name}": value for name, value in epoch.get("losses", {}).items()}
        yield _event(time, epoch["epoch"], values)


def _event(time: float, step: int, values: Mapping[str, float | None]) -> "Event":
    shown = [
        Summary.Value(tag=tag, simple_value=value)
        for tag, value in values.items()
        if value is not None
    ]
    return Event(wall_time=time, step=step, summary=Summary(value=shown))
