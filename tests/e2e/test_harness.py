"""The e2e tests' own tools: each does what tests rely on it for, and notices what it is there to notice."""
import contextlib
import os
import re
import subprocess
import time

import pytest
import requests
import yaml

from cluster import paths
from cluster.api import Api, ApiError, new_session, wait_for
from cluster.objects import pool, vip
from cluster.recorder import Recorder
from harness.paths import REFERENCE, ROOT

CONDITION = {"type": "Bound", "status": "True", "reason": "AddressAllocated", "message": "it has one",
             "lastTransitionTime": "2024-01-15T10:30:00Z"}


# ---- Fixture

@pytest.fixture
def proxy(proxies):
    return proxies()


@pytest.fixture
def through(kube, proxy):
    """The API through the proxy, as the watcher; each request over a connection of its own."""
    session = new_session(kube.authority.ca, kube.watcher.token())
    session.headers["Connection"] = "close"
    return Api(proxy.url, session)


# ---- Helpers

def set_address(kube, name, address):
    kube.admin.patch("proxyvips", name, {"status": {"allocatedAddress": address, "conditions": [CONDITION]}}, subresource="status")


def status_of(call, *arguments, **options):
    """The HTTP status of a refused call."""
    with pytest.raises(ApiError) as caught:
        call(*arguments, **options)
    return caught.value.status


def answer_to(call):
    """Past the moment in which a server that has just started says to come again (429)."""
    wait_for(lambda: status_of(call) != 429, "the server answers", 30)
    return status_of(call)


# ---- Tests: cluster

def test_kubectl_applies_every_manifest_of_the_reference_page(kube):
    files = sorted(REFERENCE.glob("*.yaml"))
    for path in files:
        assert "created" in kube.apply(path).stdout, path
    assert len(kube.admin.items("proxyippools")) + len(kube.admin.items("proxyvips")) == len(files) == 6


def test_pools_print_with_the_columns_of_the_reference_page(kube):
    kube.apply(pool("main-vip-pool", "10.200.0.0/24"))
    kube.admin.patch("proxyippools", "main-vip-pool", {"status": {"allocated": 3, "available": 251, "cooling": 1, "waiting": 2}},
                     subresource="status")
    header, row = kube.kubectl("get", "proxyippool").stdout.splitlines()
    assert header.split() == ["NAME", "ALLOCATED", "AVAILABLE", "AUTO-ASSIGN", "AGE"]
    assert row.split()[:4] == ["main-vip-pool", "3", "251", "true"]
    wide = kube.kubectl("get", "ippool", "-o", "wide").stdout.splitlines()
    assert wide[0].split()[5:] == ["CIDRS", "COOLING", "WAITING"]
    assert wide[1].split()[5:] == ['["10.200.0.0/24"]', "1", "2"]


@pytest.mark.parametrize("spec, wrong", [
    ({}, "at least one schema"),
    ({"cidrs": []}, "at least one schema"),
    ({"cidrs": ["10.0.0.0/33"]}, "must be of type cidr"),
    ({"addresses": ["10.0.0.0/24"]}, "should match"),
    ({"addresses": ["10.0.0.1/32"], "excludedAddresses": ["some"]}, "should match"),
    ({"cidrs": ["10.0.0.0/24"], "reuseDelaySeconds": -1}, "greater than or equal to 0"),
    ({"cidrs": ["10.0.0.0/24"], "reuseDelaySeconds": 315360001}, "less than or equal to"),
])
def test_a_pool_that_can_not_be_right_is_refused_at_once(kube, spec, wrong):
    body = {**pool("wrong"), "spec": spec}
    with pytest.raises(ApiError, match=wrong):
        kube.admin.create("proxyippools", body)


@pytest.mark.parametrize("spec", [
    {"addresses": ["203.0.113.10", "203.0.113.11/32", "2001:db8::1/128", "203.0.113.20-203.0.113.30", "2001:db8::5-2001:db8::9"]},
    {"cidrs": ["2001:db8::/120", "10.0.0.0/31"], "excludedAddresses": ["10.0.0.0/31", "2001:db8::1", "10.0.0.1-10.0.0.2"],
     "reuseDelaySeconds": 300, "paused": True, "autoAssign": False},
])
def test_a_pool_may_have_every_form_that_ipamc_takes(kube, daemon, spec):
    body = {**pool("right"), "spec": spec}
    kube.admin.create("proxyippools", body)
    assert daemon.ipamc("apply", "-f", "-", stdin=yaml.safe_dump(body)).returncode == 0
    assert kube.admin.get("proxyippools", "right")["spec"] == {"autoAssign": False, **spec}


@pytest.mark.parametrize("change, wrong", [
    ({"mode": "RIP"}, "mode"), ({"mode": None}, "mode"), ({"ports": [70000]}, "ports"), ({"addressFamily": "both"}, "addressFamily"),
    ({"poolRef": {"name": "Main"}}, "poolRef.name"), ({"poolRef": {}}, "poolRef.name"), ({"poolRef": None}, "at least one schema"),
    ({"address": "10.0.0.1/24"}, "should match"), ({"ipv6Address": "2001:db8::1/64"}, "should match"),
])
def test_a_vip_that_can_not_be_right_is_refused_at_once(kube, change, wrong):
    body = vip("wrong", "main-vip-pool")
    body["spec"] = {key: value for key, value in {**body["spec"], **change}.items() if value is not None}
    with pytest.raises(ApiError, match=wrong):
        kube.admin.create("proxyvips", body)


def test_what_is_for_novaedge_in_a_vip_is_kept_as_written(kube):
    extras = {"nodeSelector": {"matchLabels": {"zone": "a"}}, "tolerations": [{"key": "edge", "operator": "Exists"}],
              "healthPolicy": {"minHealthyNodes": 2}, "ospfConfig": {"area": "0.0.0.0"}, "bfd": {"enabled": True},
              "bgpConfig": {"localAS": 65000, "peers": [{"address": "10.0.0.254", "as": 65001}]}}
    kube.admin.create("proxyvips", vip("extras", "main-vip-pool", **extras))
    spec = kube.admin.get("proxyvips", "extras")["spec"]
    assert {key: spec[key] for key in extras} == extras


def test_every_field_is_explained(kube):
    for path in (ROOT / "proto/crd/proxyippool.yaml", ROOT / "proto/crd/proxyvip.yaml"):
        crd = yaml.safe_load(path.read_text())
        top = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        for part in ("spec", "status"):
            shown = kube.kubectl("explain", f"{crd['spec']['names']['singular']}.{part}").stdout
            for field, rules in top[part]["properties"].items():
                assert re.search(rf"^ +{field}\t", shown, re.M) and rules["description"].split()[0] in shown, field
            assert "<empty>" not in shown


def test_novaedge_definitions_prune_our_fields_and_assign_by_default(novaedge_crds):
    body = pool("main-vip-pool", "10.200.0.0/24", excludedAddresses=["10.200.0.1"])
    del body["spec"]["autoAssign"]
    assert novaedge_crds.admin.create("proxyippools", body)["spec"] == {"cidrs": ["10.200.0.0/24"], "autoAssign": True}


def test_the_api_server_keeps_objects_and_port_over_a_restart_of_all(kube):
    kube.apply(pool("main-vip-pool", "10.200.0.0/24"))
    version = kube.admin.get("proxyippools", "main-vip-pool")["metadata"]["resourceVersion"]
    kube.restart_all()
    assert kube.admin.get("proxyippools", "main-vip-pool")["metadata"]["resourceVersion"] == version


def test_forgotten_history_is_410_gone(kube):
    since = kube.admin.list("proxyvips")["metadata"]["resourceVersion"]
    kube.apply([vip("one", "main-vip-pool"), vip("two", "main-vip-pool")])
    assert [event["object"]["metadata"]["name"] for event in kube.admin.watch("proxyvips", since, 1)
            if event["type"] == "ADDED"] == ["one", "two"]
    token = kube.admin.list("proxyvips", limit=1)["metadata"]["continue"]
    kube.forget_history()
    assert answer_to(lambda: list(kube.admin.watch("proxyvips", since, 1))) == 410
    assert answer_to(lambda: kube.admin.list("proxyvips", limit=1, **{"continue": token})) == 410


def test_another_cluster_is_another_one(kube, other_cluster):
    def uid(cluster):
        return cluster.admin.get("namespaces", "kube-system")["metadata"]["uid"]

    assert uid(kube) != uid(other_cluster)
    assert other_cluster.kubectl("get", "proxyvips", kubeconfig=other_cluster.watcher.kubeconfig()).returncode == 0


# ---- Tests: identities and roles

@pytest.mark.parametrize("options", [
    {"credential": "token-file"}, {"credential": "token"}, {"credential": "certificate"},
    {"credential": "certificate", "inline": True}, {"credential": "token", "inline": True},
])
def test_each_form_of_kubeconfig_is_the_service_account(kube, options):
    config = kube.watcher.kubeconfig(**options)
    assert kube.kubectl("get", "proxyvips", kubeconfig=config).returncode == 0
    mark = kube.audit_mark()
    done = kube.kubectl("delete", "proxyvip", "nobody", kubeconfig=config, check=False)
    assert f'User "{kube.watcher.user}" cannot delete resource' in done.stderr
    entry = kube.audit(kube.watcher, since=mark)[-1]
    assert (entry["verb"], entry["resource"], entry["name"], entry["status"]) == ("delete", "proxyvips", "nobody", 403)


@pytest.mark.usefixtures("needs_root")
def test_a_process_finds_itself_in_a_pod(kube):
    pod = kube.watcher.in_cluster()
    env = {**os.environ, **pod["env"], "HOME": str(kube.folder), "KUBECONFIG": ""}
    mark = kube.audit_mark()
    done = subprocess.run([*pod["wrap"], paths.release().kubectl, "get", "proxyvips"], env=env, capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert ("list", "proxyvips", 200) in [(e["verb"], e["resource"], e["status"]) for e in kube.audit(kube.watcher, mark)]


def test_a_rotated_token_takes_over_and_the_old_one_expires(kube):
    config = kube.watcher.kubeconfig(lifetime=2)
    old = Api(kube.url, new_session(kube.authority.ca, config.token_file.read_text().strip()))
    old.items("proxyvips")

    def expired():
        with contextlib.suppress(ApiError):
            old.items("proxyvips")
            return False
        return True

    wait_for(expired, "the old token is refused", 20)
    assert status_of(old.items, "proxyvips") == 401
    config.rotate()
    assert kube.kubectl("get", "proxyvips", kubeconfig=config).returncode == 0


POOLS_AND_VIPS = (("proxyippools",), ("proxyvips",))
ROLES = {  # account: [(verbs, (resource, name, namespace)), …]
    "watcher": [
        *[("list watch", what) for what in POOLS_AND_VIPS],
        ("get patch", ("proxyippools",)),
        ("create", ("leases", "", "ipam-system")),
        ("get update", ("leases", "ipam-watcher", "ipam-system")),
        ("create patch", ("events", "", "default")),
    ],
    "status_writer": [
        *[("get list watch", what) for what in POOLS_AND_VIPS],
        ("patch", ("proxyippools/status",)),
        ("patch", ("proxyvips/status",)),
        ("create", ("leases", "", "ipam-system")),
        ("get update", ("leases", "ipam-status-writer", "ipam-system")),
        ("create patch", ("events", "", "default")),
    ],
}
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
RESOURCES = (("proxyippools",), ("proxyvips",), ("proxyippools/status",), ("proxyvips/status",), ("proxyippools/finalizers",),
             ("namespaces", "kube-system"), ("namespaces", "default"), ("namespaces",), ("leases", "", "ipam-system"),
             ("leases", "ipam-watcher", "ipam-system"), ("leases", "ipam-status-writer", "ipam-system"),
             ("leases", "ipam-watcher", "kube-system"), ("events", "", "default"), ("events", "", "ipam-system"),
             ("secrets", "", "ipam-system"), ("serviceaccounts", "", "ipam-system"), ("customresourcedefinitions",))


@pytest.mark.parametrize("account", ROLES)
def test_the_shipped_roles_allow_what_the_processes_need_and_no_more(kube, account):
    wanted = {(verb, *what) for verbs, what in ROLES[account] for verb in verbs.split()}
    # A right for all names holds for each name.
    wanted |= {("create", *what) for what in RESOURCES if what[0] == "leases" and what[2] == "ipam-system"}
    user = getattr(kube, account).user
    assert {(verb, *what) for verb in VERBS for what in RESOURCES if kube.admin.may(user, verb, *what)} == wanted


# ---- Tests: fault proxy

def test_the_proxy_passes_on_and_counts_by_verb_and_path(kube, proxy, through):
    kube.apply([pool("main-vip-pool", "10.200.0.0/24"), vip("web-vip", "main-vip-pool")])
    since = through.list("proxyvips")["metadata"]["resourceVersion"]
    assert through.get("proxyippools", "main-vip-pool")["spec"]["autoAssign"] is True
    assert list(through.watch("proxyvips", since, 1)) is not None
    through.patch("proxyippools", "main-vip-pool", {"metadata": {"finalizers": ["ipam.novaedge.io/pool-protection"]}})
    assert {verb: proxy.count(verb) for verb in ("get", "list", "watch", "patch", "create")} == {
        "get": 1, "list": 1, "watch": 1, "patch": 1, "create": 0}
    assert proxy.count(path="/proxyvips") == 2 and proxy.count("patch", path="/proxyippools/main-vip-pool$") == 1
    assert proxy.busiest_second(path="/proxyvips$") <= 2
    wait_for(lambda: all(seen.finished for seen in proxy.requests()), "the proxy knows that each answer has gone out")
    assert {seen.status for seen in proxy.requests()} == {200}


def test_the_proxy_answers_429_and_5xx_as_often_as_it_was_told(proxy, through):
    rule = proxy.answer(429, retry_after=7, verbs="list", path="/proxyvips$", times=2)
    reply = through.session.get(f"{proxy.url}/apis/novaedge.io/v1alpha1/proxyvips")
    assert (reply.status_code, reply.headers["Retry-After"]) == (429, "7")
    assert status_of(through.list, "proxyvips") == 429
    assert through.list("proxyippools")["items"] == through.list("proxyvips")["items"] == []
    assert rule.hits == 2
    proxy.answer(503)
    assert status_of(through.list, "proxyippools") == 503
    proxy.well()
    assert through.list("proxyippools")["items"] == []


def test_the_proxy_truncates_delays_trickles_and_resets(kube, proxy, through):
    kube.apply(pool("main-vip-pool", "10.200.0.0/24"))
    proxy.truncate(100, verbs="get", times=1)
    with pytest.raises(requests.RequestException):
        through.get("proxyippools", "main-vip-pool")
    assert proxy.requests("get")[0].sent == 100 and not proxy.requests("get")[0].finished
    proxy.reset(verbs="get", times=1)
    with pytest.raises(requests.RequestException):
        through.get("proxyippools", "main-vip-pool")
    proxy.delay(0.5, verbs="get", times=1)
    begin = time.monotonic()
    through.get("proxyippools", "main-vip-pool")
    assert time.monotonic() - begin >= 0.5
    proxy.trickle(200, 0.05, verbs="get", times=1)
    begin = time.monotonic()
    size = len(through.session.get(f"{proxy.url}/apis/novaedge.io/v1alpha1/proxyippools/main-vip-pool").content)
    assert time.monotonic() - begin >= 0.05 * (size // 200) > 0


def test_a_lost_answer_was_done_all_the_same(kube, proxy, through):
    kube.apply(pool("main-vip-pool", "10.200.0.0/24"))
    proxy.lose_answer(verbs="patch")
    with pytest.raises(requests.RequestException):
        through.patch("proxyippools", "main-vip-pool", {"metadata": {"labels": {"seen": "yes"}}})
    assert kube.admin.get("proxyippools", "main-vip-pool")["metadata"]["labels"] == {"seen": "yes"}


def test_a_watch_breaks_in_the_middle_of_an_event(kube, proxy, through):
    since = kube.admin.list("proxyvips")["metadata"]["resourceVersion"]
    url = f"{proxy.url}/apis/novaedge.io/v1alpha1/proxyvips"
    with through.session.get(url, params={"watch": "1", "resourceVersion": since}, stream=True, timeout=20) as reply:
        assert proxy.watches("/proxyvips") == 1
        assert proxy.break_watches(path="/proxyvips") == 1
        kube.apply(vip("web-vip", "main-vip-pool"))
        got = b""
        with contextlib.suppress(requests.RequestException):
            for data in reply.iter_content(None):
                got += data
    assert got.startswith(b'{"type":"ADDED"') and not got.endswith(b"}\n")
    wait_for(lambda: proxy.watches() == 0, "the watch has ended")


def test_the_proxy_says_410_gone_to_watches(proxy, through):
    proxy.gone(times=1)
    assert status_of(lambda: list(through.watch("proxyvips", "1", 1))) == 410


def test_the_proxy_refuses_connections_and_takes_them_again(proxy, through):
    through.list("proxyvips")
    with proxy.refused(), pytest.raises(requests.ConnectionError, match="refused"):
        through.list("proxyvips")
    through.list("proxyvips")


@pytest.mark.parametrize("drop", [lambda proxy: proxy.drop_connections(), lambda proxy: proxy.break_watches(mid_event=False)])
def test_the_proxy_drops_the_connections_of_watches(kube, proxy, through, drop):
    since = kube.admin.list("proxyvips")["metadata"]["resourceVersion"]
    url = f"{proxy.url}/apis/novaedge.io/v1alpha1/proxyvips"
    with through.session.get(url, params={"watch": "1", "resourceVersion": since}, stream=True, timeout=20) as reply:
        drop(proxy)
        with pytest.raises(requests.RequestException):
            reply.content
    wait_for(lambda: proxy.watches() == 0, "the watch has ended")


def test_the_proxy_serves_plain_http_too(kube, proxies):
    plain = proxies(tls=False)
    assert plain.url.startswith("http://")
    assert Api(plain.url, new_session(token=kube.watcher.token())).list("proxyvips")["items"] == []


# ---- Tests: recorder and replacer

def test_the_recorder_sees_an_address_in_two_statuses(kube):
    recorder = Recorder(kube).start()
    kube.apply([vip("one", "main-vip-pool"), vip("two", "main-vip-pool")])
    set_address(kube, "one", "10.200.0.1/32")
    set_address(kube, "one", "10.200.0.2/32")
    set_address(kube, "two", "10.200.0.1/32")
    recorder.assert_no_double()
    set_address(kube, "one", "10.200.0.1/32")
    set_address(kube, "one", "10.200.0.3/32")
    with pytest.raises(AssertionError, match=r"10.200.0.1/32 in the status of one .* and two"):
        recorder.assert_no_double()
    assert recorder.addresses("one") == [None, "10.200.0.1/32", "10.200.0.2/32", "10.200.0.1/32", "10.200.0.3/32"]
    recorder.stop()


def test_the_recorder_follows_over_deletion_and_restart_of_the_server(kube, recorder):
    kube.apply([vip("one", "main-vip-pool"), vip("two", "main-vip-pool")])
    set_address(kube, "one", "10.200.0.1/32")
    kube.apiserver.restart(kill=True)
    kube.admin.delete("proxyvips", "one")
    set_address(kube, "two", "10.200.0.1/32")
    recorder.assert_no_double()
    assert recorder.addresses("two") == [None, "10.200.0.1/32"]


def test_the_recorder_counts_status_writes_of_a_pool(kube, recorder):
    kube.apply(pool("main-vip-pool", "10.200.0.0/24"))
    for allocated in (1, 2, 3):
        kube.admin.patch("proxyippools", "main-vip-pool", {"status": {"allocated": allocated}}, subresource="status")
    kube.admin.patch("proxyippools", "main-vip-pool", {"metadata": {"labels": {"a": "b"}}})
    recorder.catch_up()
    assert [seen.status.get("allocated") for seen in recorder.pool_statuses("main-vip-pool")] == [None, 1, 2, 3]


def test_the_replacer_writes_whole_statuses_and_meets_conflicts(kube, replacer):
    kube.apply([vip("one", "main-vip-pool"), vip("two", "main-vip-pool")])
    wait_for(lambda: replacer.written > 20, "the replacer writes")
    kube.wait("proxyvips", "one", lambda one: one["status"]["observedGeneration"] == one["metadata"]["generation"] and
              one["status"]["activeNode"], "was observed")
    before = replacer.conflicts
    kube.admin.patch("proxyvips", "one", {"metadata": {"labels": {"a": "b"}}})
    wait_for(lambda: replacer.conflicts > before, "the replacer met the newer version")
    set_address(kube, "one", "10.200.0.1/32")
    written = replacer.written
    wait_for(lambda: replacer.written > written + 10, "the replacer goes on")
    status = kube.admin.get("proxyvips", "one")["status"]
    assert status["allocatedAddress"] == "10.200.0.1/32" and {c["type"] for c in status["conditions"]} == {"Bound", "Announced"}
