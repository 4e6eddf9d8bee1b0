"""A database that ipamd 0.1.0 wrote by its rules for pools, under today's: it loads, nothing that is held moves, and what
changes is recorded."""
import shutil
import sqlite3

import pytest

from harness.paths import ROOT
from harness.protos import ipam as pb
from harness.requests import address, all_claims, allocate, owner, pool, release

FIXTURE = ROOT / "tests/data/rules-0.1.0/ipamd.db"

HELD = {"web": ("older", "10.1.0.0/32"), "one": ("younger", "10.1.0.1/32"), "two": ("younger", "10.1.0.2/32"),
        "drains": ("draining", "10.1.1.1/32"), "local": ("local", "127.0.0.1/32"), "typo": ("typo", "10.200.0.1/32"),
        "apart": ("apart", "192.0.2.1/32"), "multicast": ("", "224.0.0.9/32"), "network": ("", "10.0.0.0/32")}


@pytest.fixture
def old(daemons):
    daemon = daemons()
    daemon.state_dir.mkdir(mode=0o750)
    shutil.copy(FIXTURE, daemon.state_dir / "ipamd.db")
    return daemon.start()


def pools(ipam):
    return {p.spec.name: p for p in ipam.ListPools(pb.ListPoolsRequest()).pools}


def recorded(daemon):
    """Revisions and who asked for them, once all is on disk."""
    pools(daemon.ipam())
    changes = daemon.ipam().ListChanges(pb.ListChangesRequest(limit=1000)).changes
    return [(change.revision, change.actor.method) for change in changes]


def test_younger_of_two_pools_that_meet_now_is_rejected_and_no_claim_moves(old):
    ipam = old.ipam()
    found = {c.owner.name: (c.pool, c.address) for c in all_claims(ipam) if c.state == pb.BOUND}
    assert {name: found.get(name) for name in HELD} == HELD
    younger = pools(ipam)["younger"]
    assert (younger.state, younger.reason) == (pb.REJECTED, "POOL_OVERLAP")
    assert "younger and older both have 10.1.0.1-10.1.0.254" in younger.message
    assert (younger.counts.capacity, younger.counts.orphaned) == (0, 2)
    older = pools(ipam)["older"]
    assert (older.state, older.counts.capacity) == (pb.READY, 65536)
    assert older.counts.allocated == 5, "those of the others that lie in it, too, so that it does not give them"
    draining = pools(ipam)["draining"]
    assert (draining.state, draining.reason, draining.counts.orphaned) == (pb.DRAINING, "", 1)
    assert "draining and older both have 10.1.1.1-10.1.1.254" in draining.message
    assert pools(ipam)["apart"].state == pb.READY


def test_what_has_addresses_now_gives_them_to_those_that_wait(old):
    found = {c.owner.name: c.address for c in all_claims(old.ipam()) if c.state == pb.BOUND}
    assert (found["waits"], found["six"]) == ("10.1.0.3/32", "fd00:9::1:0/128")


def test_addresses_that_are_no_virtual_ip_by_now_are_orphaned_and_not_lost(old):
    ipam = old.ipam()
    local = pools(ipam)["local"]
    assert (local.state, local.counts.capacity, local.counts.orphaned) == (pb.READY, 0, 1)
    assert "127.0.0.0/8 (loopback, RFC 1122)" in local.message
    assert "10.201.0.1" in pools(ipam)["typo"].warnings[0]
    assert not ipam.ApplyPool(pool("local", "127.0.0.0/24")).changed, "the spec in force again"
    assert address(ipam.Allocate(allocate("multicast", kind="Manual", address="224.0.0.9"))) == "224.0.0.9/32"


def test_what_a_start_decides_is_recorded_once(old):
    changes = recorded(old)
    by_itself = [revision for revision, method in changes if not method]
    assert by_itself == [20, 21, 22, 23, 24, 25]
    old.restart()
    old.restart()
    assert recorded(old) == changes
    assert old.stop() == 0
    with sqlite3.connect(old.state_dir / "ipamd.db") as database:
        assert database.execute("SELECT count(*) FROM changes").fetchone() == (25,)
    done = old.start().ipamc("audit", "verify", check=True)
    assert "25 changes fit the hash chain" in done.stdout


def test_rejected_pool_comes_back_when_it_no_longer_meets_the_other(old):
    ipam = old.ipam()
    ipam.ApplyPool(pool("older", "10.0.0.0/8", excluded=["10.0.0.0/16", "10.1.0.0/24"]))
    younger = pools(ipam)["younger"]
    assert (younger.state, younger.counts.allocated, younger.counts.orphaned) == (pb.READY, 3, 0)
    assert pools(ipam)["older"].counts.orphaned == 2


def test_rejected_pool_with_claims_can_be_deleted_and_drains(old):
    ipam = old.ipam()
    assert ipam.DeletePool(pb.DeletePoolRequest(name="younger")).draining
    old.restart()
    ipam = old.ipam()
    assert pools(ipam)["younger"].state == pb.DRAINING
    ipam.Release(pb.ReleaseRequest(owner=owner("one", "Manual")))
    ipam.Release(pb.ReleaseRequest(owner=owner("two", "Manual")))
    ipam.Release(release("drains", "Manual"))
    assert not {"younger", "draining"} & set(pools(ipam))
    old.restart()
    assert not {"younger", "draining"} & set(pools(old.ipam()))
