"""Peers that mean harm and keep at it: ipamd stays up, its memory under its bound, and others get right answers."""
import json
import subprocess
import sys
import threading

import pytest

from harness.paths import BUILD, ROOT, SLOW
from harness.protos import ipam as pb, ipam_grpc
from harness.requests import address, allocate, pool, release

sys.path.insert(0, str(ROOT / "tests/hostile"))
from attacks import ATTACKS, ROLELESS  # noqa: E402

SECONDS = 1.5
MAX_BUFFERED = 32 * 1024 * 1024
# docs/operations.md states it: what is held for clients, and as much again for what malloc and nghttp2 make of it.
BOUND = 2 * MAX_BUFFERED + 64 * 1024 * 1024

# Those who are let in and are in no group have no role.
ROLES = ("--read-group", "61299", "--socket-mode", "0666")

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
        """Ends it; fails if anything was answered wrongly, or nothing was."""
        self.stopped.set()
        self.thread.join()
        assert self.wrong is None, self.wrong
        assert self.rounds > 0


class Newcomer(Bystander):
    """One that comes anew for each large list, as people do: who holds the most at that moment is likely to be it."""

    def __init__(self, daemon):
        self.daemon, self.lines = daemon, []
        super().__init__(None)

    def run(self):
        try:
            while not self.stopped.is_set():
                channel = self.daemon.channel(("grpc.use_local_subchannel_pool", 1))
                pages = ipam_grpc.IPAMStub(channel).ListClaims
                # A sanitizer build is too slow to keep the kernel's queue of connections from filling up for moments:
                # gRPC tries again there. The release build is not let off.
                calls = [pages.future(pb.ListClaimsRequest(page_size=1000), timeout=20 * SLOW, wait_for_ready=SLOW > 1)
                         for _ in range(5)]
                assert [len(call.result().claims) for call in calls] == [1000] * 5
                channel.close()
                self.rounds += 1
        except Exception as error:  # noqa: BLE001: whatever it is, the test tells it
            self.wrong = error


@pytest.fixture
def besieged(daemons, request):
    """A daemon with something to list, and small limits, so that a test reaches them. Whoever has no group has no role."""
    daemon = daemons().start("--max-buffered", str(MAX_BUFFERED), "--handshake-timeout", "1", "--stall-timeout", "1",
                             *getattr(request, "param", ()))
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/20"))
    ipam.ApplyPool(pool("good", "10.9.0.0/24"))
    for call in [ipam.Allocate.future(allocate(f"vip-{n}-{'x' * 200}", "p")) for n in range(1000)]:
        call.result()
    return daemon


def suffer(besieged, attack, *bystanders):
    """The attack, beside the bystanders; what it does to ipamd."""
    done = subprocess.run([sys.executable, ROOT / "tests/hostile/attacks.py", attack, besieged.socket, str(SECONDS)],
                          stdout=subprocess.PIPE, timeout=50 * SLOW, check=False)
    for bystander in bystanders:
        bystander.stop()
    assert done.returncode == 0 and json.loads(done.stdout)["connections"] > 0
    assert besieged.alive()
    if "san" not in BUILD.name:
        assert peak(besieged) < BOUND, f"{peak(besieged) / 1e6:.0f} MB"
    assert len(besieged.log().splitlines()) < 1000, "the log is flooded, too"
    assert besieged.ipam().GetStatus(pb.GetStatusRequest()).counters.claims_bound == 1000


# ---- Tests


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if attack not in ROLELESS])
def test_others_are_served_while_a_peer_means_harm(besieged, attack):
    suffer(besieged, attack, Bystander(besieged.ipam()))


@pytest.mark.usefixtures("needs_root")
@pytest.mark.parametrize("besieged", [ROLES], indirect=True, ids=[""])
@pytest.mark.parametrize("attack", ROLELESS)
def test_newcomers_with_a_role_are_served_whatever_those_without_do(besieged, attack):
    suffer(besieged, attack, Bystander(besieged.ipam()), Newcomer(besieged))
    mine = [line for line in besieged.log().splitlines() if "(uid 0)" in line]
    assert not mine, "no client of root's is disconnected"
