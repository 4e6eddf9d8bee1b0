"""History read over the socket and proved anew: no gap in the revisions, and every hash computed here gives the same."""
import hashlib

from harness.protos import ipam as pb


def read(client, after=0):
    """Every change after a revision, page by page."""
    while True:
        reply = client.ListChanges(pb.ListChangesRequest(after_revision=after, limit=1000))
        yield from reply.changes
        if reply.changes:
            after = reply.changes[-1].revision
        if after >= reply.revision or not reply.changes:
            return


def canonical(change):
    bare = pb.Change()
    bare.CopyFrom(change)
    bare.ClearField("hash")
    return bare.SerializeToString(deterministic=True)


class Chain:
    """The chain as far as it was read; check() goes on from there."""

    def __init__(self):
        self.revision = 0
        self.hash = bytes(32)

    def check(self, client):
        """Returns the changes that are new since the last call."""
        changes = list(read(client, self.revision))
        for change in changes:
            assert change.revision == self.revision + 1, f"a gap: {self.revision}, then {change.revision}"
            expected = hashlib.blake2b(self.hash + canonical(change), digest_size=32).digest()
            assert change.hash == expected, f"revision {change.revision}: the hash is another one"
            self.revision, self.hash = change.revision, change.hash
        return changes
