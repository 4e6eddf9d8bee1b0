"""Run as a program: becomes another user for good, then calls ipamd and prints what it got as JSON.

as_user.py UID GID GROUPS SOCKET methods|changes|end_cooling ADDRESS|connect|connections N|listen EVENTS|subscribe EVENTS N|calls JSON
"""
import contextlib
import json
import os
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from harness.errors import Refusal  # noqa: E402
from harness.protos import ipam as pb, ipam_grpc, reflection, reflection_grpc  # noqa: E402
from harness.requests import allocate, release  # noqa: E402

from google.protobuf import descriptor_pb2, json_format  # noqa: E402

SECONDS = 20


def become(uid, gid, groups):
    os.setgroups([int(group) for group in groups.split(",") if group])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def channel_to(path):
    return grpc.insecure_channel(f"unix:{path}", options=(("grpc.use_local_subchannel_pool", 1),))


def services_of(channel):
    """Every service that is mounted, with its methods, as reflection tells."""
    v1 = reflection["v1"]
    ask = reflection_grpc["v1"].ServerReflectionStub(channel).ServerReflectionInfo
    names = next(ask(iter([v1.ServerReflectionRequest(list_services="")]), timeout=SECONDS)).list_services_response
    for service in names.service:
        request = v1.ServerReflectionRequest(file_containing_symbol=service.name)
        answer = next(ask(iter([request]), timeout=SECONDS)).file_descriptor_response
        files = [descriptor_pb2.FileDescriptorProto.FromString(data) for data in answer.file_descriptor_proto]
        yield service.name, [method for file in files for found in file.service
                             if f"{file.package}.{found.name}" == service.name for method in found.method]


def outcome(call):
    """A first answer, or none within the deadline, is as good as an error: only a refusal matters."""
    try:
        call()
    except grpc.RpcError as error:
        refusal = Refusal()
        refusal.fill(error)
        return {"code": refusal.code, "reason": refusal.reason, "message": refusal.message, "metadata": refusal.metadata}
    return {"code": "OK"}


def try_method(channel, path, method):
    """An empty request: it changes nothing, whoever may send it."""
    empty = lambda data: data  # noqa: E731
    if method.server_streaming and method.client_streaming:
        stream = channel.stream_stream(path, empty, empty)(iter([b""]), timeout=SECONDS)
        return outcome(lambda: list(stream))
    if method.server_streaming:
        stream = channel.unary_stream(path, empty, empty)(b"", timeout=SECONDS)
        return outcome(lambda: next(stream))
    return outcome(lambda: channel.unary_unary(path, empty, empty)(b"", timeout=SECONDS))


def methods(path):
    channel = channel_to(path)
    return {service: {method.name: try_method(channel, f"/{service}/{method.name}", method) for method in found}
            for service, found in services_of(channel)}


def changes(path):
    ipam = ipam_grpc.IPAMStub(channel_to(path))
    ipam.Allocate(allocate("vip", "p"), timeout=SECONDS)
    ipam.Release(release("vip"), timeout=SECONDS)
    return {"command": Path("/proc/self/comm").read_text(encoding="ascii").strip()}


def end_cooling(path, address):
    request = pb.ReleaseRequest(address=address, end_cooling=True)
    return outcome(lambda: ipam_grpc.IPAMStub(channel_to(path)).Release(request, timeout=SECONDS))
def calls(path, texts):
    """Makes calls [[method, request], …] one after the other; what became of each."""
    ipam = ipam_grpc.IPAMStub(channel_to(path))
    return [outcome(lambda method=method, request=request: getattr(ipam, method)(
        json_format.ParseDict(request, getattr(pb, f"{method}Request")()), timeout=SECONDS))
        for method, request in json.loads(texts)]


def connect(path):
    try:
        socket.socket(socket.AF_UNIX).connect(path)
    except OSError as error:
        return {"error": type(error).__name__}
    return {"error": None}


def listen(_path, events):
    """Greets the bus as a subscriber; how many bytes it hears until it is closed, or has heard a whole tick."""
    client, heard = socket.socket(socket.AF_UNIX), b""
    client.settimeout(SECONDS)
    client.connect(events)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(b"\0SP\0\0\x21\0\0")
        while b"tick" not in heard:
            more = client.recv(4096)
            if not more:
                break
            heard += more
    return {"bytes": len(heard), "ticks": heard.count(b"tick")}


def subscribe(_path, events, count):
    """How many subscribers of so many are let in; they stay until its input ends."""
    peers = [socket.socket(socket.AF_UNIX) for _ in range(int(count))]
    heard = 0
    for peer in peers:
        peer.settimeout(SECONDS)
        peer.connect(events)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            peer.sendall(b"\0SP\0\0\x21\0\0")
            heard += len(peer.recv(16)) > 0 and len(peer.recv(16)) > 0  # the greeting, and a tick
    print(heard, flush=True)
    sys.stdin.read()
    return heard


def connections(path, count):
    channels = [channel_to(path) for _ in range(int(count))]
    refused = []
    for channel in channels:
        found = outcome(lambda channel=channel: ipam_grpc.IPAMStub(channel).GetStatus(pb.GetStatusRequest(), timeout=SECONDS))
        if found["code"] != "OK":
            assert found["reason"] == "TOO_MANY_CLIENTS", found
            refused.append(found["message"])
    return {"served": len(channels) - len(refused), "refused": refused}


def main():
    uid, gid, groups, path, what, *rest = sys.argv[1:]
    become(int(uid), int(gid), groups)
    print(json.dumps(globals()[what](path, *rest)))


if __name__ == "__main__":
    main()
