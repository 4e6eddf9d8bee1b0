"""A second writer of ProxyVIP status that behaves as NovaEdge's controller does."""
import threading
import time

import requests

from cluster.api import ApiError


class StatusReplacer:
    """Replaces the whole status of every VIP from its own copy, again and again: sets activeNode, announcingNodes, a
    condition Announced of its own and observedGeneration. Its copy is as old as its last write or refresh, so that it meets
    409 conflicts as the real one does; what it wrote is in `written`, how often it had to read anew in `conflicts`."""

    def __init__(self, cluster, pause=0.0):
        """pause: seconds between two writes; 0 is as fast as it goes."""
        self.api = cluster.novaedge.api()
        self.pause = pause
        self.copies = {}
        self.written = 0
        self.conflicts = 0
        self.failures = []  # answers other than 409 and 404
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.stopped.set()
        self.thread.join(60)

    def _run(self):
        while not self.stopped.is_set():
            try:
                self._read_all()
                for name in list(self.copies):
                    if self.stopped.is_set():
                        return
                    self._replace(name)
                    time.sleep(self.pause)
                if not self.copies:
                    time.sleep(0.05)
            except requests.RequestException:
                time.sleep(0.2)

    def _read_all(self):
        """Names that come and go are seen here; the copy of a name that stays is kept as it was."""
        there = {item["metadata"]["name"]: item for item in self.api.items("proxyvips")}
        self.copies = {name: self.copies.get(name, item) for name, item in there.items()}

    def _replace(self, name):
        copy = self.copies[name]
        status = dict(copy.get("status") or {})
        generation = copy["metadata"]["generation"]
        node = f"node-{self.written % 3}"
        status.update(activeNode=node, announcingNodes=[node], observedGeneration=generation,
                      conditions=self._conditions(status.get("conditions", []), node))
        try:
            self.copies[name] = self.api.replace("proxyvips", {**copy, "status": status}, subresource="status")
            self.written += 1
        except ApiError as error:
            self._failed(name, error)

    def _conditions(self, conditions, node):
        announced = {"type": "Announced", "status": "True", "reason": "Announced", "message": f"announced by {node}",
                     "lastTransitionTime": "2024-01-15T10:30:00Z"}
        return [c for c in conditions if c["type"] != "Announced"] + [announced]

    def _failed(self, name, error):
        if error.status == 409:
            self.conflicts += 1
            fresh = self.api.find("proxyvips", name)
            if fresh:
                self.copies[name] = fresh
                return
        elif error.status != 404:
            self.failures.append(str(error))
        self.copies.pop(name, None)
