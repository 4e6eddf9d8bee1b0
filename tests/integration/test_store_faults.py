"""A sick disk: full, read-only, damaged, from the future, or somebody else's. Reads go on; nothing is altered."""
import contextlib
import hashlib
import os
import random
import sqlite3
import subprocess
import time
from pathlib import Path

import grpc
import pytest

from harness.errors import refused
from harness.history import Chain
from harness.paths import SLOW
from harness.protos import ipam as pb
from harness.requests import address, all_claims, allocate, owner, pool

# ---- Fixture


@pytest.fixture
def small_disk(tmp_path, needs_root):
    """A tmpfs of 2 MiB; skipped where mounting is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0755", "ipamd-test", str(place)], check=False,
                          capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"mounting a tmpfs is not allowed here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


class FailingDisk(type(Path())):
    """A mounted ext4 in a file. The mount option `abort` does to it what a disk error does: it turns read-only at once,
    also for files that are open for writing, where an ordinary remount is refused."""

    def image(self):
        return self.with_suffix(".img")

    def mount(self):
        return subprocess.run(["mount", "-o", "loop", str(self.image()), str(self)], check=False, capture_output=True,
                              text=True)

    def mount_anew(self):
        subprocess.run(["umount", str(self)], check=True)
        assert self.mount().returncode == 0


@pytest.fixture
def failing_disk(tmp_path, needs_root):
    disk = FailingDisk(tmp_path / "disk")
    disk.mkdir()
    subprocess.run(["truncate", "-s", "16M", str(disk.image())], check=True)
    subprocess.run(["mkfs.ext4", "-q", str(disk.image())], check=True)
    done = disk.mount()
    if done.returncode != 0:
        pytest.skip(f"mounting an ext4 image is not allowed here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def full(daemons, small_disk):
    """A daemon on the small disk with a pool and as many claims as it acknowledged until the disk was full."""
    daemon = daemons(state_dir=small_disk / "state").start()
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/16"))
    acknowledged = {"vip-0": address(ipam.Allocate(allocate("vip-0", "p")))}
    fill(small_disk)
    with refused("STORE_UNAVAILABLE", "UNAVAILABLE"):
        for n in range(1, 20000):
            acknowledged[f"vip-{n}"] = address(ipam.Allocate(allocate(f"vip-{n}", "p")))
    yield daemon, ipam, acknowledged, small_disk
    assert daemon.alive(), "it must live through all this"


@pytest.fixture
def state_dir(daemons):
    """A daemon that has stopped, with some state."""
    daemon = daemons().start()
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/16"))
    for n in range(200):
        ipam.Allocate(allocate(f"vip-{n}", "p"))
    assert daemon.stop() == 0
    return daemon


# ---- Helpers


def fill(disk):
    with open(disk / "ballast", "wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            return


def contents(folder):
    """All but the lock, which names the process that tried last."""
    files = [path for path in folder.iterdir() if path.name != "ipamd.lock"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def bound(ipam):
    return {claim.owner.name: claim.address for claim in all_claims(ipam)}


def write_works_again(ipam):
    """Without a restart, within the time between two tries of the daemon."""
    end = time.monotonic() + 15 * SLOW
    while True:
        try:
            return ipam.Allocate(allocate("afterwards", "p"))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            assert time.monotonic() < end, "writes never worked again"
            time.sleep(0.1)


def refuses_to_start(daemon, *words):
    """Refused with a message that has the words; the files stay as they are, byte for byte."""
    before = contents(daemon.state_dir)
    daemon.start(ready=False)
    assert daemon.wait() > 0
    assert contents(daemon.state_dir) == before, "it altered the files"
    last = daemon.log().strip().splitlines()[-1]
    for word in words:
        assert word in last, f"{word!r} is not in: {last}"


# ---- Disk full


@pytest.mark.threads
def test_full_disk_refuses_writes_and_serves_reads(full):
    _, ipam, acknowledged, _ = full
    assert bound(ipam) == acknowledged
    assert ipam.GetPool(pb.GetPoolRequest(name="p")).pool.counts.allocated == len(acknowledged)
    status = ipam.GetStatus(pb.GetStatusRequest())
    assert not status.store_available and status.store_message
    assert status.revision == status.durable_revision == len(acknowledged) + 1


@pytest.mark.threads
def test_full_disk_writes_again_without_restart_when_space_returns(full):
    daemon, ipam, acknowledged, disk = full
    os.unlink(disk / "ballast")
    acknowledged["afterwards"] = address(write_works_again(ipam))
    assert ipam.GetStatus(pb.GetStatusRequest()).store_available
    assert bound(ipam) == acknowledged
    Chain().check(ipam)
    daemon.restart()
    assert bound(daemon.ipam()) == acknowledged


def test_full_disk_still_lets_it_restart_and_serve_reads(full):
    daemon, _, acknowledged, _ = full
    daemon.restart()
    assert bound(daemon.ipam()) == acknowledged


def test_dry_run_is_answered_while_the_disk_is_full(full):
    _, ipam, acknowledged, _ = full
    assert address(ipam.Allocate(allocate("vip-0", "p", dry_run=True))) == acknowledged["vip-0"]
    with refused("ADDRESS_NOT_IN_POOL"):
        ipam.Allocate(allocate("never", "p", address="192.0.2.1", dry_run=True))


# ---- Read-only


def test_disk_that_turns_read_only_refuses_writes_and_serves_reads(daemons, failing_disk):
    daemon = daemons(state_dir=failing_disk / "state").start()
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    first = address(ipam.Allocate(allocate("first", "p")))
    subprocess.run(["mount", "-o", "remount,abort", str(failing_disk)], check=True)
    for n in range(3):
        with refused("STORE_UNAVAILABLE", "UNAVAILABLE"):
            ipam.Allocate(allocate(f"vip-{n}", "p"))
    assert bound(ipam) == {"first": first}
    daemon.kill9()
    failing_disk.mount_anew()
    ipam = daemon.start().ipam()
    assert bound(ipam) == {"first": first}
    assert address(ipam.Allocate(allocate("second", "p"))) == "10.0.0.2/32"


def test_start_on_a_read_only_disk_serves_reads_until_it_can_write(daemons, small_disk):
    daemon = daemons(state_dir=small_disk / "state").start()
    daemon.ipam().ApplyPool(pool("p", "10.0.0.0/24"))
    daemon.kill9()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    ipam = daemon.start().ipam()
    assert ipam.GetPool(pb.GetPoolRequest(name="p")).pool.counts.available == 254
    with refused("STORE_UNAVAILABLE"):
        ipam.Allocate(allocate("vip", "p"))
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert address(write_works_again(ipam)) == "10.0.0.1/32"


# ---- Damage


def cut_short(data):
    return data[:len(data) // 2]


def header_overwritten(data):
    return b"not a database, but something else".ljust(100, b"\0") + data[100:]


def pages_scrambled(data):
    return data[:4096] + random.Random(1).randbytes(len(data) - 4096)


def name_changed(data):
    """One byte in a record: SQLite sees nothing wrong with it, the checksum does."""
    at = data.rindex(b"vip-150")
    return data[:at] + b"viq-150" + data[at + 7:]


@pytest.mark.parametrize("damage", [cut_short, header_overwritten, pages_scrambled, name_changed])
def test_damaged_database_is_refused_and_not_altered(state_dir, damage):
    path = state_dir.state_dir / "ipamd.db"
    path.write_bytes(damage(path.read_bytes()))
    refuses_to_start(state_dir, "ipamd.db", "backup")


def test_database_of_another_program_is_refused_and_not_altered(state_dir):
    path = state_dir.state_dir / "ipamd.db"
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE recipes (name TEXT)")
    database.close()
    refuses_to_start(state_dir, "ipamd.db")


def test_newer_schema_is_refused_and_not_altered(state_dir):
    with sqlite3.connect(state_dir.state_dir / "ipamd.db") as database:
        database.execute("PRAGMA journal_mode=DELETE")
        database.execute("PRAGMA user_version = 1000")
    database.close()
    refuses_to_start(state_dir, "newer", "1000")


def test_second_daemon_on_the_state_directory_is_refused(daemons, daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    second = daemons(state_dir=daemon.state_dir)
    second.start(ready=False)
    assert second.wait() > 0
    last = second.log().strip().splitlines()[-1]
    assert f"{daemon.state_dir} is in use by process {daemon.process.pid}" in last
    assert address(ipam.Allocate(allocate("vip", "p"))) == "10.0.0.1/32"


def test_state_directory_that_cannot_be_made_is_refused_by_name(daemons, tmp_path):
    daemon = daemons(state_dir=tmp_path / "no/such/parent")
    daemon.start(ready=False)
    assert daemon.wait() > 0
    assert str(tmp_path / "no/such/parent") in daemon.log()


def test_state_that_cant_be_read_back_refuses_every_call_at_once(daemon, ipam):
    """Nobody waits for its deadline, and all is well again when the disk is."""
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    ipam.Allocate(allocate("vip", "p"))
    with contextlib.closing(sqlite3.connect(daemon.state_dir / "ipamd.db", timeout=10)) as database:
        database.execute("ALTER TABLE claims RENAME TO elsewhere")
        with refused("STORE_UNAVAILABLE", "UNAVAILABLE"):
            ipam.Allocate(allocate("lost", "p"))
        daemon.wait_log("can't be read back")
        for call in (lambda: ipam.Allocate(allocate("lost", "p")), lambda: ipam.GetClaims(pb.GetClaimsRequest(owner=owner("vip"))),
                     lambda: ipam.ListPools(pb.ListPoolsRequest())):
            with refused("STORE_UNAVAILABLE", "UNAVAILABLE"):
                call()
        database.execute("ALTER TABLE elsewhere RENAME TO claims")
    write_works_again(ipam)
    assert bound(ipam) == {"vip": "10.0.0.1/32", "afterwards": "10.0.0.2/32"}
