"""Debian's python3-grpcio, unmodified, with code generated from proto/ipam.proto."""
import signal
import threading

import grpc
import pytest

from harness.errors import refused
from harness.paths import SLOW
from harness.protos import health, health_grpc, ipam as pb, ipam_grpc
from harness.requests import address, allocate, owner, pool, release

# ---- Helpers


def spec(name="p", *cidrs):
    return pool(name, *(cidrs or ["10.0.0.0/16"]))


# ---- Methods


def test_every_method_of_the_contract_answers(ipam):
    assert ipam.ApplyPool(spec()).pool.counts.available == 65534
    given = ipam.Allocate(allocate("web", "p", uid="u1"))
    assert address(given) == "10.0.0.1/32"
    assert ipam.GetClaims(pb.GetClaimsRequest(owner=owner("web"))).claims == given.claims
    assert ipam.ListClaims(pb.ListClaimsRequest(kind="ProxyVIP")).claims == given.claims
    assert ipam.GetPool(pb.GetPoolRequest(name="p")).pool.counts.allocated == 1
    assert [it.spec.name for it in ipam.ListPools(pb.ListPoolsRequest()).pools] == ["p"]
    assert not ipam.Release(release("web", uid="u2")).released
    assert ipam.Release(release("web", uid="u1")).released[0].state == pb.RELEASED
    assert ipam.DeletePool(pb.DeletePoolRequest(name="p")).removed
    kinds = [change.WhichOneof("entity") for change in ipam.ListChanges(pb.ListChangesRequest()).changes]
    assert kinds == ["pool", "claim", "claim", "pool"]
    status = ipam.GetStatus(pb.GetStatusRequest())
    assert (status.store, status.revision, status.durable_revision) == ("sqlite", 4, 4)
    assert {method.name for method in pb.DESCRIPTOR.services_by_name["IPAM"].methods} == {
        "ApplyPool", "Allocate", "GetClaims", "ListClaims", "GetPool", "ListPools", "Release", "DeletePool", "ListChanges",
        "GetStatus"}, "a method that this test does not call"


def test_both_families_come_together(ipam):
    ipam.ApplyPool(spec("p", "10.0.0.0/30", "2001:db8::/126"))
    claims = ipam.Allocate(allocate("web", "p", family=pb.DUAL)).claims
    assert [(claim.family, claim.address) for claim in claims] == [(pb.IPV4, "10.0.0.1/32"), (pb.IPV6, "2001:db8::/128")]


def test_lists_come_in_pages_without_loss(ipam):
    ipam.ApplyPool(spec())
    for n in range(25):
        ipam.ApplyPool(spec(f"pool-{n:02}", f"192.0.2.{n}/32"))
        ipam.Allocate(allocate(f"vip-{n}", "p"))

    def pages(method, request, field):
        found, token = [], ""
        while True:
            reply = method(request(page_size=10, page_token=token))
            assert len(getattr(reply, field)) <= 10
            found += getattr(reply, field)
            token = reply.next_page_token
            if not token:
                return found

    assert len({it.spec.name for it in pages(ipam.ListPools, pb.ListPoolsRequest, "pools")}) == 26
    assert len({it.owner.name for it in pages(ipam.ListClaims, pb.ListClaimsRequest, "claims")}) == 25


def test_broken_page_token_is_refused(ipam):
    for token in ("not one of ours", "-1", "1x", "99999999999999999999"):
        with refused("INVALID_REQUEST", "INVALID_ARGUMENT"):
            ipam.ListClaims(pb.ListClaimsRequest(page_token=token))


# ---- Many at once


@pytest.mark.threads
def test_thousand_calls_at_once_on_one_connection(daemon, ipam):
    ipam.ApplyPool(spec())
    channel = daemon.channel(("grpc.use_local_subchannel_pool", 1))
    client = ipam_grpc.IPAMStub(channel)
    calls = [client.Allocate.future(allocate(f"vip-{n}", "p"), timeout=30 * SLOW) for n in range(1000)]
    addresses = {address(call.result()) for call in calls}
    assert addresses == {f"10.0.{n // 256}.{n % 256}/32" for n in range(1, 1001)}
    assert ipam.GetStatus(pb.GetStatusRequest()).counters.connections == 2


@pytest.mark.threads
def test_many_connections_agree(daemon, ipam):
    ipam.ApplyPool(spec())
    results, threads = [], []

    def work(number):
        with grpc.insecure_channel(daemon.target(), options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            client = ipam_grpc.IPAMStub(channel)
            results.extend(address(client.Allocate(allocate(f"vip-{number}-{n}", "p"), timeout=30 * SLOW)) for n in range(20))

    for number in range(16):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert len(results) == len(set(results)) == 320


# ---- Deadlines and cancellation


def test_deadline_that_passes_ends_the_call_and_the_connection_lives(daemon, ipam):
    """A daemon that stands still answers nobody, so that no answer can overtake the deadline."""
    assert ipam.GetStatus(pb.GetStatusRequest()).store == "sqlite"
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(grpc.RpcError) as caught:
            ipam.GetStatus(pb.GetStatusRequest(), timeout=0.2)
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert ipam.GetStatus(pb.GetStatusRequest()).counters.connections == 1


@pytest.mark.threads
def test_cancelled_calls_do_no_harm(ipam):
    ipam.ApplyPool(spec())
    calls = [ipam.Allocate.future(allocate(f"vip-{n}", "p")) for n in range(400)]
    for call in calls[::2]:
        call.cancel()
    kept = {address(call.result()) for call in calls[1::2]}
    assert len(kept) == 200
    held = {claim.address for claim in ipam.ListClaims(pb.ListClaimsRequest(page_size=1000)).claims}
    assert kept <= held and len(held) == ipam.GetPool(pb.GetPoolRequest(name="p")).pool.counts.allocated


@pytest.mark.threads
def test_calls_cancelled_as_they_start_cost_no_other_call(ipam):
    ipam.ApplyPool(spec())
    for round_number in range(30):
        kept = []
        for n in range(200):
            call = ipam.Allocate.future(allocate(f"vip-{round_number}-{n}", "p"))
            if n % 2:
                call.cancel()
            else:
                kept.append(call)
        assert all(call.exception() is None for call in kept)


# ---- Metadata, errors


def test_metadata_of_any_kind_is_taken(ipam):
    metadata = [("x-request-id", "abc"), ("x-bytes-bin", bytes(range(256))), *[("x-many", str(n)) for n in range(50)]]
    assert ipam.GetStatus(pb.GetStatusRequest(), metadata=metadata).store == "sqlite"


def test_error_carries_reason_message_and_facts(ipam):
    ipam.ApplyPool(spec())
    ipam.Allocate(allocate("web", "p", address="10.0.0.5"))
    with refused("ADDRESS_IN_USE", "ALREADY_EXISTS") as refusal:
        ipam.Allocate(allocate("api", "p", address="10.0.0.5"))
    assert refusal.message == "address in use: 10.0.0.5 is held by ProxyVIP/web"
    assert "ProxyVIP/web" in refusal.metadata.values()


def test_message_in_unicode_arrives_whole(ipam):
    with refused("POOL_NOT_FOUND", "NOT_FOUND") as refusal:
        ipam.Allocate(allocate("vip/π %25", "no-such-pool"))
    assert "no-such-pool" in refusal.message
    with refused("ADDRESS_IN_USE") as refusal:
        ipam.Allocate(allocate("vip/π %25", address="192.0.2.1"))
        ipam.Allocate(allocate("other", address="192.0.2.1"))
    assert refusal.message == "address in use: 192.0.2.1 is held by ProxyVIP/vip/π %25"


def test_unknown_method_and_service_are_unimplemented(daemon):
    for path in ("/ipam.v1.IPAM/NoSuchMethod", "/no.such.Service/Method"):
        method = daemon.channel().unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
        with refused("UNKNOWN_METHOD", "UNIMPLEMENTED"):
            method(b"", timeout=10 * SLOW)


def test_bytes_that_are_no_message_are_refused(daemon):
    method = daemon.channel().unary_unary("/ipam.v1.IPAM/Allocate", request_serializer=bytes, response_deserializer=bytes)
    with refused("MALFORMED_MESSAGE", "INVALID_ARGUMENT"):
        method(b"\xff\xff\xff", timeout=10 * SLOW)


def test_compressed_message_is_unimplemented(daemon):
    channel = daemon.channel(("grpc.default_compression_algorithm", 2), ("grpc.use_local_subchannel_pool", 1))
    request = pool("p", *["10.0.0.0/24"] * 500)
    with refused("COMPRESSED_MESSAGE", "UNIMPLEMENTED"):
        ipam_grpc.IPAMStub(channel).ApplyPool(request, timeout=10 * SLOW, compression=grpc.Compression.Gzip)


def test_oversize_message_is_refused_and_one_at_the_limit_is_read(daemons):
    daemon = daemons().start("--max-message", "65536")
    ipam = daemon.ipam()

    def get_pool(size):
        return pb.GetPoolRequest(name="x" * (size - 3))

    def apply_pool(size):
        return pb.ApplyPoolRequest(pool=pb.PoolSpec(name="x" * (size - 8)))

    for method, request, limit in ((ipam.GetPool, get_pool, 8192), (ipam.ApplyPool, apply_pool, 65536)):
        assert [request(size).ByteSize() for size in (limit, limit + 1)] == [limit, limit + 1]
        with pytest.raises(grpc.RpcError) as caught:
            method(request(limit))
        assert caught.value.code() != grpc.StatusCode.RESOURCE_EXHAUSTED
        with refused("MESSAGE_TOO_LARGE", "RESOURCE_EXHAUSTED"):
            method(request(limit + 1))
    assert ipam.GetStatus(pb.GetStatusRequest()).store == "sqlite"


def test_reply_of_a_thousand_claims_arrives_whole(ipam):
    ipam.ApplyPool(spec())
    calls = [ipam.Allocate.future(allocate(f"vip-{n}-{'x' * 200}", "p")) for n in range(1000)]
    for call in calls:
        call.result()
    reply = ipam.ListClaims(pb.ListClaimsRequest(page_size=1000))
    assert len(reply.claims) == 1000 and reply.ByteSize() > 200000


# ---- Health


def test_health_check_knows_the_services(daemon):
    client = health_grpc.HealthStub(daemon.channel())
    for service in ("", "ipam.v1.IPAM"):
        reply = client.Check(health.HealthCheckRequest(service=service), timeout=10 * SLOW)
        assert reply.status == health.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        client.Check(health.HealthCheckRequest(service="no.such.Service"), timeout=10 * SLOW)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_health_watch_tells_the_state_at_once_and_ends_with_the_daemon(daemon):
    watch = health_grpc.HealthStub(daemon.channel()).Watch(health.HealthCheckRequest(), timeout=20 * SLOW)
    assert next(watch).status == health.HealthCheckResponse.SERVING
    channels, daemon.channels = daemon.channels, []
    assert daemon.stop() == 0
    seen = []
    with pytest.raises(grpc.RpcError) as caught:
        for reply in watch:
            seen.append(reply.status)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert set(seen) <= {health.HealthCheckResponse.NOT_SERVING}
    daemon.channels = channels


def test_health_watch_of_an_unknown_service_says_so_and_stays_open(daemon):
    watch = health_grpc.HealthStub(daemon.channel()).Watch(health.HealthCheckRequest(service="no.such"), timeout=20 * SLOW)
    assert next(watch).status == health.HealthCheckResponse.SERVICE_UNKNOWN
    assert watch.is_active()
    watch.cancel()


# ---- Reconnecting


def test_channel_survives_a_restart_of_the_daemon(daemon, ipam):
    ipam.ApplyPool(spec())
    daemon.kill9(keep_channels=True)
    with pytest.raises(grpc.RpcError) as caught:
        ipam.GetStatus(pb.GetStatusRequest(), timeout=5)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    daemon.start()
    assert ipam.GetStatus(pb.GetStatusRequest(), wait_for_ready=True).revision == 1
