"""What a user sees of a VIP: addresses that were exchanged while nobody wrote, refusals as conditions, a definition that lets no
status be written, an edit that is no undoing, a status that was put back from a backup."""
import contextlib
import http.client
import socket
import subprocess

import pytest

from cluster import paths
from cluster.api import wait_for
from cluster.cluster import condition
from cluster.objects import pool, vip
from harness.protos import ipam as pb

SPARE = 9


# ---- Helpers

def held(host, name):
    """What ipamd holds for a VIP."""
    claims = host.ipam().GetClaims(pb.GetClaimsRequest(owner=pb.Owner(kind="ProxyVIP", name=name))).claims
    return [claim.address for claim in claims if claim.state == pb.BOUND]


def shows(kube, name):
    """The addresses in a VIP's status, and whether it says that they are its own."""
    seen = kube.admin.get("proxyvips", name)
    status = seen.get("status", {})
    addresses = [status[field] for field in ("allocatedAddress", "allocatedIPv6Address") if field in status]
    return condition(seen, "Bound").get("status"), addresses


def text(family, number):
    return f"10.97.0.{number}" if family == "ipv4" else f"2001:db8::{number}"


def field(family):
    return "address" if family == "ipv4" else "ipv6Address"


def make(kube, *wanted, families=("ipv4",)):
    """A pool, and a VIP for each name with address number i + 1 of each family."""
    kube.put(pool("sw", "10.97.0.0/28", "2001:db8::/124"))
    kube.put([vip(name, "sw", family="dual" if len(families) == 2 else families[0],
                  **{field(family): text(family, number) for family in families}) for number, name in enumerate(wanted, 1)])
    for name in wanted:
        wait_for(lambda name=name: shows(kube, name)[0] == "True", f"{name} is bound")


def move(kube, host, name, number, families=("ipv4",)):
    """By kubectl, and ipamd has done it."""
    spec = ",".join(f'"{field(family)}":"{text(family, number)}"' for family in families)
    kube.kubectl("patch", "proxyvip", name, "--type=merge", "-p", '{"spec":{%s}}' % spec)
    bits = {"ipv4": 32, "ipv6": 128}
    wait_for(lambda: set(held(host, name)) >= {f"{text(family, number)}/{bits[family]}" for family in families},
             f"{name} has {number}")


def exchange(kube, host, moves, families=("ipv4",)):
    """{name: number}, in an order in which each address is free: the first goes by way of the spare one."""
    first, *others = moves
    move(kube, host, first, SPARE, families)
    for name in reversed(others):
        move(kube, host, name, moves[name], families)
    move(kube, host, first, moves[first], families)


def wait_all_right(kube, host, names):
    def all_right():
        return all(shows(kube, name) == ("True", held(host, name)) for name in names)

    wait_for(all_right, "every status says what ipamd says",
             show=lambda _: "\n".join(f"{name}: ipamd {held(host, name)}, status {shows(kube, name)}" for name in names))


# ---- Tests: exchanged addresses

@pytest.mark.parametrize("count", [2, 3, 4])
def test_vips_that_exchanged_addresses_while_nobody_wrote_each_show_their_own(kube, host, recorder, count):
    names = [f"v{number}" for number in range(count)]
    make(kube, *names)
    host.status_writer.stop()
    exchange(kube, host, {name: (number + 1) % count + 1 for number, name in enumerate(names)})
    host.status_writer.start()
    wait_all_right(kube, host, names)
    kube.kubectl("wait", "--for=condition=Bound", "--timeout=10s", *(f"proxyvip/{name}" for name in names))


def test_both_families_exchanged_and_one_family_exchanged(kube, host, recorder):
    both = ("ipv4", "ipv6")
    make(kube, "a", "b", "c", families=both)
    host.status_writer.stop()
    exchange(kube, host, {"a": 2, "b": 1}, both)
    exchange(kube, host, {"b": 3, "c": 1}, ("ipv6",))
    host.status_writer.start()
    wait_all_right(kube, host, ("a", "b", "c"))


def test_a_chain_into_a_cycle(kube, host, recorder):
    make(kube, "a", "b", "c", "d")
    host.status_writer.stop()
    exchange(kube, host, {"c": 4, "d": 3})
    move(kube, host, "b", 5)
    move(kube, host, "a", 2)
    host.status_writer.start()
    wait_all_right(kube, host, ("a", "b", "c", "d"))


def test_once_unties_a_knot_and_ends(kube, host, recorder):
    make(kube, "a", "b")
    host.status_writer.stop()
    exchange(kube, host, {"a": 2, "b": 1})
    done = subprocess.run(host.status_writer.command("--once"), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert [shows(kube, name) for name in ("a", "b")] == [("True", ["10.97.0.2/32"]), ("True", ["10.97.0.1/32"])]


# ---- Tests: refusals

def wait_condition(kube, name, kind, reason, generation):
    def holds(seen):
        found = condition(seen, kind)
        return (found.get("reason"), found.get("observedGeneration")) == (reason, generation)

    seen = kube.wait("proxyvips", name, holds, f"has {kind} {reason} at generation {generation}")
    assert condition(seen, kind)["status"] == "False"
    return seen


def test_a_refused_edit_is_a_condition_beside_the_address_that_is_kept(kube, host, recorder):
    make(kube, "a", "b")
    kube.kubectl("patch", "proxyvip", "a", "--type=merge", "-p", '{"spec":{"address":"10.97.0.2"}}')
    seen = wait_condition(kube, "a", "SpecAccepted", "AddressInUse", 2)
    assert condition(seen, "SpecAccepted")["message"] == (
        "address in use: 10.97.0.2 is held by ProxyVIP/b; ask for another address, or release it first. "
        "Address 10.97.0.1/32 is kept")
    assert shows(kube, "a") == ("True", ["10.97.0.1/32"]) and condition(seen, "Bound")["observedGeneration"] == 1
    host.status_writer.kill9()
    host.status_writer.start()
    kube.admin.delete("proxyvips", "b")
    kube.wait("proxyvips", "a", lambda seen: not condition(seen, "SpecAccepted"), "has nothing to complain about")
    bound = condition(kube.admin.get("proxyvips", "a"), "Bound")
    assert (bound["status"], bound["observedGeneration"]) == ("True", 2) and held(host, "a") == ["10.97.0.2/32"]


def test_a_vip_that_is_refused_outright_says_why(kube, hosts):
    host = hosts(kube)
    host.daemon.start("--max-claims", "ProxyVIP=1")
    host.status_writer.start()
    host.watcher.start()
    kube.put([pool("sw", "10.97.0.0/28"), vip("a", "sw")])
    kube.wait_bound("a")
    kube.put(vip("b", "sw"))
    assert "limit exceeded" in condition(wait_condition(kube, "b", "Bound", "LimitExceeded", 1), "Bound")["message"]
    kube.put(vip("half", address="10.99.0.5", family="dual"))
    wait_condition(kube, "half", "Bound", "InvalidRequest", 1)


def test_an_address_of_the_wrong_family_is_observed(kube, host):
    kube.put([pool("sw", "10.97.0.0/28", "2001:db8::/124"), vip("four", "sw", "2001:db8::5"),
              vip("six", "sw", "10.97.0.5", family="ipv6")])
    for name in ("four", "six"):
        wait_condition(kube, name, "Bound", "InvalidAddress", 1)


def test_vips_that_ask_for_nothing_say_so(novaedge_crds, hosts):
    kube = novaedge_crds
    hosts(kube).start()
    kube.put([pool("nb", "10.91.0.0/29"), vip("never"), vip("waits", "nb", "10.91.0.9"), vip("had", "nb")])
    kube.wait_unbound("waits", "AddressNotInPool")
    kube.wait_bound("had")
    wait_condition(kube, "never", "Bound", "NoAddressRequested", 1)
    for name in ("waits", "had"):
        kube.admin.patch("proxyvips", name, {"spec": {"poolRef": None, "address": None}})
        wait_condition(kube, name, "Bound", "NoAddressRequested", 2)
    assert shows(kube, "had") == ("False", [])


def test_a_pool_that_is_being_deleted_has_observed_it(kube, host):
    make(kube, "a")
    kube.kubectl("delete", "proxyippool", "sw", "--wait=false")
    seen = kube.wait_pool("sw", reason="Terminating")
    kube.wait("proxyippools", "sw", lambda seen: seen["status"]["observedGeneration"] == seen["metadata"]["generation"],
              "has observed its deletion")
    assert seen["metadata"]["generation"] == 2


# ---- Tests: a definition without the status subresource

def page(address, path):
    """Of the status-writer's health socket."""
    with contextlib.closing(http.client.HTTPConnection("localhost")) as connection:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(address))
        connection.request("GET", path)
        return connection.getresponse().read().decode()


@pytest.fixture
def without_status(kube):
    """The definition of VIPs lacks its status subresource."""
    change_status(kube, None)
    yield kube
    change_status(kube, {"status": {}})


def change_status(kube, subresources):
    definition = kube.admin.get("customresourcedefinitions", "proxyvips.novaedge.io")
    version = definition["spec"]["versions"][0]
    version.pop("subresources", None)
    if subresources:
        version["subresources"] = subresources
    kube.admin.replace("customresourcedefinitions", definition)

    def goes_by_it():
        path = "/apis/novaedge.io/v1alpha1"
        names = [found["name"] for found in kube.admin.call("GET", path)["resources"]]
        return ("proxyvips/status" in names) == bool(subresources)

    wait_for(goes_by_it, "the server goes by the definition", 30)


def test_a_definition_without_a_status_subresource_is_told_and_mended(without_status, hosts):
    kube = without_status
    host = hosts(kube)
    health = host.daemon.folder / "health"
    host.daemon.start()
    host.watcher.start()
    host.status_writer.start("--health", health)
    kube.put([pool("sw", "10.97.0.0/28"), vip("a", "sw")])
    host.status_writer.wait_log("ProxyVIP: .*proxyvips.novaedge.io has no status subresource")
    assert "has no status subresource" in page(health, "/readyz")
    assert 'ipam_status_passes_total{kind="ProxyVIP",outcome="gone"} 0\n' in page(health, "/metrics")
    assert 'ipam_status_passes_total{kind="ProxyVIP",outcome="no_status"} 0\n' not in page(health, "/metrics")
    done = subprocess.run(host.status_writer.command("--once"), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0 and "has no status subresource" in done.stderr
    change_status(kube, {"status": {}})
    kube.wait_bound("a", "10.97.0.1/32", 40)
    host.status_writer.wait_log("ProxyVIP: well again")
    assert "status subresource" not in page(health, "/readyz")


# ---- Tests: whose it is

def test_an_edit_is_no_undoing(kube, host):
    """The pause after an undoing doubles up to 8 s; here the tenth answer comes as soon as the first."""
    make(kube, "a")
    for number in range(10):
        kube.admin.patch("proxyvips", "a", {"spec": {"ports": [81 + number]}})
        kube.wait("proxyvips", "a", lambda seen: condition(seen, "Bound")["observedGeneration"] == seen["metadata"]["generation"],
                  "is up to date", 3)


def test_a_restored_status_is_adopted(kube, host, recorder):
    """What managedFields say of it, not what the condition's message says."""
    make(kube, "a")
    kept = kube.admin.get("proxyvips", "a")
    host.status_writer.stop()
    host.watcher.stop()
    kube.admin.delete("proxyvips", "a")
    kube.admin.create("proxyvips", vip("a", "sw", "10.97.0.1"))
    status = kept["status"]
    status["conditions"][0].update(message="in other words")
    kube.admin.patch("proxyvips", "a", {"status": status}, subresource="status")
    host.watcher.start()
    host.status_writer.start()

    def managers():
        return {entry["manager"] for entry in kube.admin.get("proxyvips", "a")["metadata"]["managedFields"]
                if "f:allocatedAddress" in entry["fieldsV1"].get("f:status", {})}

    wait_for(lambda: "ipam-status-writer" in managers(), "the writer has adopted the address", show=lambda _: str(managers()))
    assert shows(kube, "a") == ("True", ["10.97.0.1/32"])


def test_an_address_that_another_program_wrote_is_not_taken_away(kube, host):
    kube.put(vip("a", "late"))
    kube.wait_unbound("a", "PoolNotFound")
    status = {"allocatedAddress": "192.0.2.7/32"}
    kube.admin.patch("proxyvips", "a", {"status": status}, subresource="status")
    kube.admin.patch("proxyvips", "a", {"spec": {"poolRef": {"name": "later"}}})
    wait_condition(kube, "a", "Bound", "PoolNotFound", 2)
    assert shows(kube, "a") == ("False", ["192.0.2.7/32"])
    kube.put(pool("later", "10.97.0.0/28"))
    kube.wait_bound("a", "10.97.0.1/32")


def test_columns_show_addresses_of_both_families(kube, host):
    kube.put([pool("sw", "10.97.0.0/28", "2001:db8::/124"), vip("four", "sw"), vip("six", "sw", family="ipv6")])
    wait_for(lambda: shows(kube, "six")[0] == shows(kube, "four")[0] == "True", "both are bound")
    rows = {line.split()[0]: line for line in kube.kubectl("get", "proxyvip").stdout.splitlines()}
    assert "10.97.0.1/32" in rows["four"] and "2001:db8::/128" in rows["six"]
    assert rows["NAME"].split()[:4] == ["NAME", "ADDRESS", "IPV6-ADDRESS", "POOL"]
