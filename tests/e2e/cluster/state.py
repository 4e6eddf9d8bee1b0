"""What many VIPs are in, on both sides: as their statuses say, and as ipamd says. For tests that compare the two."""
import concurrent.futures

from cluster.api import ApiError, wait_for
from cluster.cluster import condition
from harness.protos import ipam as pb

THREADS = 8


def in_parallel(cluster, call, what):
    """call(api, thing) for each, over a few connections."""
    what = list(what)

    def share(first):
        api = cluster.new_admin()
        for thing in what[first::THREADS]:
            call(api, thing)

    with concurrent.futures.ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(share, range(THREADS)))


def make_all(cluster, vips):
    in_parallel(cluster, lambda api, body: api.create("proxyvips", body), vips)


def remove_all(cluster, names):
    def remove(api, name):
        try:
            api.delete("proxyvips", name)
        except ApiError as error:
            if error.status != 404:
                raise

    in_parallel(cluster, remove, names)


def addresses_of(item):
    """(IPv4, IPv6) without the one that isn't there."""
    status = item.get("status") or {}
    return tuple(status[field] for field in ("allocatedAddress", "allocatedIPv6Address") if status.get(field))


def statuses_of(cluster):
    """{VIP name: addresses} of those that are Bound."""
    return {item["metadata"]["name"]: addresses_of(item) for item in cluster.admin.items("proxyvips")
            if condition(item, "Bound").get("status") == "True"}


def claims_of(daemon, state=pb.BOUND):
    """{VIP name: addresses} as ipamd has it; of what waits, the addresses are empty texts."""
    held, token = {}, ""
    while True:
        reply = daemon.ipam().ListClaims(pb.ListClaimsRequest(kind="ProxyVIP", state=state, page_token=token, page_size=1000))
        for claim in reply.claims:
            held.setdefault(claim.owner.name, []).append((claim.family, claim.address))
        token = reply.next_page_token
        if not token:
            return {name: tuple(address for _, address in sorted(claims)) for name, claims in held.items()}


def agree(daemon, statuses):
    """Whether ipamd holds exactly these addresses for exactly these VIPs."""
    held = claims_of(daemon)
    assert held == statuses, {name: (held.get(name), statuses.get(name)) for name in held.keys() | statuses.keys()
                              if held.get(name) != statuses.get(name)}
    return True


def pool_counts(cluster):
    return {item["metadata"]["name"]: (item.get("status") or {}).get("allocated") for item in cluster.admin.items("proxyippools")}


def wait_agree(cluster, bound, seconds=20):
    """Waits until so many VIPs, all there are, are Bound and the pools' statuses add up to their addresses; returns
    {name: addresses}."""
    seen = [None]

    def settled():
        statuses = statuses_of(cluster)
        allocated = pool_counts(cluster)
        seen[0] = f"{len(statuses)} bound; pools: {allocated}"
        return len(statuses) == bound and sum(filter(None, allocated.values())) == sum(map(len, statuses.values()))

    wait_for(settled, f"{bound} VIPs are Bound and counted", seconds, lambda _: seen[0])
    return statuses_of(cluster)
