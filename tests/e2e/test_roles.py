"""The shipped roles are the least that do: with them nothing is refused, and each right in them is used."""
import pytest
import yaml

from cluster import paths
from cluster.api import wait_for
from cluster.cluster import condition
from cluster.objects import pool, vip

pytestmark = pytest.mark.core

LEADER = {"options": ["--leader-elect"]}


# ---- Helpers

def rights(account):
    """What a role file grants: {(verb, resource)}."""
    file, = (path for path in paths.ROLES if path.name == f"rbac-{account.name}.yaml")
    roles = [role for role in yaml.safe_load_all(file.read_text()) if role["kind"] in ("Role", "ClusterRole")]
    rules = [rule for role in roles for rule in role["rules"]]
    return {(verb, resource) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def used(kube, account, since):
    return {(entry["verb"], entry["resource"]) for entry in kube.audit(account, since)}


def make_every_kind_of_request(kube):
    kube.apply([pool("main", "10.200.0.0/24"), vip("web-vip", "main"), vip("holder", "main", "10.200.0.9/32")])
    kube.wait_bound("web-vip", "10.200.0.1/32")
    kube.wait_bound("holder", "10.200.0.9/32")
    for _ in range(2):  # the same Event again raises its count: of the watcher, …
        kube.apply(vip("web-vip", "main", "10.200.0.9/32"))
        wait_told(kube, "AllocationRefused", "10.200.0.9")
        kube.apply(vip("web-vip", "main", "10.200.0.1/32"))
        wait_observed(kube, "web-vip")
    for last in (50, 1, 50):  # … and of the status-writer
        kube.apply(vip("web-vip", "main", f"10.200.0.{last}/32"))
        kube.wait_bound("web-vip", f"10.200.0.{last}/32")
        wait_told(kube, "AddressAllocated", f"10.200.0.{last}/32")
    kube.kubectl("delete", "proxyippool", "main", "--wait=false")
    kube.wait_pool("main", reason="Terminating")
    kube.kubectl("delete", "proxyvip", "--all")
    kube.wait_gone("proxyippools", "main")


def wait_told(kube, reason, text):
    def is_it(event):
        return event["involvedObject"]["name"] == "web-vip" and event["reason"] == reason and text in event["message"]

    wait_for(lambda: any(map(is_it, kube.admin.items("events", "default"))), f"an Event {reason} about {text}")


def wait_observed(kube, name):
    def observed(seen):
        return condition(seen, "Bound").get("observedGeneration") == seen["metadata"]["generation"]

    kube.wait("proxyvips", name, observed, "its status reflects its spec")


# ---- Tests

def test_nothing_is_refused_and_every_right_is_used(kube, hosts, proxies):
    proxy = proxies()
    for kind in ("proxyippools", "proxyvips"):  # after a conflict an object is read anew
        proxy.answer(409, verbs="patch", path=f"/{kind}/[^/]+/status", times=1)
    mark = kube.audit_mark()
    through = kube.status_writer.kubeconfig(server=proxy.url)
    host = hosts(kube, watcher=LEADER, status_writer={**LEADER, "kubeconfig": through}).start()
    make_every_kind_of_request(kube)
    for process in (host.watcher, host.status_writer):
        assert process.stop() == 0
    for account in (kube.watcher, kube.status_writer):  # a watch is in the log when it has ended
        def difference(account=account):
            return rights(account) ^ used(kube, account, mark)

        wait_for(lambda differ=difference: not differ(), f"{account.name} uses its rights and no others", 10,
                 lambda _, differ=difference: differ())
        assert not {401, 403} & {entry["status"] for entry in kube.audit(account, mark)}
