#!/usr/bin/python3
"""Peers that mean harm, as a program: attacks.py NAME SOCKET SECONDS. Used by the hostile tests and by ./test bench.

Those in ROLELESS are users without a role, if it is started as root: each user in a process of its own.

Each attack keeps at it for its time: whoever is disconnected comes again. It prints how often that was, and how many bytes
it got rid of, as JSON. Nothing here waits for an answer, and nothing is sent that another process than ipamd could get.
"""
import json
import os
import random
import resource
import socket
import struct
import sys
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
MANY = 10_000
USERS, GROUP = (61201, 61202), 61200  # that have no line in /etc/passwd, and no role
CHECK, WATCH = b"/grpc.health.v1.Health/Check", b"/grpc.health.v1.Health/Watch"
REFLECTION = b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    def text(data):
        return bytes([len(data)]) if len(data) < 127 else b"\x7f" + varint(len(data) - 127)
    return b"\x00" + text(name) + name + text(value) + value


def varint(value):
    out = b""
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def headers(path=b"/ipam.v1.IPAM/ListClaims", content_type=b"application/grpc", more=b""):
    return (literal(b":method", b"POST") + literal(b":scheme", b"http") + literal(b":path", path) +
            literal(b":authority", b"localhost") + literal(b"te", b"trailers") + literal(b"content-type", content_type) + more)


def message(payload=b"", size=None):
    return struct.pack(">BI", 0, len(payload) if size is None else size) + payload


def setting(key, value):
    return struct.pack(">HI", key, value)


HELLO = PREFACE + frame(SETTINGS, 0, 0)
LIST = message(b"\x28\xe8\x07")  # page_size 1000


class Peer:
    """One connection that sends what it is given, and reads unless it is told not to. None of it blocks for long."""
    opened = sent = 0

    def __init__(self, path, hello=HELLO, reads=True):
        self.path, self.hello, self.reads, self.socket = path, hello, reads, None

    def open(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(self.path)
        self.socket.setblocking(False)
        Peer.opened += 1
        self.push(self.hello)

    def push(self, data):
        """Sends as much as goes in 50 ms; what is left is dropped with the connection."""
        view, end = memoryview(data), time.monotonic() + 0.05
        while view:
            try:
                n = self.socket.send(view)
                Peer.sent += n
                view = view[n:]
            except BlockingIOError:
                if time.monotonic() > end:
                    return False
                time.sleep(0.0005)
            self.drain()
        return True

    def drain(self):
        try:
            while self.reads:
                if not self.socket.recv(1 << 20):
                    raise ConnectionResetError
        except BlockingIOError:
            pass

    def flood(self, data, whole=True):
        """Opens if it must, sends; a frame that was cut ends the connection."""
        try:
            if not self.socket:
                self.open()
            if not self.push(data) and whole:
                self.close()
        except (BlockingIOError, ConnectionError):
            self.close()
            time.sleep(0.001)

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket = None


def until(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield


def repeated(path, seconds, data, hello=HELLO, reads=True, once=False):
    """The same bytes again and again; `once`: on a new connection each time."""
    peer = Peer(path, hello, reads)
    for _ in until(seconds):
        peer.flood(data)
        if once:
            peer.close()


def held(path, seconds, count, data):
    """Many connections that send this and then wait; those that were closed come again."""
    peers = [Peer(path, data) for _ in range(count)]
    for _ in until(seconds):
        for peer in peers:
            if peer.socket:
                try:
                    peer.drain()
                except ConnectionError:
                    peer.close()
            if not peer.socket:
                try:
                    peer.open()
                except (BlockingIOError, ConnectionError):
                    peer.close()
        time.sleep(0.05)


def streams(path, seconds, make, per_connection, hello=HELLO, reads=True):
    """New streams until the connection has had its number, then a new connection."""
    blob = b"".join(make(1 + 2 * n) for n in range(per_connection))
    peer = Peer(path, hello, reads)
    for _ in until(seconds):
        peer.flood(blob)
        peer.close()


def as_users(path, seconds, attack):
    """Each user attacks in a process of its own; as it is, if it is not root."""
    if os.geteuid() != 0:
        attack(path, seconds)
        return
    for uid in USERS:
        if os.fork() == 0:
            os.setgroups([])
            os.setresgid(GROUP, GROUP, GROUP)
            os.setresuid(uid, uid, uid)
            try:
                attack(path, seconds)
            finally:
                os._exit(0)
    attack_ended = [os.wait() for _ in USERS]
    Peer.opened += len(attack_ended)


def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, MANY + 100), hard))


def seats(path, seconds):
    """As many connections as they can get, and nothing but a greeting on them."""
    many_files()
    held(path, seconds, 3000, HELLO)


def call(stream, path, payload, size=None, flags=END_STREAM):
    return request(stream, path=path) + frame(DATA, flags, stream, message(payload, size))


def kept(path, seconds):
    """Many calls at once that end, so that their memory is kept for others, beside one that stays open."""
    peers = [Peer(path) for _ in range(60)]
    for _ in until(seconds):
        for peer in peers:
            first = not peer.socket
            next_stream = 3 if first else peer.next_stream
            streams = range(next_stream, next_stream + 512, 2)
            peer.next_stream = streams[-1] + 2
            peer.flood((call(1, WATCH, b"") if first else b"") + b"".join(request(n, path=CHECK) for n in streams) +
                       b"".join(frame(DATA, END_STREAM, n, message()) for n in streams))
        time.sleep(0.1)


def small_holds(path, seconds):
    """128 KiB on each of many connections, so that none of them has much: streams that wait."""
    held(path, seconds, 200, HELLO + b"".join(call(n, WATCH, b"") for n in range(1, 61, 2)))


def fields(path, seconds):
    """A request of a million unknown fields."""
    body = message(b"\x50\0" * 1_000_000)
    blob = b"".join(frame(DATA, 0, 1, body[at:at + 16384]) for at in range(0, len(body), 16384))
    repeated(path, seconds, HELLO + request(1, path=CHECK) + blob + frame(DATA, END_STREAM, 1), hello=b"", once=True)


def lines(path, seconds):
    """Connections that break, each of which the log would tell of."""
    peer = Peer(path, HELLO + frame(PING, 0, 0, b"short"))
    for _ in until(seconds):
        peer.flood(b"")
        peer.close()
        time.sleep(0.003)


def much_at_once(path, seconds):
    """As much as may be in one read of each of many connections, none of which is ever busy."""
    peers, blob = [Peer(path) for _ in range(500)], b"".join(call(n, CHECK, b"") for n in range(1, 161, 2))
    for _ in until(seconds):
        for peer in peers:
            peer.close()
            peer.flood(blob)


def reflect(path, seconds):
    ask = message(b"\x22\x0cipam.v1.IPAM")
    repeated(path, seconds, frame(DATA, 0, 1, ask * 100), hello=HELLO + request(1, path=REFLECTION))


def request(stream, end=0, **more):
    return frame(HEADERS, END_HEADERS | end, stream, headers(**more))


def pages(stream):
    return request(stream) + frame(DATA, END_STREAM, stream, LIST)


def unread(path, seconds, hello, count=40, update=None):
    """Readers that never read: as many large answers as they may ask for, on many connections."""
    peers = [Peer(path, hello, reads=False) for _ in range(count)]
    blob = b"".join(pages(1 + 2 * n) for n in range(500))
    for peer in peers:
        peer.flood(blob, whole=False)
    for _ in until(seconds):
        for peer in peers:
            if not peer.socket:
                peer.flood(blob, whole=False)
            elif update:
                peer.flood(update, whole=False)
            else:
                try:
                    peer.socket.send(b"")
                except ConnectionError:
                    peer.close()
        time.sleep(0.02)


def many_connections(path, seconds):
    many_files()
    count = min(MANY, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 50)
    sockets, end = [], time.monotonic() + seconds
    while len(sockets) < count:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        sockets.append(client)
        while True:
            try:
                client.connect(path)
                break
            except BlockingIOError:
                time.sleep(0.001)
        Peer.opened += 1
    time.sleep(max(0, end - time.monotonic()))


BIG_WINDOW = PREFACE + frame(SETTINGS, 0, 0, setting(4, 0x7fffffff)) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7ff00000))
NO_WINDOW = PREFACE + frame(SETTINGS, 0, 0, setting(4, 0))
RANDOM = random.Random(1)

ATTACKS = {
    "random bytes": lambda path, s: repeated(path, s, RANDOM.randbytes(65536), hello=b"", once=True),
    "random frames": lambda path, s: repeated(path, s, RANDOM.randbytes(65536), once=True),
    "HTTP/1": lambda path, s: repeated(path, s, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", hello=b"", once=True),
    "half a preface": lambda path, s: held(path, s, 500, PREFACE[:12]),
    "silent connections": lambda path, s: held(path, s, 1000, b""),
    "half a header list": lambda path, s: held(path, s, 500, HELLO + frame(HEADERS, 0, 1, headers())),
    "endless headers": lambda path, s: streams(
        path, s, lambda stream: request(stream, more=literal(b"x-long", b"x" * 15000)), 1000),
    "CONTINUATION flood": lambda path, s: streams(
        path, s, lambda stream: frame(HEADERS, 0, stream, headers()) + frame(CONTINUATION, 0, stream, b"") * 1000, 1),
    "PING flood": lambda path, s: repeated(path, s, frame(PING, 0, 0, b"12345678") * 4000),
    "PING flood, answers unread": lambda path, s: repeated(path, s, frame(PING, 0, 0, b"12345678") * 4000, reads=False),
    "SETTINGS flood": lambda path, s: repeated(path, s, frame(SETTINGS, 0, 0, setting(4, 65535)) * 4000),
    "PRIORITY flood": lambda path, s: repeated(path, s, frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") * 4000),
    "empty DATA flood": lambda path, s: repeated(path, s, frame(DATA, 0, 1) * 4000, hello=HELLO + request(1)),
    "unknown frame flood": lambda path, s: repeated(path, s, frame(0x7f, 0, 0) * 4000),
    "rapid reset": lambda path, s: streams(
        path, s, lambda stream: request(stream) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8)), 20000),
    "rapid reset of whole calls": lambda path, s: streams(
        path, s, lambda stream: pages(stream) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8)), 20000),
    "no window": lambda path, s: unread(path, s, NO_WINDOW),
    "one-byte windows": lambda path, s: unread(path, s, NO_WINDOW, update=frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1") * 10),
    "window overflow": lambda path, s: repeated(
        path, s, frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2, once=True),
    "oversize messages": lambda path, s: streams(
        path, s, lambda stream: request(stream) + frame(DATA, 0, stream, message(b"x" * 16000, size=0xffffffff)), 200),
    "truncated messages": lambda path, s: streams(
        path, s, lambda stream: request(stream) + frame(DATA, 0, stream, message(b"x" * 16000, size=4_000_000)), 900),
    "wrong content type": lambda path, s: streams(path, s, lambda stream: request(stream, END_STREAM, content_type=b"text/html"), 1000),
    "reader that never reads": lambda path, s: unread(path, s, BIG_WINDOW),
    "10,000 connections": many_connections,
    "seats without a role": lambda path, s: as_users(path, s, seats),
    "kept memory beside a watch": lambda path, s: as_users(path, s, kept),
    "a little on each of many connections": lambda path, s: as_users(path, s, small_holds),
    "half a message on a stream": lambda path, s: as_users(
        path, s, lambda path, s: held(path, s, 500, HELLO + call(1, REFLECTION, b"x", size=500, flags=0))),
    "a million fields": lambda path, s: as_users(path, s, fields),
    "lines in the log": lambda path, s: as_users(path, s, lines),
    "much at once from many connections": lambda path, s: as_users(path, s, much_at_once),
    "reflection unread": lambda path, s: as_users(path, s, reflect),
}
ROLELESS = list(ATTACKS)[-8:]


def main():
    name, path, seconds = sys.argv[1:]
    os.nice(10)  # what is to be seen is ipamd's share, not the scheduler's
    try:
        ATTACKS[name](path, float(seconds))
    except (BrokenPipeError, ConnectionError):
        pass
    print(json.dumps({"connections": Peer.opened, "bytes": Peer.sent}))


if __name__ == "__main__":
    main()
