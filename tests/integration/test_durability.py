"""Acknowledged means durable: what was answered is there after kill -9, in the same order, with its history."""
import sqlite3
import time

import pytest

from harness.history import Chain, canonical
from harness.protos import ipam as pb
from harness.requests import address, all_claims, allocate, owner, pool, release

pytestmark = pytest.mark.threads

# ---- Helpers


def state(ipam):
    """All pools and claims, but for what tells of this run of the daemon only."""
    pools = list(ipam.ListPools(pb.ListPoolsRequest()).pools)
    cooling = list(all_claims(ipam, state=pb.COOLING))
    return pools, list(all_claims(ipam)), cooling


def restarted(daemon, *options):
    daemon.restart(*options)
    return daemon.ipam()


# ---- Tests


def test_bound_claims_survive_kill(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    given = {f"vip-{n}": address(ipam.Allocate(allocate(f"vip-{n}", "p"))) for n in range(100)}
    ipam.Release(release("vip-7"))
    before = state(ipam)
    ipam = restarted(daemon)
    assert state(ipam) == before
    del given["vip-7"]
    assert {claim.owner.name: claim.address for claim in all_claims(ipam)} == given


def test_cooling_survives_kill_and_keeps_others_away(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/30", reuse_delay_seconds=600))
    ipam.Allocate(allocate("first", "p"))
    ipam.Release(release("first"))
    before = state(ipam)
    assert before[2][0].address == "10.0.0.1/32"
    ipam = restarted(daemon)
    assert state(ipam) == before
    assert address(ipam.Allocate(allocate("other", "p"))) == "10.0.0.2/32"
    assert address(ipam.Allocate(allocate("first", "p"))) == "10.0.0.1/32"


def test_cooling_that_ended_while_down_is_over(daemon, ipam):
    ipam.ApplyPool(pool("p", addresses=["10.0.0.1"], reuse_delay_seconds=1))
    ipam.Allocate(allocate("first", "p"))
    ipam.Release(release("first"))
    daemon.kill9()
    time.sleep(1.1)
    daemon.start()
    assert address(daemon.ipam().Allocate(allocate("other", "p"))) == "10.0.0.1/32"


def test_queue_keeps_its_order_over_kill(daemon, ipam):
    ipam.ApplyPool(pool("p", addresses=["10.0.0.1"]))
    ipam.Allocate(allocate("holder", "p"))
    for name in ("c", "a", "b"):
        waiting, = ipam.Allocate(allocate(name, "p", enqueue=True)).claims
        assert waiting.state == pb.WAITING and waiting.reason == "POOL_EXHAUSTED"
    ipam = restarted(daemon)
    waiting = sorted(all_claims(ipam, state=pb.WAITING), key=lambda claim: claim.queue_position)
    assert [claim.owner.name for claim in waiting] == ["c", "a", "b"]
    for before, after in (("holder", "c"), ("c", "a"), ("a", "b")):
        ipam.Release(release(before))
        ipam = restarted(daemon)
        claim, = ipam.GetClaims(pb.GetClaimsRequest(owner=owner(after))).claims
        assert (claim.state, claim.address) == (pb.BOUND, "10.0.0.1/32")


def test_rejected_pool_survives_kill_and_is_retried(daemon, ipam):
    ipam.ApplyPool(pool("older", "10.0.0.0/24"))
    rejected = ipam.ApplyPool(pool("newer", "10.0.0.0/28", record_rejected=True)).pool
    assert (rejected.state, rejected.reason) == (pb.REJECTED, "POOL_OVERLAP")
    before = state(ipam)
    ipam = restarted(daemon)
    assert state(ipam) == before
    ipam.DeletePool(pb.DeletePoolRequest(name="older"))
    assert ipam.GetPool(pb.GetPoolRequest(name="newer")).pool.state == pb.READY


def test_draining_pool_survives_kill_and_goes_with_its_last_claim(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    ipam.Allocate(allocate("last", "p"))
    assert ipam.DeletePool(pb.DeletePoolRequest(name="p")).draining
    ipam = restarted(daemon)
    assert ipam.GetPool(pb.GetPoolRequest(name="p")).pool.state == pb.DRAINING
    ipam.Release(release("last"))
    ipam = restarted(daemon)
    assert not ipam.ListPools(pb.ListPoolsRequest()).pools


def test_repeating_a_call_after_restart_changes_nothing(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    first = ipam.Allocate(allocate("vip", "p", uid="u1"))
    ipam = restarted(daemon)
    again = ipam.Allocate(allocate("vip", "p", uid="u1"))
    assert again.claims == first.claims and again.revision == first.revision
    assert not ipam.ApplyPool(pool("p", "10.0.0.0/24")).changed


def test_clean_stop_keeps_everything_too(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    ipam.Allocate(allocate("vip", "p"))
    before = state(ipam)
    assert daemon.stop() == 0
    daemon.start()
    assert state(daemon.ipam()) == before


def test_history_has_no_gap_and_its_hash_chain_verifies(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/24", "2001:db8::/120", reuse_delay_seconds=5))
    ipam.ApplyPool(pool("bad", "10.0.0.0/28", record_rejected=True))
    for n in range(50):
        ipam.Allocate(allocate(f"vip-{n}", "p", family=pb.DUAL))
        if n % 3 == 0:
            ipam.Release(release(f"vip-{n}"))
    chain = Chain()
    first = chain.check(ipam)
    assert chain.revision == ipam.GetStatus(pb.GetStatusRequest()).revision == len(first) > 100
    ipam = restarted(daemon)
    ipam.Allocate(allocate("after", "p"))
    assert len(chain.check(ipam)) == 1
    whole = Chain()
    assert whole.check(ipam)[:len(first)] == first


def test_canonical_record_is_the_change_without_its_last_34_bytes(ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    ipam.Allocate(allocate("vip", "p"))
    raw = ipam.ListChanges(pb.ListChangesRequest()).SerializeToString()
    for change in pb.ListChangesReply.FromString(raw).changes:
        written = change.SerializeToString(deterministic=True)
        assert written[:-34] == canonical(change) and written in raw


def test_history_says_who_asked(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    daemon.ipamc("allocate", "p", "vip", check=True)
    by_python, by_ipamc = ipam.ListChanges(pb.ListChangesRequest()).changes
    assert by_python.actor.method.endswith("ApplyPool") and "python" in by_python.actor.command
    assert by_ipamc.actor.method.endswith("Allocate") and by_ipamc.actor.command == "ipamc"


def test_history_can_be_read_by_pool_owner_and_address(ipam):
    for name, cidr in (("p", "10.0.0.0/24"), ("q", "10.0.1.0/24")):
        ipam.ApplyPool(pool(name, cidr))
        ipam.Allocate(allocate(f"vip-{name}", name))
    ipam.Release(release("vip-q"))

    def revisions(**filters):
        return [change.revision for change in ipam.ListChanges(pb.ListChangesRequest(**filters)).changes]

    assert revisions() == [1, 2, 3, 4, 5]
    assert revisions(owner=owner("vip-q")) == revisions(address="10.0.1.1") == [4, 5]
    assert revisions(pool="q") == [3, 4, 5]
    assert revisions(after_revision=2, limit=2) == [3, 4]


def test_whole_database_is_sound_after_kills_under_load(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/16"))
    for round_number in range(3):
        calls = [ipam.Allocate.future(allocate(f"vip-{round_number}-{n}", "p")) for n in range(300)]
        calls[0].result()
        ipam = restarted(daemon)
    assert daemon.stop() == 0
    with sqlite3.connect(f"file:{daemon.state_dir}/ipamd.db?mode=ro", uri=True) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
