"""A cluster whose definitions are NovaEdge's own and whose controller replaces the status of VIPs all the time: everything
works, what the server does not keep is not written again and again, and nobody else's fields are touched."""
import pytest
import yaml

from cluster import paths
from cluster.api import wait_for
from cluster.cluster import condition
from cluster.objects import pool, vip

pytestmark = pytest.mark.core

VIP_FIELDS = {"f:allocatedAddress", "f:allocatedIPv6Address", "f:conditions"}
POOL_FIELDS = {"f:allocated", "f:available", "f:allocations", "f:conditions", "f:observedGeneration"}
QUIET_WRITES = 150  # of the controller, while ours are counted


# ---- Fixture

@pytest.fixture(scope="module")
def definitions(cluster):
    cluster.apply_crds(paths.NOVAEDGE_CRDS)
    yield
    cluster.apply_crds(paths.OUR_CRDS)


@pytest.fixture
def nova(definitions, kube, hosts):
    """The cluster, with ipamd and both processes running."""
    hosts(kube).start()
    return kube


# ---- Helpers

def writes(kube, account, since):
    """What an account wrote: (verb, resource, name)."""
    return [(entry["verb"], entry["resource"], entry["name"]) for entry in kube.audit(account, since)
            if entry["verb"] not in ("get", "list", "watch") and entry["resource"] != "events"]


def fields_of(kube, kind, name, manager):
    """What the API server says that a program wrote last: the names of the fields of metadata and of status."""
    owned = {"metadata": set(), "spec": set(), "status": set()}
    for entry in kube.admin.get(kind, name)["metadata"]["managedFields"]:
        if entry["manager"].startswith(manager):
            for part, names in owned.items():
                names |= set(entry["fieldsV1"].get(f"f:{part}", {})) - {"."}
    return owned


def wait_written(replacer, count):
    before = replacer.written
    wait_for(lambda: replacer.written >= before + count, f"the controller has written {count} times", 30)


def wait_all_bound(kube, names):
    return {name: kube.wait_bound(name, seconds=30) for name in names}


# ---- Tests

def test_fields_that_the_definition_lacks_are_pruned_and_all_works(nova):
    objects = [pool("main", "10.200.0.0/29", excludedAddresses=["10.200.0.1"], reuseDelaySeconds=60), vip("a", "main"),
               vip("b", "main", "10.200.0.5/32"), vip("six", "main", family="ipv6")]
    nova.kubectl("apply", "--validate=false", "-f", "-", stdin=yaml.safe_dump_all(objects))  # the client's own check
    assert (nova.wait_bound("a"), nova.wait_bound("b")) == ("10.200.0.1/32", "10.200.0.5/32")
    nova.wait_unbound("six", "FamilyNotInPool")
    status = nova.wait_pool("main", reason="PoolReady", allocated=2, available=4, observedGeneration=1)["status"]
    assert {f"f:{field}" for field in status} <= POOL_FIELDS
    nova.kubectl("delete", "proxyvip", "a")
    nova.wait_pool("main", allocated=1, available=5)
    nova.apply(vip("next", "main"))
    nova.wait_bound("next", "10.200.0.1/32")
    nova.kubectl("delete", "proxyippool", "main", "--wait=false")
    nova.wait_pool("main", reason="Terminating")
    nova.kubectl("delete", "proxyvip", "--all")
    nova.wait_gone("proxyippools", "main")


def test_a_pool_assigns_by_itself_where_that_is_the_definitions_default(nova):
    nova.apply([{**pool("main"), "spec": {"cidrs": ["10.200.0.0/24"]}}, vip("web-vip", "main")])
    nova.wait_bound("web-vip", "10.200.0.1/32")


def test_an_invalid_cidr_that_the_definition_lets_in_is_told_and_mended(nova):
    wrong = {"length": "10.1.0.0/33", "bare": "10.2.0.0", "word": "ten", "zeros": "010.4.0.0/24",
             "mapped": "::ffff:10.5.0.0/120"}
    for name, cidr in wrong.items():
        nova.apply([pool(name, cidr), vip(name, name)])
        message = condition(nova.wait_pool(name, reason="InvalidPoolSpec"), "Ready")["message"]
        assert message.startswith(f"invalid pool spec: {name}: cidrs: ") and cidr.partition("/")[0] in message
        refusal = nova.wait_unbound(name, "PoolRejected")
        assert refusal.startswith(f"pool rejected: {name} was never accepted (invalid pool spec: ")
    for number, name in enumerate(wrong, 1):
        nova.admin.patch("proxyippools", name, {"spec": {"cidrs": [f"10.{number}.0.0/24"]}})
        nova.wait_bound(name, f"10.{number}.0.1/32")
        nova.wait_pool(name, reason="PoolReady", allocated=1)


def test_what_is_pruned_is_not_written_again_and_again(nova):
    names = [f"vip-{number}" for number in range(6)]
    nova.apply([pool("main", "10.200.0.0/30"), *(vip(name, "main") for name in names)])
    nova.wait_pool("main", allocated=2, available=0)
    waiting = [name for name in names if condition(nova.admin.get("proxyvips", name), "Bound").get("status") != "True"]
    for name in waiting:
        nova.wait_unbound(name, "PoolExhausted")
    mark = nova.audit_mark()
    for number in range(20):
        nova.admin.patch("proxyippools", "main", {"metadata": {"labels": {"touched": str(number)}}})
        nova.admin.patch("proxyvips", "vip-0", {"metadata": {"labels": {"touched": str(number)}}})
    nova.apply([pool("marker", "10.201.0.0/24"), vip("marker", "marker")])
    nova.wait_bound("marker")
    nova.wait_pool("marker", allocated=1)
    ours = writes(nova, nova.status_writer, mark) + writes(nova, nova.watcher, mark)
    assert [write for write in ours if write[2] != "marker"] == []


@pytest.mark.seconds(120)
def test_beside_a_controller_that_replaces_status_all_the_time(nova, replacer, recorder):
    names = [f"vip-{number}" for number in range(12)]
    nova.apply([pool("main", "10.200.0.0/24"), pool("b", "10.201.0.0/24"), *(vip(name, "main") for name in names)])
    given = wait_all_bound(nova, names)
    assert len(set(given.values())) == len(names)
    for name in names[:6]:
        nova.admin.patch("proxyvips", name, {"spec": {"poolRef": {"name": "b"}}})
    for name in names[6:9]:
        nova.admin.delete("proxyvips", name)
    for name in names[:6]:
        nova.wait("proxyvips", name, lambda seen: seen["status"].get("allocatedAddress", "").startswith("10.201."),
                  "has an address of the other pool", 30)
    nova.wait_pool("main", 30, allocated=3)
    nova.wait_pool("b", 30, allocated=6)
    assert replacer.conflicts > 0
    wait_written(replacer, len(names))
    mark = nova.audit_mark()
    wait_written(replacer, QUIET_WRITES)
    assert len(writes(nova, nova.status_writer, mark)) <= 5 and writes(nova, nova.watcher, mark) == []
    for name in set(names) - set(names[6:9]):
        status = nova.admin.get("proxyvips", name)["status"]
        assert status["activeNode"] and status["announcingNodes"] == [status["activeNode"]]
        assert condition({"status": status}, "Announced")["lastTransitionTime"] == "2024-01-15T10:30:00Z"
        assert status["observedGeneration"] >= 1


def test_each_program_writes_its_own_fields_only(nova, replacer):
    nova.apply([pool("main", "10.200.0.0/24", "2001:db8::/120"), vip("web-vip", "main", family="dual")])
    nova.wait_bound("web-vip", "10.200.0.1/32")
    nova.wait_pool("main", allocated=2)
    wait_written(replacer, 3)
    nova.admin.patch("proxyvips", "web-vip", {"spec": {"addressFamily": "ipv4"}})
    nova.wait("proxyvips", "web-vip", lambda seen: "allocatedIPv6Address" not in seen["status"], "has one address")
    wait_written(replacer, 3)
    written = fields_of(nova, "proxyvips", "web-vip", "ipam-status-writer")
    assert "f:allocatedAddress" in written["status"] and written["status"] <= VIP_FIELDS
    assert not written["metadata"] and not written["spec"]
    written = fields_of(nova, "proxyippools", "main", "ipam-status-writer")
    assert "f:allocated" in written["status"] and written["status"] <= POOL_FIELDS
    assert not written["metadata"] and not written["spec"]
    assert fields_of(nova, "proxyvips", "web-vip", "ipam-watcher") == {"metadata": set(), "spec": set(), "status": set()}
    assert fields_of(nova, "proxyippools", "main", "ipam-watcher") == {
        "metadata": {"f:finalizers"}, "spec": set(), "status": set()}


def test_conditions_and_finalizers_of_others_stay(nova):
    foreign = {"type": "Checked", "status": "True", "reason": "Checked", "message": "by somebody",
               "lastTransitionTime": "2024-01-15T10:30:00Z"}
    main = {**pool("main", "10.200.0.0/24"), "metadata": {"name": "main", "finalizers": ["example.com/mine"]}}
    nova.admin.create("proxyippools", main)
    nova.wait_pool("main", reason="PoolReady")
    for kind, name, first in (("proxyippools", "main", "Ready"), ("proxyvips", "web-vip", "Bound")):
        if kind == "proxyvips":
            nova.apply(vip("web-vip", "main"))
            nova.wait_bound("web-vip")
        conditions = nova.admin.get(kind, name)["status"]["conditions"]
        nova.admin.patch(kind, name, {"status": {"conditions": [foreign, *conditions]}}, subresource="status")
        assert condition(nova.admin.get(kind, name), first)
    nova.apply(vip("web-vip", "main", "10.200.0.9/32"))
    nova.apply(vip("other", "main"))
    nova.wait_bound("web-vip", "10.200.0.9/32")
    pool_now = nova.wait_pool("main", allocated=2)
    assert condition(pool_now, "Checked") == foreign and condition(nova.admin.get("proxyvips", "web-vip"), "Checked") == foreign
    assert "example.com/mine" in pool_now["metadata"]["finalizers"]
    nova.kubectl("delete", "proxyvip", "--all")
    nova.kubectl("delete", "proxyippool", "main", "--wait=false")
    nova.wait("proxyippools", "main", lambda seen: seen["metadata"]["finalizers"] == ["example.com/mine"], "lost our finalizer")
