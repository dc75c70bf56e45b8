"""Read records and failures from run folders: checked against the schema and the folder's name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from benchmark.config.validation import canonical_json, short_digest
from benchmark.store.checkpoint import DamagedFileError
from benchmark.store.fields import read_file
from benchmark.store.record import Failure, Record

T = TypeVar("T")


def load_record(path: Path) -> Record:
    """Return the record in a run's folder, checked.

    Raises FileNotFoundError where it is missing, and DamagedFileError where it does not fit the
    schema or belongs to another run than the folder.
    """
    record = _parse(Record, read_file(path), path)
    try:
        canonical_json([record.config, record.probe])
    except ValueError:
        raise DamagedFileError(
            f"{path}: is damaged (a number of `config` or `probe` is not finite). {_REMEDY}"
        ) from None
    run_id = path.parent.name
    if record.id != run_id:
        raise DamagedFileError(f"{path}: is the record of another run, {record.id}. {_REMEDY}")
    # Every id ends with ten digits of a hash: of the configuration, or of a teacher's weights.
    digest = re.search(r"-([0-9a-f]{10})$", run_id)
    if digest and digest[1] != _digest_of(record):
        raise DamagedFileError(
            f"{path}: its configuration is of another run than its folder's name says. {_REMEDY}"
        )
    return record


def _digest_of(record: Record) -> str:
    if record.kind == "import":
        return str(record.config.get("weights"))[:10]
    return short_digest(record.config)


def load_failure(path: Path) -> Failure:
    """Return the failure in a run's folder, checked.

    Raises FileNotFoundError where it is missing, DamagedFileError where it does not fit the schema.
    """
    return _parse(Failure, read_file(path), path)


def parse_record(content: Mapping[str, Any], source: object) -> Record:
    """Return a record from its JSON content.

    Raises DamagedFileError, naming ``source`` and the field, where it does not fit the schema.
    """
    return _parse(Record, json.dumps(content).encode(), source)


def _parse(kind: type[T], content: bytes, source: object) -> T:
    try:
        # Strict: no text for a number. From JSON, since a list is no tuple otherwise.
        value: T = _adapter(cast(Any, kind)).validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        location = ".".join(str(part) for part in first["loc"])
        problem = f"{location}: {first['msg']}" if location else first["msg"]
        raise DamagedFileError(f"{source}: is damaged ({problem}). {_REMEDY}") from None
    return value


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401
    return TypeAdapter(kind)


_REMEDY = "Remove it, then run again."
