"""The bus and libipam's subscriber as processes: every change once and in order, whatever is killed, stopped or left out.

BUS_SECONDS and BUS_SEED (environment) choose how long the storm blows, and which one.
"""
import contextlib
import json
import os
import random
import select
import signal
import socket
import sqlite3
import stat
import struct
import subprocess
import sys
import time

import pytest

from harness.children import child
from harness.history import Chain
from harness.paths import BUILD, IPAMD, ROOT, SLOW
from harness.protos import ipam as pb
from harness.requests import allocate, pool, release
from harness.waiting import eventually

SECONDS = float(os.environ.get("BUS_SECONDS", "18"))
SEED = int(os.environ.get("BUS_SEED", str(random.SystemRandom().randrange(1 << 32))))
POOLS = [
    pool("plain", "10.0.0.0/16"), pool("cooling", "10.1.0.0/16", reuse_delay_seconds=1), pool("six", "2001:db8::/112"),
    pool("both", "10.2.0.0/16", "2001:db8:1::/112"), pool("tiny", "10.3.0.0/29"),
]
SUBSCRIBER_GREETING = b"\0SP\0\0\x21\0\0"
PUBLISHER_GREETING = b"\0SP\0\0\x20\0\0"

# ---- Fixture


class Follower:
    """The program `follow`, which goes on after the last change in its log; the log outlives it."""

    def __init__(self, daemon, path):
        self.daemon = daemon
        self.path = path
        self.path.touch()
        self.process = None

    def start(self, *arguments):
        assert self.process is None or self.process.poll() is not None, "started twice"
        self.process = child(
            [BUILD / "tests/follow", self.daemon.socket, self.daemon.events, self.path, *arguments],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        return self

    def kill9(self):
        self.process.kill()
        _, errors = self.process.communicate(timeout=20 * SLOW)
        assert not errors, errors.decode()

    def lines(self, letter):
        """What stands behind the letter, of every whole line that begins with it."""
        text = self.path.read_text()
        return [line[2:] for line in text[:text.rfind("\n") + 1].splitlines() if line.startswith(letter)]

    def changes(self):
        return [(int(revision), bytes.fromhex(digest)) for revision, digest in map(str.split, self.lines("C"))]

    def wait_for(self, revision, seconds=30):
        eventually(lambda: max(map(int, self.lines("S")), default=-1) >= revision, seconds)

    def ended(self):
        """The reason why it ended."""
        self.process.communicate(timeout=30 * SLOW)
        assert self.process.returncode == 0
        return self.lines("E")[-1]


@pytest.fixture
def followers(tmp_path):
    made = []

    def make(daemon):
        made.append(Follower(daemon, tmp_path / f"follower-{len(made)}"))
        return made[-1]

    yield make
    for follower in made:
        if follower.process and follower.process.poll() is None:
            follower.process.kill()
            follower.process.communicate()


# ---- Helpers


def apply_pools(ipam):
    for request in POOLS:
        ipam.ApplyPool(request)


def allocations(ipam, first, count):
    for call in [ipam.Allocate.future(allocate(f"vip-{n}", "plain")) for n in range(first, first + count)]:
        call.result()


def revision_of(ipam):
    return ipam.GetStatus(pb.GetStatusRequest()).durable_revision


def history_of(ipam):
    return [(change.revision, change.hash) for change in Chain().check(ipam)]


def start_load(daemon, log, seed):
    return child([BUILD / "tests/crash_load", daemon.socket, log, seed], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Storm:
    """Kills, stops and starts followers and the daemon at random under load; each gust is a row of GUSTS."""

    def __init__(self, daemon, followers, load_log, rng):
        self.daemon, self.followers, self.load_log, self.rng = daemon, followers, load_log, rng
        self.load = start_load(daemon, load_log, rng.randrange(1 << 32))
        self.count = {}

    def kill_follower(self):
        follower = self.rng.choice(self.followers)
        follower.kill9()
        time.sleep(self.rng.uniform(0, 0.3))
        follower.start()

    def stop_follower(self):
        follower = self.rng.choice(self.followers)
        follower.process.send_signal(signal.SIGSTOP)
        time.sleep(self.rng.uniform(0, 1))
        follower.process.send_signal(signal.SIGCONT)

    def kill_daemon(self):
        self.daemon.kill9()
        self.load.wait(timeout=30 * SLOW)
        time.sleep(self.rng.uniform(0, 0.3))
        self.daemon.start(*self.daemon.options)
        self.load = start_load(self.daemon, self.load_log, self.rng.randrange(1 << 32))

    def stop_daemon(self):
        self.daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(self.rng.uniform(0, 0.5))
        self.daemon.process.send_signal(signal.SIGCONT)

    GUSTS = ((kill_follower, 4), (stop_follower, 3), (kill_daemon, 1), (stop_daemon, 1))

    def pass_over(self, seconds):
        """With the daemon killed at least once, in the middle."""
        self.blow(seconds / 2)
        self.kill_daemon()
        self.blow(seconds / 2)
        self.load.terminate()
        self.load.wait(timeout=30 * SLOW)

    def blow(self, seconds):
        gusts, weights = zip(*self.GUSTS)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(self.rng.uniform(0, 0.4))
            gust = self.rng.choices(gusts, weights)[0]
            gust(self)
            self.count[gust.__name__] = self.count.get(gust.__name__, 0) + 1


# What the daemon publishes of all there is: nearly everything, little, ticks alone.
BUSES = {"generous": ("--bus-budget", "1000000"), "frugal": ("--bus-budget", "300", "--tick-interval", "200"),
         "ticks alone": ("--bus-budget", "0", "--tick-interval", "100")}


# ---- Tests: nothing is lost


@pytest.mark.threads
@pytest.mark.seconds(120 + 4 * SECONDS)
@pytest.mark.parametrize("bus", BUSES)
def test_followers_in_a_storm_get_every_change_once_and_in_order(daemons, followers, tmp_path, bus):
    print(f"\ncrash: bus ({bus}): seed {SEED}")
    daemon = daemons()
    daemon.options = BUSES[bus]
    daemon.start(*daemon.options)
    apply_pools(daemon.ipam())
    crowd = [followers(daemon).start() for _ in range(3)]
    storm = Storm(daemon, crowd, tmp_path / "load", random.Random(f"{SEED} {bus}"))
    storm.pass_over(SECONDS / len(BUSES))
    ipam = daemon.ipam()
    told = history_of(ipam)  # coolings that end make more
    newest = len(told)
    assert newest > 500 / SLOW
    for follower in crowd:
        follower.wait_for(newest, 60)
        assert follower.changes()[:newest] == told
    print(f"crash: bus ({bus}): {newest} changes, {storm.count}")


def test_follower_that_slept_through_it_all_catches_up(daemons, followers):
    """What its socket could not take is gone from the bus, and read from the history."""
    daemon = daemons().start("--bus-budget", "1000000")
    ipam = daemon.ipam()
    apply_pools(ipam)
    follower = followers(daemon).start()
    follower.wait_for(len(POOLS))
    follower.process.send_signal(signal.SIGSTOP)
    allocations(ipam, 0, 5000)  # 1.5 MB of changes: more than a socket holds
    follower.process.send_signal(signal.SIGCONT)
    follower.wait_for(revision_of(ipam))
    assert follower.changes() == history_of(ipam)


def test_one_change_comes_by_the_bus_and_not_by_asking(daemons, followers):
    daemon = daemons().start("--tick-interval", "60000")
    ipam = daemon.ipam()
    apply_pools(ipam)
    follower = followers(daemon).start()
    follower.wait_for(len(POOLS))

    def asked():
        return ipam.GetStatus(pb.GetStatusRequest()).counters.calls_total

    def allocate_one(n):
        ipam.Allocate(allocate(f"vip-{n}", "plain"))
        follower.wait_for(len(POOLS) + n)

    eventually(lambda: follower_listens(follower, allocate_one))
    first = len(follower.changes()) - len(POOLS) + 1
    before = asked()
    for n in range(first, first + 10):
        allocate_one(n)
    assert asked() - before == 10 + 1  # the allocations and the question itself


def follower_listens(follower, allocate_one):
    """Its socket is connected when a change comes without a tick or a page; by then it has what came before."""
    allocate_one(len(follower.changes()) - len(POOLS) + 1)
    return True


def test_without_a_bus_changes_come_all_the_same(daemon, followers):
    ipam = daemon.ipam()
    follower = followers(daemon)
    events, daemon.events = daemon.events, daemon.folder / "none.sock"
    follower.start()
    daemon.events = events
    follower.wait_for(0)
    apply_pools(ipam)
    follower.wait_for(len(POOLS))
    assert follower.changes() == history_of(ipam)
    assert follower.lines("T") == ["UNREACHABLE"]


def test_trouble_is_told_once_and_when_it_is_over(daemons, followers):
    daemon = daemons().start("--tick-interval", "100")
    apply_pools(daemon.ipam())
    follower = followers(daemon).start()
    follower.wait_for(len(POOLS))
    daemon.kill9()
    eventually(lambda: follower.lines("T"))
    daemon.start("--tick-interval", "100")
    eventually(lambda: len(follower.lines("O")) == 1)
    allocations(daemon.ipam(), 0, 1)
    follower.wait_for(len(POOLS) + 1)
    assert len(follower.lines("T")) <= 2  # calls, and the bus


def test_follower_from_now_gets_what_comes_after(daemon, followers):
    ipam = daemon.ipam()
    apply_pools(ipam)
    follower = followers(daemon).start("now")
    follower.wait_for(len(POOLS))
    allocations(ipam, 0, 10)
    follower.wait_for(len(POOLS) + 10)
    assert follower.changes() == history_of(ipam)[len(POOLS):]


# ---- Tests: another history


def test_wiped_state_is_told(daemons, followers):
    daemon = daemons().start("--tick-interval", "100")
    apply_pools(daemon.ipam())
    follower = followers(daemon).start()
    follower.wait_for(len(POOLS))
    daemon.stop()
    for path in daemon.state_dir.iterdir():
        path.unlink()
    daemon.start("--tick-interval", "100")
    assert follower.ended() == "HISTORY_REPLACED"


@pytest.mark.parametrize("more", [1, 20])
def test_state_from_a_backup_that_went_on_differently_is_told(daemons, followers, more):
    daemon = daemons().start("--tick-interval", "100")
    ipam = daemon.ipam()
    apply_pools(ipam)
    backup = daemon.state_dir / "backup"
    with sqlite3.connect(daemon.state_dir / "ipamd.db") as source, sqlite3.connect(backup) as target:
        source.backup(target)
    allocations(ipam, 0, 10)
    follower = followers(daemon).start()
    follower.wait_for(len(POOLS) + 10)
    follower.kill9()
    daemon.stop()
    for path in daemon.state_dir.glob("ipamd.db*"):
        path.unlink()
    backup.rename(daemon.state_dir / "ipamd.db")
    subprocess.run([IPAMD, "--state-dir", daemon.state_dir, "--accept-lost-changes"], check=True, capture_output=True)
    daemon.start("--tick-interval", "100")
    allocations(daemon.ipam(), 1000, more)
    follower.start()
    assert follower.ended() == "HISTORY_REPLACED"


def test_altered_history_is_told(daemon, followers):
    ipam = daemon.ipam()
    apply_pools(ipam)
    allocations(ipam, 0, 20)
    with sqlite3.connect(daemon.state_dir / "ipamd.db") as db:
        (record,) = db.execute("SELECT record FROM changes WHERE revision = 15").fetchone()
        altered = record.replace(b"vip-", b"VIP-")
        assert altered != record
        db.execute("UPDATE changes SET record = ? WHERE revision = 15", (altered,))
    follower = followers(daemon).start()
    assert follower.ended() == "HISTORY_BROKEN"
    assert [revision for revision, _ in follower.changes()] == list(range(1, 15))


def test_history_that_is_no_longer_kept_is_told(daemons, followers):
    daemon = daemons().start("--history-limit", "100")
    ipam = daemon.ipam()
    apply_pools(ipam)
    follower = followers(daemon).start()
    follower.wait_for(len(POOLS))
    follower.kill9()
    allocations(ipam, 0, 3000)
    eventually(lambda: ipam.ListChanges(pb.ListChangesRequest(limit=1)).compacted_through > len(POOLS) or
               ipam.Allocate(allocate("more", "plain")) and ipam.Release(release("more")) and False)
    follower.start()
    assert follower.ended() == "HISTORY_COMPACTED"


# ---- Tests: the socket


class Peer:
    """A connection to the bus by hand."""

    def __init__(self, daemon, says=SUBSCRIBER_GREETING):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10 * SLOW)
        self.socket.connect(str(daemon.events))
        self.say(says)

    def say(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def read(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def is_closed(self):
        """By the daemon; waits for it."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True

    def event(self):
        kind, size = struct.unpack(">BQ", self.read(9))
        assert kind == 1
        topic, _, body = self.read(size).partition(b"\0")
        return topic.decode(), body

    def subscribe(self):
        """Through the greeting and the first tick."""
        assert self.read(8) == PUBLISHER_GREETING
        topic, body = self.event()
        assert topic == "tick"
        return pb.Tick.FromString(body)


def test_events_are_as_documented(daemon):
    ipam = daemon.ipam()
    peer = Peer(daemon)
    tick = peer.subscribe()
    assert (tick.revision, tick.interval_ms) == (0, 2000)
    ipam.ApplyPool(POOLS[0])
    ipam.Allocate(allocate("web-vip", "plain"))
    told = list(ipam.ListChanges(pb.ListChangesRequest()).changes)
    events = [event for event in (peer.event() for _ in range(3)) if event[0] != "tick"]
    while len(events) < 2:
        events += [event for event in [peer.event()] if event[0] != "tick"]
    assert [topic for topic, _ in events] == ["pool/plain", "claim/ProxyVIP/web-vip"]
    assert [pb.Change.FromString(body) for _, body in events] == told
    assert [body for _, body in events] == [change.SerializeToString(deterministic=True) for change in told]


def test_ticks_tell_the_durable_revision(daemons):
    daemon = daemons().start("--tick-interval", "50", "--bus-budget", "0")
    ipam = daemon.ipam()
    peer = Peer(daemon)
    peer.subscribe()
    apply_pools(ipam)

    def told():
        topic, body = peer.event()
        assert topic == "tick"
        return pb.Tick.FromString(body).revision == len(POOLS)

    eventually(told)


def test_no_event_leaves_of_what_could_not_be_made_durable(daemons):
    """The disk is full (a file size limit); nothing that was undone may have been published."""
    daemon = daemons()
    daemon.start("--tick-interval", "50", "--bus-budget", "1000000", wrap=["bash", "-c", 'ulimit -f 512; exec "$@"', "-"])
    ipam = daemon.ipam()
    apply_pools(ipam)
    peer = Peer(daemon)
    peer.subscribe()
    refused = 0
    for n in range(4000):
        try:
            ipam.Allocate(allocate(f"vip-{n}-{'x' * 200}", "plain"))
        except Exception:  # noqa: BLE001: STORE_UNAVAILABLE is what is waited for
            refused += 1
            if refused > 3:
                break
    assert refused > 3, "the disk never got full"
    durable = revision_of(ipam)
    told = {change.revision: change.hash for change in Chain().check(ipam)}
    quiet = 0
    while quiet < 5:
        topic, body = peer.event()
        if topic == "tick":
            assert pb.Tick.FromString(body).revision <= durable
            quiet += 1
        else:
            change = pb.Change.FromString(body)
            assert told[change.revision] == change.hash


HOSTILE = {
    "a message": SUBSCRIBER_GREETING + b"\1" + struct.pack(">Q", 3) + b"abc",  # ends nanomsg's own publisher
    "a message of another kind": SUBSCRIBER_GREETING + b"\7" + struct.pack(">Q", 3) + b"abc",
    "a message without end": SUBSCRIBER_GREETING + b"\1" + struct.pack(">Q", 1 << 62) + b"abc",
    "a publisher": PUBLISHER_GREETING, "HTTP/1": b"GET / HTTP/1.1\r\n\r\n", "zeros": bytes(100000),
    "one byte too many": SUBSCRIBER_GREETING + b"\0",
}


@pytest.mark.threads
def test_peers_that_are_no_subscribers_are_disconnected(daemon):
    rng = random.Random(SEED)
    good = Peer(daemon)
    good.subscribe()
    for said in [*HOSTILE.values(), *(rng.randbytes(rng.randrange(1, 300)) for _ in range(200))]:
        assert Peer(daemon, said if said[:8] != SUBSCRIBER_GREETING[:len(said)] else b"\1").is_closed()
    daemon.ipam().ApplyPool(POOLS[0])
    eventually(lambda: good.event()[0] == "pool/plain")


def test_peers_that_say_nothing_or_half_a_greeting_are_disconnected(daemon):
    peers = [Peer(daemon, SUBSCRIBER_GREETING[:size]) for size in range(8)]
    begin = time.monotonic()
    assert all(peer.is_closed() for peer in peers)
    assert time.monotonic() - begin > 2


def test_subscribers_are_limited(daemons):
    daemon = daemons().start("--max-subscribers", "3")
    peers = [Peer(daemon) for _ in range(3)]
    for peer in peers:
        peer.subscribe()
    assert Peer(daemon).is_closed()
    peers.pop().socket.close()
    eventually(lambda: subscribes(daemon))


def subscribes(daemon):
    peer = Peer(daemon)
    try:
        peer.subscribe()
        return True
    except (EOFError, ConnectionResetError):
        return False
    finally:
        peer.socket.close()


def test_thousands_of_connections_and_no_file_left_cost_the_daemon_nothing(daemons):
    daemon = daemons()
    daemon.start(wrap=["bash", "-c", 'ulimit -n 200; exec "$@"', "-"])
    ipam = daemon.ipam()
    apply_pools(ipam)
    peers = []
    for _ in range(1000):
        peer = socket.socket(socket.AF_UNIX)
        peer.setblocking(False)
        try:
            peer.connect(str(daemon.events))
        except BlockingIOError:
            pass  # the queue of the socket is full
        peers.append(peer)
    allocations(ipam, 0, 100)
    for peer in peers:
        peer.close()
    eventually(lambda: subscribes(daemon))


def test_subscriber_that_never_reads_costs_little_and_holds_up_nobody(daemons):
    daemon = daemons().start("--bus-budget", "1000000000")
    ipam = daemon.ipam()
    apply_pools(ipam)
    idle, good = Peer(daemon), Peer(daemon)
    good.subscribe()
    before = resident(daemon)
    for first in range(0, 10000, 2000):
        allocations(ipam, first, 2000)
    assert resident(daemon) - before < 16 * 1024 * SLOW
    good.socket.close()
    idle.socket.close()


def test_subscriber_that_takes_nothing_for_long_is_disconnected(daemons):
    daemon = daemons().start("--bus-budget", "1000000000", "--stall-timeout", "2", "--tick-interval", "100")
    ipam = daemon.ipam()
    apply_pools(ipam)
    idle, good = Peer(daemon), Peer(daemon)
    idle.subscribe()
    good.subscribe()
    good.socket.setblocking(False)
    end = time.monotonic() + 10 * SLOW
    while not hung_up(idle) and time.monotonic() < end:
        allocations(ipam, 0, 500)
        for call in [ipam.Release.future(release(f"vip-{n}")) for n in range(500)]:
            call.result()
        with contextlib.suppress(BlockingIOError):
            while good.socket.recv(1 << 20):
                pass
    assert hung_up(idle)
    assert not hung_up(good), "it has taken what came"


def hung_up(peer):
    """Though there may still be something to read."""
    poll = select.poll()
    poll.register(peer.socket, 0)
    return bool(poll.poll(0))


@pytest.mark.usefixtures("needs_root")
def test_one_reader_does_not_take_all_places(daemons):
    """As many as there are for readers, and of whoever has most one less for each that comes."""
    daemon = daemons().start("--max-subscribers", "16", "--events-mode", "0666", "--read-group", "61001")
    with subscribers_of(daemon, 61101, 61001, 16) as first:
        assert first == 10
        with subscribers_of(daemon, 61102, 61001, 3) as second:
            assert second == 3
        mine = [Peer(daemon) for _ in range(6)]
        for peer in mine:
            peer.subscribe()


@contextlib.contextmanager
def subscribers_of(daemon, uid, gid, count):
    """Another user's, held by a process of its own; how many were let in."""
    process = subprocess.Popen([sys.executable, str(ROOT / "tests/integration/harness/as_user.py"), str(uid), str(gid), str(gid),
                                str(daemon.socket), "subscribe", str(daemon.events), str(count)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.communicate(timeout=20 * SLOW)


def resident(daemon):
    """kB."""
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


def test_events_socket_has_its_mode_and_goes_at_the_end(daemons):
    daemon = daemons().start("--events-mode", "0600")
    assert stat.S_IMODE(daemon.events.stat().st_mode) == 0o600
    daemon.stop()
    assert not daemon.events.exists()


def test_events_file_of_a_dead_process_is_replaced_and_that_of_a_living_one_is_not(daemons):
    daemon = daemons().start()
    daemon.kill9()
    assert daemon.events.exists()
    daemon.start()
    Peer(daemon).subscribe()
    other = daemons()
    other.events = daemon.events
    other.start(ready=False)
    assert other.wait() == 7
    assert f"socket {daemon.events}: another process serves it: stop that one, or use another --events" in other.log()
    assert not other.socket.exists()
    Peer(daemon).subscribe()


@pytest.mark.parametrize("path, says", [("/" + "x" * 120, "use a shorter --events"), ("/proc/no/events.sock", "--events|socket /proc")])
def test_events_path_that_can_not_be_used_is_told(daemons, path, says):
    daemon = daemons()
    daemon.events = path
    daemon.start(ready=False)
    assert daemon.wait() != 0
    assert any(word in daemon.log() for word in says.split("|"))
