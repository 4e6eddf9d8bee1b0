"""kill -9 at random moments under a pipelined load: what was acknowledged is there, once, with its whole history.

CRASH_ROUNDS and CRASH_SEED (environment) choose how often and which moments.
"""
import os
import random
import subprocess
import time

import pytest

from harness.children import child
from harness.history import Chain
from harness.paths import BUILD, SLOW
from harness.protos import ipam as pb
from harness.requests import all_claims, pool

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "200"))
SEED = int(os.environ.get("CRASH_SEED", str(random.SystemRandom().randrange(1 << 32))))
POOLS = [
    pool("plain", "10.0.0.0/16"), pool("cooling", "10.1.0.0/16", reuse_delay_seconds=1), pool("six", "2001:db8::/112"),
    pool("both", "10.2.0.0/16", "2001:db8:1::/112"), pool("tiny", "10.3.0.0/29"),
]

# ---- Fixture


class Mirror:
    """The claims as the history tells them, and a check of every step: no address ever gets a second owner."""

    def __init__(self):
        self.claims = {}  # (owner, family) → claim, BOUND or WAITING
        self.holders = {}  # address → (owner, family)

    def take(self, changes):
        for change in changes:
            if change.WhichOneof("entity") == "claim":
                self.take_claim(change.claim, change.revision)

    def take_claim(self, claim, revision):
        key = (claim.owner.name, claim.family)
        before = self.claims.get(key)
        if before is not None and before.id == claim.id:
            self.drop(key)
        elif claim.state in (pb.COOLING, pb.RELEASED):
            return  # the end of an older claim, whose owner holds another address by now
        if claim.state == pb.BOUND:
            assert claim.address not in self.holders, (
                f"revision {revision}: {claim.address} goes to {key} and is held by {self.holders[claim.address]}")
            self.holders[claim.address] = key
        if claim.state in (pb.BOUND, pb.WAITING):
            assert key not in self.claims, f"revision {revision}: {key} has two claims"
            self.claims[key] = claim

    def drop(self, key):
        claim = self.claims.pop(key)
        if claim.state == pb.BOUND:
            del self.holders[claim.address]

    def of(self, owner):
        return [self.claims[key] for key in ((owner, pb.IPV4), (owner, pb.IPV6)) if key in self.claims]


class Acknowledged:
    """What the load was told: the last word about every owner."""

    def __init__(self, path):
        self.path = path
        self.offset = 0
        self.last = {}
        self.count = 0

    def read(self):
        """Takes in the lines that are new; returns the owners in them."""
        with open(self.path, encoding="ascii") as log:
            log.seek(self.offset)
            text = log.read()
        text = text[:text.rfind("\n") + 1]
        self.offset += len(text)
        owners = set()
        for line in text.splitlines():
            what, owner, *addresses = line.split()
            self.last[owner] = (what, addresses[0].split(",") if addresses else [])
            owners.add(owner)
            self.count += what.isupper()
        return owners

    def check(self, owner, claims):
        what, addresses = self.last[owner]
        if what == "A":
            assert [(claim.state, claim.address) for claim in claims] == [(pb.BOUND, it) for it in addresses], (
                f"{owner} was given {addresses} and has {claims}")
        elif what == "W":
            assert len(claims) == 1, f"{owner} waited and is forgotten"
        elif what == "R":
            assert not claims, f"{owner} had given its address back and has {claims}"


# ---- Helpers


def start_load(daemon, log, seed):
    return child([BUILD / "tests/crash_load", daemon.socket, log, seed], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)


def end_load(load):
    _, errors = load.communicate(timeout=30 * SLOW)
    assert load.returncode == 0, errors.decode()


def kill_while_starting(daemon, moment):
    daemon.start(ready=False)
    time.sleep(moment)
    daemon.kill9()


def check_all(ipam, mirror):
    """The state that the daemon loaded, against the state that its history tells."""
    loaded = {(claim.owner.name, claim.family): (claim.state, claim.address) for claim in all_claims(ipam)}
    assert loaded == {key: (claim.state, claim.address) for key, claim in mirror.claims.items()}


def check_pools(ipam, mirror):
    for it in ipam.ListPools(pb.ListPoolsRequest()).pools:
        counts = it.counts
        assert counts.capacity == counts.available + counts.allocated + counts.cooling
        assert counts.allocated == sum(claim.pool == it.spec.name and claim.state == pb.BOUND
                                       for claim in mirror.claims.values())


# ---- Tests


@pytest.mark.threads
@pytest.mark.seconds(120 + 3 * ROUNDS)
def test_nothing_acknowledged_is_lost_by_kill_at_any_moment(daemons, tmp_path):
    print(f"\ncrash: seed {SEED}, {ROUNDS} rounds")
    rng = random.Random(SEED)
    daemon = daemons()
    daemon.start()
    ipam = daemon.ipam()
    for request in POOLS:
        ipam.ApplyPool(request)
    chain, mirror, acknowledged = Chain(), Mirror(), Acknowledged(tmp_path / "acknowledged")
    acknowledged.path.touch()
    kills = 0
    for round_number in range(ROUNDS):
        load = start_load(daemon, acknowledged.path, rng.randrange(1 << 32))
        time.sleep(rng.uniform(0, 0.5) * min(SLOW, 2))
        daemon.kill9()
        kills += 1
        end_load(load)
        if rng.random() < 0.15:
            kill_while_starting(daemon, rng.uniform(0, 0.05) * SLOW)
            kills += 1
        daemon.start()
        ipam = daemon.ipam()
        mirror.take(chain.check(ipam))
        for owner in acknowledged.read():
            acknowledged.check(owner, mirror.of(owner))
        if round_number % 20 == 0 or round_number == ROUNDS - 1:
            check_all(ipam, mirror)
            check_pools(ipam, mirror)
            for owner in acknowledged.last:
                acknowledged.check(owner, mirror.of(owner))
    assert acknowledged.count > 20 * ROUNDS / SLOW, "there was hardly any load"
    print(f"crash: {kills} kills, {acknowledged.count} acknowledged calls, {chain.revision} changes, "
          f"{len(mirror.claims)} claims at the end")


def test_mirror_sees_a_second_owner():
    """The check itself: it must fail where history gives an address twice."""
    mirror = Mirror()
    claim = pb.Claim(id=1, owner=pb.Owner(name="a"), family=pb.IPV4, state=pb.BOUND, address="10.0.0.1/32")
    other = pb.Claim(id=2, owner=pb.Owner(name="b"), family=pb.IPV4, state=pb.BOUND, address="10.0.0.1/32")
    mirror.take([pb.Change(revision=1, claim=claim)])
    with pytest.raises(AssertionError, match="is held by"):
        mirror.take([pb.Change(revision=2, claim=other)])


def test_check_sees_what_is_missing(tmp_path):
    log = tmp_path / "log"
    log.write_text("a x\nA x 10.0.0.1/32\na y\nA y 10.0.0.2/32\nr y\nR y\na z\nhalf a li")
    acknowledged = Acknowledged(log)
    assert acknowledged.read() == {"x", "y", "z"}
    bound = pb.Claim(state=pb.BOUND, address="10.0.0.2/32")
    for owner, claims in (("x", []), ("x", [bound]), ("y", [bound])):
        with pytest.raises(AssertionError):
            acknowledged.check(owner, claims)
    for owner, claims in (("y", []), ("z", []), ("z", [bound])):
        acknowledged.check(owner, claims)
