"""What can't be granted says so in the VIP's condition Bound, with a reason of its own and what to do about it; once that is
done the VIP gets its address, without anybody touching the VIP."""
import re

import pytest

from cluster.api import ApiError
from cluster.cluster import condition
from cluster.objects import pool, vip
from harness.paths import REFERENCE

# ---- Helpers

def fail_with(kube, name, reason, message):
    """Waits for the refusal; the message is a regular expression of the whole."""
    seen = kube.wait_unbound(name, reason)
    assert re.fullmatch(message, seen), seen
    unbound = kube.admin.get("proxyvips", name)
    assert "allocatedAddress" not in unbound["status"]
    return unbound


def recovers(kube, name, address, before):
    """Bound, and nobody wrote the VIP's spec or metadata meanwhile."""
    kube.wait_bound(name, address)
    after = kube.admin.get("proxyvips", name)
    for item in (before, after):
        for noise in ("resourceVersion", "managedFields"):
            item["metadata"].pop(noise, None)
    assert (after["spec"], after["metadata"]) == (before["spec"], before["metadata"])


def ready_message(kube, name, reason):
    return condition(kube.wait_pool(name, reason=reason), "Ready")["message"]


def edit_pool(kube, name, **spec):
    kube.admin.patch("proxyippools", name, {"spec": spec})


# ---- Tests: the pool

def test_a_pool_that_is_missing_and_then_created(kube, host):
    kube.put(vip("web-vip", "late-pool"))
    before = fail_with(kube, "web-vip", "PoolNotFound",
                       "pool not found: there is no pool late-pool; apply it first, or name another")
    kube.put(pool("late-pool", "10.201.0.0/24"))
    recovers(kube, "web-vip", "10.201.0.1/32", before)


def test_an_exhausted_pool_that_grows_serves_who_waited_first(kube, host):
    kube.put([pool("small", "10.201.0.0/30"), vip("a", "small"), vip("b", "small")])
    assert {kube.wait_bound("a"), kube.wait_bound("b")} == {"10.201.0.1/32", "10.201.0.2/32"}
    before = {}
    for name in ("z-third", "y-fourth", "x-fifth"):
        kube.put(vip(name, "small"))
        before[name] = fail_with(kube, name, "PoolExhausted", r"pool exhausted: small has no free ipv4 address \(2 of 2 "
                                 "allocated\\); release addresses, add addresses to the pool, or use another pool")
    full = kube.wait_pool("small", allocated=2, available=0, waiting=3)
    assert condition(full, "Exhausted")["status"] == "True"
    edit_pool(kube, "small", cidrs=["10.201.0.0/30", "10.201.1.0/30"])
    recovers(kube, "z-third", "10.201.1.1/32", before["z-third"])
    recovers(kube, "y-fourth", "10.201.1.2/32", before["y-fourth"])
    fail_with(kube, "x-fifth", "PoolExhausted", "pool exhausted: small .*")
    edit_pool(kube, "small", addresses=["10.201.2.7"])
    recovers(kube, "x-fifth", "10.201.2.7/32", before["x-fifth"])
    edit_pool(kube, "small", addresses=["10.201.2.7", "10.201.2.8"])
    roomy = kube.wait_pool("small", allocated=5, available=1, waiting=0)
    assert condition(roomy, "Exhausted")["status"] == "False"


def test_an_exhausted_pool_serves_who_waits_when_a_vip_goes(kube, host):
    kube.put([pool("small", addresses=["10.201.0.1"]), vip("a", "small")])
    kube.wait_bound("a", "10.201.0.1/32")
    kube.put(vip("b", "small"))
    before = fail_with(kube, "b", "PoolExhausted", "pool exhausted: small .*")
    kube.admin.delete("proxyvips", "a")
    recovers(kube, "b", "10.201.0.1/32", before)


def test_a_pool_that_assigns_nothing_by_itself_and_then_does(kube, host):
    kube.apply(REFERENCE / "external-vip-pool.yaml")
    kube.put(vip("web-vip", "external-vip-pool"))
    before = fail_with(kube, "web-vip", "AutoAssignDisabled",
                       "auto assign disabled: external-vip-pool gives no ipv4 address by itself; ask for a certain address, or "
                       "set autoAssign: true")
    edit_pool(kube, "external-vip-pool", autoAssign=True)
    recovers(kube, "web-vip", "203.0.113.10/32", before)


def test_a_family_that_the_pool_lacks_and_then_gets(kube, host):
    kube.put([pool("main", "10.201.0.0/24"), vip("six", "main", family="ipv6"), vip("both", "main", family="dual")])
    wanted = "family not in pool: main has no ipv6 addresses; ask for another family, or add ipv6 addresses to the pool"
    fail_with(kube, "six", "FamilyNotInPool", wanted)
    before = fail_with(kube, "both", "FamilyNotInPool", wanted)
    kube.wait_pool("main", allocated=0)
    edit_pool(kube, "main", cidrs=["10.201.0.0/24", "2001:db8:1::/126"])
    recovers(kube, "both", "10.201.0.1/32", before)
    given = [kube.wait("proxyvips", name, lambda seen: seen["status"].get("allocatedIPv6Address"), "has an IPv6 address")
             ["status"]["allocatedIPv6Address"] for name in ("six", "both")]
    assert sorted(given) == ["2001:db8:1::/128", "2001:db8:1::1/128"]


def test_a_paused_pool_that_is_resumed(kube, host):
    kube.put([pool("main", "10.201.0.0/24", paused=True), vip("web-vip", "main"), vip("asks", "main", "10.201.0.9/32")])
    before = fail_with(kube, "web-vip", "PoolPaused",
                       "pool paused: main chooses no ipv4 address for now; resume it, or ask for a certain address")
    kube.wait_bound("asks", "10.201.0.9/32")
    edit_pool(kube, "main", paused=False)
    recovers(kube, "web-vip", "10.201.0.1/32", before)


# ---- Tests: a pool that is not accepted

def overlapping(kube):
    kube.put(pool("older", "10.201.0.0/24"))
    kube.wait_pool("older", reason="PoolReady")
    kube.put([pool("newer", "10.201.0.128/25", "10.202.0.0/24"), vip("web-vip", "newer")])
    message = ready_message(kube, "newer", "PoolOverlap")
    assert re.fullmatch(r"pool overlaps: newer and older both have 10\.201\.0\.1(28|29)-10\.201\.0\.254; take it out of one of "
                        "them", message), message
    kube.wait_pool("newer", allocated=0, available=0)
    return fail_with(kube, "web-vip", "PoolRejected",
                     r"pool rejected: newer was never accepted \(pool overlaps: .*; take it out of one of them\); .+")


def test_an_overlapping_pool_that_is_mended(kube, host):
    before = overlapping(kube)
    edit_pool(kube, "newer", cidrs=["10.202.0.0/24"])
    recovers(kube, "web-vip", "10.202.0.1/32", before)
    assert ready_message(kube, "newer", "PoolReady") == "Pool has 253 available addresses"


def test_an_overlapping_pool_whose_rival_is_mended(kube, host):
    before = overlapping(kube)
    edit_pool(kube, "older", cidrs=["10.201.0.0/25"])
    recovers(kube, "web-vip", "10.201.0.129/32", before)
    assert ready_message(kube, "newer", "PoolReady")
    assert kube.admin.get("proxyippools", "newer")["metadata"]["generation"] == 1


def test_an_overlapping_pool_whose_rival_is_deleted(kube, host):
    before = overlapping(kube)
    kube.admin.delete("proxyippools", "older")
    recovers(kube, "web-vip", "10.201.0.129/32", before)


def test_an_invalid_cidr_that_is_mended(kube, host):
    kube.put([pool("main", "10.201.0.5/24"), vip("web-vip", "main")])
    assert re.fullmatch(r"invalid pool spec: main: cidrs: .*10\.201\.0\.5/24.*10\.201\.0\.0/24.*",
                        ready_message(kube, "main", "InvalidPoolSpec"))
    before = fail_with(kube, "web-vip", "PoolRejected", r"pool rejected: main was never accepted \(invalid pool spec: .*; .+")
    edit_pool(kube, "main", cidrs=["10.201.0.0/24"])
    recovers(kube, "web-vip", "10.201.0.1/32", before)
    assert ready_message(kube, "main", "PoolReady") == "Pool has 253 available addresses"


def test_an_edit_that_is_not_accepted_leaves_the_pool_as_it_was(kube, host):
    kube.put([pool("older", "10.201.0.0/24"), pool("main", "10.202.0.0/24"), vip("a", "main")])
    kube.wait_bound("a", "10.202.0.1/32")
    edit_pool(kube, "main", cidrs=["10.201.0.0/16"])
    message = ready_message(kube, "main", "PoolOverlap")
    assert message.endswith("Until then the specification before stays in force, with 253 available addresses")
    kube.put(vip("b", "main"))
    kube.wait_bound("b", "10.202.0.2/32")
    edit_pool(kube, "main", cidrs=["10.202.0.0/23"])
    assert ready_message(kube, "main", "PoolReady") == "Pool has 508 available addresses"
    kube.wait_bound("a", "10.202.0.1/32")


def test_a_pool_without_any_addresses_is_refused_at_once(kube):
    with pytest.raises(ApiError) as refusal:
        kube.admin.create("proxyippools", pool("empty"))
    assert refusal.value.status == 422


# ---- Tests: a certain address

def test_an_address_in_use_goes_to_who_asked_first_when_it_is_freed(kube, host):
    kube.put([pool("main", "10.201.0.0/24"), vip("holder", "main", "10.201.0.50/32")])
    kube.wait_bound("holder", "10.201.0.50/32")
    before = {}
    for name in ("z-first", "a-second"):
        kube.put(vip(name, "main", "10.201.0.50/32"))
        before[name] = fail_with(kube, name, "AddressInUse", r"address in use: 10\.201\.0\.50 is held by ProxyVIP/holder; .+")
    kube.admin.delete("proxyvips", "holder")
    recovers(kube, "z-first", "10.201.0.50/32", before["z-first"])
    kube.wait("proxyvips", "a-second", lambda seen: "ProxyVIP/z-first" in condition(seen, "Bound")["message"],
              "names the new holder")
    kube.admin.delete("proxyvips", "z-first")
    recovers(kube, "a-second", "10.201.0.50/32", before["a-second"])


def test_an_address_outside_the_pool_that_the_pool_then_gets(kube, host):
    kube.put([pool("main", "10.201.0.0/24"), vip("web-vip", "main", "10.202.0.7/32")])
    before = fail_with(kube, "web-vip", "AddressNotInPool",
                       r"address not in pool: 10\.202\.0\.7 does not lie in main; ask for an address of the pool")
    edit_pool(kube, "main", addresses=["10.202.0.7"])
    recovers(kube, "web-vip", "10.202.0.7/32", before)


def test_an_excluded_address_that_is_no_longer_excluded(kube, host):
    kube.put([pool("main", "10.201.0.0/24", excludedAddresses=["10.201.0.0/28"]), vip("web-vip", "main", "10.201.0.9/32")])
    before = fail_with(kube, "web-vip", "AddressExcluded",
                       r"address excluded: main excludes 10\.201\.0\.9; ask for another address")
    edit_pool(kube, "main", excludedAddresses=None)
    recovers(kube, "web-vip", "10.201.0.9/32", before)


def test_a_released_address_that_cools_down(kube, host):
    kube.put([pool("main", addresses=["10.201.0.9"], reuseDelaySeconds=3), vip("first", "main")])
    kube.wait_bound("first", "10.201.0.9/32")
    kube.admin.delete("proxyvips", "first")
    kube.put(vip("second", "main", "10.201.0.9/32"))
    before = fail_with(kube, "second", "AddressCooling",
                       r"address cooling: 10\.201\.0\.9 was released by ProxyVIP/first and is kept from others until 20\S+Z; .+")
    recovers(kube, "second", "10.201.0.9/32", before)


def test_what_is_no_address_is_told_and_mended_in_the_vip(kube, host):
    kube.put([pool("main", "10.201.0.0/24"), vip("web-vip", "main", "10.201.0.300/32")])
    fail_with(kube, "web-vip", "InvalidAddress", r'invalid address: .*10\.201\.0\.300.*; .+')
    kube.put(vip("web-vip", "main", "10.201.0.30/32"))
    kube.wait_bound("web-vip", "10.201.0.30/32")


# ---- Tests: manual VIPs

def test_two_vips_with_the_same_manual_address(kube, host):
    kube.put(vip("one", address="192.0.2.7/32"))
    kube.wait_bound("one", "192.0.2.7/32")
    kube.put(vip("two", address="192.0.2.7/32"))
    before = fail_with(kube, "two", "AddressInUse", r"address in use: 192\.0\.2\.7 is held by ProxyVIP/one; .+")
    kube.admin.delete("proxyvips", "one")
    recovers(kube, "two", "192.0.2.7/32", before)


def test_a_manual_address_that_a_pool_covers_later(kube, host):
    kube.put(vip("manual", address="10.201.0.2/32"))
    kube.wait_bound("manual", "10.201.0.2/32")
    manual = kube.admin.get("proxyvips", "manual")
    kube.put([pool("main", "10.201.0.0/29"), vip("asks", "main", "10.201.0.2/32")])
    covered = kube.wait_pool("main", reason="PoolReady", allocated=1, available=5)["status"]
    assert [(a["address"], a["vipRef"]) for a in covered["allocations"]] == [("10.201.0.2/32", "manual")]
    before = fail_with(kube, "asks", "AddressInUse", r"address in use: 10\.201\.0\.2 is held by ProxyVIP/manual; .+")
    kube.put([vip(f"auto-{number}", "main") for number in range(5)])
    given = {kube.wait_bound(f"auto-{number}") for number in range(5)}
    assert given == {f"10.201.0.{n}/32" for n in (1, 3, 4, 5, 6)}
    recovers(kube, "manual", "10.201.0.2/32", manual)
    kube.admin.delete("proxyvips", "manual")
    recovers(kube, "asks", "10.201.0.2/32", before)
