"""ipamd under a wall clock that is wrong or set: what it matters for, and what not. libfaketime sets the clock of ipamd alone."""
import calendar
import glob
import json
import re
import shutil
import subprocess
import time
from collections import Counter

import grpc
import pytest

from harness.errors import refused
from harness.paths import IPAMD, ROOT, SLOW
from harness.protos import ipam as pb
from harness.requests import address, allocate, pool, release

YEAR = 365 * 86400
FIXTURE = ROOT / "tests/data/clock-ahead"

# ---- Fixture


class Clock:
    """The wall clock of a daemon; elapsed time is not faked."""

    def __init__(self, daemon):
        self.path = daemon.folder / "clock"
        library, = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        self.env = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(self.path), "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1", "ASAN_OPTIONS": "verify_asan_link_order=0"}
        self.set(0)

    def set(self, seconds):
        """So many seconds from the true time. The file is replaced: a reader never finds it half written."""
        self.seconds = seconds
        new = self.path.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self.path)

    def now(self):
        return time.time() + self.seconds


@pytest.fixture
def clocked(daemons):
    daemon = daemons()
    clock = Clock(daemon)
    return daemon.start(env=clock.env), clock


# ---- Helpers


def cooling(ipam, **filters):
    return list(ipam.ListClaims(pb.ListClaimsRequest(state=pb.COOLING, page_size=1000, **filters)).claims)


def take(ipam, name, pool_name, wanted, seconds=20):
    """Asks for the address again and again, as long as it cools. Returns how long that took."""
    begin = time.monotonic()
    while True:
        try:
            ipam.Allocate(allocate(name, pool_name, address=wanted))
            return time.monotonic() - begin
        except grpc.RpcError as error:
            assert "address cooling" in error.details(), error
            assert time.monotonic() < begin + seconds * SLOW, f"{wanted} still cools: {error.details()}"
            time.sleep(0.05)


def changes(ipam):
    found = []
    while True:
        page = ipam.ListChanges(pb.ListChangesRequest(after_revision=len(found), limit=1000))
        if not page.changes:
            return found
        found += page.changes


# ---- The clock is set


def test_clock_that_was_ahead_once_keeps_no_address(clocked):
    daemon, clock = clocked
    clock.set(10 * YEAR)
    manifest = ("apiVersion: novaedge.io/v1alpha1\nkind: ProxyIPPool\nmetadata: {name: p}\n"
                "spec: {cidrs: [10.53.0.0/24], autoAssign: true, reuseDelaySeconds: 2}\n")
    daemon.ipamc("apply", "-f", "-", stdin=manifest, check=True)
    clock.set(0)
    assert daemon.ipamc("allocate", "p", "a", check=True).stdout == "10.53.0.1/32\n"
    said = daemon.ipamc("release", "a", check=True).stdout
    assert time.strftime("%Y", time.gmtime()) in said and "2036" not in said, said
    assert json.loads(daemon.ipamc("history", "--address", "10.53.0.1", "--at", "now", "-o", "json", check=True).stdout)["tenures"] == []
    ipam = daemon.ipam()
    assert take(ipam, "b", "p", "10.53.0.1") < 10 * SLOW
    tenures = json.loads(daemon.ipamc("history", "--address", "10.53.0.1", "--at", "now", "-o", "json", check=True).stdout)["tenures"]
    assert [tenure["owner"]["name"] for tenure in tenures] == ["b"]
    ahead, *later = [change.at.ToSeconds() for change in changes(ipam)]
    assert ahead > time.time() + 9 * YEAR and all(abs(at - time.time()) < 600 for at in later)


def test_refused_call_while_the_clock_was_ahead_keeps_no_address(clocked):
    daemon, clock = clocked
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.53.0.0/24", reuse_delay_seconds=1))
    ipam.Allocate(allocate("a", "p"))
    clock.set(5 * 86400)
    with refused("ADDRESS_IN_USE"):
        ipam.Allocate(allocate("b", "p", address="10.53.0.1"))
    clock.set(0)
    ipam.Release(release("a"))
    assert take(ipam, "b", "p", "10.53.0.1") < 10 * SLOW


def test_clock_set_forward_ends_no_cooling_and_the_end_is_told_by_the_clock_as_it_is(clocked):
    daemon, clock = clocked
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.53.0.0/24", reuse_delay_seconds=600))
    ipam.Allocate(allocate("a", "p"))
    ipam.Release(release("a"))
    for step in (3600, -3600):
        clock.set(step)
        with refused("ADDRESS_COOLING") as error:
            ipam.Allocate(allocate("b", "p", address="10.53.0.1"))
        told, = re.findall(r"until (\S+Z)", error.message)
        claim, = cooling(ipam)
        assert claim.cooling.delay_seconds == 600 and not claim.cooling.boot_id
        for end in (claim.cooling_until.ToSeconds(), calendar.timegm(time.strptime(told, "%Y-%m-%dT%H:%M:%SZ"))):
            assert clock.now() + 600 - 60 * SLOW < end < clock.now() + 602


def test_steps_of_the_clock_are_logged_once_each_and_counted(clocked):
    daemon, clock = clocked
    ipam = daemon.ipam()
    clock.set(3600)
    daemon.wait_log(r"clock: the wall clock was set forward by (3600|3599) s", timeout=20)
    clock.set(0)
    daemon.wait_log(r"clock: the wall clock was set back by (3600|3599) s", timeout=20)
    clock.set(2)
    for _ in range(3):
        with refused("POOL_NOT_FOUND"):
            ipam.Allocate(allocate("b", "p", address="10.53.0.1"))
    assert ipam.GetStatus(pb.GetStatusRequest()).counters.clock_steps == 2
    assert daemon.log().count("clock: the wall clock was set") == 2
    assert re.search(r"^Clock steps: +2$", daemon.ipamc("status", check=True).stdout, re.M)


@pytest.mark.parametrize("off", [2 * 3600, -10 * YEAR])
def test_cooling_goes_on_exactly_after_a_restart_whatever_the_clock_says(clocked, off):
    daemon, clock = clocked
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("long", "10.54.0.0/24", reuse_delay_seconds=3600))
    ipam.ApplyPool(pool("short", "10.53.0.0/24", reuse_delay_seconds=4))
    for name in ("long", "short"):
        ipam.Allocate(allocate(f"{name}-holder", name))
        ipam.Release(release(f"{name}-holder"))
    released = time.monotonic()
    daemon.kill9()
    clock.set(off)
    daemon.start(env=clock.env)
    ipam = daemon.ipam()
    take(ipam, "b", "short", "10.53.0.1")
    assert time.monotonic() - released > 3.9
    left = cooling(ipam, pool="long")[0].cooling_until.ToSeconds() - clock.now()
    assert 3600 - 60 * SLOW < left <= 3600 - 2


# ---- A database of 0.1.0


def test_database_that_0_1_0_left_with_cooling_until_2036_frees_its_addresses_in_time(daemons):
    daemon = daemons()
    daemon.state_dir.mkdir()
    shutil.copy(FIXTURE / "ipamd.db", daemon.state_dir)
    done = subprocess.run([IPAMD, "--check", "--state-dir", daemon.state_dir], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{daemon.state_dir}: sound\n"), done.stderr
    ipam = daemon.start().ipam()
    take(ipam, "b", "short", "10.53.0.1")
    left = cooling(ipam, pool="long")[0].cooling_until.ToSeconds() - time.time()
    assert 3600 - 60 * SLOW < left <= 3600
    daemon.ipamc("release", "--address", "10.54.0.1", "--end-cooling", check=True)
    assert address(ipam.Allocate(allocate("c", "long"))) == "10.54.0.1/32"
    assert daemon.stop() == 0
    done = subprocess.run([IPAMD, "--check", "--state-dir", daemon.state_dir], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---- Ended by hand


def test_cooling_is_ended_by_hand_and_recorded_with_who_did_it(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.53.0.0/24", reuse_delay_seconds=86400))
    ipam.Allocate(allocate("a", "p"))
    ipam.Release(release("a"))
    ipam.Allocate(allocate("b", "p", address="10.53.0.1", enqueue=True))
    told = daemon.ipamc("release", "--address", "10.53.0.1", check=True)
    assert re.search(r"nothing to release: 10\.53\.0\.1/32, which ProxyVIP/a held last, cools until \S+Z; to end that now, write "
                     r"ipamc release --address 10\.53\.0\.1/32 --end-cooling", told.stderr), told
    told = daemon.ipamc("release", "--address", "10.53.0.1", "--end-cooling", "--dry-run", check=True)
    assert told.stdout == "claim/ProxyVIP/a/ipv4 10.53.0.1/32 cooling would end\n" and len(cooling(ipam)) == 1
    told = daemon.ipamc("release", "--address", "10.53.0.1", "--end-cooling", check=True)
    assert told.stdout == "claim/ProxyVIP/a/ipv4 10.53.0.1/32 cooling ended\n"
    ended, granted = changes(ipam)[-2:]
    assert (ended.claim.state, ended.actor.command, ended.actor.method) == (pb.RELEASED, "ipamc", "Release")
    assert (granted.claim.state, granted.claim.owner.name) == (pb.BOUND, "b")
    again = daemon.ipamc("release", "--address", "10.53.0.1", "--end-cooling", check=True)
    assert (again.stdout, "10.53.0.1 does not cool" in again.stderr) == ("", True)
    tenures = json.loads(daemon.ipamc("history", "--address", "10.53.0.1", "-o", "json", check=True).stdout)["tenures"]
    assert [(tenure["owner"]["name"], tenure["ended"]) for tenure in tenures] == [("a", "released"), ("b", None)]
    assert "ended before its time" in daemon.ipamc("get", "changes", check=True).stdout
    assert "ipamc release --address A --end-cooling" in daemon.ipamc("release", "web", "--end-cooling").stderr


# ---- Many at once


def test_coolings_that_end_at_one_moment_end_in_slices_while_others_are_served(daemon, ipam):
    count = 8000
    ipam.ApplyPool(pool("p", "10.53.0.0/19", reuse_delay_seconds=5))
    ipam.ApplyPool(pool("other", "10.60.0.0/24"))
    for calls in ([ipam.Allocate.future(allocate(f"v{n}", "p"), timeout=60 * SLOW) for n in range(count)],
                  [ipam.Release.future(release(f"v{n}"), timeout=60 * SLOW) for n in range(count)]):
        for call in calls:
            call.result()
    daemon.kill9()
    time.sleep(5)
    ipam = daemon.start().ipam()
    served = 0
    while ipam.GetPool(pb.GetPoolRequest(name="p")).pool.counts.cooling:
        ipam.Allocate(allocate(f"w{served % 200}", "other"))
        served += 1
    ends = Counter(change.at.ToNanoseconds() for change in changes(ipam)
                   if change.HasField("claim") and change.claim.state == pb.RELEASED and not change.actor.method)
    assert sum(ends.values()) == count and max(ends.values()) <= 1000 + 16
    assert ipam.GetPool(pb.GetPoolRequest(name="p")).pool.counts.available == 8190
