"""The files of a run folder are complete, whatever happens to their writer."""

import errno
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from benchmark.config.errors import UserError, explain_os_error
from benchmark.store.atomic import remove_stale_temporaries, write_atomic, write_once
from benchmark.store.checkpoint import DamagedFileError
from benchmark.store.claim import claim_run
from benchmark.store.folder import RunFolder, Store

RECORD = {"schema": 1, "id": "digits-resnet8-kd-s0-0123456789", "result": {"top1": 97.3}}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = Store(tmp_path).run("digits-resnet8-kd-s0-0123456789")
    run.write_config({"seed": 0, "lr": 0.1})
    return run


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ---------------------------------------------------------------- whole or absent


def test_a_write_replaces_what_was_there_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    write_atomic(path, b"ne", b"w")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == {"file"}


WRITER = """
import sys
from datetime import datetime
from pathlib import Path
from benchmark.store.folder import RunFolder
folder, n = RunFolder(Path(sys.argv[1])), 0
while True:
    folder.save_checkpoint(bytes([n % 256]) * 300_000)
    print(n, flush=True)
    n += 1
"""


def test_a_writer_killed_at_any_moment_leaves_no_torn_file(folder: RunFolder) -> None:
    kills, begun, saved = 0, time.monotonic(), -1
    while kills < 25 and time.monotonic() - begun < 3:
        command = [sys.executable, "-c", WRITER, str(folder.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            time.sleep(0.0013 * kills)
            writer.send_signal(signal.SIGKILL)
            told = [int(line) for line in [first, *writer.stdout] if line.endswith("\n")]
        saved = told[-1] % 256
        checkpoint = folder.load_checkpoint()
        assert checkpoint is not None
        assert checkpoint.payload == checkpoint.payload[:1] * 300_000
        # What was said to be saved is there, or the one after it, which was not yet said to be.
        assert checkpoint.payload[0] in (saved, (saved + 1) % 256)
        kills += 1
    assert kills >= 3
    remove_stale_temporaries(folder.path, age=0)
    assert names(folder.path) <= {"config.json", "checkpoint.pt", "checkpoint.previous.pt"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with room for 64 KiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_leaves_the_old_file_whole(small_disk: Path) -> None:
    folder = RunFolder(small_disk / "run")
    folder.write_config({"seed": 0})
    folder.save_checkpoint(b"old" * 5_000)
    for write in (folder.save_checkpoint, folder.save_weights):
        with pytest.raises(OSError, match="No space left") as caught:
            write(b"new" * 30_000)
        assert "no room left to write (" in explain_os_error(caught.value)
        assert caught.value.filename in explain_os_error(caught.value)
        assert str(caught.value.filename) in {str(folder.checkpoint), str(folder.weights)}
    checkpoint = folder.load_checkpoint()
    assert checkpoint is not None
    assert checkpoint == (b"old" * 5_000, None)
    assert names(folder.path) == {"config.json", "checkpoint.pt"}


def test_a_claim_on_a_full_disk_is_not_left_half_made(small_disk: Path) -> None:
    folder = RunFolder(small_disk / "run")
    folder.write_config({})
    with (small_disk / "filler").open("wb", buffering=0) as filler:
        assert filler.write(b"x" * 2**17) < 2**16
    with pytest.raises(OSError, match="No space left"):
        claim_run(folder.path)
    assert names(folder.path) == {"config.json"}


def test_a_file_over_the_allowed_size_leaves_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError) as caught:  # noqa: PT011
            write_atomic(path, b"new" * 10_000)
        with pytest.raises(OSError):  # noqa: PT011
            write_once(tmp_path / "other", b"new" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"file"}


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "not allowed to read or write here (/results/x): Permission denied."),
        (errno.EROFS, "not allowed to read or write here (/results/x): Read-only file system."),
        (errno.EDQUOT, "no room left to write (/results/x): Disk quota exceeded."),
        (errno.EIO, "the system refused (/results/x): Input/output error"),
    ],
)
def test_an_error_of_the_system_is_explained_in_a_sentence(number: int, said: str) -> None:
    assert explain_os_error(OSError(number, os.strerror(number), "/results/x")).startswith(said)


# ---------------------------------------------------------------- what a folder says


def test_the_state_of_a_run_follows_from_its_files(folder: RunFolder) -> None:
    store = Store(folder.path.parent.parent)
    assert store.run("not-there").state() == "waiting"
    assert folder.state() == "waiting"
    folder.write_failure("error", "it broke", "Traceback ...", epoch=3, phase="init")
    assert folder.state() == "failed"
    held = claim_run(folder.path)
    assert held is not None
    assert folder.state() == "running"
    held.release()
    failure = folder.read_failure()
    assert datetime.fromisoformat(failure.pop("when")).tzinfo is not None
    assert failure == {
        "schema": 1,
        "id": folder.path.name,
        "kind": "error",
        "message": "it broke",
        "traceback": "Traceback ...",
        "epoch": 3,
        "phase": "init",
    }
    folder.clear_failure()
    folder.clear_failure()
    assert folder.state() == "waiting"
    folder.write_failure("error", "it broke", "Traceback ...", epoch=3, phase="init")
    folder.write_record(RECORD)
    assert store.states(["not-there", folder.path.name]) == {
        "not-there": "waiting",
        folder.path.name: "done",
    }


def test_the_states_of_thousands_of_runs_take_less_than_a_second(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ids = [f"digits-resnet8-kd-s{i}-0123456789" for i in range(2000)]
    for i, run_id in enumerate(ids[:1000]):
        folder = store.run(run_id)
        folder.path.mkdir(parents=True)
        (folder.record if i % 2 else folder.failure).write_bytes(b"{}")
    begun = time.perf_counter()
    states = list(store.states(ids).values())
    assert time.perf_counter() - begun < 1
    assert [states.count(state) for state in ("done", "failed", "waiting")] == [500, 500, 1000]


def test_a_record_is_written_once(folder: RunFolder) -> None:
    assert folder.write_record(RECORD) is True
    assert folder.write_record({**RECORD, "result": None}) is False
    assert folder.read_record() == RECORD
    assert names(folder.path) == {"config.json", "record.json"}


RACER = """
import sys, time
from datetime import datetime
from pathlib import Path
from benchmark.store.folder import RunFolder
time.sleep(max(0, float(sys.argv[2]) - time.time()))
for i in range(200):
    print(int(RunFolder(Path(sys.argv[1]) / str(i)).write_record({"schema": 1, "by": sys.argv[3]})))
"""


def test_of_two_writers_of_a_record_one_gets_false(tmp_path: Path) -> None:
    for i in range(200):
        (tmp_path / str(i)).mkdir()
    start = str(time.time() + 0.5)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path), start, who],
            stdout=subprocess.PIPE,
            text=True,
        )
        for who in "01"
    ]
    told = [racer.communicate(timeout=60)[0].split() for racer in racers]
    for i in range(200):
        winner = RunFolder(tmp_path / str(i)).read_record()["by"]
        assert {told[0][i], told[1][i]} == {"0", "1"}
        assert told[int(winner)][i] == "1"


def test_a_record_with_a_nan_is_refused_and_leaves_no_file(folder: RunFolder) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_record({**RECORD, "test_loss": float("nan")})
    assert names(folder.path) == {"config.json"}


@pytest.mark.parametrize("content", [b"", b'{"schema": 1, "id"', b"\xff", b"[1]", b'{"schema": 2}'])
def test_a_record_that_cannot_be_used_is_named(folder: RunFolder, content: bytes) -> None:
    folder.record.write_bytes(content)
    with pytest.raises(UserError, match=r"0123456789/record\.json: is .* run again") as caught:
        folder.read_record()
    assert "\n" not in str(caught.value)


def test_a_runs_config_stays_what_it_was(folder: RunFolder) -> None:
    folder.write_config({"lr": 0.1, "seed": 0})
    with pytest.raises(UserError, match=r"config\.json: holds another run"):
        folder.write_config({"lr": 0.2, "seed": 0})
    assert folder.read_config() == {"seed": 0, "lr": 0.1}


# ---------------------------------------------------------------- checkpoints, weights


def flip_bit(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def truncate(path: Path, length: int) -> None:
    os.truncate(path, length % path.stat().st_size)


def append(path: Path, _: int) -> None:
    path.write_bytes(path.read_bytes() + b"x")


DAMAGES = [(truncate, 0), (truncate, 30), (truncate, 72), (truncate, -1), (append, 0)]
DAMAGES += [(flip_bit, at) for at in (0, 10, 70, 71, 72, -1)]


@pytest.mark.parametrize(("damage", "at"), DAMAGES)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(folder, damage, at) -> None:
    assert folder.load_checkpoint() is None
    for payload in (b"first", b"second" * 100, b"third" * 100):
        folder.save_checkpoint(payload)
        assert folder.load_checkpoint() == (payload, None)
    damage(folder.checkpoint, at)
    payload, note = folder.load_checkpoint()
    assert payload == b"second" * 100
    assert f"{folder.checkpoint}: is damaged" in note
    folder.save_checkpoint(b"fourth")
    folder.checkpoint.unlink()  # the next save had died between its two renames
    payload, note = folder.load_checkpoint()
    assert payload == b"second" * 100
    assert "is missing" in note


def test_without_an_intact_checkpoint_every_load_raises(folder: RunFolder) -> None:
    folder.save_checkpoint(b"first")
    flip_bit(folder.checkpoint, -1)
    for _ in range(2):
        with pytest.raises(DamagedFileError, match=r"0123456789/checkpoint\.pt: is damaged"):
            folder.load_checkpoint()
    folder.save_checkpoint(b"second")
    folder.save_checkpoint(b"third")
    flip_bit(folder.checkpoint, -1)
    flip_bit(folder.previous_checkpoint, -1)
    with pytest.raises(DamagedFileError, match=r"checkpoint\.previous\.pt: is damaged"):
        folder.load_checkpoint()
    folder.discard_checkpoints()
    assert folder.load_checkpoint() is None
    assert names(folder.path) == {"config.json"}


def test_a_checkpoint_of_another_run_is_never_loaded(folder: RunFolder, tmp_path: Path) -> None:
    other = Store(tmp_path).run("digits-resnet8-kd-s1-abcdefabcd")
    other.write_config({"seed": 1})
    other.save_checkpoint(b"theirs")
    other.checkpoint.replace(folder.checkpoint)
    message = r"checkpoint\.pt: is a checkpoint of another run, digits-resnet8-kd-s1-abcdefabcd"
    with pytest.raises(DamagedFileError, match=message):
        folder.load_checkpoint()
    # The one before is this run's own.
    folder.checkpoint.unlink()
    folder.save_checkpoint(b"ours")
    folder.checkpoint.replace(folder.previous_checkpoint)
    other.save_checkpoint(b"theirs")
    other.checkpoint.replace(folder.checkpoint)
    found = folder.load_checkpoint()
    assert found is not None
    assert found.payload == b"ours"
    assert "is a checkpoint of another run" in str(found.note)


def test_a_checkpoint_whose_id_was_changed_is_damaged(folder: RunFolder) -> None:
    folder.save_checkpoint(b"state")
    text = folder.checkpoint.read_bytes()
    folder.checkpoint.write_bytes(text.replace(b"kd-s0", b"kd-s1", 1))
    with pytest.raises(DamagedFileError, match="its checksum does not fit"):
        folder.load_checkpoint()


def test_a_checkpoint_of_an_older_version_without_an_id_is_loaded(folder: RunFolder) -> None:
    digest = hashlib.sha256(b"state").hexdigest()
    folder.checkpoint.write_bytes(f"sha256 {digest}\nstate".encode())
    assert folder.load_checkpoint() == (b"state", None)


def test_a_pipe_in_place_of_a_checkpoint_is_not_waited_for(folder: RunFolder) -> None:
    os.mkfifo(folder.checkpoint)
    with pytest.raises(DamagedFileError, match="is not a file"):
        folder.load_checkpoint()


def test_weights_are_checked_against_the_hash_in_the_record(folder: RunFolder) -> None:
    sha256 = folder.save_weights(b"weights")
    assert sha256 == hashlib.sha256(b"weights").hexdigest()
    assert folder.read_weights(sha256) == b"weights"
    flip_bit(folder.weights, 3)
    with pytest.raises(
        UserError, match=r"student\.pt: is not the file that its record describes\. Remove"
    ):
        folder.read_weights(sha256)
    folder.weights.unlink()
    with pytest.raises(UserError, match=r"student\.pt: is missing.*record\.json to have the run"):
        folder.read_weights(sha256)


def test_predictions_of_a_finished_run_are_not_replaced(folder: RunFolder) -> None:
    folder.save_predictions(b"ours")
    folder.write_record({"schema": 1})
    folder.save_predictions(b"of somebody who comes late")
    assert folder.predictions.read_bytes() == b"ours"
    folder.save_checkpoint(b"where to go on from")
    folder.tidy()
    assert names(folder.path) == {"config.json", "record.json", "predictions.npy"}


def test_leftovers_of_killed_writers_go_with_the_next_claim(folder: RunFolder) -> None:
    old, fresh = folder.path / ".student.pt.00.tmp", folder.path / ".student.pt.01.tmp"
    for path in (old, fresh):
        path.touch()
    os.utime(old, (0, 0))
    assert claim_run(folder.path) is not None
    assert names(folder.path) == {"config.json", "claim.json", fresh.name}


def test_a_record_is_indented_for_human_readers(folder: RunFolder) -> None:
    folder.write_record(RECORD)
    assert json.loads(folder.record.read_text()) == RECORD
    assert len(folder.record.read_text().splitlines()) > 3
