"""A disk whose syncs hang: what waits for it is bounded, writes past that are refused at once, and all goes on when it does."""
import contextlib
import resource
import socket
import subprocess
import threading
import time

import grpc
import pytest

from harness.errors import refused
from harness.history import Chain
from harness.paths import ROOT, SLOW
from harness.protos import health, health_grpc
from harness.protos import ipam as pb
from harness.requests import address, allocate, pool

SERVING = health.HealthCheckResponse.SERVING
NOT_SERVING = health.HealthCheckResponse.NOT_SERVING

# ---- Fixture


class Disk:
    """Sticks while its file is there."""

    def __init__(self, folder):
        self.flag = folder / "stuck"
        self.shim = folder / "stuck_sync.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(self.shim), str(ROOT / "tests/integration/shim/stuck_sync.c")],
                       check=True)
        self.env = {"LD_PRELOAD": str(self.shim), "STUCK_WHILE": str(self.flag), "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def stick(self):
        self.flag.touch()

    def go_on(self):
        with contextlib.suppress(FileNotFoundError):
            self.flag.unlink()


@pytest.fixture
def disk(tmp_path):
    disk = Disk(tmp_path)
    yield disk
    disk.go_on()


# ---- Helpers


def large(generation):
    """An edit of some 100 KB."""
    return pool("p", "10.0.0.0/8", generation=generation, excluded=[f"10.1.{n // 250}.{n % 250}" for n in range(4000)])


def health_of(daemon):
    stub = health_grpc.HealthStub(daemon.channel())
    return stub.Check(health.HealthCheckRequest(service="ipam.v1.IPAM"), timeout=20 * SLOW).status


def wait_for(wanted, what):
    end = time.monotonic() + 20 * SLOW
    while what() != wanted:
        assert time.monotonic() < end, f"it never became {wanted}"
        time.sleep(0.05)


def fill(ipam):
    """Edits until some are refused at once; the callers of the others leave at their deadline. Returns how many those are."""
    calls = [ipam.ApplyPool.future(large(generation), timeout=4 * SLOW) for generation in range(2, 42)]
    codes = [call.code() for call in calls]
    taken = codes.count(grpc.StatusCode.DEADLINE_EXCEEDED)
    assert codes == [grpc.StatusCode.DEADLINE_EXCEEDED] * taken + [grpc.StatusCode.UNAVAILABLE] * (40 - taken)
    return taken


# ---- Tests


def test_stuck_disk_bounds_what_gathers_and_refuses_writes_at_once(daemons, disk):
    """Changes of calls that have left by their deadline count, too."""
    daemon = daemons().start("--max-gathered", "1048576", env=disk.env)
    ipam = daemon.ipam()
    ipam.ApplyPool(large(1))
    disk.stick()
    taken = fill(ipam)
    assert 3 < taken < 40
    wait_for(NOT_SERVING, lambda: health_of(daemon))
    began = time.monotonic()
    for n in range(20):
        with refused("STORE_UNAVAILABLE", "UNAVAILABLE"):
            ipam.Allocate(allocate(f"vip-{n}", "p"))
    assert time.monotonic() - began < 10 * SLOW, "it waited for the disk"
    status = ipam.GetStatus(pb.GetStatusRequest())
    assert not status.store_available and "--max-gathered" in status.store_message
    assert status.durable_revision == 1
    daemon.wait_log("store: writes are refused, reads wait for the disk")
    disk.go_on()
    wait_for(SERVING, lambda: health_of(daemon))
    assert address(ipam.Allocate(allocate("vip", "p"))) == "10.0.0.1/32"
    assert len(Chain().check(ipam)) == taken + 2


def test_who_was_decided_before_the_disk_stuck_is_answered_when_it_goes_on(daemons, disk):
    daemon = daemons().start(env=disk.env)
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    disk.stick()
    call = ipam.Allocate.future(allocate("vip", "p"), timeout=30 * SLOW)
    time.sleep(0.3)
    assert not call.done()
    threading.Timer(0.2, disk.go_on).start()
    assert address(call.result()) == "10.0.0.1/32"


def test_kill_while_the_disk_is_stuck_loses_nothing_acknowledged(daemons, disk):
    daemon = daemons().start(env=disk.env)
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    assert address(ipam.Allocate(allocate("told", "p"))) == "10.0.0.1/32"
    disk.stick()
    with pytest.raises(grpc.RpcError):
        ipam.Allocate(allocate("not-told", "p"), timeout=0.3 * SLOW)
    daemon.kill9()
    disk.go_on()
    ipam = daemon.start().ipam()
    assert address(ipam.Allocate(allocate("told", "p"))) == "10.0.0.1/32"


def test_no_files_left_is_one_line_a_second_and_clients_are_served_when_there_are_some_again(daemons):
    daemon = daemons().start()
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    pid = daemon.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        for path in (daemon.socket, daemon.events):
            for _ in range(30):
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(str(path))
        while time.monotonic() - began < 2.5:
            assert ipam.GetStatus(pb.GetStatusRequest(), timeout=10 * SLOW).counters.pools == 1
            time.sleep(0.05)
        seconds = time.monotonic() - began
        lines = daemon.log().count("accept: too many open files")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert 2 <= lines <= seconds + 2, f"{lines} lines in {seconds:.1f} s"
    assert daemon.ipamc("status").returncode == 0
    with socket.socket(socket.AF_UNIX) as subscriber:
        subscriber.settimeout(20 * SLOW)
        subscriber.connect(str(daemon.events))
        assert subscriber.recv(8) == b"\0SP\0\0\x20\0\0", "the bus greets"


def test_stop_with_no_files_left(daemons):
    daemon = daemons().start(env={"ASAN_OPTIONS": "detect_leaks=0"})  # which needs files
    pid = daemon.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket))
        time.sleep(0.3)
        assert daemon.stop() == 0
