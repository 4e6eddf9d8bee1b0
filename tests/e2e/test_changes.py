"""Objects that change: the VIP gets what it asks for now, gives back what it had, and never has or shows two of a family."""
import pytest

from cluster.api import wait_for
from cluster.cluster import condition
from cluster.objects import pool, vip
from harness.protos import ipam as pb

FINALIZER = "ipam.novaedge.io/pool-protection"
FIELDS = ("allocatedAddress", "allocatedIPv6Address")


# ---- Fixture

@pytest.fixture
def two_pools(kube, host, recorder):
    """Pools a and b, of both families, and the VIP web-vip with an address of a."""
    kube.put([pool("a", "10.1.0.0/24", "2001:db8:1::/120"), pool("b", "10.2.0.0/24", "2001:db8:2::/120"), vip("web-vip", "a")])
    kube.wait_bound("web-vip", "10.1.0.1/32")
    return kube


# ---- Helpers

def held(host, name="web-vip"):
    """What ipamd holds for a VIP, waiting claims as their reasons."""
    claims = host.ipam().GetClaims(pb.GetClaimsRequest(owner=pb.Owner(kind="ProxyVIP", name=name))).claims
    return [claim.address if claim.state == pb.BOUND else claim.reason for claim in claims]


def wait_shows(kube, name, *addresses):
    """Waits until the VIP's status shows these addresses of the two families (None: none) and is Bound."""
    def shows(seen):
        status = seen.get("status", {})
        return condition(seen, "Bound").get("status") == "True" and tuple(status.get(field) for field in FIELDS) == addresses

    return kube.wait("proxyvips", name, shows, f"is Bound with {addresses}")


def wait_allocated(kube, **counts):
    """Waits until the pools' statuses count so many allocations, list as many, and nobody waits."""
    for name, count in counts.items():
        def holds(seen, count=count):
            status = seen.get("status", {})
            return status.get("allocated") == len(status.get("allocations", [])) == count and status["waiting"] == 0

        kube.wait("proxyippools", name, holds, f"has {count} allocations")


def history(recorder, name="web-vip"):
    recorder.catch_up()
    return recorder.addresses(name)


def told(kube, name, reason):
    """The messages of the Events of an object."""
    return [event["message"] for event in kube.admin.items("events", "default")
            if event["involvedObject"]["name"] == name and event["reason"] == reason]


# ---- Tests: another pool, address, family

def test_another_pool_ref(two_pools, host, recorder):
    kube = two_pools
    kube.put(vip("web-vip", "b"))
    kube.wait_bound("web-vip", "10.2.0.1/32")
    assert held(host) == ["10.2.0.1/32"]
    wait_allocated(kube, a=0, b=1)
    kube.put(vip("next-vip", "a"))
    kube.wait_bound("next-vip", "10.1.0.1/32")
    assert history(recorder) == [None, "10.1.0.1/32", "10.2.0.1/32"]


def test_another_address(two_pools, host, recorder):
    kube = two_pools
    kube.put(vip("web-vip", "a", "10.1.0.50/32"))
    kube.wait_bound("web-vip", "10.1.0.50/32")
    kube.put(vip("waits", "a", "10.1.0.50/32"))
    kube.wait_unbound("waits", "AddressInUse")
    kube.put(vip("web-vip", "a", "10.1.0.60/32"))
    kube.wait_bound("web-vip", "10.1.0.60/32")
    kube.wait_bound("waits", "10.1.0.50/32")
    assert held(host) == ["10.1.0.60/32"]
    wait_allocated(kube, a=2)
    assert history(recorder) == [None, "10.1.0.1/32", "10.1.0.50/32", "10.1.0.60/32"]


def test_an_address_that_is_no_longer_asked_for_is_kept(two_pools, host, recorder):
    kube = two_pools
    kube.put(vip("web-vip", "a", "10.1.0.50/32"))
    kube.wait_bound("web-vip", "10.1.0.50/32")
    kube.put(vip("web-vip", "a"))
    kube.wait("proxyvips", "web-vip", lambda seen: condition(seen, "Bound").get("observedGeneration") == 3, "is looked at")
    assert held(host) == ["10.1.0.50/32"] and history(recorder) == [None, "10.1.0.1/32", "10.1.0.50/32"]


def test_from_a_pool_to_a_manual_address_and_back(two_pools, host, recorder):
    kube = two_pools
    kube.admin.patch("proxyvips", "web-vip", {"spec": {"poolRef": None, "address": "192.0.2.7/32"}})
    bound = wait_shows(kube, "web-vip", "192.0.2.7/32", None)
    assert condition(bound, "Bound")["message"] == "Address 192.0.2.7/32 allocated as requested, without a pool"
    wait_allocated(kube, a=0)
    kube.admin.patch("proxyvips", "web-vip", {"spec": {"poolRef": {"name": "a"}, "address": None}})
    wait_shows(kube, "web-vip", "10.1.0.1/32", None)
    assert held(host) == ["10.1.0.1/32"]
    assert history(recorder) == [None, "10.1.0.1/32", "192.0.2.7/32", "10.1.0.1/32"]


def test_to_dual_and_back(two_pools, host, recorder):
    kube = two_pools
    kube.put(vip("web-vip", "a", family="dual"))
    wait_shows(kube, "web-vip", "10.1.0.1/32", "2001:db8:1::/128")
    wait_allocated(kube, a=2)
    kube.put(vip("web-vip", "a", family="ipv4"))
    wait_shows(kube, "web-vip", "10.1.0.1/32", None)
    wait_allocated(kube, a=1)
    assert held(host) == ["10.1.0.1/32"] and history(recorder) == [None, "10.1.0.1/32"]


def test_to_the_other_family_by_way_of_both(two_pools, host):
    kube = two_pools
    kube.put(vip("web-vip", "a", family="dual"))
    wait_shows(kube, "web-vip", "10.1.0.1/32", "2001:db8:1::/128")
    kube.put(vip("web-vip", "a", family="ipv6"))
    wait_shows(kube, "web-vip", None, "2001:db8:1::/128")
    wait_allocated(kube, a=1)
    kube.put(vip("web-vip", "b", family="ipv4"))
    wait_shows(kube, "web-vip", "10.2.0.1/32", None)
    wait_allocated(kube, a=0, b=1)
    assert held(host) == ["10.2.0.1/32"]


def test_both_families_move_to_another_pool_together(two_pools, host, recorder):
    kube = two_pools
    kube.put(vip("web-vip", "a", family="dual"))
    wait_shows(kube, "web-vip", "10.1.0.1/32", "2001:db8:1::/128")
    kube.put(vip("web-vip", "b", family="dual"))
    wait_shows(kube, "web-vip", "10.2.0.1/32", "2001:db8:2::/128")
    wait_allocated(kube, a=0, b=2)
    recorder.catch_up()
    seen = [tuple(status.status.get(field) for field in FIELDS) for status in recorder.statuses("web-vip")]
    assert ("10.1.0.1/32", "2001:db8:2::/128") not in seen and ("10.2.0.1/32", "2001:db8:1::/128") not in seen


def test_a_change_that_can_not_be_had_keeps_the_address_until_it_can(two_pools, host, recorder):
    kube = two_pools
    kube.put(vip("holder", "b", "10.2.0.9/32"))
    kube.wait_bound("holder", "10.2.0.9/32")
    kube.put(vip("web-vip", "b", "10.2.0.9/32"))
    messages = wait_for(lambda: told(kube, "web-vip", "AllocationRefused"), "an Event says why")
    assert "10.2.0.9 is held by ProxyVIP/holder; it keeps 10.1.0.1/32" in messages[0]
    assert held(host) == ["10.1.0.1/32"]
    kube.admin.delete("proxyvips", "holder")
    kube.wait_bound("web-vip", "10.2.0.9/32")
    wait_allocated(kube, a=0, b=1)
    assert history(recorder) == [None, "10.1.0.1/32", "10.2.0.9/32"]


def test_many_changes_in_quick_succession_end_where_the_last_one_says(two_pools, host, recorder):
    kube = two_pools
    for number in range(40):
        kube.admin.patch("proxyvips", "web-vip", {"spec": {"poolRef": {"name": "ab"[number % 2]}}})
    kube.admin.patch("proxyvips", "web-vip", {"spec": {"poolRef": {"name": "b"}, "address": "10.2.0.77/32"}})
    kube.wait_bound("web-vip", "10.2.0.77/32")
    wait_allocated(kube, a=0, b=1)
    assert held(host) == ["10.2.0.77/32"]


def test_a_pools_status_counts_what_it_lists_at_every_moment(kube, hosts, recorder):
    hosts(kube, status_writer={"options": ("--pool-interval", 0)}).start()
    names = [f"vip-{number}" for number in range(5)]
    kube.put([pool("a", "10.1.0.0/24"), pool("b", "10.2.0.0/24"), *(vip(name, "a") for name in names)])
    for target in "babab":
        for name in names:
            kube.admin.patch("proxyvips", name, {"spec": {"poolRef": {"name": target}}})
        wait_allocated(kube, **{target: 5, "ab".replace(target, ""): 0})
    recorder.catch_up()
    seen = [status.status for name in ("a", "b") for status in recorder.pool_statuses(name) if status.status]
    assert len(seen) > 10
    assert [status for status in seen if status["allocated"] != len(status.get("allocations", []))] == []


# ---- Tests: deleted and created again

def test_recreated_in_one_breath_it_has_one_address(two_pools, host, recorder):
    kube = two_pools
    for _ in range(10):
        kube.admin.delete("proxyvips", "web-vip")
        uid = kube.admin.create("proxyvips", vip("web-vip", "a"))["metadata"]["uid"]
    kube.wait_bound("web-vip", "10.1.0.1/32")

    def is_the_new_ones():
        claims = host.ipam().GetClaims(pb.GetClaimsRequest(owner=pb.Owner(kind="ProxyVIP", name="web-vip"))).claims
        return [(claim.owner.uid, claim.address) for claim in claims] == [(uid, "10.1.0.1/32")]

    wait_for(is_the_new_ones, "the claim is the new VIP's")
    wait_allocated(kube, a=1)
    assert set(history(recorder)) == {None, "10.1.0.1/32"}


@pytest.mark.parametrize("again, address", [
    (vip("web-vip", "b"), "10.2.0.1/32"), (vip("web-vip", "a", "10.1.0.9/32"), "10.1.0.9/32"),
    (vip("web-vip", address="192.0.2.7/32"), "192.0.2.7/32")], ids=["another pool", "another address", "manual"])
def test_recreated_with_other_terms_it_gets_what_it_asks_for_now(two_pools, host, again, address):
    kube = two_pools
    kube.admin.delete("proxyvips", "web-vip")
    kube.admin.create("proxyvips", again)
    kube.wait_bound("web-vip", address)
    assert held(host) == [address]
    kube.put(vip("next-vip", "a"))
    kube.wait_bound("next-vip", "10.1.0.1/32")


def test_recreated_for_a_pool_that_is_full_it_waits_and_the_old_address_is_given_back(two_pools, host):
    kube = two_pools
    kube.put([pool("full", addresses=["10.3.0.1"]), vip("holder", "full")])
    kube.wait_bound("holder", "10.3.0.1/32")
    kube.admin.delete("proxyvips", "web-vip")
    kube.admin.create("proxyvips", vip("web-vip", "full"))
    kube.wait_unbound("web-vip", "PoolExhausted")
    assert held(host) == ["POOL_EXHAUSTED"]
    wait_allocated(kube, a=0)
    kube.admin.delete("proxyvips", "holder")
    kube.wait_bound("web-vip", "10.3.0.1/32")


# ---- Tests: pools

def test_a_pool_deleted_in_use_is_terminating_until_its_last_vip_goes(two_pools, host):
    kube = two_pools
    kube.put(vip("api-vip", "a", "10.1.0.9/32"))
    kube.wait_bound("api-vip", "10.1.0.9/32")
    kube.kubectl("delete", "proxyippool", "a", "--wait=false")
    seen = kube.wait_pool("a", reason="Terminating", allocated=2)
    assert seen["metadata"]["deletionTimestamp"] and seen["metadata"]["finalizers"] == [FINALIZER]
    kube.put([vip("late", "a"), vip("late-static", "a", "10.1.0.77/32")])
    for name in ("late", "late-static"):
        assert kube.wait_unbound(name, "PoolDraining") == (
            "pool draining: a is being deleted and gives no new address; use another pool")
    kube.admin.delete("proxyvips", "web-vip")
    seen = kube.wait_pool("a", reason="Terminating", allocated=1)
    assert "(1 left)" in condition(seen, "Ready")["message"]
    kube.wait_bound("api-vip", "10.1.0.9/32")
    kube.put(vip("api-vip", "b"))
    kube.wait_bound("api-vip", "10.2.0.1/32")
    kube.wait_gone("proxyippools", "a")
    kube.wait_unbound("late", "PoolNotFound")
    kube.put(pool("a", "10.1.0.0/24"))
    kube.wait_bound("late", "10.1.0.1/32")
    kube.wait_bound("late-static", "10.1.0.77/32")


def test_an_unused_pool_goes_at_once(two_pools, host):
    kube = two_pools
    assert kube.admin.get("proxyippools", "b")["metadata"]["finalizers"] == [FINALIZER]
    kube.kubectl("delete", "proxyippool", "b", "--timeout=10s")
    assert [found.spec.name for found in host.ipam().ListPools(pb.ListPoolsRequest()).pools] == ["a"]


def test_a_pool_shrunk_under_a_vip_says_so_and_the_vip_keeps_its_address(two_pools, host, recorder):
    kube = two_pools
    kube.put(vip("high-vip", "a", "10.1.0.200/32"))
    kube.wait_bound("high-vip", "10.1.0.200/32")
    kube.put(pool("a", "10.1.0.0/25"))
    shrunk = kube.wait_pool("a", reason="PoolReady", capacity=126, allocated=1, available=125, orphaned=1)
    assert condition(shrunk, "Ready")["message"] == (
        "Pool has 125 available addresses; 1 claim keeps an address that the pool no longer has: 10.1.0.200/32 (high-vip)")
    assert [a["vipRef"] for a in shrunk["status"]["allocations"]] == ["web-vip"]
    kube.put(vip("late", "a", "10.1.0.200/32"))
    kube.wait_unbound("late", "AddressNotInPool")
    kube.wait_bound("high-vip", "10.1.0.200/32")
    kube.admin.delete("proxyvips", "high-vip")
    kube.wait_pool("a", allocated=1, orphaned=0)
    assert held(host) == ["10.1.0.1/32"] and history(recorder, "high-vip") == [None, "10.1.0.200/32"]


def test_a_pool_that_grows_back_has_its_vip_again(two_pools, host):
    kube = two_pools
    kube.put(pool("a", "10.1.1.0/24"))
    kube.wait_pool("a", allocated=0, orphaned=1)
    kube.put(pool("a", "10.1.0.0/23"))
    kube.wait_pool("a", allocated=1, orphaned=0, available=509)
    kube.wait_bound("web-vip", "10.1.0.1/32")
