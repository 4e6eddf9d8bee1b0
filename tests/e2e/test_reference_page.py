"""The reference page of IP address pools with real kubectl: its manifests as printed, its status and table to the letter."""
import datetime
import re

import pytest
import yaml

from cluster.api import wait_for
from cluster.objects import pool, vip
from harness.paths import REFERENCE

pytestmark = pytest.mark.core

POOL_STATUS = """
allocated: 3
available: 251
allocations:
  - address: "10.200.0.1/32"
    vipRef: "web-vip"
    allocatedAt: "2024-01-15T10:30:00Z"
  - address: "10.200.0.2/32"
    vipRef: "api-vip"
    allocatedAt: "2024-01-15T10:31:00Z"
  - address: "10.200.0.3/32"
    vipRef: "grpc-vip"
    allocatedAt: "2024-01-15T10:32:00Z"
conditions:
  - type: Ready
    status: "True"
    reason: PoolReady
    message: Pool has 251 available addresses
"""

VIP_STATUS = """
allocatedAddress: "10.200.0.1/32"
conditions:
  - type: Bound
    status: "True"
    reason: AddressAllocated
    message: Address 10.200.0.1/32 allocated from pool main-vip-pool
"""

ALLOCATED_ADDRESSES = r'jsonpath={range .items[*]}{.metadata.name}{"\t"}{.status.allocatedAddress}{"\n"}{end}'
SPEC_ADDRESSES = r'jsonpath={range .items[*]}{.metadata.name}{"\t"}{.spec.address}{"\n"}{end}'


# ---- Helpers

def apply(kube, *names):
    for name in names:
        kube.apply(REFERENCE / f"{name}.yaml")


def assert_shows(seen, printed):
    """All that is printed is there, word for word; what is there beside it may be. A time stands for a time."""
    if isinstance(printed, dict):
        for key, value in printed.items():
            assert key in seen, f"{key} is not in {seen}"
            if key == "allocatedAt":
                assert_is_now(seen[key])
            else:
                assert_shows(seen[key], value)
    elif isinstance(printed, list):
        for value, of in zip(printed, pick(seen, printed), strict=True):
            assert_shows(of, value)
    else:
        assert seen == printed


def pick(seen, printed):
    """Conditions are found by their type, as users do; every other list must be the printed one in full."""
    if printed and "type" in printed[0]:
        by_type = {item["type"]: item for item in seen}
        return [by_type.get(item["type"]) for item in printed]
    return seen


def assert_is_now(text):
    """RFC 3339 as Kubernetes writes times: UTC, whole seconds."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text), text
    at = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    age = datetime.datetime.now(datetime.timezone.utc) - at
    assert datetime.timedelta(seconds=-2) < age < datetime.timedelta(minutes=2), text


def rows(kube, *arguments):
    """A table of kubectl as rows of cells."""
    return [line.split() for line in kube.kubectl("get", *arguments).stdout.splitlines()]


def status(kube, kind, name):
    """As the page has one looked at: kubectl get -o yaml."""
    return yaml.safe_load(kube.kubectl("get", kind, name, "-o", "yaml").stdout)["status"]


def with_three_vips(kube):
    apply(kube, "main-vip-pool")
    for number, name in enumerate(("web-vip", "api-vip", "grpc-vip"), 1):
        kube.apply(vip(name, "main-vip-pool"))
        kube.wait_bound(name, f"10.200.0.{number}/32")
    kube.wait_pool("main-vip-pool", allocated=3, available=251)


# ---- Tests: pools

def test_a_cidr_pool_has_254_addresses(kube, host):
    apply(kube, "main-vip-pool")
    kube.wait_pool("main-vip-pool", reason="PoolReady", capacity=254, allocated=0, available=254)


def test_an_explicit_pool_gives_what_is_asked_for_and_nothing_by_itself(kube, host):
    apply(kube, "external-vip-pool")
    kube.wait_pool("external-vip-pool", reason="PoolReady", allocated=0, available=3)
    kube.apply([vip("auto", "external-vip-pool"), vip("asks", "external-vip-pool", "203.0.113.11/32")])
    kube.wait_bound("asks", "203.0.113.11/32")
    kube.wait_unbound("auto", "AutoAssignDisabled")
    kube.wait_pool("external-vip-pool", allocated=1, available=2)


def test_a_mixed_pool_gives_its_cidr_first_and_then_its_addresses(kube, host):
    apply(kube, "mixed-pool")
    kube.wait_pool("mixed-pool", reason="PoolReady", available=16)
    kube.apply([vip(f"vip-{number}", "mixed-pool") for number in range(16)])
    given = {kube.wait_bound(f"vip-{number}") for number in range(16)}
    assert given == {f"10.200.0.{n}/32" for n in range(1, 15)} | {"10.200.1.100/32", "10.200.1.200/32"}
    kube.wait_pool("mixed-pool", allocated=16, available=0)
    assert [a["address"] for a in status(kube, "proxyippool", "mixed-pool")["allocations"]][13:] == [
        "10.200.0.14/32", "10.200.1.100/32", "10.200.1.200/32"]


def test_an_ipv6_pool_gives_ipv6_addresses(kube, host):
    apply(kube, "ipv6-pool")
    kube.wait_pool("ipv6-pool", reason="PoolReady", available=256)
    kube.apply(vip("web-vip", "ipv6-pool", family="ipv6"))
    kube.wait("proxyvips", "web-vip", lambda seen: seen.get("status", {}).get("allocatedIPv6Address") == "2001:db8::/128",
              "has its IPv6 address")
    shown = status(kube, "proxyvip", "web-vip")
    assert "allocatedAddress" not in shown
    assert_shows(shown, {"conditions": [{"type": "Bound", "status": "True", "reason": "AddressAllocated",
                                         "message": "Address 2001:db8::/128 allocated from pool ipv6-pool"}]})
    kube.wait_pool("ipv6-pool", allocated=1, available=255)


@pytest.mark.parametrize("asked", [{}, {"address": "10.210.0.9/32", "ipv6Address": "2001:db8:1::9/128"}], ids=["any", "certain"])
def test_a_dual_stack_vip_gets_one_address_of_each_family(kube, host, asked):
    kube.apply([pool("dual-pool", "10.210.0.0/24", "2001:db8:1::/120"), vip("web-vip", "dual-pool", family="dual", **asked)])
    ipv4, ipv6 = (asked or {"address": "10.210.0.1/32", "ipv6Address": "2001:db8:1::/128"}).values()
    kube.wait_bound("web-vip", ipv4)
    assert_shows(status(kube, "proxyvip", "web-vip"), {
        "allocatedAddress": ipv4, "allocatedIPv6Address": ipv6,
        "conditions": [{"type": "Bound", "status": "True", "reason": "AddressAllocated",
                        "message": f"Addresses {ipv4} and {ipv6} allocated from pool dual-pool"}]})
    kube.wait_pool("dual-pool", allocated=2, available=254 + 256 - 2)
    assert [(a["address"], a["vipRef"]) for a in status(kube, "proxyippool", "dual-pool")["allocations"]] == [
        (ipv4, "web-vip"), (ipv6, "web-vip")]


def test_pools_are_as_large_as_the_table_says(kube, host):
    usable = {"10.1.2.3/32": 1, "10.2.0.0/28": 14, "10.3.0.0/24": 254, "10.4.0.0/20": 4094, "10.5.0.0/16": 65534}
    kube.apply([pool(f"pool-{cidr.split('/')[1]}", cidr) for cidr in usable])
    for cidr, count in usable.items():
        kube.wait_pool(f"pool-{cidr.split('/')[1]}", reason="PoolReady", available=count)


def test_a_larger_range_is_limited_and_the_pool_says_so(kube, host):
    kube.apply(pool("huge", "10.8.0.0/14"))
    seen = kube.wait_pool("huge", reason="PoolReady", available=65536)
    ready, = (c for c in seen["status"]["conditions"] if c["type"] == "Ready")
    assert ready["message"].startswith("Pool has 65536 available addresses; ") and "10.8.0.0/14" in ready["message"]


# ---- Tests: VIPs

def test_a_vip_with_pool_ref_gets_the_printed_status(kube, host):
    apply(kube, "main-vip-pool", "auto-vip")
    kube.wait_bound("auto-vip", "10.200.0.1/32")
    assert_shows(status(kube, "proxyvip", "auto-vip"), yaml.safe_load(VIP_STATUS))


def test_a_vip_may_ask_for_an_address_of_the_pool(kube, host):
    apply(kube, "main-vip-pool", "specific-vip", "auto-vip")
    kube.wait_bound("specific-vip", "10.200.0.50/32")
    kube.wait_bound("auto-vip", "10.200.0.1/32")
    assert_shows(status(kube, "proxyvip", "specific-vip"), yaml.safe_load(VIP_STATUS.replace("10.200.0.1/", "10.200.0.50/")))
    kube.wait_pool("main-vip-pool", allocated=2, available=252)


def test_what_the_user_wrote_stays_as_it_was_written(kube, host):
    apply(kube, "main-vip-pool", "auto-vip")
    kube.wait_bound("auto-vip", "10.200.0.1/32")
    for name in ("main-vip-pool", "auto-vip"):
        printed = yaml.safe_load((REFERENCE / f"{name}.yaml").read_text())
        now = yaml.safe_load(kube.kubectl("get", printed["kind"], name, "-o", "yaml").stdout)
        assert now["spec"] == printed["spec"] and now["metadata"]["generation"] == 1
    diff = kube.kubectl("apply", "-f", REFERENCE / "auto-vip.yaml")
    assert "unchanged" in diff.stdout


# ---- Tests: the pool's status

def test_three_vips_make_the_printed_pool_status(kube, host):
    with_three_vips(kube)
    assert_shows(status(kube, "proxyippool", "main-vip-pool"), yaml.safe_load(POOL_STATUS))


def test_the_table_of_pools_reads_as_printed(kube, host):
    with_three_vips(kube)
    kube.apply([pool("external-pool", addresses=[f"203.0.113.{n}/32" for n in (10, 11, 12)], auto_assign=False),
                vip("outside", "external-pool", "203.0.113.10/32")])
    kube.wait_pool("external-pool", allocated=1, available=2)
    header, *pools = rows(kube, "proxyippool")
    assert header == ["NAME", "ALLOCATED", "AVAILABLE", "AUTO-ASSIGN", "AGE"]
    assert sorted(row[:4] for row in pools) == [["external-pool", "1", "2", "false"], ["main-vip-pool", "3", "251", "true"]]
    assert all(re.fullmatch(r"(\d+[smh])+", row[4]) for row in pools)
    assert rows(kube, "vip", "web-vip")[1][:5] == ["web-vip", "10.200.0.1/32", "main-vip-pool", "BGP", "True"]


def test_a_deleted_vip_gives_its_address_back(kube, host):
    with_three_vips(kube)
    kube.kubectl("delete", "proxyvip", "api-vip")
    kube.wait_pool("main-vip-pool", allocated=2, available=252)
    assert [a["vipRef"] for a in status(kube, "proxyippool", "main-vip-pool")["allocations"]] == ["web-vip", "grpc-vip"]
    kube.apply(vip("next-vip", "main-vip-pool"))
    kube.wait_bound("next-vip", "10.200.0.2/32")


# ---- Tests: troubleshooting

def test_troubleshooting_of_an_exhausted_pool(kube, host):
    kube.apply([pool("main-vip-pool", "10.200.0.0/30"), vip("first", "main-vip-pool"), vip("second", "main-vip-pool")])
    given = {name: kube.wait_bound(name) for name in ("first", "second")}
    kube.apply(vip("third", "main-vip-pool"))
    message = kube.wait_unbound("third", "PoolExhausted")
    assert message.startswith("pool exhausted: main-vip-pool has no free ipv4 address (2 of 2 allocated)")
    kube.wait_pool("main-vip-pool", allocated=2, available=0, waiting=1)
    assert_shows(status(kube, "proxyippool", "main-vip-pool"),
                 {"conditions": [{"type": "Exhausted", "status": "True", "reason": "PoolExhausted"}]})
    shown = kube.kubectl("get", "proxyvip", "-o", ALLOCATED_ADDRESSES).stdout
    assert shown == f"first\t{given['first']}\nsecond\t{given['second']}\nthird\t\n"


def test_troubleshooting_of_an_address_conflict(kube, host):
    apply(kube, "main-vip-pool", "specific-vip")
    kube.wait_bound("specific-vip", "10.200.0.50/32")
    kube.apply(vip("manual", address="10.200.0.50/32"))
    message = kube.wait_unbound("manual", "AddressInUse")
    assert message.startswith("address in use: 10.200.0.50 is held by ProxyVIP/specific-vip")
    kube.wait_pool("main-vip-pool", allocated=1)
    pools = yaml.safe_load(kube.kubectl("get", "proxyippool", "-o", "yaml").stdout)["items"]
    assert [a["vipRef"] for a in pools[0]["status"]["allocations"]] == ["specific-vip"]
    shown = kube.kubectl("get", "proxyvip", "-o", SPEC_ADDRESSES).stdout
    assert shown == "manual\t10.200.0.50/32\nspecific-vip\t10.200.0.50/32\n"


def test_events_tell_the_story_of_a_vip(kube, host):
    apply(kube, "main-vip-pool", "auto-vip")
    kube.wait_bound("auto-vip", "10.200.0.1/32")
    wait_for(lambda: "Address 10.200.0.1/32 allocated from pool main-vip-pool" in
             kube.kubectl("describe", "proxyvip", "auto-vip").stdout.partition("Events:")[2], "kubectl describe shows the Event")
