"""Hundreds of VIPs come and go over several pools while every process is killed again and again; in the end all is as it must be."""
import collections
import os
import random
import threading
import time

import pytest
import requests

from cluster.api import ApiError, wait_for
from cluster.objects import pool, vip
from cluster.state import addresses_of, claims_of
from harness.protos import ipam as pb

VIPS = int(os.environ.get("CHAOS_VIPS", "500"))  # so many are created
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
WORKERS = 4
WORK_PAUSE = 0.1  # of a worker between two of its acts, on average
KILL_PAUSE = (0.3, 2.5)
RECREATED_SHARE = 0.15  # of the creations are of a name that was there before
MOVED_SHARE = 0.2  # of acts are followed by a move
KEPT = 220  # VIPs at once, about

# name, what it has, addresses of each family. "small" is too small for all that want one; the VIPs wait for their turn.
POOLS = {"large": (("10.200.0.0/23",), 510), "small": (("10.201.0.0/27",), 30), "dual": (("10.202.0.0/25", "2001:db8::/120"), 126),
         "other": (("10.203.0.0/25",), 126)}
FAMILIES = {"dual": "dual"}
ROOMY = ("large", "other")


# ---- Helpers

class World:
    """VIPs that are made and deleted at random, and what is expected of them: which there are and of which pool each is."""

    def __init__(self, kube, seed):
        self.kube = kube
        self.dice = random.Random(seed)
        self.lock = threading.Lock()
        self.made = 0
        self.there = {}  # name → pool
        self.busy = set()  # names that a worker is at
        self.gone = []
        self.once = set()  # names that were made once
        self.failures = []

    def run(self):
        threads = [threading.Thread(target=self._work, args=(self.dice.randrange(1 << 32),), daemon=True) for _ in range(WORKERS)]
        for thread in threads:
            thread.start()
        return threads

    def _work(self, seed):
        api, dice = self.kube.new_admin(), random.Random(seed)
        try:
            while self._act(api, dice):
                time.sleep(dice.expovariate(1 / WORK_PAUSE))
        except (ApiError, requests.RequestException) as error:
            self.failures.append(str(error))

    def _act(self, api, dice):
        """One creation, or one deletion, the likelier the more there are. False: all were made."""
        with self.lock:
            if self.made >= VIPS:
                return False
            free = sorted(set(self.there) - self.busy)
            deletes = free and dice.random() < len(self.there) / (2 * KEPT)
            name = dice.choice(free) if deletes else self._new_name(dice)
            self.busy.add(name)
            self.made += not deletes
        if deletes and dice.random() < RECREATED_SHARE:
            self._delete(api, name)  # and again in one breath
            deletes = False
            with self.lock:
                self.made += 1
                self.once.discard(name)
                self.gone.remove(name)
        if deletes:
            self._delete(api, name)
        else:
            self._create(api, name, dice.choice(list(POOLS)))
        self.busy.discard(name)
        return self._move(api, dice)

    def _move(self, api, dice):
        """Now and then a VIP goes over to another pool that has room."""
        with self.lock:
            free = sorted(name for name, pool_name in self.there.items() if pool_name in ROOMY and name not in self.busy)
            if not free or dice.random() > MOVED_SHARE:
                return True
            name = dice.choice(free)
            self.busy.add(name)
            self.once.discard(name)
        target = ROOMY[1 - ROOMY.index(self.there[name])]
        api.patch("proxyvips", name, {"spec": {"poolRef": {"name": target}}})
        self.there[name] = target
        self.busy.discard(name)
        return True

    def _new_name(self, dice):
        if self.gone and dice.random() < RECREATED_SHARE:
            name = self.gone.pop(dice.randrange(len(self.gone)))
            self.once.discard(name)
            return name
        name = f"vip-{self.made:04}"
        self.once.add(name)
        return name

    def _create(self, api, name, pool_name):
        api.create("proxyvips", vip(name, pool_name, family=FAMILIES.get(pool_name, "ipv4")))
        with self.lock:
            self.there[name] = pool_name

    def _delete(self, api, name):
        api.delete("proxyvips", name)
        with self.lock:
            del self.there[name]
            self.gone.append(name)


def wrong_with(kube, daemon, world):
    """What objects, ipamd and expectation disagree on; empty when all is right."""
    items = {item["metadata"]["name"]: item for item in kube.admin.items("proxyvips")}
    bound = {name: addresses_of(item) for name, item in items.items() if addresses_of(item)}
    held, waiting = claims_of(daemon), claims_of(daemon, pb.WAITING)
    wrong = []
    if set(items) != set(world.there):
        wrong.append(f"the cluster has {len(items)} VIPs, {len(world.there)} are expected")
    if held != bound:
        wrong += [f"{name}: ipamd {held.get(name)}, status {bound.get(name)}" for name in sorted(held.keys() | bound.keys())
                  if held.get(name) != bound.get(name)]
    if set(held) | set(waiting) != set(world.there) or set(held) & set(waiting):
        wrong.append(f"ipamd has {len(held)} bound and {len(waiting)} waiting of {len(world.there)}")
    return wrong + _wrong_with_pools(kube, world, bound)


def _wrong_with_pools(kube, world, bound):
    """As many as fit have an address, each one of its own pool, nobody has another's, and the pool's status counts them."""
    wrong = []
    wanted = collections.Counter(world.there.values())
    used = collections.Counter(address for addresses in bound.values() for address in addresses)
    wrong += [f"{address} has {n} VIPs" for address, n in used.items() if n > 1]
    for name, (cidrs, capacity) in POOLS.items():
        status = kube.admin.get("proxyippools", name).get("status", {})
        mine = {vip_name: addresses for vip_name, addresses in bound.items() if world.there.get(vip_name) == name}
        expected = min(wanted[name], capacity)
        counts = (len(mine), status.get("allocated"), status.get("waiting"))
        if counts != (expected, expected * len(cidrs), (wanted[name] - expected) * len(cidrs)):
            wrong.append(f"pool {name}: {wanted[name]} want one of {capacity}; bound, allocated, waiting: {counts}")
        prefixes = tuple(cidr.split("/")[0].rsplit(".", 2)[0].rsplit("::", 1)[0] for cidr in cidrs)
        wrong += [f"{vip_name} of {name} has {addresses}" for vip_name, addresses in mine.items()
                  if len(addresses) != len(cidrs) or not all(a.startswith(p) for a, p in zip(addresses, prefixes))]
    return wrong


def kill_until_done(host, threads, dice):
    """One process after the other is killed at a random moment, in random order, and started again at once or after a
    while. Returns how often each was."""
    killed, turns = collections.Counter(), []
    while any(thread.is_alive() for thread in threads):
        time.sleep(dice.uniform(*KILL_PAUSE))
        turns = turns or dice.sample(host.parts(), 3)
        part = turns.pop()
        part.kill9()
        if dice.random() < 0.3:
            time.sleep(dice.uniform(0.1, 1))
        part.start()
        killed[part.name] += 1
    return killed


# ---- Test

@pytest.mark.seconds(600)
def test_chaos(kube, hosts, recorder):
    print(f"crash: chaos seed {SEED}")
    dice = random.Random(SEED)
    host = hosts(kube, watcher={"options": ["--confirm-delay", 1, "--max-release-share", 100]}).start()
    kube.apply([pool(name, *cidrs) for name, (cidrs, _) in POOLS.items()])
    world = World(kube, dice.randrange(1 << 32))
    begin = time.monotonic()
    killed = kill_until_done(host, world.run(), dice)
    assert not world.failures, world.failures
    print(f"crash: chaos made {world.made} VIPs, {len(world.there)} are left, in {time.monotonic() - begin:.0f} s; killed {dict(killed)}")
    wait_for(lambda: not wrong_with(kube, host.daemon, world), "objects, ipamd and expectation agree", 60,
             lambda _: "\n".join(wrong_with(kube, host.daemon, world)[:40]))
    recorder.catch_up()
    moved = {name: recorder.addresses(name) for name in world.once if len(set(recorder.addresses(name)) - {None}) > 1}
    assert not moved, f"VIPs whose address changed: {moved}"
    assert world.made >= VIPS and len(killed) == 3 and sum(killed.values()) >= VIPS / 50
