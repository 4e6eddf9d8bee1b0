"""Several watchers and status-writers with --leader-elect: one acts, another takes over in time, and nothing is done twice."""
import signal
import time

import pytest

from cluster.api import wait_for
from cluster.objects import pool, vip
from cluster.state import agree, make_all, wait_agree

LEASE_SECONDS = 5
RETRY_SECONDS = 2  # a follower looks at the lease about every fifth of its time; and the first act
OPTIONS = ["--leader-elect", "--lease-duration", LEASE_SECONDS, "--confirm-delay", 1]
LEASE = r"/leases/"


# ---- Fixture

class Member:
    """One of several processes of a kind, with a proxy of its own: what passes there is what it did, and nobody else."""

    def __init__(self, make, cluster, account, daemon, proxy, options):
        self.proxy = proxy
        self.process = make(cluster, daemon, kubeconfig=account.kubeconfig(server=proxy.url), options=options)

    def writes(self, since=0):
        """What it changed, beside the lease and events."""
        return [seen for seen in self.proxy.requests("create", "patch", "update", "delete", since=since) if "/leases" not in seen.path]

    def leads(self):
        return self.process.log().count("acting: the lease is held")


class Members:
    def __init__(self, kube, daemon, watchers, status_writers, proxies):
        self.kube = kube
        self.daemon = daemon
        self.watchers = [Member(watchers, kube, kube.watcher, daemon, proxies(), OPTIONS) for _ in range(2)]
        self.writers = [Member(status_writers, kube, kube.status_writer, daemon, proxies(), OPTIONS[:3]) for _ in range(2)]
        self.made = 0

    def start(self):
        for pair in (self.watchers, self.writers):
            pair[0].process.start()
            pair[0].process.wait_log("acting: the lease is held")
            pair[1].process.start(ready=False)
            wait_for(lambda other=pair[1]: other.proxy.count("get", path=LEASE), "the other one looks at the lease", 20)
        self.kube.apply(pool("main", "10.200.0.0/24"))
        self.kube.wait_pool("main", reason="PoolReady", allocated=0)
        return self

    def work(self, seconds=20):
        """A few VIPs get their addresses; nothing is written twice."""
        names = [f"vip-{self.made + i:03}" for i in range(10)]
        self.made += len(names)
        make_all(self.kube, [vip(name, "main") for name in names])
        agree(self.daemon, wait_agree(self.kube, bound=self.made, seconds=seconds))
        wait_for(lambda: len(self.told()) >= self.made, "Events, which give way to status, tell of each", seconds, lambda _: self.told())
        return names

    def told(self):
        return sorted(e["involvedObject"]["name"] for e in self.kube.admin.items("events", "default")
                      if e["reason"] == "AddressAllocated" and e.get("count", 1) == 1)

    def assert_written_once(self):
        """By the server's own log: each VIP's status was written once, and one Event tells of it."""
        done = [e for e in self.kube.audit(self.kube.status_writer, self.mark) if e["status"] < 300]
        statuses = sorted(e["name"] for e in done if e["resource"] == "proxyvips/status")
        assert statuses == [f"vip-{i:03}" for i in range(self.made)]
        assert self.told() == statuses
        finalizers = [e for e in self.kube.audit(self.kube.watcher, self.mark) if e["verb"] == "patch" and e["resource"] == "proxyippools"]
        assert len(finalizers) == 1


@pytest.fixture
def members(kube, daemon, watchers, status_writers, proxies, recorder):
    members = Members(kube, daemon, watchers, status_writers, proxies)
    members.mark = kube.audit_mark()
    return members.start()


def idle(member, since=0):
    return not member.writes(since)


# ---- Tests

def test_one_acts_and_the_other_is_still(members):
    members.work()
    assert members.watchers[0].writes() and members.writers[0].writes()
    assert idle(members.watchers[1]) and idle(members.writers[1])
    assert not members.watchers[1].leads() and not members.writers[1].leads()
    members.assert_written_once()


def test_when_the_leader_is_killed_the_other_takes_over_within_the_lease_time(members):
    members.work()
    dead = members.watchers[0], members.writers[0]
    for member in dead:
        member.process.kill9()
    begin = time.monotonic()
    for member in (members.watchers[1], members.writers[1]):
        wait_for(member.leads, "the other one leads", LEASE_SECONDS + RETRY_SECONDS)
        assert time.monotonic() - begin < LEASE_SECONDS + RETRY_SECONDS
    members.work()
    for member in dead:
        member.process.start(ready=False)
    members.work()
    assert [member.leads() for member in (*dead, members.watchers[1], members.writers[1])] == [1, 1, 1, 1]
    members.assert_written_once()


def test_a_leader_that_is_stopped_gives_the_lease_back_at_once(members):
    members.work()
    for pair in (members.watchers, members.writers):
        assert pair[0].process.stop() == 0
        begin = time.monotonic()
        wait_for(pair[1].leads, "the other one leads", LEASE_SECONDS)
        assert time.monotonic() - begin < LEASE_SECONDS - 1, "the lease had to run out"
    members.work()
    members.assert_written_once()


def test_a_leader_that_was_frozen_does_nothing_after_it_wakes(members):
    members.work()
    frozen = members.watchers[0], members.writers[0]
    for member in frozen:
        member.process.process.send_signal(signal.SIGSTOP)
    marks = [member.proxy.mark() for member in frozen]
    for member in (members.watchers[1], members.writers[1]):
        wait_for(member.leads, "the other one leads", LEASE_SECONDS + RETRY_SECONDS)
    members.work()
    for member in frozen:
        member.process.process.send_signal(signal.SIGCONT)
        member.process.wait_log(r"(?i)lease.*(lost|taken|has it|held by|renew)")
    members.work()
    for member, mark in zip(frozen, marks):
        assert not member.writes(mark)
    members.assert_written_once()


def test_a_leader_that_can_not_renew_stops_before_the_other_begins(members, kube):
    members.work()
    cut_off = members.watchers[0], members.writers[0]
    marks = [member.proxy.mark() for member in cut_off]
    for member in cut_off:
        member.proxy.reset(path="/leases")
    for member, other in zip(cut_off, (members.watchers[1], members.writers[1])):
        wait_for(other.leads, "the other one leads", LEASE_SECONDS + RETRY_SECONDS + 3)
        renewed = [seen.at for seen in other.proxy.requests("update", "patch", path=LEASE)]
        wrote = [seen.at for seen in member.writes()]
        assert max(wrote) < min(renewed), "it wrote after the other one had the lease"
    members.work()
    for member, mark in zip(cut_off, marks):
        assert not member.writes(mark)
    members.assert_written_once()
