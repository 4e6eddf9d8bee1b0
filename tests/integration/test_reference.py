"""The reference page of IP address pools: its manifests, numbers, table and errors, through ipamc and the socket."""
import re

import pytest

from harness.errors import refused
from harness.paths import REFERENCE
from harness.protos import ipam as pb
from harness.requests import address, allocate, pool, release

# ---- Helpers


def apply(daemon, *names):
    for name in names:
        daemon.ipamc("apply", "-f", REFERENCE / f"{name}.yaml", check=True)


def counts(ipam, name):
    return ipam.GetPool(pb.GetPoolRequest(name=name)).pool.counts


def ippools(daemon):
    """The table of `get ippools` as rows of cells; columns stand three or more blanks apart, as on the page."""
    lines = daemon.ipamc("get", "ippools", check=True).stdout.splitlines()
    return [re.split(r" {2,}", line.strip()) for line in lines]


# ---- Pools


def test_cidr_pool_serves_254_addresses_from_1_to_254(daemon, ipam):
    apply(daemon, "main-vip-pool")
    assert counts(ipam, "main-vip-pool").available == 254
    given = [address(ipam.Allocate(allocate(f"vip-{n}", "main-vip-pool"))) for n in range(254)]
    assert given == [f"10.200.0.{n}/32" for n in range(1, 255)]


def test_explicit_pool_serves_its_three_addresses(daemon, ipam):
    apply(daemon, "external-vip-pool")
    assert counts(ipam, "external-vip-pool").capacity == 3
    for last in (10, 11, 12):
        got = ipam.Allocate(allocate(f"vip-{last}", "external-vip-pool", address=f"203.0.113.{last}"))
        assert address(got) == f"203.0.113.{last}/32"


def test_mixed_pool_serves_14_of_its_cidr_and_2_explicit(daemon, ipam):
    apply(daemon, "mixed-pool")
    assert counts(ipam, "mixed-pool").available == 16
    given = [address(ipam.Allocate(allocate(f"vip-{n}", "mixed-pool"))) for n in range(16)]
    assert given == [f"10.200.0.{n}/32" for n in range(1, 15)] + ["10.200.1.100/32", "10.200.1.200/32"]


def test_ipv6_pool_serves_all_256_addresses(daemon, ipam):
    apply(daemon, "ipv6-pool")
    assert counts(ipam, "ipv6-pool").available == 256
    given = [address(ipam.Allocate(allocate(f"vip-{n}", "ipv6-pool"))) for n in range(256)]
    assert given[0] == "2001:db8::/128" and given[10] == "2001:db8::a/128" and given[255] == "2001:db8::ff/128"


@pytest.mark.parametrize("cidr, usable", [
    ("10.1.2.3/32", 1), ("10.1.2.2/31", 2), ("10.1.0.0/28", 14), ("10.1.0.0/24", 254), ("10.1.0.0/20", 4094),
    ("10.1.0.0/16", 65534), ("10.0.0.0/15", 65536), ("2001:db8::/120", 256), ("2001:db8::/64", 65536)])
def test_capacity_is_as_in_the_table(ipam, cidr, usable):
    reply = ipam.ApplyPool(pool("p", cidr))
    assert reply.pool.counts.capacity == reply.pool.counts.available == usable


def test_larger_cidr_is_clipped_and_the_pool_says_so(ipam):
    reply = ipam.ApplyPool(pool("p", "10.0.0.0/15", "192.0.2.0/24"))
    assert list(reply.pool.clipped_cidrs) == ["10.0.0.0/15"]
    assert reply.pool.counts.capacity == 65536 + 254
    assert "10.0.0.0/15" in reply.pool.message and re.search("65,?536", reply.pool.message)


def test_pool_needs_cidrs_or_addresses(ipam):
    with refused("INVALID_POOL_SPEC", "INVALID_ARGUMENT") as refusal:
        ipam.ApplyPool(pool("p"))
    assert "cidrs" in refusal.message and "addresses" in refusal.message


def test_auto_assign_is_off_unless_said(daemon):
    manifest = (REFERENCE / "external-vip-pool.yaml").read_text().replace("  autoAssign: false\n", "")
    daemon.ipamc("apply", "-f", "-", stdin=manifest, check=True)
    assert ippools(daemon)[1][3] == "false"


# ---- VIPs


def test_vip_with_pool_ref_gets_an_address_by_itself(daemon, ipam):
    apply(daemon, "main-vip-pool", "auto-vip")
    claim, = ipam.GetClaims(pb.GetClaimsRequest(owner=pb.Owner(kind="ProxyVIP", name="auto-vip"))).claims
    assert (claim.state, claim.address, claim.pool) == (pb.BOUND, "10.200.0.1/32", "main-vip-pool")


def test_vip_with_static_address_gets_it_from_the_pool(daemon, ipam):
    apply(daemon, "main-vip-pool", "specific-vip")
    claim, = ipam.GetClaims(pb.GetClaimsRequest(owner=pb.Owner(kind="ProxyVIP", name="specific-vip"))).claims
    assert (claim.state, claim.address, claim.pool) == (pb.BOUND, "10.200.0.50/32", "main-vip-pool")
    assert (counts(ipam, "main-vip-pool").allocated, counts(ipam, "main-vip-pool").available) == (1, 253)


def test_static_address_is_skipped_by_automatic_allocation(daemon, ipam):
    apply(daemon, "main-vip-pool", "specific-vip")
    given = [address(ipam.Allocate(allocate(f"vip-{n}", "main-vip-pool"))) for n in range(50)]
    assert given == [f"10.200.0.{n}/32" for n in [*range(1, 50), 51]]


def test_applying_all_again_changes_nothing(daemon, ipam):
    apply(daemon, "main-vip-pool", "auto-vip", "specific-vip")
    before = ipam.GetStatus(pb.GetStatusRequest()).revision
    apply(daemon, "main-vip-pool", "auto-vip", "specific-vip")
    assert ipam.GetStatus(pb.GetStatusRequest()).revision == before


# ---- Pool status


def test_pool_status_reads_as_on_the_page(daemon):
    apply(daemon, "main-vip-pool", "external-vip-pool")
    for name in ("web-vip", "api-vip", "grpc-vip"):
        daemon.ipamc("allocate", "main-vip-pool", name, "--kind", "ProxyVIP", check=True)
    daemon.ipamc("allocate", "external-vip-pool", "mail-vip", "--address", "203.0.113.10", check=True)
    head, first, second = ippools(daemon)
    assert head == ["NAME", "ALLOCATED", "AVAILABLE", "AUTO-ASSIGN", "AGE"]
    assert first[:4] == ["external-vip-pool", "1", "2", "false"]
    assert second[:4] == ["main-vip-pool", "3", "251", "true"]
    assert all(re.fullmatch(r"\d+[smhd]", row[4]) for row in (first, second))


def test_columns_stand_below_their_heads(daemon):
    apply(daemon, "main-vip-pool", "external-vip-pool")
    head, *rows = daemon.ipamc("get", "ippools", check=True).stdout.splitlines()
    starts = [match.start() for match in re.finditer(r"\S+", head)]
    for row in rows:
        assert [match.start() for match in re.finditer(r"\S+", row)] == starts


def test_allocations_are_listed_with_owner_and_time(daemon, ipam):
    apply(daemon, "main-vip-pool")
    for name in ("web-vip", "api-vip", "grpc-vip"):
        ipam.Allocate(allocate(name, "main-vip-pool"))
    claims = ipam.ListClaims(pb.ListClaimsRequest(pool="main-vip-pool")).claims
    assert [(claim.owner.name, claim.address) for claim in claims] == [
        ("web-vip", "10.200.0.1/32"), ("api-vip", "10.200.0.2/32"), ("grpc-vip", "10.200.0.3/32")]
    assert all(claim.allocated_at.seconds > 1700000000 for claim in claims)


def test_allocate_prints_the_address_in_cidr_notation_alone(daemon):
    apply(daemon, "main-vip-pool")
    assert daemon.ipamc("allocate", "main-vip-pool", "web-vip", check=True).stdout == "10.200.0.1/32\n"


# ---- Lifecycle


def test_released_address_is_available_again(daemon, ipam):
    apply(daemon, "main-vip-pool")
    for name in ("web-vip", "api-vip"):
        ipam.Allocate(allocate(name, "main-vip-pool"))
    ipam.Release(release("web-vip"))
    assert counts(ipam, "main-vip-pool").available == 253
    assert address(ipam.Allocate(allocate("grpc-vip", "main-vip-pool"))) == "10.200.0.1/32"


def test_deleting_the_vip_by_manifest_releases_its_address(daemon, ipam):
    apply(daemon, "main-vip-pool", "specific-vip")
    daemon.ipamc("delete", "-f", REFERENCE / "specific-vip.yaml", check=True)
    assert counts(ipam, "main-vip-pool").available == 254
    assert not ipam.GetClaims(pb.GetClaimsRequest(owner=pb.Owner(kind="ProxyVIP", name="specific-vip"))).claims


# ---- Conflicts


def test_address_goes_to_one_vip_only(daemon, ipam):
    apply(daemon, "main-vip-pool", "specific-vip")
    with refused("ADDRESS_IN_USE", "ALREADY_EXISTS") as refusal:
        ipam.Allocate(allocate("web-vip", "main-vip-pool", address="10.200.0.50"))
    assert refusal.message == "address in use: 10.200.0.50 is held by ProxyVIP/specific-vip"
    done = daemon.ipamc("allocate", "main-vip-pool", "web-vip", "--address", "10.200.0.50/32")
    assert done.returncode == 5 and done.stdout == ""
    assert done.stderr.startswith("ipamc: ") and "10.200.0.50 is held by ProxyVIP/specific-vip" in done.stderr


def test_pool_that_meets_another_pool_is_refused_and_names_it(daemon, ipam):
    apply(daemon, "main-vip-pool")
    done = daemon.ipamc("apply", "-f", REFERENCE / "mixed-pool.yaml")
    assert done.returncode == 5
    assert "main-vip-pool" in done.stderr and "10.200.0.1" in done.stderr
    with refused("POOL_OVERLAP") as refusal:
        ipam.ApplyPool(pool("other", addresses=["10.200.0.77"]))
    assert "main-vip-pool" in refusal.message and "10.200.0.77" in refusal.message


def test_address_must_lie_in_the_pool_it_is_asked_from(daemon, ipam):
    apply(daemon, "main-vip-pool", "external-vip-pool")
    with refused("ADDRESS_NOT_IN_POOL", "FAILED_PRECONDITION") as refusal:
        ipam.Allocate(allocate("web-vip", "main-vip-pool", address="203.0.113.10/32"))
    assert "203.0.113.10" in refusal.message and "main-vip-pool" in refusal.message


def test_manual_address_in_a_pool_range_is_not_handed_out(daemon, ipam):
    apply(daemon, "main-vip-pool")
    ipam.Allocate(allocate("manual-vip", address="10.200.0.1/32"))
    assert address(ipam.Allocate(allocate("web-vip", "main-vip-pool"))) == "10.200.0.2/32"
    assert counts(ipam, "main-vip-pool").available == 252


def test_pool_without_auto_assign_gives_only_what_is_asked_for(daemon, ipam):
    apply(daemon, "external-vip-pool")
    with refused("AUTO_ASSIGN_DISABLED", "FAILED_PRECONDITION"):
        ipam.Allocate(allocate("web-vip", "external-vip-pool"))
    done = daemon.ipamc("allocate", "external-vip-pool", "web-vip")
    assert done.returncode == 8 and "autoAssign" in done.stderr
    done = daemon.ipamc("allocate", "external-vip-pool", "web-vip", "--address", "203.0.113.11", check=True)
    assert done.stdout == "203.0.113.11/32\n"


# ---- Exhaustion


def test_full_pool_says_pool_exhausted(daemon, ipam):
    apply(daemon, "main-vip-pool")
    for n in range(254):
        ipam.Allocate(allocate(f"vip-{n}", "main-vip-pool"))
    with refused("POOL_EXHAUSTED", "RESOURCE_EXHAUSTED") as refusal:
        ipam.Allocate(allocate("one-more", "main-vip-pool"))
    assert refusal.message == "pool exhausted: main-vip-pool has no free ipv4 address (254 of 254 allocated)"
    done = daemon.ipamc("allocate", "main-vip-pool", "one-more")
    assert done.returncode == 4 and "pool exhausted" in done.stderr
