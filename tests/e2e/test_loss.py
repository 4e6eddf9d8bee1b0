"""What no loss may do: ipamd without its state, VIPs that went while nobody looked, a watcher in the wrong cluster."""
import random
import shutil

import pytest

from cluster.api import wait_for
from cluster.objects import pool, vip
from cluster.state import agree, claims_of, make_all, remove_all, statuses_of, wait_agree
from harness.protos import ipam as pb

AUTO, TO_GO, FIXED, DUAL = 150, 40, 20, 30


# ---- Helpers

def fill(kube):
    """200 VIPs whose addresses nobody would guess from their names or ages: of a pool with gaps, of a pool with two
    families, and with addresses that they asked for. Returns the status of each."""
    dice = random.Random(200)
    kube.apply([pool("main", "10.200.0.0/24"), pool("dual", "10.201.0.0/26", "2001:db8::/120")])
    auto = [f"vip-{i:03}" for i in range(AUTO + TO_GO)]
    dice.shuffle(auto)
    fixed = [vip(f"fixed-{i:02}", "main", f"10.200.0.{254 - 2 * i}/32") for i in range(FIXED)]
    make_all(kube, [*fixed, *(vip(f"dual-{i:02}", "dual", family="dual") for i in range(DUAL))])
    make_all(kube, [vip(name, "main") for name in auto])
    wait_agree(kube, bound=AUTO + TO_GO + FIXED + DUAL, seconds=40)
    remove_all(kube, auto[:TO_GO // 2] + auto[-TO_GO // 2:])
    return wait_agree(kube, bound=AUTO + FIXED + DUAL, seconds=40)


def lose_state(host):
    host.daemon.kill9()
    shutil.rmtree(host.daemon.state_dir)


def revision(daemon):
    return daemon.ipam().GetStatus(pb.GetStatusRequest()).revision


# ---- Tests: ipamd loses its state

@pytest.mark.seconds(150)
@pytest.mark.parametrize("others", ["stay", "were-killed"])
def test_a_wiped_state_directory_renumbers_no_vip(kube, host, recorder, others):
    before = fill(kube)
    if others == "were-killed":
        host.watcher.kill9()
        host.status_writer.kill9()
    lose_state(host)
    kube.apply(vip("0-new", "main"))
    host.daemon.start()
    if others == "were-killed":
        host.status_writer.start()
        host.watcher.start()
    kube.wait_bound("0-new", seconds=40)
    after = wait_agree(kube, bound=len(before) + 1, seconds=40)
    new = after.pop("0-new")
    assert after == before
    assert new[0] not in {address for addresses in before.values() for address in addresses}
    assert agree(host.daemon, {**before, "0-new": new})
    recorder.catch_up()
    moved = {name: recorder.addresses(name) for name in before if len(set(recorder.addresses(name)) - {None}) != 1}
    assert not moved, "the status of some showed more than one address"
    blank = {name for name in before if None in recorder.addresses(name)[1:]}
    assert not blank, "an address left the status of some for a while"


@pytest.mark.seconds(120)
def test_a_state_lost_twice_in_a_row_before_all_is_back_renumbers_no_vip(kube, host, recorder):
    before = fill(kube)
    lose_state(host)
    host.daemon.start()
    wait_for(lambda: claims_of(host.daemon), "the first VIPs are back", 20)
    lose_state(host)
    kube.apply(vip("0-new", "main"))
    host.daemon.start()
    kube.wait_bound("0-new", seconds=40)
    after = wait_agree(kube, bound=len(before) + 1, seconds=40)
    del after["0-new"]
    assert after == before


# ---- Tests: VIPs that went while no watcher ran

def test_vips_deleted_while_the_watcher_is_down_are_released_after_it_returns(kube, hosts, recorder):
    host = hosts(kube, watcher={"options": ["--confirm-delay", 1]}).start()
    names = [f"vip-{i:02}" for i in range(20)]
    kube.apply([pool("main", "10.200.0.0/27"), *(vip(name, "main") for name in names)])
    before = wait_agree(kube, bound=20)
    host.watcher.kill9()
    goes, comes_back, stays = names[:5], names[5:7], names[5:]
    kube.kubectl("delete", "proxyvip", *goes, *comes_back)
    kube.apply([vip(name, "main") for name in comes_back])
    host.watcher.start()
    kube.wait_pool("main", allocated=15, available=15)
    after = wait_agree(kube, bound=15)
    assert after == {name: before[name] for name in stays}
    assert agree(host.daemon, after)
    given_again = [vip(f"new-{i}", "main") for i in range(5)]
    kube.apply(given_again)
    wait_agree(kube, bound=20)
    assert {statuses_of(kube)[new["metadata"]["name"]] for new in given_again} == {before[name] for name in goes}


# ---- Tests: the wrong cluster

def copies(kube):
    """What a backup of the objects' manifests would bring into another cluster: the same names, other uids."""
    items = kube.admin.items("proxyippools") + kube.admin.items("proxyvips")
    return [{"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": {"name": item["metadata"]["name"]},
             "spec": item["spec"]} for item in items]


@pytest.mark.seconds(120)
def test_processes_in_an_empty_or_another_cluster_change_nothing_anywhere(kube, host, watchers, status_writers, other_cluster):
    kube.apply([pool("main", "10.200.0.0/24"), *(vip(f"vip-{i:02}", "main") for i in range(12))])
    before = wait_agree(kube, bound=12)
    assert host.watcher.stop() == 0 and host.status_writer.stop() == 0
    last = revision(host.daemon)
    options = ("--confirm-delay", 1, "--max-release-share", 100)
    empty = watchers(other_cluster, host.daemon, options=options).start()
    empty.wait_log("none of their uids is among the 0 objects")
    assert empty.stop() == 0
    other_cluster.apply(copies(kube))
    other = watchers(other_cluster, host.daemon, options=options).start()
    other.wait_log("none of their uids is among the 13 objects")
    writer = status_writers(other_cluster, host.daemon, options=("--once",)).start(ready=False)
    assert writer.wait() == 0, writer.log()
    assert not [item for item in other_cluster.admin.items("proxyvips") if item.get("status")]
    assert not other_cluster.admin.get("proxyippools", "main")["metadata"].get("finalizers")
    assert other.stop() == 0
    assert revision(host.daemon) == last
    # Back where they belong, they go on.
    host.status_writer.start()
    host.watcher.start()
    kube.apply(vip("new", "main"))
    after = wait_agree(kube, bound=13)
    del after["new"]
    assert after == before
