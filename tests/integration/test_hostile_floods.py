"""Peers that mean harm and keep at it: ipamd stays up, its memory under its bound, and others get right answers."""
import json
import subprocess
import sys
import threading

import pytest

from harness.paths import BUILD, ROOT, SLOW
from harness.protos import ipam as pb
from harness.requests import address, allocate, pool, release

sys.path.insert(0, str(ROOT / "tests/hostile"))
from attacks import ATTACKS  # noqa: E402

SECONDS = 1.5
MAX_BUFFERED = 32 * 1024 * 1024
# docs/operations.md states it: what is held for clients, and as much again for what malloc and nghttp2 make of it.
BOUND = 2 * MAX_BUFFERED + 64 * 1024 * 1024

# ---- Helpers


def peak(daemon):
    """Bytes of memory that the daemon ever had."""
    lines = open(f"/proc/{daemon.process.pid}/status", encoding="ascii").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


class Bystander:
    """A good client in a thread of its own: allocates, looks and releases until it is stopped."""

    def __init__(self, ipam):
        self.ipam, self.rounds, self.wrong, self.stopped = ipam, 0, None, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while not self.stopped.is_set():
                got = address(self.ipam.Allocate(allocate("bystander", "good")))
                assert got == "10.9.0.1/32", got
                assert self.ipam.GetClaims(pb.GetClaimsRequest(owner=pb.Owner(kind="ProxyVIP", name="bystander"))).claims
                assert len(self.ipam.Release(release("bystander")).released) == 1
                self.rounds += 1
        except Exception as error:  # noqa: BLE001: whatever it is, the test tells it
            self.wrong = error

    def stop(self):
        self.stopped.set()
        self.thread.join()
        assert self.wrong is None, self.wrong
        assert self.rounds > 0


@pytest.fixture
def besieged(daemons):
    """A daemon with something to list, and small limits, so that a test reaches them."""
    daemon = daemons().start("--max-buffered", str(MAX_BUFFERED), "--handshake-timeout", "1", "--stall-timeout", "1")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/20"))
    ipam.ApplyPool(pool("good", "10.9.0.0/24"))
    for call in [ipam.Allocate.future(allocate(f"vip-{n}-{'x' * 200}", "p")) for n in range(1000)]:
        call.result()
    return daemon


# ---- Tests


@pytest.mark.parametrize("attack", ATTACKS)
def test_others_are_served_while_a_peer_means_harm(besieged, attack):
    bystander = Bystander(besieged.ipam())
    done = subprocess.run([sys.executable, ROOT / "tests/hostile/attacks.py", attack, besieged.socket, str(SECONDS)],
                          stdout=subprocess.PIPE, timeout=50 * SLOW, check=False)
    bystander.stop()
    assert done.returncode == 0 and json.loads(done.stdout)["connections"] > 0
    assert besieged.alive()
    if "san" not in BUILD.name:
        assert peak(besieged) < BOUND, f"{peak(besieged) / 1e6:.0f} MB"
    assert len(besieged.log().splitlines()) < 1000, "the log is flooded, too"
    assert besieged.ipam().GetStatus(pb.GetStatusRequest()).counters.claims_bound == 1000
