"""The schema of a suite's manifest: its grid, which reports and `status` read without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from benchmark.config.runs import REFERENCE_FIELDS
from benchmark.store.checkpoint import DamagedFileError
from benchmark.store.fields import read_json


def _as_file_name(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(name) > 255:
        raise ValueError(f"{name!r:.60} is no name of a file in its folder")
    return name


FileName = Annotated[str, AfterValidator(_as_file_name)]
"""A name that stays in its folder: reports read and write files of it."""
RunId = FileName
Index = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class ManifestColumn:
    """One column of a suite's grid: a teacher-student pair on a data set."""

    dataset: str
    teacher: str
    student: str
    teacher_run: RunId | None
    """The id of the teacher's run; None if the suite trains no teacher."""
    display_names: tuple[str, str] | None = None
    """Data set and pair as tables name them, if the suite sets names of its own."""

    @property
    def pair(self) -> str:
        """The pair as a suite file writes it."""
        return f"{self.teacher} -> {self.student}"


NameSelection = tuple[str, ...] | dict[str, str] | None
"""Names in table order. A dict maps each name to its display name; None selects all names."""


@dataclass(frozen=True)
class TableChoice:
    """The rows and columns of the grid that the suite's tables include."""

    rows: NameSelection = None
    pairs: NameSelection = None
    datasets: NameSelection = None


@dataclass(frozen=True)
class ManifestCell:
    """One method with one seed in one column: the id of its run, or why it has none."""

    column: Index
    """Index into `Manifest.columns`."""
    method: str
    seed: int
    run: RunId | None
    reason: str | None
    """Why the method does not apply to this pair; None if there is a run."""


@dataclass(frozen=True)
class Manifest:
    """A suite expanded to its grid: all facts of a report that the records do not have."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(allow_inf_nan=False)

    schema: Literal[1]
    suite: FileName
    title: str
    digest: FileName
    dataset: str
    dataset_limit: int | None
    init_epochs: Literal["inside", "extra"]
    epochs: Annotated[int, Field(ge=1, le=10**9)]
    methods: tuple[str, ...]
    columns: tuple[ManifestColumn, ...]
    seeds: tuple[int, ...]
    cells: tuple[ManifestCell, ...]
    departures: tuple[str, ...] = ()
    """Parameters that are not at their default, as text."""
    validation: int | None = None
    """Train images held out for validation; None if runs are evaluated on the test images."""
    probes: tuple[str, ...] = ()
    """A description of each column that is a linear probe."""
    table: TableChoice = TableChoice()
    as_published: Mapping[str, str] = field(default_factory=dict)
    """By row: method, preset and changed parameters, as the published numbers name them."""
    runs: Mapping[RunId, Mapping[str, Any]] = field(default_factory=dict)
    """The resolved configuration of each run, by run id."""
    code: str = ""
    """A hash of the code that planned the suite, as ``source_digest`` returns it."""
    local: bool = False
    """Whether a data set is a folder of images, whose contents may change."""
    asked: tuple[str, ...] | None = None
    """The suite file and its `--set` changes, for a command that repeats a run."""
    plugins: tuple[str, ...] = ()
    """The plug-in files that were named. They are shown, never loaded."""

    @property
    def measure(self) -> str:
        """What the accuracies are: on test images, or on held-out train images."""
        return "test top-1" if self.validation is None else "validation top-1"


def read_manifest(path: Path) -> dict[str, Any]:
    """Return a manifest's JSON content, checked.

    Raises FileNotFoundError where it is missing, DamagedFileError where it is no manifest.
    """
    data: dict[str, Any] = read_json(path)
    try:
        manifest = parse_manifest(data)
    except ValueError as error:
        raise DamagedFileError(f"{path}: is damaged ({error})") from None
    if path.stem != f"{manifest.suite}-{manifest.digest}":
        raise DamagedFileError(f"{path}: is the manifest of another suite, {manifest.suite}")
    extra = {"code": manifest.code, "local": manifest.local, "plugins": list(manifest.plugins)}
    return extra | data


def parse_manifest(data: object) -> Manifest:
    """Return a manifest from its JSON content. Raises ValueError where it does not fit."""
    try:
        manifest = _adapter().validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None
    for problem in _reference_problems(manifest):
        raise ValueError(problem)
    return manifest


def _reference_problems(manifest: Manifest) -> Iterator[str]:
    """Yield what names something that is not in the manifest."""
    methods = set(manifest.methods)
    for name, values in (("columns", manifest.columns), ("cells", manifest.cells)):
        if not values:
            yield f"{name}: is empty"
    for number, cell in enumerate(manifest.cells):
        if cell.column >= len(manifest.columns):
            yield f"cells.{number}.column: there is no column {cell.column}"
        if cell.method not in methods:
            yield f"cells.{number}.method: there is no method {cell.method!r}"
    for run_id, run in manifest.runs.items():
        # A student needs a teacher, a probe a student: a longer chain is a circle.
        chain: list[Any] = [run]
        while chain[-1] is not None and len(chain) < _LONGEST_CHAIN:
            need = next((chain[-1][name] for name in REFERENCE_FIELDS if name in chain[-1]), None)
            chain.append(manifest.runs.get(need) if isinstance(need, str) else None)
        if chain[-1] is not None:
            yield f"runs.{run_id}: needs itself"


_LONGEST_CHAIN = 10


@cache
def _adapter() -> TypeAdapter[Manifest]:
    return TypeAdapter(Manifest)
