"""One holder at a time: live claims are respected, dead ones taken, once."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from benchmark.store import claim as claims
from benchmark.store.claim import STALE_SECONDS, Claim, claim_run, read_claim

HOLDER = """
import sys, time
from pathlib import Path
from benchmark.store.claim import claim_run
print(claim_run(Path(sys.argv[1])) is not None, flush=True)
time.sleep(60)
"""


def held_by_another_process(folder: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    return holder


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / "claim.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def held(folder: Path) -> Claim:
    mine = claim_run(folder)
    assert mine is not None
    return mine


def test_a_live_claim_is_not_taken_however_old_its_heartbeat(tmp_path: Path) -> None:
    holder = held_by_another_process(tmp_path)
    rewrite(tmp_path, heartbeat=0)
    assert claim_run(tmp_path) is None
    holder.kill()
    holder.wait()


def test_the_claim_of_a_killed_process_is_taken(tmp_path: Path) -> None:
    holder = held_by_another_process(tmp_path)
    holder.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    assert held(tmp_path).beat()  # dead, though its parent has not asked after it: a zombie
    holder.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["claim.json"]


def test_the_claim_of_a_process_whose_number_is_used_again_is_taken(tmp_path: Path) -> None:
    held(tmp_path)
    assert claim_run(tmp_path) is None
    rewrite(tmp_path, started="1")
    assert claim_run(tmp_path) is not None


@pytest.mark.parametrize("elsewhere", [{"machine": "n7 some-boot pid:[1]", "host": "n7"}])
def test_a_claim_from_elsewhere_lives_by_its_heartbeat(
    tmp_path: Path, elsewhere: dict[str, str]
) -> None:
    held(tmp_path)
    for age, taken in ((STALE_SECONDS - 5, False), (-3600, False), (STALE_SECONDS + 1, True)):
        rewrite(tmp_path, pid=2**22 + 1, heartbeat=time.time() - age, **elsewhere)
        assert (claim_run(tmp_path) is not None) is taken, age


def test_a_container_that_shares_the_host_name_is_elsewhere(tmp_path: Path) -> None:
    held(tmp_path)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    rewrite(tmp_path, pid=2**22 + 1, machine=f"{socket.gethostname()} {boot} pid:[1]")
    assert claim_run(tmp_path) is None


@pytest.mark.parametrize("content", ["", '{"host": "n', "[]", "{}"])
def test_the_age_of_an_unreadable_claim_decides(tmp_path: Path, content: str) -> None:
    path = tmp_path / "claim.json"
    path.write_text(content)
    assert claim_run(tmp_path) is None
    os.utime(path, (time.time(), time.time() - STALE_SECONDS - 1))
    assert held(tmp_path).beat()


def test_a_claim_has_its_holder_and_the_progress(tmp_path: Path) -> None:
    mine = claim_run(tmp_path, job="4711_3")
    assert mine is not None
    assert mine.beat({"epoch": 3, "losses": {"kd": 0.5}})
    assert mine.beat()
    holder = read_claim(tmp_path)
    assert holder is not None
    assert (holder.host, holder.pid, holder.job) == (socket.gethostname(), os.getpid(), "4711_3")
    assert holder.progress == {"epoch": 3, "losses": {"kd": 0.5}}
    assert holder.since < holder.heartbeat <= time.time()


def test_a_lost_claim_is_noticed_and_the_new_one_left_alone(tmp_path: Path) -> None:
    mine = held(tmp_path)
    rewrite(tmp_path, started="1")
    new = held(tmp_path)
    assert mine.beat({"epoch": 9}) is False
    assert mine.lost
    mine.release()
    assert new.beat()


def test_a_released_claim_is_free_and_stays_so(tmp_path: Path) -> None:
    mine = held(tmp_path)
    mine.release()
    assert mine.beat() is False
    mine.release()
    assert read_claim(tmp_path) is None
    assert held(tmp_path).beat()


def test_a_claim_is_kept_alive_as_long_as_the_block_lasts(tmp_path: Path) -> None:
    def heartbeat() -> float:
        holder = read_claim(tmp_path)
        assert holder is not None
        return holder.heartbeat

    mine = held(tmp_path)
    first = heartbeat()
    with mine.keep_alive(every=0.02):
        mine.beat({"epoch": 1})
        time.sleep(0.3)
        assert heartbeat() > first + 0.1
    last = heartbeat()
    time.sleep(0.1)
    assert heartbeat() == last
    assert read_claim(tmp_path).progress == {"epoch": 1}  # type: ignore[union-attr]
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_a_heartbeat_outlives_a_disk_that_refuses_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *parts: bytes) -> None:
        raise OSError(28, "No space left on device")

    mine = held(tmp_path)
    before = read_claim(tmp_path)
    with mine.keep_alive(every=0.01):
        with monkeypatch.context() as patch:
            patch.setattr(claims, "write_atomic", refuse)
            time.sleep(0.1)
        time.sleep(0.1)
    after = read_claim(tmp_path)
    assert before is not None
    assert after is not None
    assert after.heartbeat > before.heartbeat


# ---------------------------------------------------------------- races

RACER = """
import sys, time
from pathlib import Path
from benchmark.store.claim import claim_run
root, rounds, start, pace = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), 0.004
for i in range(rounds):
    while time.time() < start + i * pace:  # all at once
        pass
    mine = claim_run(root / str(i))
    print(i, mine is not None, mine is not None and mine.beat(), flush=True)
sys.stdin.read()  # alive until all are through
"""


def race(root: Path, rounds: int, racers: int = 3) -> list[int]:
    """Let processes claim the same folders at the same moments; return each round's winner."""
    start = str(time.time() + 0.6)
    command = [sys.executable, "-c", RACER, str(root), str(rounds), start]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(racers)
    ]
    winners: list[list[int]] = [[] for _ in range(rounds)]
    for number, process in enumerate(processes):
        assert process.stdout is not None
        for _ in range(rounds):
            at, won, still_owner = process.stdout.readline().split()
            assert won == still_owner
            if won == "True":
                winners[int(at)].append(number)
    for process in processes:
        process.communicate(timeout=10)
    assert [len(names) for names in winners] == [1] * rounds
    return [names[0] for names in winners]


def test_of_processes_that_race_for_a_free_claim_one_wins(tmp_path: Path) -> None:
    assert len(set(race(tmp_path, 200))) > 1


def test_of_processes_that_race_for_a_dead_claim_one_wins(tmp_path: Path) -> None:
    for i in range(200):
        held(tmp_path / str(i))
        rewrite(tmp_path / str(i), started="1", token=f"dead{i}")
    assert len(set(race(tmp_path, 200))) > 1
    assert {path.name for path in tmp_path.glob("*/*")} | {
        path.name for path in tmp_path.glob("*/.*")
    } == {"claim.json"}


def test_of_processes_that_race_after_an_heir_died_one_wins(tmp_path: Path) -> None:
    for i in range(200):
        folder = tmp_path / str(i)
        held(folder)
        rewrite(folder, started="1", token=f"heir{i}")
        (folder / "claim.json").rename(folder / f".heir-dead{i}")
        held(folder)
        rewrite(folder, started="1", token=f"dead{i}")
    assert len(set(race(tmp_path, 200))) > 1
    assert not list(tmp_path.glob("*/.*"))


def test_an_heir_of_a_claim_that_is_gone_takes_nothing(tmp_path: Path) -> None:
    mine = held(tmp_path)
    dead = read_claim(tmp_path)
    assert dead is not None
    new = dataclasses.replace(dead, token="new")
    rewrite(tmp_path, token="somebody else's by now")
    assert claims._take_over(tmp_path / "claim.json", dead, new) is False
    assert not mine.beat()
    assert [path.name for path in tmp_path.iterdir()] == ["claim.json"]
