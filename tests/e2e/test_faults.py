"""Bad days of the API server and of the way to it: each time all comes right, nothing spins, and what others wrote stays.

ipam-watcher and ipam-status-writer talk through a proxy that breaks what a test tells it to, and counts."""
import time

import pytest

from cluster.api import wait_for
from cluster.objects import pool, vip
from cluster.paths import OUR_CRDS
from cluster.state import agree, make_all, remove_all, statuses_of, wait_agree
from harness.protos import ipam as pb

QUIET_SECONDS = 2
VIPS = r"/proxyvips"
OURS = ("allocatedAddress", "allocatedIPv6Address")
FOREIGN = {"activeNode": "node-7", "announcingNodes": ["node-7", "node-8"], "bfdSessionState": "Up", "observedGeneration": 1,
           "conditions": [{"type": "Announced", "status": "True", "reason": "Announced", "message": "by the test", "observedGeneration": 1,
                           "lastTransitionTime": "2024-01-15T10:30:00Z"}]}


# ---- Fixture

class Through:
    """A host whose two processes go through one proxy, a pool, and VIPs that come and go."""

    def __init__(self, kube, hosts, proxy):
        self.kube = kube
        self.proxy = proxy
        self.made = 0
        self.names = []
        self.host = hosts(kube, watcher={"kubeconfig": kube.watcher.kubeconfig(server=proxy.url), "options": ["--confirm-delay", 1]},
                          status_writer={"kubeconfig": kube.status_writer.kubeconfig(server=proxy.url)})

    def start(self):
        self.host.start()
        self.kube.apply([pool("main", "10.200.0.0/24"), pool("dual", "10.201.0.0/28", "2001:db8::/124")])
        self.add(10)
        self.settle()
        for name in self.names[:3]:
            self.kube.novaedge.api().patch("proxyvips", name, {"status": self.foreign(name)}, subresource="status")
        self.settle()
        return self

    def foreign(self, name):
        """Another controller's part of the status, its condition beside ours."""
        ours = [c for c in self.kube.admin.get("proxyvips", name)["status"].get("conditions", []) if c["type"] == "Bound"]
        return {**FOREIGN, "conditions": FOREIGN["conditions"] + ours}

    def add(self, count):
        new = [f"vip-{self.made + i:03}" for i in range(count)]
        self.made += count
        make_all(self.kube, [vip(name, "dual" if i == 0 else "main", family="dual" if i == 0 else "ipv4")
                             for i, name in enumerate(new)])
        self.names += new

    def remove(self, count):
        """Of the oldest after the three that the other controller has."""
        remove_all(self.kube, self.names[3:3 + count])
        del self.names[3:3 + count]

    def churn(self):
        self.add(8)
        self.remove(4)

    def settle(self, seconds=20):
        """All VIPs are Bound, counted, and just what ipamd holds; nobody else's fields were touched."""
        wait_agree(self.kube, bound=len(self.names), seconds=seconds)
        statuses = {}

        def both_agree():
            statuses.update(now=statuses_of(self.kube))
            try:
                return agree(self.host.daemon, statuses["now"])
            except AssertionError:
                return False

        wait_for(both_agree, "ipamd holds what the statuses say", seconds, lambda _: statuses)
        assert sorted(statuses["now"]) == sorted(self.names)

    def assert_others_fields(self):
        for name in self.names[:3]:
            status = self.kube.admin.get("proxyvips", name)["status"]
            assert {key: value for key, value in status.items() if key not in (*OURS, "conditions")} == \
                {key: value for key, value in FOREIGN.items() if key != "conditions"}
            assert [c for c in status["conditions"] if c["type"] != "Bound"] == FOREIGN["conditions"]

    def finish(self, seconds=20):
        """What every test ends with: one more round of work, right; then nothing more to do, and nothing is done."""
        self.churn()
        self.settle(seconds)
        self.assert_others_fields()
        mark = self.proxy.mark()
        time.sleep(QUIET_SECONDS)
        asked = [(seen.verb, seen.path, seen.status) for seen in self.proxy.requests(since=mark)]
        assert len(asked) <= 6, f"{len(asked)} requests in {QUIET_SECONDS} s without work: {asked[:20]}"


@pytest.fixture
def through(kube, hosts, proxies, recorder):
    return Through(kube, hosts, proxies()).start()


def relists(through, since):
    """Lists of VIPs from the beginning; further pages of one don't count, nor do checks of a watch by a list of one."""
    return [seen for seen in through.proxy.requests("list", path=f"{VIPS}$", since=since)
            if "continue" not in seen.query and "timeoutSeconds" not in seen.query]


# ---- Tests: watches

def test_a_watch_that_breaks_in_the_middle_of_an_event_goes_on_without_a_new_list(through):
    mark = through.proxy.mark()
    for _ in range(3):
        wait_for(lambda: through.proxy.watches() == 4, "both watch both kinds", 20, lambda _: through.proxy.watches())
        assert through.proxy.break_watches(mid_event=True) == 4
        through.churn()
        through.settle()
    assert not relists(through, mark)
    assert through.proxy.count("watch", since=mark) <= 24
    through.finish()


def test_watches_that_break_as_soon_as_they_begin_are_begun_ever_more_slowly(through):
    mark, begin = through.proxy.mark(), time.monotonic()
    rule = through.proxy.reset(verbs="watch")
    through.proxy.break_watches(mid_event=False)
    through.churn()
    wait_for(lambda: rule.hits >= 24, "each of the four watches was tried six times", 30, lambda _: rule.hits)
    assert time.monotonic() - begin > 1.2
    assert through.proxy.busiest_second("watch", since=mark) <= 24
    through.proxy.well()
    through.finish(40)


def test_410_from_the_watch_itself_means_a_new_list(through):
    mark = through.proxy.mark()
    rule = through.proxy.gone(times=4)
    through.proxy.break_watches(mid_event=False)
    through.churn()
    wait_for(lambda: rule.hits == 4, "all watches were told", 20)
    through.settle(40)
    assert 1 <= len(relists(through, mark)) <= 6
    through.finish()


@pytest.mark.seconds(120)
def test_a_compacted_etcd_and_an_api_server_without_memory(through, kube):
    wait_for(lambda: through.proxy.watches() >= 4, "all is watched")
    with through.proxy.refused():
        through.churn()
        kube.forget_history()
        through.churn()
    through.settle(60)
    through.finish()


# ---- Tests: the server is away

@pytest.mark.seconds(120)
def test_an_api_server_that_is_started_again(through, kube):
    mark = through.proxy.mark()
    through.churn()
    kube.apiserver.restart(kill=True)
    through.churn()
    through.settle(60)
    assert through.proxy.busiest_second(since=mark) < 150
    through.finish()


@pytest.mark.seconds(120)
def test_etcd_and_api_server_started_again_together(through, kube):
    through.churn()
    kube.restart_all()
    through.settle(60)
    through.finish()


def test_connections_that_are_refused(through):
    with through.proxy.refused():
        through.churn()
        through.churn()
    through.settle(40)
    through.finish()


# ---- Tests: tokens

@pytest.mark.seconds(120)
def test_a_rotated_token_is_taken_up_and_an_expired_one_is_no_hot_loop(kube, hosts, proxies, recorder):
    """Tokens are good for a while longer than they say, as the API server remembers those that it has seen."""
    proxy = proxies()
    through = Through(kube, hosts, proxy)
    parts = {through.host.watcher: kube.watcher, through.host.status_writer: kube.status_writer}
    for part, account in parts.items():
        part.kubeconfig = account.kubeconfig(server=proxy.url, lifetime=6)
    through.start()

    def refused():
        proxy.break_watches(mid_event=False)
        return {seen.agent for seen in proxy.requests() if seen.status == 401}

    wait_for(lambda: len(refused()) == 2, "the old tokens are refused", 40)
    mark = proxy.mark()
    through.churn()
    proxy.break_watches(mid_event=False)
    wait_for(lambda: len([seen for seen in proxy.requests(since=mark) if seen.status == 401]) >= 4, "more was refused", 20)
    assert proxy.busiest_second(since=mark) <= 40
    for part in parts:
        part.kubeconfig.rotate()
    through.settle(60)
    through.finish()


# ---- Tests: bad answers

@pytest.mark.parametrize("status, retry_after", [(429, 1), (500, None), (503, None)])
def test_a_burst_of_refusals(through, status, retry_after):
    mark = through.proxy.mark()
    rules = [through.proxy.answer(status, retry_after=retry_after, verbs=verbs, times=times)
             for verbs, times in ((("patch",), 5), (("watch", "list"), 6), (("create",), 2))]
    through.proxy.break_watches(mid_event=False)
    through.churn()
    through.settle(60)
    assert rules[0].hits >= 1 and rules[1].hits >= 4
    if retry_after:
        assert_paused(through, mark, status, retry_after)
    assert through.proxy.busiest_second(since=mark) < 60
    through.finish(60)


def assert_paused(through, mark, status, seconds):
    """Whoever was told to wait did so before the next patch, those under way at the moment left aside."""
    for agent in ("ipam-watcher", "ipam-status-writer"):
        patches = [seen for seen in through.proxy.requests("patch", since=mark) if agent in seen.agent]
        told = [seen.at for seen in patches if seen.status == status]
        early = [seen.at for seen in patches for at in told if at + 0.3 < seen.at < at + seconds - 0.1]
        assert not early, (agent, early, told)


def test_slow_answers(through):
    through.proxy.delay(0.5, verbs="patch", times=20)
    through.proxy.trickle(200, 0.01, verbs="watch")
    through.proxy.break_watches(mid_event=False)
    through.churn()
    through.settle(40)
    through.proxy.well()
    through.finish()


@pytest.mark.seconds(90)
def test_answers_that_never_come_are_given_up(through):
    rules = through.proxy.hang(verbs="patch", times=2), through.proxy.hang(verbs="list", times=1)
    through.churn()
    wait_for(lambda: rules[0].hits == 2, "two writes hang", 20)
    through.settle(50)
    through.finish()


@pytest.mark.parametrize("after", [0, 300])
def test_truncated_answers(through, after):
    mark = through.proxy.mark()
    rules = [through.proxy.truncate(after, verbs=verbs, times=4) for verbs in ("list", "patch", "watch")]
    gone = through.proxy.gone(times=4)  # so that there are lists to truncate
    through.proxy.break_watches(mid_event=False)
    through.churn()
    through.settle(60)
    assert rules[1].hits >= 1 and gone.hits >= 1 and rules[0].hits >= 1
    assert through.proxy.busiest_second(since=mark) < 60
    through.finish(40)


def test_lost_answers_are_no_reason_to_do_it_twice(through, recorder):
    rule = through.proxy.lose_answer(verbs=("patch", "create"), times=10)
    through.churn()
    through.settle(40)
    assert rule.hits == 10
    recorder.catch_up()
    for name in through.names[-8:]:
        bound = [seen for seen in recorder.statuses(name) if seen.status.get("allocatedAddress")]
        assert len(bound) == 1, f"{name} was written {len(bound)} times"
    through.finish()


# ---- Tests: a second writer

def test_a_second_writer_that_replaces_statuses_all_the_time(through, kube, replacer):
    mark = through.proxy.mark()
    through.proxy.delay(0.2, verbs="patch", path=VIPS)  # so that what it was worked out from is old when it arrives

    def conflicts():
        return replacer.conflicts + len([seen for seen in through.proxy.requests("patch", path=VIPS, since=mark) if seen.status == 409])

    rounds = 0
    while rounds < 4 or conflicts() < 5 or replacer.written < 50:  # who meets whom is a matter of chance
        assert rounds < 40, (conflicts(), replacer.written)
        through.churn()
        through.settle(40)
        rounds += 1
    through.remove(4)
    through.settle(40)
    wait_for(lambda: all("activeNode" in item["status"] for item in kube.admin.items("proxyvips")), "the second writer has had all")
    replacer.stop()
    through.settle()
    new = 8 * rounds
    patches = through.proxy.count("patch", path=VIPS, since=mark)
    assert patches <= new * 8, f"{patches} patches for {new} new VIPs"
    for item in kube.admin.items("proxyvips"):
        status = item["status"]
        assert status["activeNode"].startswith("node-") and status["announcingNodes"] == [status["activeNode"]]
        assert status["observedGeneration"] == item["metadata"]["generation"]
        assert sorted(c["type"] for c in status["conditions"]) == ["Announced", "Bound"]


def test_status_writes_that_conflict_every_time_for_a_while(through):
    mark = through.proxy.mark()
    rule = through.proxy.answer(409, verbs="patch", path=VIPS, times=30)
    through.churn()
    through.settle(60)
    assert rule.hits == 30
    assert through.proxy.busiest_second("patch", since=mark) < 60
    through.finish()


# ---- Tests: what one author may write

def nested(depth):
    return [] if depth == 0 else [nested(depth - 1)]


HOSTILE = {"number": {"a": 10 ** 20}, "name": {"\0": 1}, "nested": {"a": nested(900)}, "long": {"a": [0] * 500_000}}


@pytest.mark.seconds(120)
def test_what_one_author_writes_into_a_vip_stops_nothing_for_anybody_else(kube, hosts, recorder):
    host = hosts(kube).start()
    kube.put([pool("main", "10.200.0.0/24"), vip("before", "main")])
    kube.wait_bound("before")
    for name, value in HOSTILE.items():
        kube.admin.create("proxyvips", vip(f"bad-{name}", "main", bgpConfig=value))
    kube.put(vip("after", "main"))
    kube.wait_bound("after")
    names = [f"bad-{name}" for name in HOSTILE]
    for name in names:
        kube.wait_bound(name)
    for part in (host.watcher, host.status_writer):
        part.kill9()
        part.start()
    kube.put(vip("later", "main"))
    kube.wait_bound("later", seconds=30)
    assert "not JSON" not in host.watcher.log() + host.status_writer.log()


@pytest.mark.seconds(120)
def test_a_vip_that_can_not_be_read_keeps_its_address_and_says_so(kube, hosts, recorder):
    """NovaEdge's definition lets an author write anything where a name belongs."""
    definition = kube.admin.get("customresourcedefinitions", "proxyvips.novaedge.io")
    properties = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties["poolRef"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    properties["address"] = {"x-kubernetes-preserve-unknown-fields": True}
    kube.admin.replace("customresourcedefinitions", definition)
    try:
        host = hosts(kube).start()
        kube.put([pool("main", "10.200.0.0/24"), vip("web", "main")])
        address = kube.wait_bound("web")
        wait_for(lambda: kube.admin.patch("proxyvips", "web", {"spec": {"address": nested(40)}})["spec"].get("address"), "it is kept", 30)
        host.watcher.wait_log(r"web: InvalidSpec: spec\.address is left out: it nests deeper than 32 levels", 20)
        host.status_writer.wait_log(r"proxyvips web can't be read whole", 20)
        for part in (host.watcher, host.status_writer):
            part.kill9()
            part.start()
        kube.put(vip("other", "main"))
        kube.wait_bound("other", seconds=30)
        assert kube.admin.get("proxyvips", "web")["status"]["allocatedAddress"] == address
        held = host.ipam().ListClaims(pb.ListClaimsRequest(kind="ProxyVIP")).claims
        assert [claim.address for claim in held if claim.owner.name == "web"] == [address]
        kube.admin.patch("proxyvips", "web", {"spec": {"address": None}})
        host.status_writer.wait_log("proxyvips web can be read again", 20)
    finally:
        kube.clean()
        kube.apply_crds(OUR_CRDS)


# ---- Tests: definitions

@pytest.mark.seconds(180)
def test_a_definition_that_is_taken_away_is_told_and_ends_once(kube, hosts, watchers, status_writers):
    host = hosts(kube).start()
    kube.put([pool("main", "10.200.0.0/24"), vip("web", "main")])
    kube.wait_bound("web")
    kube.admin.delete("proxyvips", "web")
    wait_for(lambda: not host.ipam().ListClaims(pb.ListClaimsRequest(kind="ProxyVIP")).claims, "its address is free")
    kube.admin.delete("customresourcedefinitions", "proxyvips.novaedge.io")
    try:
        for part in (host.watcher, host.status_writer):
            part.wait_log("proxyvips: .*install its CustomResourceDefinition", 60)
            assert "the answer is not from a Kubernetes API server" not in part.log()
        for made in (watchers(kube, host.daemon, options=["--once"]), status_writers(kube, host.daemon, options=["--once"])):
            made.start(ready=False)
            assert made.wait(60) not in (0, None), "it can't do what it was started for"
            assert "giving up" in made.log()
    finally:
        kube.apply_crds(OUR_CRDS)
    kube.put(vip("web", "main"))
    kube.wait_bound("web", seconds=60)
