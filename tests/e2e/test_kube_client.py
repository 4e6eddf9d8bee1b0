"""daemon/kube against a real API server: lists and watches through everything, leases among rivals, Events."""
import re
import time

import pytest
import yaml

from cluster.api import wait_for
from cluster.cluster import NAMESPACE
from cluster.objects import pool
from harness.lines import Lines
from harness.paths import BUILD

pytestmark = pytest.mark.core

PROBE = BUILD / "tests/kube_probe"
PROGRAM = BUILD / "tests/program_probe"
POOLS = "/apis/novaedge.io/v1alpha1/proxyippools"


# ---- Fixture

@pytest.fixture
def probes(proxies):  # which end after those who are connected to them
    made = []

    def make(kubeconfig, *arguments, program=PROBE, **env):
        made.append(Lines([program, *arguments], {"KUBECONFIG": str(kubeconfig), **env}))
        return made[-1]

    yield make
    for probe in made:
        probe.kill()


@pytest.fixture
def lease_name(kube):
    yield "ipam-watcher"
    if kube.admin.find("leases", "ipam-watcher", NAMESPACE):
        kube.admin.delete("leases", "ipam-watcher", NAMESPACE)


# ---- Helpers

def make_pools(kube, *numbers):
    for number in numbers:
        kube.admin.create("proxyippools", pool(f"p{number}", f"10.{number}.0.0/28"))


def lease_of(kube):
    return kube.admin.get("leases", "ipam-watcher", NAMESPACE)["spec"]


# ---- Tests: credentials

@pytest.mark.parametrize("credential, inline", [("token", False), ("token-file", False), ("token", True), ("certificate", False),
                                                ("certificate", True)])
def test_each_kind_of_credential_is_taken(kube, probes, credential, inline):
    probe = probes(kube.watcher.kubeconfig(credential, inline=inline), "call", "GET", POOLS)
    probe.wait("^status 200 ")
    assert probe.wait_end() == 0


def test_client_certificate_files_are_read_anew(kube, probes, tmp_path):
    config = yaml.safe_load(kube.watcher.kubeconfig("certificate").path.read_text())
    files = [tmp_path / "tls.crt", tmp_path / "tls.key"]
    for path, content in zip(files, kube.watcher.certificate):
        path.write_bytes(content.read_bytes())
    config["users"][0]["user"] = {"client-certificate": str(files[0]), "client-key": str(files[1])}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    probes(tmp_path / "kubeconfig", "watch", POOLS, "500", "1").wait("^listed ")
    mark = kube.audit_mark()
    for path, content in zip(files, kube.status_writer.certificate):
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content.read_bytes())
        fresh.replace(path)
    wait_for(lambda: [e for e in kube.audit(kube.status_writer, since=mark) if e["verb"] == "watch" and e["status"] == 200],
             "it watches as the other user", 30)


def test_a_wrong_ca_is_an_error_and_not_passed_over(kube, probes):
    config = kube.watcher.kubeconfig("token")
    text = config.path.read_text().replace(str(kube.authority.ca), "/etc/ssl/certs/ca-certificates.crt")
    config.path.write_text(text)
    assert re.search("API_UNREACHABLE .*certificate", probes(config, "call", "GET", POOLS).wait("^error"))


def test_tls_server_name_stands_in_for_the_servers_address(kube, probes):
    config = kube.watcher.kubeconfig("token")
    original = config.path.read_text()
    config.path.write_text(original.replace('"server":', '"tls-server-name": "localhost", "server":'))
    probes(config, "call", "GET", POOLS).wait("^status 200 ")
    config.path.write_text(original.replace('"server":', '"tls-server-name": "example.org", "server":'))
    assert "example.org" in probes(config, "call", "GET", POOLS).wait("^error")


def test_a_token_that_is_refused_and_then_renewed_goes_on(kube, probes):
    config = kube.watcher.kubeconfig("token-file")
    good = config.token_file.read_text()
    config.token_file.write_text("not.a.token")
    probe = probes(config, "watch", POOLS)
    probe.wait("^trouble .* 401 Unauthorized")
    config.token_file.write_text(good)
    probe.wait("^listed 0")
    assert probe.seen[1] == "well"


# ---- Tests: watch

def test_every_change_comes_from_list_and_watch(kube, probes):
    make_pools(kube, 1, 2, 3)
    probe = probes(kube.watcher.kubeconfig(), "watch", POOLS, "2")
    probe.wait("^listed 3")
    make_pools(kube, 4)
    probe.wait("^object p4 ")
    uid = kube.admin.get("proxyippools", "p1")["metadata"]["uid"]
    kube.admin.delete("proxyippools", "p1")
    probe.wait(f"^deleted p1 {uid} seen")
    assert probe.stop() == 0


def test_a_watch_broken_within_an_event_loses_and_doubles_nothing(kube, probes, proxies):
    proxy = proxies()
    make_pools(kube, 1)
    probe = probes(kube.watcher.kubeconfig("token", server=proxy.url), "watch", POOLS)
    probe.wait("^listed 1")
    for number in range(2, 7):
        wait_for(lambda: proxy.watches() == 1, "the watch is under way")
        assert proxy.break_watches() == 1
        make_pools(kube, number)
        probe.wait(f"^object p{number} ")
    assert probe.count("^listed") == 1
    assert all(probe.count(f"^object p{n} ") == 1 for n in range(1, 7))


def test_a_compacted_etcd_leads_to_a_list_that_tells_what_went(kube, probes, proxies):
    proxy = proxies()
    make_pools(kube, 1, 2)
    probe = probes(kube.watcher.kubeconfig("token", server=proxy.url), "watch", POOLS)
    probe.wait("^listed 2")
    proxy.reset()
    proxy.break_watches(mid_event=False)
    probe.wait("^trouble")
    kube.admin.delete("proxyippools", "p2")
    make_pools(kube, 3)
    kube.forget_history()
    proxy.well()
    probe.wait("^listed 2", 40, times=2)
    probe.wait("^object p3 ")
    probe.wait("^deleted p2 ")


def test_410_as_an_event_lists_again(kube, probes, proxies):
    proxy = proxies()
    rule = proxy.gone(times=1)
    probe = probes(kube.watcher.kubeconfig("token", server=proxy.url), "watch", POOLS)
    probe.wait("^listed 0", times=2)
    assert rule.hits == 1 and probe.count("^trouble") == 0


def test_refusals_and_silence_make_no_hot_loop(kube, probes, proxies):
    proxy = proxies()
    proxy.answer(500)
    probe = probes(kube.watcher.kubeconfig("token", server=proxy.url), "watch", POOLS)
    probe.wait("^trouble .* 500 ")
    time.sleep(3)
    assert proxy.count() <= 7, "back-off doubles from 125 ms at least"
    proxy.well()
    probe.wait("^listed 0")
    assert probe.count("^trouble") == 1 and probe.count("^well") == 1


def test_the_api_server_restarted_is_a_trouble_that_ends(kube, probes):
    make_pools(kube, 1)
    probe = probes(kube.watcher.kubeconfig("token"), "watch", POOLS)
    probe.wait("^listed 1")
    kube.apiserver.restart(kill=True)
    make_pools(kube, 2)
    probe.wait("^object p2 ", 40)
    told = [line.split(" ")[0] for line in probe.seen if re.match("trouble|well", line)]
    assert told[0] == "trouble" and told[-1] == "well"


# ---- Tests: lease

def lease_probe(kube, probes, lease_name, identity, ms=3000, server=""):
    return probes(kube.watcher.kubeconfig("token", server=server), "lease", NAMESPACE, lease_name, identity, str(ms))


def test_one_of_two_holds_the_lease_and_the_other_takes_over_at_once_when_it_is_given_back(kube, probes, lease_name):
    first = lease_probe(kube, probes, lease_name, "a", 15000)
    first.wait("^acquired held")
    spec = lease_of(kube)
    assert spec["holderIdentity"] == "a" and spec["leaseDurationSeconds"] == 15 and spec["leaseTransitions"] == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", spec["renewTime"])
    second = lease_probe(kube, probes, lease_name, "b", 15000)
    wait_for(lambda: lease_of(kube)["renewTime"] != spec["renewTime"], "it is renewed")
    assert second.seen == [] and lease_of(kube)["acquireTime"] == spec["acquireTime"]
    begin = time.monotonic()
    assert first.stop() == 0
    second.wait("^acquired held")
    assert time.monotonic() - begin < 10, "much less than the lease's duration"
    spec = lease_of(kube)
    assert spec["holderIdentity"] == "b" and spec["leaseTransitions"] == 1
    assert second.stop() == 0
    assert lease_of(kube)["holderIdentity"] == ""


def test_a_killed_holder_is_followed_after_the_leases_duration_and_not_before(kube, probes, lease_name):
    first = lease_probe(kube, probes, lease_name, "a")
    first.wait("^acquired")
    second = lease_probe(kube, probes, lease_name, "b")
    renewed = lease_of(kube)["renewTime"]
    wait_for(lambda: lease_of(kube)["renewTime"] != renewed, "it is renewed")
    first.kill()
    begin = time.monotonic()
    second.wait("^acquired", 20)
    assert 2 < time.monotonic() - begin


def test_a_holder_that_can_not_renew_gives_up_before_another_may_take_it(kube, probes, proxies, lease_name):
    proxy = proxies()
    first = lease_probe(kube, probes, lease_name, "a", server=proxy.url)
    first.wait("^acquired")
    second = lease_probe(kube, probes, lease_name, "b")
    proxy.hang()
    first.wait("^lost API_UNREACHABLE .*could not be renewed")
    assert second.count("^acquired") == 0
    second.wait("^acquired", 20)
    proxy.well()
    proxy.drop_connections()
    assert first.count("^acquired") == 1
    assert second.stop() == 0
    first.wait("^acquired", 20, times=2)


def test_a_lease_taken_by_hand_is_lost_at_once(kube, probes, lease_name):
    probe = lease_probe(kube, probes, lease_name, "a", 15000)
    probe.wait("^acquired")
    kube.admin.patch("leases", lease_name, {"spec": {"holderIdentity": "thief"}}, NAMESPACE)
    probe.wait("^lost API_REFUSED .*was taken by thief")
    assert probe.stop() == 0
    assert lease_of(kube)["holderIdentity"] == "thief"


def test_what_others_wrote_on_the_lease_stays(kube, probes, lease_name):
    probe = lease_probe(kube, probes, lease_name, "a")
    probe.wait("^acquired")
    kube.admin.patch("leases", lease_name, {"metadata": {"labels": {"mine": "yes"}}}, NAMESPACE)
    renewed = lease_of(kube)["renewTime"]
    wait_for(lambda: lease_of(kube)["renewTime"] != renewed, "it is renewed")
    assert kube.admin.get("leases", lease_name, NAMESPACE)["metadata"]["labels"] == {"mine": "yes"}
    assert probe.count("^lost") == 0 and probe.count("^trouble") == 0


# ---- Tests: Events

def test_the_same_event_again_raises_its_count_and_kubectl_shows_it(kube, probes):
    make_pools(kube, 1)
    uid = kube.admin.get("proxyippools", "p1")["metadata"]["uid"]
    probe = probes(kube.status_writer.kubeconfig("token"), "event", "5", "ProxyIPPool", "p1", uid, "PoolReady", "it is")

    def events():
        return [e for e in kube.admin.items("events", "default") if e["involvedObject"].get("uid") == uid]
    wait_for(lambda: [e["count"] for e in events()] == [5], "one Event with the count 5", show=lambda _: events())
    shown = kube.kubectl("describe", "proxyippool", "p1").stdout
    assert re.search(r"Normal +PoolReady .*x5 over.* kube-probe +it is", shown), shown
    assert probe.stop() == 0


def test_a_flood_of_events_is_cut(kube, probes):
    probe = probes(kube.status_writer.kubeconfig("token"), "event", "500", "ProxyIPPool", "p1", "u", "Flood", "again")

    def count():
        return sum(e["count"] for e in kube.admin.items("events", "default") if e["reason"] == "Flood")
    wait_for(lambda: count() == 25, "as many as the burst allows", show=lambda _: count())
    assert probe.stop() == 0


# ---- Tests: the frame

def test_programs_take_turns_with_leader_elect(kube, probes, daemon, lease_name):
    arguments = ["--leader-elect", "--lease-duration", "5", "--lease-name", lease_name, "--socket", daemon.socket]
    first = probes(kube.watcher.kubeconfig(), *arguments, program=PROGRAM)
    first.wait("acting: the lease is held")
    second = probes(kube.watcher.kubeconfig(), *arguments, program=PROGRAM)
    assert first.stop() == 0
    second.wait("acting: the lease is held", 20)
    kube.admin.patch("leases", lease_name, {"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 1}}, NAMESPACE)
    second.wait("not acting any more: .*thief")
    second.wait("acting: the lease is held", 20, times=2)
    assert second.stop() == 0
    assert lease_of(kube)["holderIdentity"] == ""
