"""ipam-watcher alone against a real API server and ipamd: what objects say is what ipamd holds."""
import http.client
import shutil
import socket

import pytest

from cluster.api import wait_for
from cluster.objects import pool, vip
from harness.protos import ipam as pb

pytestmark = pytest.mark.core

FINALIZER = "ipam.novaedge.io/pool-protection"


# ---- Helpers


def claims_of(daemon, **filters):
    """{VIP name: [address, …]} of what is bound, {name: ["waiting REASON"]} of what waits."""
    held, token = {}, ""
    while True:
        reply = daemon.ipam().ListClaims(pb.ListClaimsRequest(kind="ProxyVIP", page_token=token, page_size=1000, **filters))
        for claim in reply.claims:
            held.setdefault(claim.owner.name, []).append(
                claim.address if claim.state == pb.BOUND else f"waiting {claim.reason}")
        token = reply.next_page_token
        if not token:
            return held


def wait_claims(daemon, expected, seconds=15):
    wait_for(lambda: claims_of(daemon) == expected, f"ipamd holds {expected}", seconds, lambda _: claims_of(daemon))


def pool_names(daemon):
    return [found.spec.name for found in daemon.ipam().ListPools(pb.ListPoolsRequest()).pools]


def ask(socket_path, path):
    """Status and body of a GET over a Unix socket."""
    class Connection(http.client.HTTPConnection):
        def connect(self):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(str(socket_path))

    connection = Connection("localhost", timeout=10)
    connection.request("GET", path)
    reply = connection.getresponse()
    return reply.status, reply.read().decode()


def set_status(kube, name, **status):
    kube.admin.patch("proxyvips", name, {"status": status}, subresource="status")


def finalizers(kube, name):
    return kube.admin.get("proxyippools", name)["metadata"].get("finalizers", [])


def has_event(kube, reason, text):
    return any(event["reason"] == reason and text in event["message"] for event in kube.admin.items("events", "default"))


@pytest.fixture
def watch(watchers, kube, daemon):
    """Starts a watcher with options."""
    return lambda *options: watchers(kube, daemon, options=("--confirm-delay", 1, *options)).start()


# ---- Tests


def test_a_pool_and_vips_become_claims_and_are_given_back_when_deleted(kube, daemon, watch):
    watch()
    kube.apply([pool("main", "10.200.0.0/24"), vip("auto", "main"), vip("static", "main", "10.200.0.50/32"),
                vip("manual", address="192.0.2.7/32")])
    wait_claims(daemon, {"auto": ["10.200.0.1/32"], "static": ["10.200.0.50/32"], "manual": ["192.0.2.7/32"]})
    assert finalizers(kube, "main") == [FINALIZER]
    assert "10.200.0.1" in daemon.ipamc("get", "vips", check=True).stdout
    kube.kubectl("delete", "proxyvip", "auto", "manual")
    wait_claims(daemon, {"static": ["10.200.0.50/32"]})


def test_what_can_not_be_granted_waits_in_ipamd_and_is_granted_later(kube, daemon, watch):
    watch()
    kube.apply([vip("early", "main"), vip("bad", "main", "10.200.0.300/32")])
    wait_claims(daemon, {"early": ["waiting POOL_NOT_FOUND"], "bad": ["waiting INVALID_ADDRESS"]})
    kube.apply(pool("main", "10.200.0.0/24"))
    wait_claims(daemon, {"early": ["10.200.0.1/32"], "bad": ["waiting INVALID_ADDRESS"]})


def test_changed_terms_swap_the_address_and_never_hold_two(kube, daemon, watch):
    watch()
    kube.apply([pool("a", "10.1.0.0/24", "2001:db8::/120"), pool("b", "10.2.0.0/24"), vip("web", "a")])
    wait_claims(daemon, {"web": ["10.1.0.1/32"]})
    kube.apply(vip("web", "b"))
    wait_claims(daemon, {"web": ["10.2.0.1/32"]})
    kube.apply(vip("web", "a", family="dual"))
    wait_claims(daemon, {"web": ["10.1.0.1/32", "2001:db8::/128"]})
    kube.apply(vip("web", "a", family="ipv6"))
    wait_claims(daemon, {"web": ["2001:db8::/128"]})
    kube.apply(vip("web", "a", "10.1.0.9/32"))
    wait_claims(daemon, {"web": ["10.1.0.9/32"]})


def test_a_family_is_kept_until_the_one_that_replaces_it_is_there(kube, daemon, watch):
    watch()
    kube.apply([pool("a", "10.1.0.0/24"), vip("web", "a")])
    wait_claims(daemon, {"web": ["10.1.0.1/32"]})
    kube.apply(vip("web", "a", family="ipv6"))
    wait_claims(daemon, {"web": ["10.1.0.1/32", "waiting FAMILY_NOT_IN_POOL"]})
    kube.apply(pool("a", "10.1.0.0/24", "2001:db8::/120"))
    wait_claims(daemon, {"web": ["2001:db8::/128"]})


def test_a_refused_change_keeps_the_address_is_told_and_is_tried_when_it_can_be_granted(kube, daemon, watch):
    watch()
    kube.apply([pool("a", "10.1.0.0/24"), vip("other", "a", "10.1.0.9/32"), vip("web", "a")])
    wait_claims(daemon, {"other": ["10.1.0.9/32"], "web": ["10.1.0.1/32"]})
    kube.apply(vip("web", "a", "10.1.0.9/32"))
    wait_for(lambda: has_event(kube, "AllocationRefused", "10.1.0.9 is held by ProxyVIP/other; it keeps 10.1.0.1/32"),
             "an Event says so")
    assert claims_of(daemon)["web"] == ["10.1.0.1/32"]
    kube.kubectl("delete", "proxyvip", "other")
    wait_claims(daemon, {"web": ["10.1.0.9/32"]}, 5)


def test_a_vip_recreated_in_one_breath_has_one_address_and_its_own_uid(kube, daemon, watch):
    watch()
    kube.apply([pool("a", "10.1.0.0/30"), pool("full", "10.3.0.1/32"), vip("holder", "full"), vip("web", "a")])
    wait_claims(daemon, {"holder": ["10.3.0.1/32"], "web": ["10.1.0.1/32"]})
    for _ in range(5):
        kube.admin.delete("proxyvips", "web")
        uid = kube.admin.create("proxyvips", vip("web", "a"))["metadata"]["uid"]

    def is_rebound():
        claims = daemon.ipam().GetClaims(pb.GetClaimsRequest(owner=pb.Owner(kind="ProxyVIP", name="web"))).claims
        return [claim.owner.uid for claim in claims if claim.state == pb.BOUND] == [uid]

    wait_for(is_rebound, "the claim is the new VIP's")
    kube.admin.delete("proxyvips", "web")
    kube.admin.create("proxyvips", vip("web", "full"))
    wait_claims(daemon, {"holder": ["10.3.0.1/32"], "web": ["waiting POOL_EXHAUSTED"]})


def test_a_pool_in_use_keeps_its_object_until_its_last_vip_goes(kube, daemon, watch):
    watch()
    kube.apply([pool("main", "10.200.0.0/24"), vip("web", "main")])
    wait_claims(daemon, {"web": ["10.200.0.1/32"]})
    kube.admin.patch("proxyippools", "main", {"metadata": {"finalizers": [FINALIZER, "example.com/mine"]}})
    kube.kubectl("delete", "proxyippool", "main", "--wait=false")
    wait_for(lambda: daemon.ipam().GetPool(pb.GetPoolRequest(name="main")).pool.state == pb.DRAINING, "the pool drains")
    kube.apply(vip("late", "main"))
    wait_claims(daemon, {"web": ["10.200.0.1/32"], "late": ["waiting POOL_DRAINING"]})
    kube.kubectl("delete", "proxyvip", "web")
    wait_for(lambda: finalizers(kube, "main") == ["example.com/mine"], "only our finalizer goes", 10)
    kube.admin.patch("proxyippools", "main", {"metadata": {"finalizers": None}})
    kube.wait_gone("proxyippools", "main")
    assert pool_names(daemon) == []


def test_after_a_loss_of_all_state_every_vip_gets_the_address_of_its_status(kube, daemon, watch):
    names = [f"vip-{i:02}" for i in range(20)]
    kube.apply([pool("main", "10.200.0.0/24"), *(vip(name, "main") for name in names)])
    expected = {name: [f"10.200.0.{100 - i}/32"] for i, name in enumerate(names)}
    for name, (address,) in expected.items():
        set_status(kube, name, allocatedAddress=address)
    watcher = watch()
    wait_claims(daemon, expected)
    watcher.kill9()
    daemon.kill9()
    shutil.rmtree(daemon.state_dir)
    kube.apply(vip("a-new-one", "main"))
    daemon.start()
    watcher.start()
    wait_claims(daemon, {**expected, "a-new-one": ["10.200.0.1/32"]})
    assert not daemon.ipam().GetPool(pb.GetPoolRequest(name="main")).pool.spec.paused
    # The same while the watcher runs, and with VIPs whose status nobody wrote.
    daemon.kill9()
    shutil.rmtree(daemon.state_dir)
    kube.apply(vip("0-newer", "main"))
    daemon.start()
    wait_claims(daemon, {**expected, "a-new-one": ["10.200.0.1/32"], "0-newer": ["10.200.0.2/32"]})


def test_vips_deleted_while_no_watcher_runs_are_released_after_two_lists(kube, daemon, watch):
    watcher = watch()
    kube.apply([pool("main", "10.200.0.0/24"), vip("stays", "main"), vip("goes", "main")])
    wait_for(lambda: len(claims_of(daemon)) == 2, "both have an address")
    daemon.ipam().Allocate(pb.AllocateRequest(owner=pb.Owner(kind="ProxyVIP", name="by-hand"), pool="main"))
    watcher.kill9()
    kube.kubectl("delete", "proxyvip", "goes")
    watcher.start()
    wait_for(lambda: sorted(claims_of(daemon)) == ["by-hand", "stays"], "only what the watcher made is released")


def test_more_than_the_share_is_held_back(kube, daemon, watch):
    watcher = watch()
    kube.apply([pool("main", "10.200.0.0/24"), *(vip(f"vip-{i}", "main") for i in range(15))])
    wait_for(lambda: len(claims_of(daemon)) == 15, "all have an address")
    watcher.kill9()
    kube.kubectl("delete", "proxyvip", *(f"vip-{i}" for i in range(12)))
    watcher.start()
    watcher.wait_log(r"12 of 15 claims have no object .* --max-release-count 10 and --max-release-share 20 %")
    assert len(claims_of(daemon)) == 15
    watcher.stop()
    watcher.start("--max-release-share", "100")
    wait_for(lambda: len(claims_of(daemon)) == 3, "they are released when that is asked for")


@pytest.mark.parametrize("objects", [[], [pool("main", "10.200.0.0/24"), vip("web", "main", "10.200.0.9/32")]],
                         ids=["empty", "other"])
def test_an_empty_or_other_cluster_changes_nothing_and_says_why(kube, daemon, watch, watchers, other_cluster, objects):
    first = watch()
    kube.apply([pool("main", "10.200.0.0/24"), vip("web", "main")])
    wait_claims(daemon, {"web": ["10.200.0.1/32"]})
    first.stop()
    before = daemon.ipam().GetStatus(pb.GetStatusRequest()).revision
    if objects:
        other_cluster.apply(objects)
    other = watchers(other_cluster, daemon, options=("--confirm-delay", 1, "--max-release-share", 100)).start()
    other.wait_log(f"none of their uids is among the {len(objects)} objects")
    assert daemon.ipam().GetStatus(pb.GetStatusRequest()).revision == before
    other.stop()
    done = watchers(other_cluster, daemon, options=("--once",)).start(ready=False)
    assert done.wait() == 5
    assert daemon.ipam().GetStatus(pb.GetStatusRequest()).revision == before


def test_once_syncs_and_exits(kube, daemon, watchers):
    kube.apply([pool("main", "10.200.0.0/24"), vip("web", "main"), vip("no-pool", "missing")])
    once = watchers(kube, daemon, options=("--once", "--confirm-delay", 1)).start(ready=False)
    assert once.wait() == 0
    assert claims_of(daemon) == {"web": ["10.200.0.1/32"], "no-pool": ["waiting POOL_NOT_FOUND"]}


def test_an_address_that_was_released_by_hand_comes_back(kube, daemon, watch):
    watch()
    kube.apply([pool("main", "10.200.0.0/24"), vip("web", "main")])
    wait_claims(daemon, {"web": ["10.200.0.1/32"]})
    revision = daemon.ipam().GetStatus(pb.GetStatusRequest()).revision
    daemon.ipam().Release(pb.ReleaseRequest(owner=pb.Owner(kind="ProxyVIP", name="web")))
    wait_for(lambda: daemon.ipam().GetStatus(pb.GetStatusRequest()).revision >= revision + 2, "it is asked for again")
    wait_claims(daemon, {"web": ["10.200.0.1/32"]})


def test_ipamd_that_is_away_is_waited_for(kube, daemon, watch):
    watch()
    kube.apply(pool("main", "10.200.0.0/24"))
    wait_for(lambda: pool_names(daemon) == ["main"], "the pool is there")
    daemon.kill9()
    kube.apply([vip(f"vip-{i:02}", "main") for i in range(30)])
    daemon.start()
    wait_for(lambda: len([held for held in claims_of(daemon).values() if held[0].startswith("10.")]) == 30,
             "all have an address")


def test_a_spec_that_asks_for_nothing_is_told_and_holds_nothing(kube, novaedge_crds, daemon, watch):
    watch()
    kube.apply([pool("main", "10.200.0.0/24"), vip("web", "main")])
    wait_claims(daemon, {"web": ["10.200.0.1/32"]})
    kube.admin.patch("proxyvips", "web", {"spec": {"poolRef": None}})
    wait_claims(daemon, {})
    wait_for(lambda: has_event(kube, "NothingToAllocate", "neither spec.poolRef nor spec.address"), "an Event says so")


@pytest.mark.seconds(120)
def test_a_history_that_the_api_server_has_forgotten_is_listed_anew(kube, daemon, watch):
    watch()
    kube.apply([pool("main", "10.200.0.0/24"), vip("goes", "main"), vip("stays", "main")])
    wait_for(lambda: len(claims_of(daemon)) == 2, "both have an address")
    kube.etcd.compact()
    kube.apiserver.restart(kill=True)
    kube.kubectl("delete", "proxyvip", "goes")
    kube.apply(vip("comes", "main"))
    wait_for(lambda: sorted(claims_of(daemon)) == ["comes", "stays"], "ipamd holds what the cluster has", 60)


def test_of_two_watchers_one_acts_and_the_other_takes_over(kube, daemon, watchers):
    options = ("--leader-elect", "--lease-duration", 5)
    first = watchers(kube, daemon, options=options).start()
    first.wait_log("acting: the lease is held")
    second = watchers(kube, daemon, options=options).start()
    kube.apply([pool("main", "10.200.0.0/24"), vip("one", "main")])
    wait_claims(daemon, {"one": ["10.200.0.1/32"]})
    assert "acting" not in second.log()
    first.kill9()
    kube.apply(vip("two", "main"))
    wait_claims(daemon, {"one": ["10.200.0.1/32"], "two": ["10.200.0.2/32"]}, 20)
    assert "acting: the lease is held" in second.log()


def test_a_pool_deleted_in_ipamd_alone_is_applied_again(kube, daemon, watch):
    watch()
    kube.apply(pool("main", "10.200.0.0/24"))
    wait_for(lambda: pool_names(daemon) == ["main"], "the pool is there")
    revision = daemon.ipam().GetStatus(pb.GetStatusRequest()).revision
    daemon.ipam().DeletePool(pb.DeletePoolRequest(name="main"))
    wait_for(lambda: daemon.ipam().GetStatus(pb.GetStatusRequest()).revision == revision + 2, "it is applied again")
    assert pool_names(daemon) == ["main"]


def test_metrics_and_readiness_tell_what_is_held_back(kube, daemon, watch, watchers, other_cluster):
    watch("--health", daemon.folder / "health.sock").wait_log("synced with ipamd")
    kube.apply([pool("main", "10.200.0.0/24"), vip("web", "main")])
    wait_claims(daemon, {"web": ["10.200.0.1/32"]})
    wait_for(lambda: ask(daemon.folder / "health.sock", "/readyz")[0] == 200, "it is ready", 15,
             lambda _: ask(daemon.folder / "health.sock", "/readyz"))
    wait_for(lambda: 'ipam_watcher_objects{kind="ProxyVIP",outcome="bound"} 1' in ask(daemon.folder / "health.sock", "/metrics")[1],
             "the VIP is counted, as it is a moment after ipamd has the claim",
             show=lambda _: ask(daemon.folder / "health.sock", "/metrics")[1])
    assert "ipam_watcher_syncs_total 1" in ask(daemon.folder / "health.sock", "/metrics")[1]
    other = daemon.folder / "other.sock"
    watchers(other_cluster, daemon, options=("--health", other)).start().wait_log("none of their uids")
    status, text = ask(other, "/readyz")
    assert status == 503 and "cluster" in text
    assert "ipam_watcher_held_back 2" in ask(other, "/metrics")[1]
