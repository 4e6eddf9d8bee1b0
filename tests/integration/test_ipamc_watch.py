"""ipamc that goes on: events and --watch, through restarts of ipamd, to readers that leave and disks that are full."""
import json
import os
import signal
import subprocess
import tempfile

import pytest
import yaml

from harness.children import child
from harness.paths import IPAMC, SLOW
from harness.protos import ipam as pb
from harness.requests import allocate, pool, release
from harness.waiting import eventually

UNAVAILABLE, REFUSED_READER = 7, 1

# ---- Fixture


class Watcher:
    """ipamc in the background; what it printed so far is in out and err."""

    def __init__(self, daemon, *arguments, stdout=None):
        self.files = [tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")]
        self.process = child(
            [IPAMC, *arguments], stdin=subprocess.DEVNULL, stdout=stdout or self.files[0], stderr=self.files[1],
            env={**os.environ, "IPAMD_SOCKET": str(daemon.socket), "IPAMD_EVENTS": str(daemon.events)})

    def read(self, file):
        file.seek(0)
        return file.read()

    @property
    def out(self):
        return self.read(self.files[0])

    @property
    def err(self):
        return self.read(self.files[1])

    @property
    def rows(self):
        """Cells of each row but the headers, as far as it ended."""
        return [line.split() for line in self.out.split("\n")[1:-1]]

    def until(self, holds):
        eventually(lambda: holds() or self.process.poll() is not None)
        assert holds(), (self.process.poll(), self.out, self.err)

    def wait(self):
        return self.process.wait(20 * SLOW)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for file in self.files:
            file.close()


@pytest.fixture
def daemon(daemons):
    return daemons().start("--tick-interval", "100")


@pytest.fixture
def watch(daemon):
    """Starts an ipamc that goes on."""
    made = []

    def make(*arguments, **more):
        made.append(Watcher(daemon, *arguments, **more))
        return made[-1]

    yield make
    for watcher in made:
        watcher.close()


@pytest.fixture
def followed(daemon, ipam, watch):
    """Starts one and waits until it surely follows: a change made for that reached it."""
    def make(*arguments):
        watcher = watch(*arguments)
        count = 0
        while not watcher.out and watcher.process.poll() is None and count < 200:
            count += 1
            ipam.ApplyPool(pool("mark", addresses=[f"192.0.2.{count}"]))
            try:
                eventually(lambda: watcher.out, 0.3 / SLOW)
            except AssertionError:
                continue
        assert watcher.out, watcher.err
        return watcher
    return make


# ---- Tests


def test_events_tell_what_happens_from_now_on(daemon, ipam, followed):
    ipam.ApplyPool(pool("before", "10.9.0.0/30"))
    watcher = followed("events")
    ipam.ApplyPool(pool("p", "10.0.0.0/30"))
    ipam.Allocate(allocate("v", "p"))
    ipam.Release(release("v"))
    watcher.until(lambda: "10.0.0.1/32 released by ProxyVIP/v" in watcher.out)
    assert "before" not in watcher.out
    words = [line.split("   ")[-1].strip() for line in watcher.out.splitlines()]
    assert words[-3:] == ["pool p created", "10.0.0.1/32 allocated to ProxyVIP/v from p", "10.0.0.1/32 released by ProxyVIP/v"]


def test_events_after_a_revision_start_there_and_end_with_the_limit(daemon, ipam, watch):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    for n in range(5):
        ipam.Allocate(allocate(f"v{n}", "p"))
    watcher = watch("events", "--after", "2", "--limit", "3", "-o", "json")
    assert watcher.wait() == 0
    assert [json.loads(line)["revision"] for line in watcher.out.splitlines()] == ["3", "4", "5"]


def test_events_can_be_of_one_pool_owner_or_address(daemon, ipam, watch):
    for n in (1, 2):
        ipam.ApplyPool(pool(f"p{n}", f"10.0.{n}.0/24"))
        ipam.Allocate(allocate("v", f"p{n}", kind=f"K{n}"))
        ipam.Allocate(allocate("w", f"p{n}", kind=f"K{n}"))

    def revisions(*options):
        watcher = watch("events", "--after", "0", "--limit", "1", "-o", "name", *options)
        assert watcher.wait() == 0
        return watcher.out.split()

    assert revisions("--pool", "p2") == ["change/4"]
    assert revisions("--owner", "K2/w") == ["change/6"]
    assert revisions("--owner", "w", "--kind", "K1") == ["change/3"]
    assert revisions("--address", "10.0.2.1") == ["change/5"]


def test_events_are_json_lines_and_yaml_documents(daemon, ipam, watch):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    ipam.Allocate(allocate("v", "p"))
    texts = {}
    for form in ("json", "yaml"):
        watcher = watch("events", "--after", "0", "--limit", "2", "-o", form)
        assert watcher.wait() == 0
        texts[form] = watcher.out
    changes = [json.loads(line) for line in texts["json"].splitlines()]
    assert list(yaml.safe_load_all(texts["yaml"])) == changes
    assert changes == json.loads(daemon.ipamc("get", "changes", "-o", "json").stdout)["changes"]


def test_watch_of_claims_prints_what_is_there_and_then_what_changes(daemon, ipam, watch):
    ipam.ApplyPool(pool("p", "10.0.0.0/24", reuse_delay_seconds=60))
    ipam.Allocate(allocate("a", "p"))
    watcher = watch("get", "claims", "--watch")
    watcher.until(lambda: len(watcher.rows) == 1)
    ipam.Allocate(allocate("b", "p"))
    ipam.Release(release("a"))
    watcher.until(lambda: len(watcher.rows) == 3)
    assert [(row[2], row[4]) for row in watcher.rows] == [("a", "BOUND"), ("b", "BOUND"), ("a", "COOLING")]


def test_watch_of_claims_keeps_to_its_filter(daemon, ipam, watch):
    ipam.ApplyPool(pool("p", "10.0.0.0/24", reuse_delay_seconds=600))
    ipam.ApplyPool(pool("q", "10.0.1.0/24"))
    ipam.Allocate(allocate("a", "p", kind="Manual"))
    ipam.Allocate(allocate("c", "p"))
    ipam.Release(release("c"))
    named = watch("get", "claims", "Manual/a", "--pool", "p", "-w", "-o", "json")
    cooling = watch("get", "claims", "--state", "cooling", "-w", "-o", "name")
    every = watch("get", "claims", "-w", "-o", "name")
    for watcher in (named, cooling, every):
        watcher.until(lambda: watcher.out)
    ipam.Allocate(allocate("a", "q"))
    ipam.Allocate(allocate("b", "p", kind="Manual"))
    ipam.Release(release("a", kind="Manual"))
    every.until(lambda: every.out.split() == [f"claim/{owner}/ipv4" for owner in ("Manual/a", "ProxyVIP/a", "Manual/b", "Manual/a")])
    named.until(lambda: named.out.count("\n") == 2)
    assert [json.loads(line)["state"] for line in named.out.splitlines()] == ["BOUND", "COOLING"]
    cooling.until(lambda: cooling.out.split() == ["claim/ProxyVIP/c/ipv4", "claim/Manual/a/ipv4"])


def test_watch_of_vips_shows_both_families_on_a_row(daemon, ipam, watch):
    ipam.ApplyPool(pool("p", "10.0.0.0/24", "2001:db8::/120"))
    ipam.Allocate(allocate("m", "p", kind="Manual"))
    watcher = watch("get", "vips", "-w")
    ipam.Allocate(allocate("v", "p", family=pb.DUAL))
    watcher.until(lambda: any(row[:3] == ["v", "10.0.0.2/32", "2001:db8::/128"] for row in watcher.rows))
    ipam.Release(release("v", family=pb.IPV6))
    watcher.until(lambda: watcher.rows[-1][4] == "BOUND,RELEASED")
    ipam.Release(release("v"))
    watcher.until(lambda: watcher.rows[-1][1:5] == ["10.0.0.2/32", "<none>", "p", "RELEASED"])
    assert {row[0] for row in watcher.rows} == {"v"}


def test_watch_of_pools_follows_their_counts_and_their_end(daemon, ipam, watch):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    ipam.ApplyPool(pool("other", "10.0.1.0/24"))
    watcher = watch("get", "pools", "--watch")
    one = watch("get", "pool", "p", "--watch")
    watcher.until(lambda: len(watcher.rows) == 2)
    one.until(lambda: len(one.rows) == 1)
    ipam.Allocate(allocate("v", "other"))
    watcher.until(lambda: watcher.rows[-1][:3] == ["other", "1", "253"])
    ipam.Allocate(allocate("w", "p"))
    watcher.until(lambda: watcher.rows[-1][:3] == ["p", "1", "253"])
    ipam.Release(release("w"))
    ipam.DeletePool(pb.DeletePoolRequest(name="p"))
    for each in (watcher, one):
        each.until(lambda: each.rows[-1][-1] == "removed")
    assert [row[0] for row in watcher.rows][:4] == ["other", "p", "other", "p"]  # nothing is told twice
    assert {row[0] for row in one.rows} == {"p"}


def test_watch_of_changes_prints_the_past_and_goes_on(daemon, ipam, watch):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    watcher = watch("get", "changes", "--watch", "-o", "name", "--pool", "p")
    watcher.until(lambda: watcher.out == "change/1\n")
    ipam.ApplyPool(pool("q", "10.0.1.0/24"))
    ipam.Allocate(allocate("v", "p"))
    watcher.until(lambda: watcher.out == "change/1\nchange/3\n")


@pytest.mark.parametrize("form", ["table", "json"])
def test_events_survive_a_restart_and_say_so(daemon, ipam, watch, form):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    watcher = watch("events", "--after", "0", "-o", form)
    watcher.until(lambda: "p" in watcher.out)
    away = "waiting for" if form == "table" else '"error"'
    for round in (1, 2) if form == "table" else (1,):  # that it is back is told to people only, and so can be awaited
        told = watcher.err.count(away)  # a machine that stood still for three ticks is told, too
        daemon.kill9()
        watcher.until(lambda: watcher.err.count(away) > told)
        daemon.start("--tick-interval", "100")
        client = daemon.ipam()
        for n in range(20):
            client.Allocate(allocate(f"v{n}-{round}", "p"))
        watcher.until(lambda: watcher.out.count("\n") == 1 + 20 * round + (form == "table"))
        if form == "table":
            watcher.until(lambda: watcher.err.count("ipamd is back") == watcher.err.count(away))
    if form == "table":
        assert [row[0] for row in watcher.rows] == [str(n) for n in range(1, 42)]
    else:
        assert [json.loads(line)["revision"] for line in watcher.out.splitlines()] == [str(n) for n in range(1, 22)]
        assert all(json.loads(line)["error"]["reason"] for line in watcher.err.splitlines())


def test_events_end_when_history_is_another_one(daemons, watch, daemon, ipam):
    for n in range(3):
        ipam.ApplyPool(pool("p", f"10.0.{n}.0/24"))
    watcher = watch("events", "--after", "0", "-o", "name")
    watcher.until(lambda: watcher.out.count("\n") == 3)
    daemon.kill9()
    for path in daemon.state_dir.iterdir():
        path.unlink()
    daemon.start("--tick-interval", "100")
    assert watcher.wait() == 1
    assert "another history" in watcher.err or "HISTORY_REPLACED" in watcher.err


def test_events_that_cannot_reach_ipamd_fail_at_the_start(daemon, tmp_path):
    assert daemon.ipamc("events", "--socket", tmp_path / "none.sock").returncode == UNAVAILABLE


@pytest.mark.parametrize("number, status", [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, -signal.SIGTERM)])
def test_ctrl_c_ends_it_and_what_was_told_is_whole(daemon, ipam, watch, number, status):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    watcher = watch("events", "--after", "0", "-o", "json")
    watcher.until(lambda: watcher.out.endswith("\n"))
    watcher.process.send_signal(number)
    assert watcher.wait() == status
    assert json.loads(watcher.out)["revision"] == "1" and watcher.err == ""


def test_reader_that_leaves_ends_it_quietly_though_nothing_happens(daemon, ipam, watch):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    reading, writing = os.pipe()
    watcher = watch("events", "--after", "0", stdout=writing)
    os.close(writing)
    assert os.read(reading, 10)
    os.close(reading)
    assert watcher.wait() == REFUSED_READER and watcher.err == ""


def test_full_disk_ends_it_with_an_error(daemon, ipam, watch):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    with open("/dev/full", "w") as full:
        watcher = watch("events", "--after", "0", stdout=full)
        assert watcher.wait() == 1
    assert "No space left on device" in watcher.err
