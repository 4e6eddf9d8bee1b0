"""Short forms of the requests that tests make most."""
from harness.protos import ipam as pb


def owner(name, kind="ProxyVIP", uid=""):
    return pb.Owner(kind=kind, name=name, uid=uid)


def pool(name, *cidrs, addresses=(), auto_assign=True, record_rejected=False, **more):
    return pb.ApplyPoolRequest(pool=pb.PoolSpec(name=name, cidrs=cidrs, addresses=addresses, auto_assign=auto_assign, **more),
                               record_rejected=record_rejected)


def allocate(name, pool_name="", kind="ProxyVIP", uid="", **more):
    return pb.AllocateRequest(owner=owner(name, kind, uid), pool=pool_name, **more)


def release(name, kind="ProxyVIP", **more):
    return pb.ReleaseRequest(owner=owner(name, kind), **more)


def address(reply):
    """The one address of a reply."""
    assert len(reply.claims) == 1, reply
    return reply.claims[0].address


def all_claims(client, **filters):
    """Every claim, page by page."""
    token = ""
    while True:
        reply = client.ListClaims(pb.ListClaimsRequest(page_size=1000, page_token=token, **filters))
        yield from reply.claims
        token = reply.next_page_token
        if not token:
            return
