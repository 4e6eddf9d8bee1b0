#!/usr/bin/python3
"""Measures ipamd, ipam-watcher and ipam-status-writer with thousands of VIPs, beside a plain client of the same API server.

./test bench-kube runs it with IPAMD_BUILD set to a release build. It prints tables and writes all figures as JSON to
$BENCH_KUBE_JSON, else to build/bench-kube.json. docs/benchmarks.md says what each figure means. Exit status 0 says that
everything was measured, not that every aim was met.
"""
import argparse
import collections
import contextlib
import datetime
import http.client
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/integration"), str(ROOT / "tests/e2e")]

from cluster.api import path_of  # noqa: E402
from cluster.cluster import Cluster, condition  # noqa: E402
from cluster.objects import pool, vip  # noqa: E402
from cluster.processes import Host  # noqa: E402
from harness.paths import BUILD  # noqa: E402
from report import aim, finish, say, table  # noqa: E402
from servers import memory_of  # noqa: E402

OUTPUT = Path(os.environ.get("BENCH_KUBE_JSON", ROOT / "build/bench-kube.json"))
CONNECTIONS = 64  # of the plain client: as many as the status-writer's --max-writes
POOL = pool("bench", "10.0.0.0/19")
CAPACITY = 8190
PATIENCE_SECONDS = 300
POLL_SECONDS = 0.02


class Failed(Exception):
    pass


# ---- The plain client ---------------------------------------------------------------------------------------------

class PlainClient:
    """bench_requests: sends what it is given over so many connections, and says in how many seconds it was all answered."""

    def __init__(self, cluster, account):
        self.cluster = cluster
        self.token = cluster.folder / "bench-token"
        self.token.write_text(account.token(36000))

    def send(self, method, content_type, lines):
        done = subprocess.run([BUILD / "bench/bench_requests", self.cluster.url, self.cluster.authority.ca, self.token,
                               method, content_type, str(CONNECTIONS)],
                              input="".join(f"{path} {json.dumps(body)}\n" for path, body in lines), text=True,
                              stdout=subprocess.PIPE, timeout=PATIENCE_SECONDS, check=False)
        found = json.loads(done.stdout) if done.returncode == 0 else {}
        if found.get("done") != len(lines):
            raise Failed(f"{method} of {len(lines)} objects: {found or f'status {done.returncode}'}")
        return found["seconds"]


def names(count):
    return [f"service-{i:05}" for i in range(count)]


def create(client, count):
    return client.send("POST", "application/json", [(path_of("proxyvips"), vip(name, "bench")) for name in names(count)])


def status_patch(item, address):
    """What the status-writer sends for a VIP."""
    bound = {"type": "Bound", "status": "True", "reason": "AddressAllocated", "observedGeneration": 1,
             "message": f"Address {address} allocated from pool bench",
             "lastTransitionTime": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")}
    return {"metadata": {"resourceVersion": item["metadata"]["resourceVersion"]},
            "status": {"allocatedAddress": address, "conditions": [bound]}}


def patch_statuses(cluster, client):
    items = cluster.admin.items("proxyvips")
    return client.send("PATCH", "application/merge-patch+json", [
        (path_of("proxyvips", item["metadata"]["name"], subresource="status"),
         status_patch(item, f"10.0.{(i + 1) // 256}.{(i + 1) % 256}/32")) for i, item in enumerate(items)])


# ---- Our programs -------------------------------------------------------------------------------------------------

class Metrics:
    """A process's /metrics, asked over its socket."""

    def __init__(self, path):
        self.path = str(path)

    def read(self):
        connection = http.client.HTTPConnection("localhost", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.path)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


WRITTEN = 'ipam_status_passes_total{kind="ProxyVIP",outcome="written"}'
KNOWN = 'ipam_status_objects{kind="ProxyVIP"}'
LEFT = ('ipam_status_dirty{kind="ProxyVIP"}', 'ipam_status_dirty{kind="ProxyIPPool"}', "ipam_status_in_flight")


class Run:
    """Our three programs, and when they were done: looked for in a way that takes little from the server."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.host = Host(cluster)
        self.health = self.host.folder / "health"
        self.host.status_writer.options = ["--health", str(self.health)]

    def __enter__(self):
        self.host.daemon.start()
        self.host.status_writer.start()
        return self

    def __exit__(self, *_):
        wrong = self.host.close()
        self.host.remove()
        if wrong and not _[0]:
            raise Failed("; ".join(wrong))

    def wait_known(self, count):
        """Until the status-writer has listed the VIPs, as it has long before on a server that is in use."""
        metrics, end = Metrics(self.health), time.monotonic() + PATIENCE_SECONDS
        while int(metrics.read().get(KNOWN, 0)) < count:
            if time.monotonic() > end:
                raise Failed(f"after {PATIENCE_SECONDS} s ipam-status-writer does not know {count} VIPs\n{self.host.log()}")
            time.sleep(POLL_SECONDS)

    def wait_done(self, count):
        """Waits until all are Bound and counted. The writer's own figures say when to look; the objects say if it is true."""
        metrics, end = Metrics(self.health), time.monotonic() + PATIENCE_SECONDS
        while not (is_idle(metrics.read(), count) and self.pool_is_right(count) and self.all_bound(count)):
            if time.monotonic() > end:
                raise Failed(f"after {PATIENCE_SECONDS} s not all of {count} VIPs are Bound\n{self.host.log()}")
            time.sleep(POLL_SECONDS)

    def pool_is_right(self, count):
        status = self.cluster.admin.get("proxyippools", "bench").get("status", {})
        return (status.get("allocated"), status.get("available")) == (count, CAPACITY - count)

    def all_bound(self, count):
        items = self.cluster.admin.items("proxyvips")
        addresses = {item["status"].get("allocatedAddress") for item in items if condition(item, "Bound").get("status") == "True"}
        return len(items) == len(addresses) == count

    def costs(self, cpu_before):
        """What each process took: the peak of its memory, and processor time; the API server's since cpu_before."""
        parts = {part.name: part.process.pid for part in self.host.parts()}
        return {"memory_mb": {name: memory_of(pid, "VmHWM") for name, pid in parts.items()},
                "cpu_s": {**{name: cpu_of(pid) for name, pid in parts.items()},
                          "API server": cpu_of(self.cluster.apiserver.process.pid) - cpu_before}}


def is_idle(metrics, count):
    """The status-writer has written so many VIPs, and has none left to look at."""
    return int(metrics.get(WRITTEN, 0)) >= count and not any(int(metrics[name]) for name in LEFT)


def cpu_of(pid):
    """Seconds of processor time that a process took."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- Rounds -------------------------------------------------------------------------------------------------------

def yardstick(cluster, client, count):
    """Nothing of ours runs: a plain client makes the objects, then patches each one's status."""
    cluster.admin.create("proxyippools", POOL)
    created = create(client, count)
    cpu = cpu_of(cluster.apiserver.process.pid)
    return {"create_s": created, "patch_s": patch_statuses(cluster, client),
            "cpu_s": {"API server": cpu_of(cluster.apiserver.process.pid) - cpu}}


def seconds_of(time_text):
    """Since the epoch."""
    return datetime.datetime.fromisoformat(time_text.replace("Z", "+00:00")).timestamp()


def audited(cluster, mark, begin):
    """What our programs sent, by who, verb and resource; when the last status was written; how fast the pool's was."""
    entries = [e for e in cluster.audit(since=mark) if e["agent"].startswith("ipam-") and e["verb"] in ("create", "patch", "update")]
    requests = collections.Counter(f"{e['agent'].split('/')[0]} {e['verb']} {e['resource']}" for e in entries)
    pools = sorted(seconds_of(e["at"]) for e in entries if e["resource"] == "proxyippools/status")
    span = pools[-1] - pools[0] if len(pools) > 1 else 0
    last = max(seconds_of(e["answered"]) for e in entries if e["resource"] in ("proxyvips/status", "proxyippools/status"))
    return {"seconds": last - begin, "requests": dict(requests), "pool_patches": len(pools),
            "pool_patches_per_second": (len(pools) - 1) / span if span else 0.0}


def backlog(cluster, client, count):
    """All VIPs are there when the watcher starts."""
    cluster.admin.create("proxyippools", POOL)
    create(client, count)
    with Run(cluster) as run:
        run.wait_known(count)
        mark, cpu = cluster.audit_mark(), cpu_of(cluster.apiserver.process.pid)
        begin = time.time()  # as the audit log's times
        run.host.watcher.start()
        run.wait_done(count)
        return {**run.costs(cpu), **audited(cluster, mark, begin)}


def live(cluster, client, count):
    """All VIPs are created at once while everything runs."""
    with Run(cluster) as run:
        run.host.watcher.start()
        cluster.admin.create("proxyippools", POOL)
        cluster.wait_pool("bench", reason="PoolReady", allocated=0)
        mark, cpu = cluster.audit_mark(), cpu_of(cluster.apiserver.process.pid)
        begin = time.time()
        created = create(client, count)
        run.wait_done(count)
        return {"create_s": created, **run.costs(cpu), **audited(cluster, mark, begin)}


@contextlib.contextmanager
def fresh_cluster():
    """Every measurement begins with an empty API server of the same kind: thousands of objects take minutes to delete."""
    cluster = Cluster()
    try:
        client = PlainClient(cluster.start(), cluster.novaedge)
        cluster.apply(GRANT)
        yield cluster, client
    finally:
        cluster.stop()
        cluster.remove()


def one_round(count):
    found = {}
    for name, measure in (("yardstick", yardstick), ("backlog", backlog), ("live", live)):
        with fresh_cluster() as (cluster, client):
            found[name] = measure(cluster, client, count)
        say(f"  {name}: " + ", ".join(f"{key} {value:.1f}" for key, value in found[name].items() if key.endswith(("_s", "seconds"))
                                      and not isinstance(value, dict)))
    return found


RATIOS = {
    "backlog_to_patches": lambda found: found["backlog"]["seconds"] / found["yardstick"]["patch_s"],
    "live_to_creates_and_patches": lambda found: found["live"]["seconds"] / (
        found["yardstick"]["create_s"] + found["yardstick"]["patch_s"]),
    "live_to_patches": lambda found: found["live"]["seconds"] / found["yardstick"]["patch_s"],
}


# ---- All of it ----------------------------------------------------------------------------------------------------

def show(rounds, count):
    def figures(name, seconds, more):
        median = statistics.median(seconds)
        return [name, f"{median:.1f}", f"{count / median:,.0f}", more]

    table(f"{count:,} VIPs (medians of {len(rounds)} rounds)", ["", "seconds", "VIPs/s", "pool patches"], [
        figures("plain client: create", [r["yardstick"]["create_s"] for r in rounds], "-"),
        figures("plain client: patch each status", [r["yardstick"]["patch_s"] for r in rounds], "-"),
        *(figures(f"ours, {name}", [r[name]["seconds"] for r in rounds], statistics.median(r[name]["pool_patches"] for r in rounds))
          for name in ("backlog", "live"))])
    sent = collections.Counter(rounds[-1]["live"]["requests"])
    for name in ("yardstick", "backlog", "live"):
        say(f"  processor seconds in the last round, {name}: " + ", ".join(f"{who} {s:.1f}" for who, s in rounds[-1][name]["cpu_s"].items()))
    say("  sent in the last round, live: " + ", ".join(f"{what} {n:,}" for what, n in sent.most_common()))


def aims_of(rounds):
    ratios = {name: statistics.median(map(ratio, rounds)) for name, ratio in RATIOS.items()}
    memory = {part: max(r[how]["memory_mb"][part] for r in rounds for how in ("backlog", "live"))
              for part in rounds[0]["live"]["memory_mb"]}
    pool_rate = max(r[how]["pool_patches_per_second"] for r in rounds for how in ("backlog", "live"))
    return {"ratios": ratios, "peak_mb": memory}, [
        aim("VIPs are there: all Bound / plain patches", ratios["backlog_to_patches"], 1.3),
        aim("created while all runs: all Bound / plain creates, then patches", ratios["live_to_creates_and_patches"], 1.3),
        aim("created while all runs: all Bound / plain patches alone", ratios["live_to_patches"], 1.3),
        aim("patches of the pool's status a second, most", pool_rate, 1.1),
        *(aim(f"peak MB of {part}", peak, 100) for part, peak in memory.items())]


def options():
    parser = argparse.ArgumentParser(prog="tests/bench/kube.py", description="Measures; see docs/benchmarks.md.")
    parser.add_argument("--vips", type=int, default=5000, help="how many (default: 5000, at most 8190)")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement (default: 3)")
    chosen = parser.parse_args()
    if not 1 <= chosen.vips <= CAPACITY or chosen.rounds < 1:
        parser.error(f"--vips must be 1 to {CAPACITY}, --rounds 1 or more")
    return chosen


def main():
    chosen = options()
    rounds = []
    for i in range(chosen.rounds):
        say(f"round {i + 1}")
        rounds.append(one_round(chosen.vips))
    show(rounds, chosen.vips)
    summary, aims = aims_of(rounds)
    finish({"cores": os.cpu_count(), "kernel": platform.release().split("-")[0], "vips": chosen.vips, "rounds": rounds,
            **summary}, aims, OUTPUT)
    return 0


# The plain client makes VIPs and patches their status; beyond NovaEdge's own role, in this cluster only.
GRANT = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "bench"},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
         "subjects": [{"kind": "ServiceAccount", "name": "novaedge-controller", "namespace": "novaedge-system"}]}


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers and their folder go too
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"bench-kube: {error}")
