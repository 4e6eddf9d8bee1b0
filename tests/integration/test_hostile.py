"""Peers that do not speak gRPC as they should: each costs its own connection and nothing else."""
import random
import socket
import struct

import pytest

from harness.paths import SLOW
from harness.protos import ipam as pb
from harness.requests import address, allocate, pool
from harness.waiting import eventually

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4

# ---- Helpers


class Peer:
    """A raw connection."""

    def __init__(self, daemon):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10 * SLOW)
        self.socket.connect(str(daemon.socket))

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def read_to_end(self):
        """All bytes until the daemon closes; fails by time-out when it does not."""
        got = b""
        try:
            while True:
                more = self.socket.recv(65536)
                if not more:
                    return got
                got += more
        except ConnectionResetError:
            return got

    def read_frames(self, until):
        """Frames (type, flags, stream, payload) up to one for which until(frame) holds."""
        buffer, frames = b"", []
        while True:
            while len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3], "big"):
                size = int.from_bytes(buffer[:3], "big")
                kind, flags, stream = struct.unpack(">BBI", buffer[3:9])
                frames.append((kind, flags, stream, buffer[9:9 + size]))
                buffer = buffer[9 + size:]
                if until(frames[-1]):
                    return frames
            more = self.socket.recv(65536)
            assert more, f"closed after {frames}"
            buffer += more

    def close(self):
        self.socket.close()


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def header_block(**headers):
    """HPACK without compression: literals that are not indexed."""
    block = b""
    for name, value in headers.items():
        name = name.replace("__", ":").replace("_", "-").encode()
        value = value.encode()
        assert len(name) < 127 and len(value) < 127
        block += b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
    return block


def request(stream=1, path="/ipam.v1.IPAM/GetStatus", end=False, **changes):
    headers = {"__method": "POST", "__scheme": "http", "__path": path, "__authority": "localhost", "te": "trailers",
               "content_type": "application/grpc"}
    headers.update(changes)
    headers = {name: value for name, value in headers.items() if value}
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, header_block(**headers))


def message(payload=b"", size=None, compressed=0):
    return struct.pack(">BI", compressed, len(payload) if size is None else size) + payload


HELLO = PREFACE + frame(SETTINGS, 0, 0)


@pytest.fixture
def bystander(daemon):
    """A good client, connected before and still well afterwards."""
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    yield ipam
    assert address(ipam.Allocate(allocate("bystander", "p"))) == "10.0.0.1/32"
    assert daemon.ipam().GetStatus(pb.GetStatusRequest()).counters.claims_bound == 1


# ---- Bytes that are not HTTP/2


@pytest.mark.threads
@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_close_the_connection(daemon, bystander, seed):
    peer = Peer(daemon)
    peer.send(random.Random(seed).randbytes(1000))
    peer.read_to_end()


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_after_the_preface_close_the_connection(daemon, bystander, seed):
    peer = Peer(daemon)
    peer.send(HELLO + random.Random(seed).randbytes(65536))
    peer.socket.shutdown(socket.SHUT_WR)
    peer.read_to_end()


def test_http1_closes_the_connection(daemon, bystander):
    peer = Peer(daemon)
    peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    peer.read_to_end()


@pytest.mark.parametrize("size", [0, 1, 10, 23])
def test_truncated_preface_is_dropped_when_the_peer_ends(daemon, bystander, size):
    peer = Peer(daemon)
    peer.send(PREFACE[:size])
    peer.socket.shutdown(socket.SHUT_WR)
    peer.read_to_end()


def test_silent_connections_do_not_keep_others_out(daemon, bystander):
    peers = [Peer(daemon) for _ in range(50)]
    ipam = daemon.ipam()
    eventually(lambda: ipam.GetStatus(pb.GetStatusRequest()).counters.connections > len(peers))
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("bad", [
    frame(DATA, 0, 5, b"x"), frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0)), frame(SETTINGS, 0, 0, b"12345"),
    frame(CONTINUATION, END_HEADERS, 1, b""), frame(HEADERS, END_HEADERS, 2, header_block(a="b")),
    frame(HEADERS, END_HEADERS, 1, b"\xff" * 40), frame(PING, 0, 0, b"short"),
    b"\xff\xff\xff" + struct.pack(">BBI", DATA, 0, 1)])
def test_broken_frame_closes_the_connection(daemon, bystander, bad):
    peer = Peer(daemon)
    peer.send(HELLO + bad)
    got = peer.read_to_end()
    assert got, "SETTINGS at least, and a GOAWAY that says why"


# ---- HTTP/2 that is not gRPC


def answer(daemon, data):
    """Sends, and returns all frames up to the end of stream 1."""
    peer = Peer(daemon)
    peer.send(HELLO + data)
    frames = peer.read_frames(lambda it: it[2] == 1 and (it[0] == RST_STREAM or it[1] & END_STREAM and it[0] in (DATA, HEADERS)))
    peer.close()
    return frames


@pytest.mark.parametrize("changes", [
    {"content_type": "text/html"}, {"content_type": None}, {"__method": "GET"}, {"te": None}, {"path": "nonsense"},
    {"grpc_timeout": "soon"}, {"path": "/no.such.Service/Method"}, {"path": "/ipam.v1.IPAM/NoSuchMethod"}])
def test_wrong_request_is_answered_on_its_stream_alone(daemon, bystander, changes):
    peer = Peer(daemon)
    peer.send(HELLO + request(1, end=True, **changes))
    peer.read_frames(lambda it: it[2] == 1 and (it[0] == RST_STREAM or it[1] & END_STREAM))
    peer.send(request(3) + frame(DATA, END_STREAM, 3, message()))
    frames = peer.read_frames(lambda it: it[2] == 3 and (it[0] == RST_STREAM or it[1] & END_STREAM))
    assert any(it[0] == DATA and it[2] == 3 and it[3] for it in frames), "the next call on it works"
    peer.close()


@pytest.mark.parametrize("payload", [
    message(size=0xffffffff), message(b"\xff" * 20), message(b"x" * 10, compressed=1), message(b"", compressed=7),
    message(b"") + message(b""), message(b"ab", size=9), b"\0\0"])
def test_wrong_message_ends_its_call_alone(daemon, bystander, payload):
    frames = answer(daemon, request(1) + frame(DATA, END_STREAM, 1, payload))
    assert frames[-1][0] in (HEADERS, RST_STREAM)


def test_daemon_itself_ends_a_stream_at_its_deadline(daemon, bystander):
    """Watch has no end of its own, and this client keeps no time."""
    frames = answer(daemon, request(1, path="/grpc.health.v1.Health/Watch", grpc_timeout="100m") +
                    frame(DATA, END_STREAM, 1, message()))
    assert any(it[0] == DATA and it[2] == 1 for it in frames), "the state comes first"


def test_reset_of_a_stream_that_was_never_opened_is_let_pass(daemon, bystander):
    """gRPC's C core sends it when a call is cancelled before its headers went out."""
    peer = Peer(daemon)
    reset = frame(RST_STREAM, 0, 1, struct.pack(">I", 8))
    peer.send(HELLO + reset[:5])
    peer.send(reset[5:] + request(3) + frame(DATA, END_STREAM, 3, message()))
    frames = peer.read_frames(lambda it: it[2] == 3 and it[1] & END_STREAM)
    assert any(it[0] == DATA and it[3] for it in frames)
    peer.close()


@pytest.mark.threads
def test_reset_streams_leave_nothing_behind(daemon, bystander):
    peer = Peer(daemon)
    peer.send(HELLO)
    for stream in range(1, 2001, 2):
        peer.send(request(stream) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))
    peer.socket.shutdown(socket.SHUT_WR)
    peer.read_to_end()


@pytest.mark.threads
def test_connection_that_breaks_off_amid_calls_leaves_nothing_behind(daemon, bystander):
    for _ in range(20):
        peer = Peer(daemon)
        peer.send(HELLO + b"".join(request(n) + frame(DATA, 0, n, message(b"x", size=100)) for n in range(1, 40, 2)))
        peer.close()
    ipam = daemon.ipam()
    eventually(lambda: ipam.GetStatus(pb.GetStatusRequest()).counters.connections <= 2)
