"""ipamd as a service: options, sockets, users, signals, what it tells systemd, and its log."""
import grp
import json
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import time

import grpc
import pytest

from harness.children import child
from harness.daemon import Notifications
from harness.paths import IPAMC, IPAMD, SLOW
from harness.waiting import eventually
from harness.protos import ipam as pb
from harness.requests import address, allocate, pool

# ---- Helpers


def ipamd(*arguments):
    """A run that is to end by itself."""
    return subprocess.run([str(IPAMD), *map(str, arguments)], capture_output=True, text=True, timeout=20 * SLOW, check=False)


def nobody(daemon):
    """A command prefix that drops to the user nobody, who may write in the daemon's folder."""
    shutil.chown(daemon.folder, "nobody")
    return ["setpriv", "--reuid", str(pwd.getpwnam("nobody").pw_uid), "--regid", str(grp.getgrnam("nogroup").gr_gid),
            "--clear-groups", "--"]


# ---- Options


def test_help_lists_every_option_with_its_default():
    done = ipamd("--help")
    assert done.returncode == 0 and done.stderr == ""
    for word in ("--socket", "/run/ipamd/ipamd.sock", "--events", "/run/ipamd/events.sock", "--state-dir", "/var/lib/ipamd",
                 "--log-format", "--version"):
        assert word in done.stdout


def test_version_is_the_same_in_all_programs(daemon, ipam):
    version = ipam.GetStatus(pb.GetStatusRequest()).version
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert version in ipamd("--version").stdout
    assert version in subprocess.run([str(IPAMC), "version"], capture_output=True, text=True, check=False).stdout


def numeric_options():
    return sorted(set(re.findall(r"(--[a-z-]+)[ =](?:N|NUMBER|SECONDS|BYTES|MS)\b", ipamd("--help").stdout)))


def test_help_names_options_with_numbers():
    assert numeric_options()


@pytest.mark.parametrize("value", ["-1", "x", "", "1x", "99999999999999999999"])
def test_bad_number_is_refused_naming_option_and_range(value):
    for option in numeric_options():
        done = ipamd(option, value)
        assert done.returncode == 2, f"{option} {value!r}: {done}"
        assert option in done.stderr and re.search(r"\d+\D+\d+", done.stderr), done.stderr


@pytest.mark.parametrize("arguments, word", [
    (["--no-such-option"], "--no-such-option"), (["--socket"], "--socket"), (["--log-format", "xml"], "--log-format"),
    (["stray"], "stray"), (["--socket", ""], "--socket")])
def test_bad_option_is_refused_by_name(arguments, word):
    done = ipamd(*arguments)
    assert done.returncode == 2 and word in done.stderr, done


# ---- Check


def check(daemon):
    return ipamd("--check", "--state-dir", daemon.state_dir)


def test_check_finds_a_sound_database_sound_and_leaves_it_as_it_was(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    ipam.Allocate(allocate("v", "p"))
    daemon.kill9()  # leaves a log beside the database
    files = {path: path.read_bytes() for path in daemon.state_dir.glob("ipamd.db*") if not path.name.endswith("-shm")}
    done = check(daemon)
    assert (done.returncode, done.stdout) == (0, f"{daemon.state_dir}: sound\n"), done
    assert {path: path.read_bytes() for path in files} == files
    daemon.start()


def test_check_makes_no_database_where_there_is_none(tmp_path):
    for state_dir in (tmp_path, tmp_path / "none"):
        done = ipamd("--check", "--state-dir", state_dir)
        assert done.returncode == 7 and str(state_dir) in done.stderr, done
    assert not list(tmp_path.glob("**/ipamd.db"))


def test_check_of_a_directory_in_use_says_so(daemon):
    done = check(daemon)
    assert done.returncode != 0 and "in use" in done.stderr, done


# ---- Sockets


def test_socket_path_that_is_too_long_is_refused_with_the_limit(tmp_path):
    path = tmp_path / ("x" * 200)
    done = ipamd("--socket", path, "--state-dir", tmp_path / "state")
    assert done.returncode == 2 and str(path) in done.stderr and "107" in done.stderr


def test_socket_has_the_permissions_asked_for(daemons):
    for mode in (0o600, 0o666):
        daemon = daemons().start("--socket-mode", f"{mode:04o}")
        assert stat.S_IMODE(daemon.socket.stat().st_mode) == mode


def test_stale_socket_is_replaced(daemon):
    daemon.kill9()
    assert daemon.socket.exists()
    daemon.start()
    assert daemon.ipam().GetStatus(pb.GetStatusRequest()).store_available


def test_live_socket_is_not_replaced(daemons, daemon, ipam):
    second = daemons()
    second.socket = daemon.socket
    second.start(ready=False)
    assert second.wait() > 0
    assert str(daemon.socket) in second.log()
    assert ipam.GetStatus(pb.GetStatusRequest()).store_available
    assert daemon.ipamc("status").returncode == 0


def test_file_that_is_no_socket_is_not_replaced(daemons):
    daemon = daemons()
    daemon.socket.write_text("precious")
    daemon.start(ready=False)
    assert daemon.wait() > 0
    assert daemon.socket.read_text() == "precious" and str(daemon.socket) in daemon.log()


def test_socket_below_a_file_is_refused_with_the_cause(daemons):
    daemon = daemons()
    below = daemon.folder / "file"
    below.write_text("precious")
    daemon.socket = below / "ipamd.sock"
    daemon.start(ready=False)
    assert daemon.wait() > 0
    assert f"socket {daemon.socket}: Not a directory" in daemon.log()


def test_state_is_closed_to_other_users(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    assert stat.S_IMODE(daemon.state_dir.stat().st_mode) & 0o007 == 0
    for path in daemon.state_dir.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0, path


def test_socket_is_gone_after_a_clean_stop(daemon):
    assert daemon.stop() == 0
    assert not daemon.socket.exists()


def test_socket_from_systemd_is_served_and_left_in_place(daemons):
    daemon = daemons()
    daemon.start(wrap=["systemd-socket-activate", f"--listen={daemon.socket}"], ready=False)
    end = time.monotonic() + 10 * SLOW
    while not daemon.socket.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    ipam = daemon.ipam()
    assert ipam.ApplyPool(pool("p", "10.0.0.0/24")).changed
    assert daemon.stop() == 0
    assert daemon.socket.exists()


# ---- Users


def test_runs_unprivileged(daemons, needs_root):
    daemon = daemons()
    daemon.start(wrap=nobody(daemon))
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as status:
        assert re.search(rf"^Uid:\t{pwd.getpwnam('nobody').pw_uid}\t", status.read(), re.M)
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    assert address(ipam.Allocate(allocate("vip", "p"))) == "10.0.0.1/32"


# ---- Signals and systemd


@pytest.mark.threads
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_finishes_calls_in_flight_and_exits_0(daemon, ipam, number):
    ipam.ApplyPool(pool("p", "10.0.0.0/16"))
    calls = [ipam.Allocate.future(allocate(f"vip-{n}", "p")) for n in range(500)]
    calls[0].result()
    daemon.process.send_signal(number)
    outcomes = [call.exception() for call in calls]
    assert all(error is None or error.code() == grpc.StatusCode.UNAVAILABLE for error in outcomes)
    assert daemon.wait() == 0
    answered = {address(call.result()) for call, error in zip(calls, outcomes) if error is None}
    daemon.close_channels()
    daemon.start()
    claims = daemon.ipam().GetPool(pb.GetPoolRequest(name="p")).pool.counts.allocated
    assert claims >= len(answered) >= 1


def test_idle_client_does_not_hold_up_the_end(daemon, ipam):
    ipam.GetStatus(pb.GetStatusRequest())
    silent = socket.socket(socket.AF_UNIX)
    silent.connect(str(daemon.socket))
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait(10) == 0
    silent.close()


def test_systemd_hears_ready_reloading_and_stopping(daemon):
    heard = daemon.notifications
    assert heard.seen[0] == "READY=1" or "READY=1" in heard.seen
    heard.seen.clear()
    daemon.process.send_signal(signal.SIGHUP)
    assert heard.wait("RELOADING=1", 10 * SLOW) and heard.wait("READY=1", 10 * SLOW)
    assert any(line.startswith("MONOTONIC_USEC=") for line in heard.seen)
    assert daemon.stop() == 0
    assert heard.wait("STOPPING=1", 5)


def test_systemd_watchdog_is_fed(daemons):
    daemon = daemons()
    # systemd sets WATCHDOG_PID to the service's own; a shell can do so too, as it keeps its pid through exec.
    daemon.start(wrap=["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh"], env={"WATCHDOG_USEC": "400000"})
    for _ in range(3):
        daemon.notifications.seen.clear()
        assert daemon.notifications.wait("WATCHDOG=1", 2 * SLOW)


def test_ready_comes_only_when_calls_are_answered(daemons):
    daemon = daemons()
    daemon.start()
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(daemon.socket))


def test_notifications_are_not_waited_for_without_systemd(tmp_path):
    """Without NOTIFY_SOCKET it starts and stops as well."""
    environment = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
    with open(tmp_path / "log", "wb") as log:
        process = child([IPAMD, "--socket", tmp_path / "s", "--events", tmp_path / "e", "--state-dir", tmp_path / "state"],
                        env=environment, stderr=log)
    end = time.monotonic() + 20 * SLOW
    while not (tmp_path / "s").exists():
        assert process.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
        time.sleep(0.02)
    process.terminate()
    assert process.wait(10 * SLOW) == 0


# ---- Log


def test_text_log_is_one_line_an_event(daemon):
    assert daemon.stop() == 0
    lines = daemon.log().splitlines()
    assert len(lines) >= 2
    assert not any(line.startswith(("<", "{")) or not line.strip() for line in lines)


def test_json_log_is_one_object_a_line(daemons):
    daemon = daemons().start("--log-format", "json")
    assert daemon.stop() == 0
    lines = [json.loads(line) for line in daemon.log().splitlines()]
    assert len(lines) >= 2 and all(isinstance(line, dict) and line for line in lines)


def test_journal_gets_priorities(daemons):
    daemon = daemons()
    daemon.log_path.touch()
    where = daemon.log_path.stat()
    daemon.start(env={"JOURNAL_STREAM": f"{where.st_dev}:{where.st_ino}"})
    assert daemon.stop() == 0
    lines = daemon.log().splitlines()
    assert lines and all(re.match(r"<[3-7]>", line) for line in lines)
    assert not any(re.match(r"<\d>\d{4}-", line) for line in lines), "the journal has its own time"


def test_other_journal_stream_means_no_priorities(daemons):
    daemon = daemons().start(env={"JOURNAL_STREAM": "1:1"})
    assert daemon.stop() == 0
    assert not any(line.startswith("<") for line in daemon.log().splitlines())


def test_closed_stderr_does_no_harm(daemons):
    """What is opened first must not get the number of stderr: log lines would be written to it."""
    daemon = daemons()
    daemon.start(wrap=["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh"])
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    assert address(ipam.Allocate(allocate("vip", "p"))) == "10.0.0.1/32"
    for number in range(3):
        assert os.readlink(f"/proc/{daemon.process.pid}/fd/{number}") == "/dev/null"
    assert daemon.stop() == 0


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_log_line_stays_one_line_whatever_is_in_it(daemons, log_format):
    name = b"new\nline\x1b[31m \xff \xc3\xa9"
    daemon = daemons()
    daemon.socket = daemon.folder / os.fsdecode(name)
    daemon.start("--log-format", log_format)
    assert daemon.stop() == 0
    for line in daemon.log().splitlines():
        line = json.loads(line)["message"] if log_format == "json" else line
        assert not re.search("[\x00-\x1f\x7f]", line) and "could not be written" not in line
    assert "new?line?[31m ? \u00e9" in (daemon.log() if log_format == "text" else daemon.log().replace("\\u00e9", "\u00e9"))


def test_peer_that_breaks_http2_is_one_log_line(daemon):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(daemon.socket))
        peer.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while peer.recv(4096):
            pass
    assert daemon.stop() == 0
    assert len([line for line in daemon.log().splitlines() if "client" in line]) == 1


@pytest.mark.parametrize("files", [8, 10, 11, 12, 13, 14, 15, 20, 30, 50])
def test_too_few_files_to_start_are_an_error_not_a_crash(daemons, files):
    daemon = daemons()
    daemon.start(wrap=["prlimit", f"--nofile={files}", "--"], ready=False)
    eventually(lambda: "serves at revision" in daemon.log() or not daemon.alive())  # READY=1 takes a file too
    if daemon.alive():
        assert daemon.stop() == 0
    else:
        assert 0 < daemon.process.returncode < 126, daemon.log()


def test_notify_socket_fixture_reads_datagrams(tmp_path):
    """The harness itself: it must not call a daemon ready that never said so."""
    heard = Notifications(tmp_path / "n")
    assert not heard.wait("READY=1", 0.1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"STATUS=x\nREADY=1", heard.path)
    assert heard.wait("READY=1", 1)
    heard.close()
