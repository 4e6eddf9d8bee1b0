"""A pool that many hold addresses of: its status stays small, says that it is cut, counts right, and is written at most about
once a second."""
import concurrent.futures
import time

import pytest

from cluster.api import path_of
from cluster.cluster import condition
from cluster.objects import pool, vip
from harness import requests as ask

ALLOCATIONS = 5000
LISTED = 1000
LIMIT = 200 * 1024
LONGEST_NAME = 253


# ---- Helpers

def in_parallel(call, numbers):
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        list(threads.map(call, numbers))


def allocate_all(host, name_of):
    ipam = host.ipam()
    in_parallel(lambda n: ipam.Allocate(ask.allocate(name_of(n), "big", kind="Manual")), range(ALLOCATIONS))


def object_size(kube, name):
    """Bytes of the whole object as the API server sends it."""
    return len(kube.kubectl("get", "--raw", path_of("proxyippools", name)).stdout.encode())


def listed(status):
    return [a["address"] for a in status["allocations"]]


def addresses(numbers):
    """Of 10.0.0.0/19, in the order in which a pool gives them."""
    return [f"10.0.{n // 256}.{n % 256}/32" for n in numbers]


# ---- Tests

@pytest.mark.seconds(120)
def test_a_pool_with_5000_allocations(kube, host, recorder):
    kube.put([pool("big", "10.0.0.0/19"), vip("web-vip", "big")])
    kube.wait_bound("web-vip", "10.0.0.1/32")
    kube.wait_pool("big", allocated=1, available=8189)
    begun = time.monotonic()
    allocate_all(host, lambda n: f"service-{n}")
    status = kube.wait_pool("big", 60, allocated=ALLOCATIONS + 1, available=8189 - ALLOCATIONS)["status"]
    seconds = time.monotonic() - begun
    assert listed(status) == addresses(range(1, LISTED + 1)) and status["allocationsTruncated"] is True
    assert status["allocations"][0]["vipRef"] == "web-vip" and status["allocations"][1]["vipRef"].startswith("Manual/service-")
    assert object_size(kube, "big") < LIMIT
    recorder.catch_up()
    written = [seen for seen in recorder.pool_statuses("big") if seen.at >= begun]
    assert 1 <= len(written) <= seconds + 2
    assert condition({"status": status}, "Ready")["message"] == f"Pool has {8189 - ALLOCATIONS} available addresses"


@pytest.mark.seconds(120)
def test_names_as_long_as_they_get_make_the_list_shorter(kube, host):
    kube.put(pool("big", "10.0.0.0/19"))
    kube.wait_pool("big", reason="PoolReady")
    allocate_all(host, lambda n: f"{n:05}-".ljust(LONGEST_NAME, "x"))
    status = kube.wait_pool("big", 60, allocated=ALLOCATIONS)["status"]
    assert status["allocationsTruncated"] is True and 300 < len(status["allocations"]) < LISTED
    assert listed(status) == addresses(range(1, len(status["allocations"]) + 1))
    assert object_size(kube, "big") < LIMIT
    ipam = host.ipam()
    in_parallel(lambda a: ipam.Release(ask.pb.ReleaseRequest(address=a)), addresses(range(11, ALLOCATIONS + 1)))
    status = kube.wait_pool("big", 60, allocated=10, available=8190 - 10)["status"]
    assert listed(status) == addresses(range(1, 11)) and "allocationsTruncated" not in status
