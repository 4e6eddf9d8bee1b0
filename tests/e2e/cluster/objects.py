"""Short forms of the objects that tests make most, as dicts."""

API_VERSION = "novaedge.io/v1alpha1"


def pool(name, *cidrs, auto_assign=True, **spec):
    """spec: further fields under their own names, such as addresses=[…], excludedAddresses=[…]."""
    fields = {"autoAssign": auto_assign, **({"cidrs": list(cidrs)} if cidrs else {}), **spec}
    return {"apiVersion": API_VERSION, "kind": "ProxyIPPool", "metadata": {"name": name}, "spec": fields}


def vip(name, pool_name="", address="", family="ipv4", **spec):
    """spec: further fields under their own names, such as ipv6Address=…."""
    fields = {"mode": "BGP", "ports": [80], "addressFamily": family, **spec}
    if pool_name:
        fields["poolRef"] = {"name": pool_name}
    if address:
        fields["address"] = address
    return {"apiVersion": API_VERSION, "kind": "ProxyVIP", "metadata": {"name": name}, "spec": fields}
