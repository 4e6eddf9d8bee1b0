"""What a peer can make ipamd hold is limited by options: all goes well at the limit, one past it is refused alone."""
import contextlib
import struct
import time

import grpc
import pytest

from harness.errors import Refusal, refused
from harness.paths import SLOW
from harness.protos import ipam as pb, ipam_grpc
from harness.requests import address, allocate, pool, release
from harness.waiting import eventually
from test_hostile import DATA, END_STREAM, HEADERS, HELLO, PREFACE, SETTINGS, WINDOW_UPDATE, Peer, frame, message, request

# ---- Helpers


def own_connection(daemon):
    channel = daemon.channel(("grpc.use_local_subchannel_pool", 1))
    return channel, ipam_grpc.IPAMStub(channel)


def status(client):
    return client.GetStatus(pb.GetStatusRequest(), timeout=10 * SLOW)


def resident(daemon):
    """KiB of memory that the daemon has now."""
    lines = open(f"/proc/{daemon.process.pid}/status", encoding="ascii").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


# ---- Tests


def test_connections_up_to_the_limit_are_served_and_one_more_is_not(daemons):
    daemon = daemons().start("--max-connections", "3")
    connections = [own_connection(daemon) for _ in range(3)]
    for _, client in connections:
        status(client)
    _, extra = own_connection(daemon)
    with refused("TOO_MANY_CLIENTS", "RESOURCE_EXHAUSTED"):
        status(extra)
    for _, client in connections:
        assert status(client).counters.connections == 3
    connections[0][0].close()
    eventually(lambda: status(connections[1][1]).counters.connections == 2)
    _, late = own_connection(daemon)
    assert status(late).counters.connections == 3


def test_calls_past_the_stream_limit_wait_for_their_turn(daemons):
    daemon = daemons().start("--max-streams", "4")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/20"))
    calls = [ipam.Allocate.future(allocate(f"vip-{n}", "p")) for n in range(500)]
    assert len({address(call.result()) for call in calls}) == 500


def test_streams_past_the_limit_are_refused_and_the_others_answered(daemons):
    daemon = daemons().start("--max-streams", "4")
    peer = Peer(daemon)
    peer.send(HELLO + b"".join(request(n) for n in range(1, 13, 2)))
    peer.send(b"".join(frame(DATA, END_STREAM, n, message()) for n in (1, 3, 5, 7)))
    answered = set()

    def done(it):
        if it[2] and it[1] & END_STREAM:
            answered.add(it[2])
        return answered == {1, 3, 5, 7}

    peer.read_frames(done)
    peer.close()
    assert status(daemon.ipam()).store == "sqlite"


def test_header_list_past_the_limit_costs_the_call_alone(daemons):
    daemon = daemons().start("--max-header-list", "4096")
    ipam = daemon.ipam()
    assert ipam.GetStatus(pb.GetStatusRequest(), metadata=[("x-big", "x" * 2000)]).store == "sqlite"
    with pytest.raises(grpc.RpcError):
        ipam.GetStatus(pb.GetStatusRequest(), metadata=[("x-big", "x" * 8000)])
    assert ipam.GetStatus(pb.GetStatusRequest()).store == "sqlite"


def test_client_that_takes_no_replies_gets_no_further_and_loses_none(daemons):
    """What it leaves unread is bounded: its further requests wait; when it reads again it gets every answer."""
    daemon = daemons().start("--max-unread", "4194304")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/20"))
    for call in [ipam.Allocate.future(allocate(f"vip-{n}-{'x' * 200}", "p")) for n in range(500)]:
        call.result()
    before = resident(daemon)
    peer = Peer(daemon)
    window = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0x7fffffff)) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7ff00000))
    listing = message(pb.ListClaimsRequest(page_size=1000).SerializeToString())
    streams = set(range(1, 2001, 2))  # 150 MB of answers in all
    peer.send(PREFACE + window)
    peer.send(b"".join(request(stream, path="/ipam.v1.IPAM/ListClaims") + frame(DATA, END_STREAM, stream, listing)
                       for stream in sorted(streams)))
    eventually(lambda: status(ipam).counters.calls_total >= len(streams))
    assert resident(daemon) - before < 64 * 1024
    ended = set()

    def all_ended(it):
        if it[0] == HEADERS and it[1] & END_STREAM:
            ended.add(it[2])
        return ended == streams

    peer.read_frames(all_ended)
    peer.close()


def test_client_that_pipelines_large_lists_gets_them_all(daemon, ipam):
    """Its flow control windows are small, so the answers pile up in ipamd however fast it reads."""
    ipam.ApplyPool(pool("p", "10.0.0.0/20"))
    for call in [ipam.Allocate.future(allocate(f"vip-{n}-{'x' * 200}", "p")) for n in range(1000)]:
        call.result()
    listings = [ipam.ListClaims.future(pb.ListClaimsRequest(page_size=1000)) for _ in range(100)]
    assert {len(listing.result().claims) for listing in listings} == {1000}


def test_page_of_large_pools_ends_early_and_the_next_goes_on(ipam):
    for n in range(6):
        listed = [f"10.{n}.{i >> 8}.{i & 255}" for i in range(1, 30000)]
        ipam.ApplyPool(pb.ApplyPoolRequest(pool=pb.PoolSpec(name=f"large-{n}", addresses=listed)))
    names, token = [], ""
    while not names or token:
        page = ipam.ListPools(pb.ListPoolsRequest(page_token=token))
        assert 0 < len(page.pools) < 6
        names += [each.spec.name for each in page.pools]
        token = page.next_page_token
    assert names == [f"large-{n}" for n in range(6)]
    changes, after = [], 0
    while after < 6:
        page = ipam.ListChanges(pb.ListChangesRequest(after_revision=after))
        assert 0 < len(page.changes) < 6
        changes += [each.pool.spec.name for each in page.changes]
        after = page.scanned_through
    assert changes == names


def test_page_sizes_are_capped(ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/20"))
    calls = [ipam.Allocate.future(allocate(f"vip-{n}", "p")) for n in range(1100)]
    for call in calls:
        call.result()
    assert len(ipam.ListClaims(pb.ListClaimsRequest()).claims) == 100
    assert len(ipam.ListClaims(pb.ListClaimsRequest(page_size=4000000000)).claims) == 1000
    assert len(ipam.ListChanges(pb.ListChangesRequest(limit=4000000000)).changes) == 1000


def test_client_that_pipelines_history_reads_gets_them_all(daemons):
    """Their pages are made by worker threads and come at once, more of them than it may leave unread."""
    daemon = daemons().start("--max-unread", "4194304")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/20"))
    for call in [ipam.Allocate.future(allocate(f"vip-{n}-{'x' * 200}", "p")) for n in range(1000)]:
        call.result()
    pages = [ipam.ListChanges.future(pb.ListChangesRequest(limit=1000)) for _ in range(100)]
    assert {len(page.result().changes) for page in pages} == {1000}


def test_requests_that_never_end_are_bounded(daemons):
    """4 MiB of empty strings are a dozen times as much once they are read."""
    daemon = daemons().start()
    before = resident(daemon)
    peer = Peer(daemon)
    window = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0x7fffffff))
    peer.send(PREFACE + window)
    body = message(b"\x0a" + b"\x80\x80\xc0\x01" + b"\x22\x00" * (3 * 512 * 1024))
    streams = range(1, 41, 2)
    for stream in streams:
        peer.send(request(stream, path="/ipam.v1.IPAM/ApplyPool"))
        peer.send(b"".join(frame(DATA, 0, stream, body[at:at + 16384]) for at in range(0, len(body), 16384)))
    refused_calls = set()

    def last_refused(it):
        if it[0] == HEADERS and it[1] & END_STREAM:
            refused_calls.add(it[2])
        return streams[-1] in refused_calls

    peer.read_frames(last_refused)
    assert resident(daemon) - before < 128 * 1024 * SLOW  # sanitizers keep what is freed for a while
    peer.close()
    assert status(daemon.ipam()).store == "sqlite"


def ask(daemon, path, payload):
    """The reason of the answer to a request of those bytes; "" if it is OK."""
    with contextlib.closing(daemon.channel()) as channel:
        try:
            channel.unary_unary(path)(payload, timeout=20 * SLOW)
        except grpc.RpcError as error:
            refusal = Refusal()
            refusal.fill(error)
            return refusal.reason
    return ""


@pytest.mark.parametrize("path, most", [("/grpc.health.v1.Health/Check", 1024), ("/ipam.v1.IPAM/GetStatus", 8192),
                                        ("/ipam.v1.IPAM/ListClaims", 8192)])
def test_request_may_be_as_large_as_its_method_needs_and_no_larger(daemon, path, most):
    """Fields of a newer client count: they are passed over, not refused."""
    def unknown(size):
        return b"\xa2\x06" + bytes([size - 4 & 127 | 128, size - 4 >> 7]) + bytes(size - 4)

    assert len(unknown(most)) == most
    assert ask(daemon, path, unknown(most)) == ""
    assert ask(daemon, path, unknown(most + 1)) == "MESSAGE_TOO_LARGE"
    daemon.ipam().GetStatus(pb.GetStatusRequest())


def test_request_has_no_more_fields_than_a_pool_needs(daemon):
    path, field = "/ipam.v1.IPAM/ApplyPool", b"\xa0\x06\0"
    assert ask(daemon, path, field * 70_000) == "INVALID_REQUEST", "it has no pool"
    assert ask(daemon, path, field * 70_001) == "LIMIT_EXCEEDED"


def test_message_of_a_stream_that_stays_half_sent_is_answered_and_others_stay(daemons):
    daemon = daemons().start("--stall-timeout", "1")
    peer, info = Peer(daemon), "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    peer.send(HELLO + request(1, path=info) + frame(DATA, 0, 1, message(b"x", size=100)) +
              request(3, path=info) + frame(DATA, 0, 3, message(b"\x3a\0")))
    peer.read_frames(lambda it: it[2] == 1 and it[0] == HEADERS and it[1] & END_STREAM)
    peer.send(frame(DATA, END_STREAM, 3, message(b"\x3a\0")))
    frames = peer.read_frames(lambda it: it[2] == 3 and it[0] == HEADERS and it[1] & END_STREAM)
    assert any(it[2] == 3 and it[0] == DATA and it[3] for it in frames)
    peer.close()


def test_call_that_was_put_off_goes_to_the_disk_at_once(daemons):
    """It is handled after the turn's changes were sent to the disk, and must not wait for what comes next. Beside it stands a
    write that was not put off, so that a busy machine slows both."""
    daemon = daemons().start("--max-unread", "4194304")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/20"))
    for call in [ipam.Allocate.future(allocate(f"vip-{n}-{'x' * 200}", "p")) for n in range(1000)]:
        call.result()
    peer = Peer(daemon)
    window = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0x7fffffff)) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7ff00000))
    peer.send(PREFACE + window)
    listing = message(pb.ListClaimsRequest(page_size=1000).SerializeToString())
    waits, plain = [], []
    for turn in range(9):
        first = turn * 100 + 1
        lists, write = range(first, first + 40, 2), first + 40
        sent = b"".join(request(stream, path="/ipam.v1.IPAM/ListClaims") + frame(DATA, END_STREAM, stream, listing)
                        for stream in lists)
        allocation = message(allocate(f"late-{turn}", "p").SerializeToString())
        peer.send(sent + request(write, path="/ipam.v1.IPAM/Allocate") + frame(DATA, END_STREAM, write, allocation))
        ended = {}

        def all_ended(it, ended=ended, write=write):
            if it[0] == HEADERS and it[1] & END_STREAM:
                ended[it[2]] = time.monotonic()
            return write in ended and len(ended) == 21

        peer.read_frames(all_ended)
        waits.append(ended.pop(write) - max(ended.values()))
        begin, alone = time.monotonic(), write + 2
        allocation = message(allocate(f"plain-{turn}", "p").SerializeToString())
        peer.send(request(alone, path="/ipam.v1.IPAM/Allocate") + frame(DATA, END_STREAM, alone, allocation))
        peer.read_frames(lambda it, alone=alone: it[0] == HEADERS and it[1] & END_STREAM and it[2] == alone)
        plain.append(time.monotonic() - begin)
    peer.close()
    assert sorted(waits)[4] < 0.015 * SLOW + 2 * sorted(plain)[4], (waits, plain)


# ---- Time


def test_client_that_does_not_begin_is_disconnected(daemons):
    daemon = daemons().start("--handshake-timeout", "1")
    silent, half = Peer(daemon), Peer(daemon)
    half.send(PREFACE[:12])
    begun = Peer(daemon)
    begun.send(HELLO)
    silent.read_to_end()
    half.read_to_end()
    daemon.wait_log("longer to begin HTTP/2 than --handshake-timeout allows")
    begun.send(request(1) + frame(DATA, END_STREAM, 1, message()))
    begun.read_frames(lambda it: it[2] == 1 and it[1] & END_STREAM)
    begun.close()


def test_idle_client_gets_a_goaway_and_one_with_a_call_stays(daemons):
    daemon = daemons().start("--idle-timeout", "1")
    watcher, idle = Peer(daemon), Peer(daemon)
    watcher.send(HELLO + request(1, path="/grpc.health.v1.Health/Watch") + frame(DATA, END_STREAM, 1, message()))
    idle.send(HELLO)
    idle.read_frames(lambda it: it[0] == 7)
    idle.read_to_end()
    watcher.send(request(3) + frame(DATA, END_STREAM, 3, message()))
    watcher.read_frames(lambda it: it[2] == 3 and it[1] & END_STREAM)
    watcher.close()


def test_request_that_stays_half_sent_is_answered_and_its_connection_lives(daemons):
    daemon = daemons().start("--stall-timeout", "1")
    peer = Peer(daemon)
    peer.send(HELLO + request(1) + frame(DATA, 0, 1, message(b"x", size=100)))
    peer.read_frames(lambda it: it[2] == 1 and it[1] & END_STREAM)
    peer.send(request(3) + frame(DATA, END_STREAM, 3, message()))
    peer.read_frames(lambda it: it[2] == 3 and it[1] & END_STREAM)
    peer.close()


@pytest.mark.parametrize("half", [frame(HEADERS, 0, 1, b""), frame(DATA, 0, 1, b"x" * 50)[:20]])
def test_frame_or_header_list_that_stays_half_sent_costs_the_connection(daemons, half):
    daemon = daemons().start("--stall-timeout", "1")
    peer = Peer(daemon)
    peer.send(HELLO + (request(1) if half[3] == DATA else b"") + half)
    peer.read_to_end()
    daemon.wait_log("disconnecting: .*a frame or header list stayed half sent for longer than --stall-timeout allows")


def test_reader_that_takes_nothing_is_disconnected_in_time(daemons):
    daemon = daemons().start("--stall-timeout", "1")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    peer = Peer(daemon)
    peer.send(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
    peer.send(request(1, path="/ipam.v1.IPAM/ListPools") + frame(DATA, END_STREAM, 1, message()))
    peer.read_to_end()
    daemon.wait_log("read nothing of its replies for longer than --stall-timeout allows")


def test_reader_that_leaves_the_socket_full_is_disconnected_in_time(daemons):
    """Whether the rest of an answer still waits in its call or stands at the socket's door: the sizes differ by less than
    what may stand there."""
    daemon = daemons().start("--stall-timeout", "1")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/20"))
    for call in [ipam.Allocate.future(allocate(f"vip-{n}-{'x' * 230}", "p")) for n in range(1000)]:
        call.result()
    each = ipam.ListClaims(pb.ListClaimsRequest(page_size=1000)).ByteSize() / 1000
    sizes = [int(size / each) for size in range(240_000, 320_000, 15_000)]
    peers = [Peer(daemon) for _ in sizes]
    window = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0x7fffffff)) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7ff00000))
    for peer, size in zip(peers, sizes):
        listing = message(pb.ListClaimsRequest(page_size=size).SerializeToString())
        peer.send(PREFACE + window + request(1, path="/ipam.v1.IPAM/ListClaims") + frame(DATA, END_STREAM, 1, listing))
    eventually(lambda: daemon.log().count("read nothing of its replies for longer than --stall-timeout allows") == len(peers))
    for peer in peers:
        peer.close()


def test_clients_that_hold_too_much_together_lose_the_one_that_has_most(daemons):
    daemon = daemons().start("--max-buffered", "16777216")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/20"))
    for call in [ipam.Allocate.future(allocate(f"vip-{n}-{'x' * 200}", "p")) for n in range(1000)]:
        call.result()
    window = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0x7fffffff)) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7ff00000))
    listing = message(pb.ListClaimsRequest(page_size=1000).SerializeToString())
    peers = [Peer(daemon) for _ in range(20)]  # each is let have a little more than 1 MiB
    for peer in peers:
        peer.send(PREFACE + window + b"".join(request(n, path="/ipam.v1.IPAM/ListClaims") + frame(DATA, END_STREAM, n, listing)
                                              for n in range(1, 101, 2)))
    daemon.wait_log(r"disconnecting: .*requests and replies of all clients hold more than --max-buffered allows \(16777216 bytes\)")
    assert status(ipam).counters.connections > 10, "the others stay"
    for peer in peers:
        peer.close()


class Reader(Peer):
    """Asks for a page of history as large as they come, and takes 64 KiB of it until it opens its window."""

    def __init__(self, daemon):
        super().__init__(daemon)
        asked = message(pb.ListChangesRequest(limit=1000).SerializeToString())
        self.send(HELLO + request(1, path="/ipam.v1.IPAM/ListChanges") + frame(DATA, END_STREAM, 1, asked))

    def read_page(self):
        more = struct.pack(">I", 0x7f000000)
        self.send(frame(WINDOW_UPDATE, 0, 0, more) + frame(WINDOW_UPDATE, 0, 1, more))
        frames = self.read_frames(lambda it: it[0] == HEADERS and it[1] & END_STREAM)
        page = b"".join(it[3] for it in frames if it[0] == DATA)
        return pb.ListChangesReply.FromString(page[5:])


@pytest.fixture
def crowd(daemons):
    """Makes readers; less than the pages of twenty may wait to be read."""
    daemon = daemons().start("--max-buffered", "16777216", "--history-rate", "4")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/20"))
    for call in [ipam.Allocate.future(allocate(f"vip-{n}-{'x' * 200}", "p")) for n in range(1000)]:
        call.result()

    def make(count):
        before = status(ipam).counters.calls_total
        readers = [Reader(daemon) for _ in range(count)]
        eventually(lambda: status(ipam).counters.calls_total >= before + count)
        return readers

    yield daemon, make
    assert "disconnecting" not in daemon.log()


def test_history_is_read_no_faster_than_clients_take_it(crowd):
    _, make = crowd
    readers = make(80)
    time.sleep(0.5)  # in which all pages could be read, and would fill the memory twice
    for reader in readers:
        assert len(reader.read_page().changes) == 1000
        reader.close()


def test_reads_of_history_whose_clients_have_gone_are_not_made(crowd):
    daemon, make = crowd
    readers = make(200)
    for reader in readers[30:]:
        reader.close()
    page = daemon.ipam().ListChanges(pb.ListChangesRequest(limit=1), timeout=20 * SLOW)
    assert page.revision == 1001
    for reader in readers[:30]:
        reader.close()


# ---- Claims and names


def test_claims_of_a_kind_up_to_the_limit_and_no_more(daemons):
    daemon = daemons().start("--max-claims", "ProxyVIP=2", "--max-claims", "*=1")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    for name in ("a", "b", "a"):
        ipam.Allocate(allocate(name, "p"))
    with refused("LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED") as found:
        ipam.Allocate(allocate("c", "p", enqueue=True))
    assert "kind ProxyVIP have 2 claims" in found.message and found.metadata == {"kind": "ProxyVIP"}
    ipam.Allocate(allocate("n", "p", kind="Node"))
    with refused("LIMIT_EXCEEDED"):
        ipam.Allocate(allocate("m", "p", kind="Node"))
    daemon.kill9()
    ipam = daemon.start("--max-claims", "ProxyVIP=1").ipam()
    assert status(ipam).counters.claims_bound == 3, "what is there stays"
    ipam.Allocate(allocate("b", "p"))
    with refused("LIMIT_EXCEEDED"):
        ipam.Allocate(allocate("c", "p"))


def test_claims_of_all_owners_up_to_the_total_and_no_more(daemons):
    daemon = daemons().start("--max-claims-total", "3")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24", reuse_delay_seconds=3600))
    for n in range(3):
        ipam.Allocate(allocate("x", "p", kind=f"Fresh{n}"))
    ipam.Release(release("x", kind="Fresh0"))
    for more in ({}, {"enqueue": True}, {"dry_run": True}):
        with refused("LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED") as found:
            ipam.Allocate(allocate("x", "p", kind="Fresh3", **more))
        assert "there are 3 claims, waiting and cooling ones included" in found.message and "--max-claims-total" in found.message
    assert address(ipam.Allocate(allocate("x", "p", kind="Fresh0"))) == "10.0.0.1/32"


# ---- Cooling


def test_an_owner_that_moves_through_a_pool_leaves_it_to_the_others(ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/28", reuse_delay_seconds=3600))
    ipam.Allocate(allocate("web", "p"))
    for n in range(2, 15):
        ipam.Allocate(allocate("web", "p", address=f"10.0.0.{n}", replace=True))
    ipam.Release(release("web"))
    assert ipam.GetPool(pb.GetPoolRequest(name="p")).pool.counts.cooling == 4
    assert [address(ipam.Allocate(allocate(f"other-{n}", "p"))) for n in range(10)] == [f"10.0.0.{n}/32" for n in range(1, 11)]


def test_cooling_up_to_the_limit_and_one_more_ends_the_oldest_for_good(daemons):
    daemon = daemons().start("--max-cooling", "2")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/28", reuse_delay_seconds=3600))
    for n in (1, 2, 3):
        ipam.Allocate(allocate("web", "p", address=f"10.0.0.{n}", replace=True))
    cooling = pb.ListClaimsRequest(state=pb.COOLING)
    assert sorted(claim.address for claim in ipam.ListClaims(cooling).claims) == ["10.0.0.1/32", "10.0.0.2/32"]
    ipam.Release(release("web"))
    kept = ["10.0.0.2/32", "10.0.0.3/32"]
    assert sorted(claim.address for claim in ipam.ListClaims(cooling).claims) == kept
    assert "cooling of 10.0.0.1/32 ended before its time" in daemon.ipamc("get", "changes", check=True).stdout.splitlines()[-1]
    daemon.kill9()
    assert sorted(claim.address for claim in daemon.start("--max-cooling", "2").ipam().ListClaims(cooling).claims) == kept


@pytest.mark.parametrize("value", ["ProxyVIP", "=1", "ProxyVIP=", "ProxyVIP=x", "ProxyVIP=-1"])
def test_claim_limit_that_cant_be_read_is_an_error_at_start(daemons, value):
    daemon = daemons()
    daemon.start("--max-claims", value, ready=False)
    assert daemon.wait() == 2
    daemon.wait_log("write a kind of owner and a number, such as ProxyVIP=1000")


def test_claims_without_a_pool_lie_where_the_option_says(daemons):
    daemon = daemons().start("--manual-addresses", "10.7.0.0/24,10.8.0.1-10.8.0.4", "--manual-addresses", "2001:db8::/64")
    ipam = daemon.ipam()
    for name, wanted in (("a", "10.7.0.0"), ("b", "10.7.0.255"), ("c", "10.8.0.4"), ("d", "2001:db8::1")):
        ipam.Allocate(allocate(name, address=wanted))
    for wanted in ("10.6.255.255", "10.8.0.0", "10.8.0.5", "2001:db8:0:1::"):
        with refused("ADDRESS_NOT_PERMITTED", "FAILED_PRECONDITION") as found:
            ipam.Allocate(allocate("x", address=wanted, enqueue=True))
        assert "10.7.0.0-10.7.0.255, 10.8.0.1-10.8.0.4, 2001:db8::-2001:db8::ffff:ffff:ffff:ffff" in found.message
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    ipam.Allocate(allocate("pooled", "p", address="10.0.0.9"))
    daemon.kill9()
    ipam = daemon.start("--manual-addresses", "none").ipam()
    assert address(ipam.Allocate(allocate("a", address="10.7.0.0"))) == "10.7.0.0/32", "what is there stays"
    with refused("ADDRESS_NOT_PERMITTED") as found:
        ipam.Allocate(allocate("e", address="10.7.0.1"))
    assert "may lie nowhere; name a pool" in found.message
    done = daemon.ipamc("explain", "allocate", "-", "e", "--address", "10.7.0.1")
    assert "permitted (ipv4)" in done.stdout and found.message in done.stdout


@pytest.mark.parametrize("values, why", [
    (["10.0.0.1/24"], "has host bits set: write 10.0.0.0/24"), (["10.0.0.0/24,"], "a range in it is empty"),
    (["all"], "is not an address"), (["none", "10.0.0.0/24"], "ranges are given as well"),
    ([",".join(f"10.0.{n}.0/24" for n in range(65))], "more than 64 ranges"), (["1" * 200], "a range in it is too long")])
def test_manual_addresses_that_cant_be_read_are_an_error_at_start(daemons, values, why):
    daemon = daemons()
    daemon.start(*(word for value in values for word in ("--manual-addresses", value)), ready=False)
    assert daemon.wait() == 2
    daemon.wait_log("--manual-addresses.*" + why)


def test_as_many_ranges_of_manual_addresses_as_there_may_be(daemons):
    daemon = daemons().start("--manual-addresses", ",".join(f"10.0.{n}.0/24" for n in range(64)))
    daemon.ipam().Allocate(allocate("a", address="10.0.63.9"))
    with refused("ADDRESS_NOT_PERMITTED") as found:
        daemon.ipam().Allocate(allocate("b", address="10.0.64.0"))
    assert "10.0.0.0-10.0.0.255, " in found.message and ", …, where" in found.message


def test_names_up_to_the_limit_and_no_longer(daemons):
    daemon = daemons().start("--max-name", "8")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p" * 8, "10.0.0.0/24"))
    ipam.Allocate(allocate("n" * 8, "p" * 8))
    with refused("INVALID_OWNER"):
        ipam.Allocate(allocate("n" * 9, "p" * 8))
    with refused("INVALID_POOL_SPEC"):
        ipam.ApplyPool(pool("p" * 9, "10.1.0.0/24"))


# ---- Answers to what was done


def test_pool_spec_up_to_its_limit_is_answered_and_one_byte_more_is_refused(ipam):
    """Refused and in force it stands in an answer twice: that must be one that any client takes."""
    most = 1024 * 1024
    addresses = [f"2001:db8:1111:2222:3333:4444:{n >> 16:04x}:{n & 0xffff:04x}" for n in range(25000)]
    spec = pb.PoolSpec(name="p", addresses=addresses)
    spec.uid = "u" * 128
    while spec.ByteSize() + 10 < most:
        addresses.append(f"10.{len(addresses) >> 16}.{len(addresses) >> 8 & 255}.{len(addresses) & 255}")
        spec.addresses.append(addresses[-1])
    spec.uid = "u" * (128 - (spec.ByteSize() - most))
    assert spec.ByteSize() == most
    assert ipam.ApplyPool(pb.ApplyPoolRequest(pool=spec)).pool.counts.capacity == len(addresses)
    worse = pb.PoolSpec()
    worse.CopyFrom(spec)
    worse.addresses[-1] = worse.addresses[-1][:-1] + "x"
    answer = ipam.ApplyPool(pb.ApplyPoolRequest(pool=worse, record_rejected=True))
    assert answer.ByteSize() > 2 * most - 1000 and list(answer.pool.rejected_spec.addresses) == list(worse.addresses)
    spec.uid += "u"
    with refused("INVALID_POOL_SPEC") as found:
        ipam.ApplyPool(pb.ApplyPoolRequest(pool=spec))
    assert f"takes {most + 1} bytes and may take {most}" in found.message


def test_change_that_strands_many_claims_is_answered(ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/20"))
    for call in [ipam.Allocate.future(allocate(f"vip-{n}-{'x' * 230}", "p")) for n in range(4000)]:
        call.result()
    answer = ipam.ApplyPool(pool("p", "10.1.0.0/20"))
    assert answer.pool.counts.orphaned == 4000
    assert 512 * 1024 < answer.ByteSize() < 520 * 1024
    assert [claim.address for claim in answer.stranded[:2]] == ["10.0.0.1/32", "10.0.0.2/32"]


def test_answer_may_be_larger_than_a_request_may(daemons):
    ipam = daemons().start("--max-message", "1024").ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    for n in range(20):
        ipam.Allocate(allocate(f"vip-{n}", "p"))
    assert ipam.ListClaims(pb.ListClaimsRequest()).ByteSize() > 1024


def test_more_clients_than_files_is_said_at_start(daemons):
    daemon = daemons().start("--max-connections", "5000", wrap=("prlimit", "--nofile=1024:1024"))
    daemon.wait_log("do not fit the files that ipamd may open: 493 clients and 404 subscribers")
