"""Watches VIPs and pools all along, as administrator and past every fault, and remembers each status that was ever there."""
import collections
import threading
import time

import requests

from cluster.api import ApiError, wait_for

Seen = collections.namedtuple("Seen", "version at status")  # resourceVersion, time.monotonic(), the status as it was

RETRY_SECONDS = 0.1
WATCH_SECONDS = 5


def addresses_of(item):
    status = item.get("status") or {}
    return {status[field] for field in ("allocatedAddress", "allocatedIPv6Address") if status.get(field)}


class Recorder:
    def __init__(self, cluster):
        self.cluster = cluster
        self.lock = threading.Lock()
        self.vips = collections.defaultdict(list)  # name → [Seen], over all objects of the name
        self.pools = collections.defaultdict(list)
        self.doubles = []  # texts
        self.gaps = 0  # how often history was lost (410): what was between is not known
        self.holders = collections.defaultdict(dict)  # address → {uid: name}, now
        self.held = collections.defaultdict(set)  # uid → addresses, now
        self.known = {"proxyvips": {}, "proxyippools": {}}  # uid → resourceVersion, now
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._follow, args=(kind,), daemon=True) for kind in self.known]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        """Reads up to now, then no further. The threads end by themselves, their watches being short."""
        self.catch_up()
        self.stopped.set()

    # -- Following

    def _follow(self, kind):
        api = self.cluster.new_admin()
        version = None
        while not self.stopped.is_set():
            try:
                version = version or self._relist(api, kind)
                for event in api.watch(kind, version, WATCH_SECONDS):
                    if self.stopped.is_set():
                        return
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._note(kind, event["type"], event["object"])
            except ApiError as error:
                if error.status == 410:
                    self.gaps += 1
                    version = None
                time.sleep(RETRY_SECONDS)
            except (requests.RequestException, ValueError):
                time.sleep(RETRY_SECONDS)

    def _relist(self, api, kind):
        listed = api.list(kind)
        there = {item["metadata"]["uid"] for item in listed["items"]}
        with self.lock:
            for uid in set(self.known[kind]) - there:
                self._forget(kind, uid)
            if kind == "proxyvips":  # a list is one moment: who held what before it is no double in it
                self.holders.clear()
                self.held.clear()
        for item in listed["items"]:
            self._note(kind, "LISTED", item)
        return listed["metadata"]["resourceVersion"]

    def _note(self, kind, event, item):
        if event == "BOOKMARK":
            return
        meta = item["metadata"]
        with self.lock:
            if event == "DELETED":
                self._forget(kind, meta["uid"])
                return
            self.known[kind][meta["uid"]] = int(meta["resourceVersion"])
            history = (self.vips if kind == "proxyvips" else self.pools)[meta["name"]]
            history.append(Seen(int(meta["resourceVersion"]), time.monotonic(), item.get("status") or {}))
            if kind == "proxyvips":
                self._hold(meta["uid"], meta["name"], addresses_of(item), meta["resourceVersion"])

    def _forget(self, kind, uid):
        self.known[kind].pop(uid, None)
        for address in self.held.pop(uid, ()):
            del self.holders[address][uid]

    def _hold(self, uid, name, addresses, version):
        for address in self.held[uid] - addresses:
            del self.holders[address][uid]
        for address in addresses - self.held[uid]:
            others = [f"{other} ({other_uid})" for other_uid, other in self.holders[address].items()]
            if others:
                self.doubles.append(f"{address} in the status of {name} ({uid}) and {', '.join(others)} at version {version}")
            self.holders[address][uid] = name
        self.held[uid] = addresses

    def catch_up(self, seconds=30):
        """Waits until everything that the API server has now was seen."""
        wanted = {kind: {item["metadata"]["uid"]: int(item["metadata"]["resourceVersion"])
                         for item in self.cluster.admin.items(kind)} for kind in self.known}

        def seen_all():
            with self.lock:
                return all(set(self.known[kind]) <= set(objects) and
                           all(self.known[kind].get(uid, 0) >= version for uid, version in objects.items())
                           for kind, objects in wanted.items())

        wait_for(seen_all, "the recorder has seen all that is there", seconds)

    # -- What was seen

    def assert_no_double(self):
        """No address was ever in two VIPs' statuses at once."""
        self.catch_up()
        assert not self.doubles, f"{len(self.doubles)} addresses were doubled:\n" + "\n".join(self.doubles[:20])

    def addresses(self, name):
        """The addresses of one VIP name, in the order in which its status showed them; a time without one is None."""
        order = []
        with self.lock:
            for seen in self.vips[name]:
                address = seen.status.get("allocatedAddress")
                if not order or order[-1] != address:
                    order.append(address)
        return order

    def statuses(self, name):
        """[Seen] of one VIP name: each version that was there."""
        with self.lock:
            return list(self.vips[name])

    def pool_statuses(self, name):
        """[Seen] of one pool, a version without a change of status left out: its length is the number of status writes."""
        kept = []
        with self.lock:
            for seen in self.pools[name]:
                if not kept or kept[-1].status != seen.status:
                    kept.append(seen)
        return kept
