"""ipam-status-writer against a real API server: what ipamd decides stands in the status of the objects. Claims are made by
calls to ipamd, as the watcher makes them: kind ProxyVIP with the object's uid."""
import concurrent.futures
import contextlib
import http.client
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from cluster.api import wait_for
from cluster.objects import pool, vip
from harness import requests as ask
from harness.protos import ipam as pb

# ---- Fixture


class Parts:
    """An API server, an ipamd and a started status-writer, and the watcher's part played by the test."""

    def __init__(self, kube, daemon, writer):
        self.kube = kube
        self.daemon = daemon
        self.writer = writer
        self.ipam = daemon.ipam()

    def make_pool(self, name, *cidrs, **spec):
        made = self.kube.admin.create("proxyippools", pool(name, *cidrs, **spec))
        self.apply_pool(name, *cidrs, generation=made["metadata"]["generation"], uid=made["metadata"]["uid"])

    def apply_pool(self, name, *cidrs, **more):
        self.ipam.ApplyPool(ask.pool(name, *cidrs, record_rejected=True, **more))

    def make_vip(self, name, pool_name="", **spec):
        return self.kube.admin.create("proxyvips", vip(name, pool_name, **spec))["metadata"]["uid"]

    def bind(self, name, pool_name, uid, **more):
        return self.ipam.Allocate(ask.allocate(name, pool_name, uid=uid, enqueue=True, **more)).claims

    def vip_status(self, name):
        return self.kube.admin.get("proxyvips", name).get("status", {})

    def wait_vip(self, name, holds, what):
        return self.kube.wait("proxyvips", name, lambda seen: holds(seen.get("status", {})), what)["status"]

    def wait_pool(self, name, holds, what):
        return self.kube.wait("proxyippools", name, lambda seen: holds(seen.get("status", {})), what)["status"]


@pytest.fixture
def parts(kube, daemon, status_writers):
    return Parts(kube, daemon, status_writers(kube, daemon).start())


# ---- Helpers

def condition(status, kind):
    found = [c for c in status.get("conditions", []) if c["type"] == kind]
    assert len(found) <= 1, status
    return {key: found[0][key] for key in ("status", "reason", "message")} if found else None


def has(status, address):
    return status.get("allocatedAddress") == address


# ---- Tests

def test_the_statuses_of_the_reference_page(parts, recorder):
    parts.make_pool("main-vip-pool", "10.200.0.0/24")
    for name in ("web-vip", "api-vip", "grpc-vip"):
        parts.bind(name, "main-vip-pool", parts.make_vip(name, "main-vip-pool"))
    status = parts.wait_vip("web-vip", lambda seen: has(seen, "10.200.0.1/32"), "has its address")
    assert condition(status, "Bound") == {"status": "True", "reason": "AddressAllocated",
                                          "message": "Address 10.200.0.1/32 allocated from pool main-vip-pool"}
    status = parts.wait_pool("main-vip-pool", lambda seen: seen.get("allocated") == 3, "counts three")
    assert (status["available"], status["observedGeneration"]) == (251, 1)
    assert [(a["address"], a["vipRef"]) for a in status["allocations"]] == [
        ("10.200.0.1/32", "web-vip"), ("10.200.0.2/32", "api-vip"), ("10.200.0.3/32", "grpc-vip")]
    assert condition(status, "Ready") == {"status": "True", "reason": "PoolReady", "message": "Pool has 251 available addresses"}
    assert condition(status, "Exhausted")["status"] == "False"
    row = parts.kube.kubectl("get", "proxyippool").stdout.splitlines()[1].split()
    assert row[:4] == ["main-vip-pool", "3", "251", "true"]


def test_a_reason_and_recovery_without_touching_the_vip(parts):
    uid = parts.make_vip("web-vip", "late-pool")
    parts.bind("web-vip", "late-pool", uid)
    status = parts.wait_vip("web-vip", lambda seen: condition(seen, "Bound"), "says why it waits")
    assert condition(status, "Bound")["reason"] == "PoolNotFound" and "allocatedAddress" not in status
    parts.make_pool("late-pool", "10.201.0.0/24")
    parts.wait_vip("web-vip", lambda seen: has(seen, "10.201.0.1/32"), "got its address")
    events = wait_for(lambda: [e for e in parts.kube.admin.items("events", "default") if e["involvedObject"]["uid"] == uid
                               and e["reason"] == "AddressAllocated"], "the event is there")
    assert "10.201.0.1/32" in events[0]["message"]


def test_a_pause_that_is_over_in_a_moment_is_never_told(parts):
    """As ipam-watcher's syncs pause pools. A second is told, so a try in which the machine stood still is made again."""
    uid = parts.kube.admin.create("proxyippools", pool("main", "10.200.0.0/24"))["metadata"]["uid"]
    for attempt in range(5):
        mark, vips = parts.kube.audit_mark(), [f"a{attempt}", f"b{attempt}", f"c{attempt}"]
        uids = {name: parts.make_vip(name, "main") for name in vips}
        parts.apply_pool("main", "10.200.0.0/24", generation=1, uid=uid, paused=True)
        begin = time.monotonic()
        for name in vips:
            assert parts.bind(name, "main", uids[name])[0].reason == "POOL_PAUSED"
        time.sleep(0.3)  # it has looked at them meanwhile
        parts.apply_pool("main", "10.200.0.0/24", generation=1, uid=uid)
        paused = time.monotonic() - begin
        for name in vips:
            parts.wait_vip(name, lambda seen: "allocatedAddress" in seen, "has its address")
        if paused < 0.7:
            break
    assert paused < 0.7, "the machine stands still too often"
    patches = [e["name"] for e in parts.kube.audit(parts.kube.status_writer, since=mark) if e["verb"] == "patch"
               and e["resource"] == "proxyvips/status"]
    assert sorted(patches) == vips


def test_an_address_changes_hands_and_is_never_seen_twice(parts, recorder):
    parts.make_pool("main-vip-pool", "10.200.0.0/30")
    uids = {name: parts.make_vip(name, "main-vip-pool") for name in ("a", "b", "c", "d")}
    for name, uid in uids.items():
        parts.bind(name, "main-vip-pool", uid)
    holders = ["a", "b", "c", "d"]
    for _ in range(12):
        first = holders.pop(0)
        parts.ipam.Release(ask.release(first))
        parts.bind(first, "main-vip-pool", uids[first])
        holders.append(first)
    held = {claim.owner.name: claim.address for claim in ask.all_claims(parts.ipam, state=pb.BOUND)}

    def all_right():
        return all(parts.vip_status(name).get("allocatedAddress") == held.get(name) for name in uids)

    wait_for(all_right, "every status says what ipamd says", show=lambda _: str({n: parts.vip_status(n) for n in uids}))
    recorder.assert_no_double()


def test_a_second_writer_that_replaces_status_all_the_time(parts, replacer):
    parts.make_pool("main-vip-pool", "10.200.0.0/24")
    for number in range(5):
        parts.bind(f"vip-{number}", "main-vip-pool", parts.make_vip(f"vip-{number}", "main-vip-pool"))
    for number in range(5):
        status = parts.wait_vip(f"vip-{number}", lambda seen: condition(seen, "Bound") and seen.get("activeNode"), "has both")
        assert condition(status, "Announced")["reason"] == "Announced"
    mark = parts.kube.audit_mark()
    before = replacer.written
    wait_for(lambda: replacer.written > before + 50, "the other one writes on")
    writes = [e for e in parts.kube.audit(parts.kube.status_writer, since=mark) if e["verb"] == "patch"]
    assert len(writes) <= 2, writes


def test_one_that_keeps_undoing_is_answered_ever_more_slowly(parts):
    parts.make_pool("main-vip-pool", "10.200.0.0/24")
    parts.bind("web-vip", "main-vip-pool", parts.make_vip("web-vip", "main-vip-pool"))
    parts.wait_vip("web-vip", lambda seen: has(seen, "10.200.0.1/32"), "has its address")
    mark = parts.kube.audit_mark()
    end = time.monotonic() + 4
    while time.monotonic() < end:
        parts.kube.admin.patch("proxyvips", "web-vip", {"status": {"allocatedAddress": None}}, subresource="status")
        time.sleep(0.01)
    writes = [e for e in parts.kube.audit(parts.kube.status_writer, since=mark) if e["verb"] == "patch"]
    assert 1 <= len(writes) <= 20
    parts.kube.wait("proxyvips", "web-vip", lambda seen: has(seen["status"], "10.200.0.1/32"), "is right in the end", 30)


def test_fields_that_the_server_does_not_keep_are_no_hot_loop(novaedge_crds, daemon, status_writers):
    parts = Parts(novaedge_crds, daemon, status_writers(novaedge_crds, daemon).start())
    parts.make_pool("main-vip-pool", "10.200.0.0/24")
    parts.bind("web-vip", "main-vip-pool", parts.make_vip("web-vip", "main-vip-pool"))
    status = parts.wait_pool("main-vip-pool", lambda seen: seen.get("allocated") == 1, "counts one")
    assert "capacity" not in status
    mark = parts.kube.audit_mark()
    parts.kube.admin.patch("proxyippools", "main-vip-pool", {"metadata": {"labels": {"a": "b"}}})
    parts.make_vip("marker")
    parts.bind("marker", "", parts.kube.admin.get("proxyvips", "marker")["metadata"]["uid"], address="192.0.2.1")
    parts.wait_vip("marker", lambda seen: has(seen, "192.0.2.1/32"), "the writer has come by")
    assert not [e for e in parts.kube.audit(parts.kube.status_writer, since=mark)
                if e["verb"] == "patch" and e["name"] == "main-vip-pool"]


def test_a_lost_state_of_ipamd_leaves_every_status_as_it_was(parts, recorder):
    parts.make_pool("main-vip-pool", "10.200.0.0/24")
    for name in ("a", "b"):
        parts.bind(name, "main-vip-pool", parts.make_vip(name, "main-vip-pool"))
    parts.wait_vip("b", lambda seen: has(seen, "10.200.0.2/32"), "has its address")
    parts.daemon.kill9()
    for path in parts.daemon.state_dir.iterdir():
        path.unlink()
    parts.daemon.start()
    parts.ipam = parts.daemon.ipam()
    parts.make_vip("c", "main-vip-pool")
    parts.apply_pool("main-vip-pool", "10.200.0.0/24")
    parts.bind("c", "main-vip-pool", parts.kube.admin.get("proxyvips", "c")["metadata"]["uid"],
               preferred_address="10.200.0.3/32")
    parts.wait_vip("c", lambda seen: has(seen, "10.200.0.3/32"), "has its address")
    assert has(parts.vip_status("a"), "10.200.0.1/32") and has(parts.vip_status("b"), "10.200.0.2/32")


def test_killed_and_started_again_it_writes_nothing_that_stands_already(parts):
    parts.make_pool("main-vip-pool", "10.200.0.0/24")
    parts.bind("web-vip", "main-vip-pool", parts.make_vip("web-vip", "main-vip-pool"))
    parts.wait_pool("main-vip-pool", lambda seen: seen.get("allocated") == 1, "counts one")
    parts.wait_vip("web-vip", lambda seen: has(seen, "10.200.0.1/32"), "has its address")
    parts.writer.kill9()
    parts.bind("api-vip", "main-vip-pool", parts.make_vip("api-vip", "main-vip-pool"))
    mark = parts.kube.audit_mark()
    parts.writer.start()
    parts.wait_vip("api-vip", lambda seen: has(seen, "10.200.0.2/32"), "has its address")
    parts.wait_pool("main-vip-pool", lambda seen: seen.get("allocated") == 2, "counts two")
    patches = [e["name"] for e in parts.kube.audit(parts.kube.status_writer, since=mark) if e["verb"] == "patch"
               and e["resource"] == "proxyvips/status"]
    assert patches == ["api-vip"]


def test_once_brings_everything_up_to_date_and_ends(kube, daemon, status_writers):
    parts = Parts(kube, daemon, status_writers(kube, daemon))
    parts.make_pool("main-vip-pool", "10.200.0.0/24")
    for number in range(20):
        parts.bind(f"vip-{number}", "main-vip-pool", parts.make_vip(f"vip-{number}", "main-vip-pool"))
    done = subprocess.run(parts.writer.command("--once"), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert all(parts.vip_status(f"vip-{number}").get("allocatedAddress") for number in range(20))
    assert kube.admin.get("proxyippools", "main-vip-pool")["status"]["allocated"] == 20


def test_of_two_with_leader_elect_one_writes_and_the_other_takes_over(kube, daemon, status_writers):
    first, second = (status_writers(kube, daemon, options=["--leader-elect", "--lease-duration", "5"]) for _ in range(2))
    parts = Parts(kube, daemon, first.start())
    first.wait_log("acting")
    second.start()
    parts.make_pool("main-vip-pool", "10.200.0.0/24")
    parts.bind("a", "main-vip-pool", parts.make_vip("a", "main-vip-pool"))
    parts.wait_vip("a", lambda seen: has(seen, "10.200.0.1/32"), "has its address")
    first.kill9()
    parts.bind("b", "main-vip-pool", parts.make_vip("b", "main-vip-pool"))
    parts.kube.wait("proxyvips", "b", lambda seen: has(seen.get("status", {}), "10.200.0.2/32"), "has its address", 30)
    patches = [e["name"] for e in kube.audit(kube.status_writer) if e["verb"] == "patch" and e["resource"] == "proxyvips/status"]
    assert patches[-2:] == ["a", "b"]


def test_a_late_write_of_one_that_stood_still_doubles_no_address(kube, daemon, proxies, status_writers, recorder):
    proxy, passing = proxies(), threading.Event()
    options = ["--leader-elect", "--lease-duration", "5"]
    first = status_writers(kube, daemon, kubeconfig=kube.status_writer.kubeconfig(server=proxy.url), options=options)
    second = status_writers(kube, daemon, options=options)
    parts = Parts(kube, daemon, first.start())
    first.wait_log("acting")
    second.start()
    late = proxy.hold(passing, verbs="patch", path="/proxyvips/a/status$")
    parts.make_pool("main-vip-pool", "10.200.0.1/32")
    parts.bind("a", "main-vip-pool", parts.make_vip("a", "main-vip-pool"))
    wait_for(lambda: late.hits == 1, "the write of the first is under way")
    first.process.send_signal(signal.SIGSTOP)
    second.wait_log("acting", 30)
    parts.wait_vip("a", lambda seen: has(seen, "10.200.0.1/32"), "has its address by the second")
    parts.ipam.Release(ask.release("a"))
    parts.bind("b", "main-vip-pool", parts.make_vip("b", "main-vip-pool"))
    parts.kube.admin.delete("proxyvips", "a")
    parts.make_vip("a", "main-vip-pool")
    parts.wait_vip("b", lambda seen: has(seen, "10.200.0.1/32"), "has the address by now")
    passing.set()
    wait_for(lambda: [s for s in proxy.requests("patch", path="/proxyvips/a/status$") if s.status == 409], "it came too late")
    mark = proxy.mark()
    first.process.send_signal(signal.SIGCONT)
    first.wait_log("not acting any more")
    assert not proxy.requests("patch", "create", "update", path="novaedge", since=mark)
    assert "allocatedAddress" not in parts.vip_status("a")


def test_so_many_writes_at_once_as_the_option_says_and_pools_wait_behind_none(kube, daemon, proxies, status_writers):
    proxy = proxies()
    parts = Parts(kube, daemon, status_writers(kube, daemon, kubeconfig=kube.status_writer.kubeconfig(server=proxy.url),
                                               options=["--max-writes", "20"]).start())
    hung = proxy.hang(verbs="patch", path="/proxyvips/")
    parts.make_pool("main-vip-pool", "10.200.0.0/24")
    for number in range(40):
        parts.bind(f"vip-{number}", "main-vip-pool", parts.make_vip(f"vip-{number}", "main-vip-pool"))
    wait_for(lambda: hung.hits == 20, "twenty are under way")
    parts.wait_pool("main-vip-pool", lambda seen: seen.get("allocated") == 40, "counts forty meanwhile")
    assert hung.hits == 20


def test_writes_that_fail_at_once_are_one_failure_and_others_wait_not_for_long(kube, daemon, proxies, status_writers):
    proxy, passing = proxies(), threading.Event()
    parts = Parts(kube, daemon, status_writers(kube, daemon, kubeconfig=kube.status_writer.kubeconfig(server=proxy.url)).start())
    held = proxy.hold(passing, verbs="patch", path="/proxyvips/")
    refused = proxy.answer(503, verbs="patch", path="/proxyvips/", times=20)
    parts.make_pool("main-vip-pool", "10.200.0.0/24")
    names = [f"vip-{number}" for number in range(20)]
    for name in names:
        parts.bind(name, "main-vip-pool", parts.make_vip(name, "main-vip-pool"))
    wait_for(lambda: held.hits == 20, "all are under way")
    passing.set()
    wait_for(lambda: refused.hits == 20, "all have failed")
    failed_at = time.monotonic()
    wait_for(lambda: all(parts.vip_status(name).get("allocatedAddress") for name in names), "all were written", 30)
    tried_at = proxy.requests("patch", path="/proxyvips/")[20].at
    assert tried_at - failed_at < 3.5, "twenty failures in a row would have waited for 4 s at least"


def test_one_object_that_the_server_fails_at_is_told_and_holds_no_other_up(kube, daemon, proxies, status_writers):
    proxy = proxies()
    writer = status_writers(kube, daemon, kubeconfig=kube.status_writer.kubeconfig(server=proxy.url)).start()
    parts = Parts(kube, daemon, writer)
    failed = proxy.answer(500, verbs="patch", path="/proxyvips/a/")
    parts.make_pool("main-vip-pool", "10.200.0.0/24")
    for name in ("a", "b"):
        parts.bind(name, "main-vip-pool", parts.make_vip(name, "main-vip-pool"))
    parts.wait_vip("b", lambda seen: has(seen, "10.200.0.2/32"), "has its address")
    writer.wait_log("proxyvips/a: .*500")
    wait_for(lambda: failed.hits == 2, "it is tried again")
    proxy.well()
    parts.wait_vip("a", lambda seen: has(seen, "10.200.0.1/32"), "has its address, too")
    writer.wait_log("proxyvips/a: well again")


def test_what_is_undone_before_the_answer_has_come_is_seen(kube, daemon, proxies, status_writers):
    proxy = proxies()
    parts = Parts(kube, daemon, status_writers(kube, daemon, kubeconfig=kube.status_writer.kubeconfig(server=proxy.url)).start())
    proxy.trickle(200, 0.3, verbs="patch", path="/proxyvips/", times=1)
    parts.make_pool("main-vip-pool", "10.200.0.0/24")
    parts.bind("a", "main-vip-pool", parts.make_vip("a", "main-vip-pool"))
    parts.wait_vip("a", lambda seen: has(seen, "10.200.0.1/32"), "has its address")
    kube.admin.patch("proxyvips", "a", {"status": {"allocatedAddress": None}}, subresource="status")
    assert [seen.finished for seen in proxy.requests("patch", path="/proxyvips/")] == [False]
    parts.wait_vip("a", lambda seen: has(seen, "10.200.0.1/32"), "has its address again")


def test_metrics_count_what_was_done(kube, daemon, status_writers):
    writer = status_writers(kube, daemon)
    address = str(writer.folder / "health")
    writer.start("--health", address)
    parts = Parts(kube, daemon, writer)
    parts.make_pool("main-vip-pool", "10.200.0.0/24")
    parts.bind("a", "main-vip-pool", parts.make_vip("a", "main-vip-pool"))

    def page(path):
        with contextlib.closing(http.client.HTTPConnection("localhost")) as connection:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(address)
            connection.request("GET", path)
            return connection.getresponse().read().decode()

    wait_for(lambda: 'ipam_status_passes_total{kind="ProxyVIP",outcome="written"} 1\n' in page("/metrics"), "one was written",
             show=lambda _: page("/metrics"))
    assert 'ipam_status_objects{kind="ProxyIPPool"} 1\n' in page("/metrics")
    for number in range(60):
        parts.bind(f"vip-{number}", "main-vip-pool", parts.make_vip(f"vip-{number}", "main-vip-pool"))
    wait_for(lambda: int(re.search(r"(?m)^ipam_kube_events_dropped_total (\d+)$", page("/metrics"))[1]) > 0, "some were too many")


def test_without_the_right_to_write_it_says_which_one_is_missing(kube, daemon, status_writers):
    parts = Parts(kube, daemon, status_writers(kube, daemon, kubeconfig=kube.watcher.kubeconfig()).start())
    parts.make_pool("main-vip-pool", "10.200.0.0/24")
    parts.writer.wait_log(r'cannot patch resource "proxyippools/status"')
    assert parts.writer.alive()


@pytest.mark.seconds(120)
def test_bursts_of_errors_lost_answers_and_restarts_end_in_the_right_statuses(kube, daemon, proxies, status_writers, recorder):
    proxy = proxies()
    parts = Parts(kube, daemon, status_writers(kube, daemon, kubeconfig=kube.status_writer.kubeconfig(server=proxy.url)).start())
    parts.make_pool("main-vip-pool", "10.200.0.0/24")
    names = [f"vip-{number}" for number in range(30)]
    proxy.answer(429, retry_after=1, verbs="patch", times=3)
    proxy.answer(503, verbs="patch", times=5)
    proxy.lose_answer(verbs="patch", times=3)
    for name in names:
        parts.bind(name, "main-vip-pool", parts.make_vip(name, "main-vip-pool"))
    proxy.break_watches()
    kube.apiserver.restart(kill=True)
    wait_for(lambda: not [name for name in names if not parts.vip_status(name).get("allocatedAddress")],
             "every VIP has its address", 60)
    parts.wait_pool("main-vip-pool", lambda seen: seen.get("allocated") == 30, "counts thirty")
    assert proxy.busiest_second(path="/status$") < 200


@pytest.mark.seconds(180)
def test_a_pool_with_5000_allocations_has_a_short_list_and_whole_counts(parts):
    parts.make_pool("big", "10.0.0.0/19")

    def claim(number):
        parts.ipam.Allocate(ask.allocate(f"a-rather-long-name-of-a-vip-{number}", "big", kind="Manual"))

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        list(threads.map(claim, range(5000)))
    status = parts.kube.wait("proxyippools", "big", lambda seen: seen.get("status", {}).get("allocated") == 5000,
                             "counts 5,000", 60)["status"]
    assert status["allocationsTruncated"] is True and 900 <= len(status["allocations"]) <= 1000
    assert len(str(status)) < 200 * 1024
