"""Files that are lost, cut or copied: never fewer claims without a word, and what docs/operations.md says to do is what helps. The
commands are read out of the document."""
import re
import shutil
import sqlite3
import subprocess
import time

import pytest

from harness.history import Chain
from harness.paths import IPAMC, IPAMD, ROOT, SLOW
from harness.protos import ipam as pb
from harness.requests import address, all_claims, allocate, pool

WILL_NOT_START = 2
MAY_PASS = 7

# ---- Fixture


@pytest.fixture
def used(daemons):
    """A daemon that runs, with claims in its database and newer ones in its log."""
    daemon = daemons().start()
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    for n in range(10):
        ipam.Allocate(allocate(f"old-{n}", "p"))
    daemon.stop()
    ipam = daemon.start().ipam()
    for n in range(10):
        ipam.Allocate(allocate(f"new-{n}", "p"))
    daemon.told = bound(ipam)
    return daemon


# ---- Helpers


def bound(ipam):
    return {claim.owner.name: claim.address for claim in all_claims(ipam)}


def contents(folder):
    """All but the lock, and the index of the log, which SQLite makes anew."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ("ipamd.lock", "ipamd.db-shm")}


def refuses(daemon, *words):
    """With the exit code that is not tried again; no file is altered, and the message says all that it must."""
    before = contents(daemon.state_dir)
    daemon.start(ready=False)
    assert daemon.wait() == WILL_NOT_START
    assert contents(daemon.state_dir) == before
    last = daemon.log().strip().splitlines()[-1]
    for word in (*words, "--accept-lost-changes", str(daemon.state_dir)):
        assert word in last, f"{word!r} is not in: {last}"


def blocks(section):
    """The commands of a section of docs/operations.md."""
    text = (ROOT / "docs/operations.md").read_text()
    body = re.search(rf"^## {re.escape(section)}$(.*?)^## ", text, re.M | re.S).group(1)
    found = [block.strip().splitlines() for block in re.findall(r"^```sh\n(.*?)^```", body, re.M | re.S)]
    assert found, f"no commands in section {section}"
    return found


def follow(lines, daemon, backups):
    """Runs them as they stand, but for the paths, and with the harness in the place of systemd."""
    for line in lines:
        if line == "systemctl stop ipamd":
            if daemon.alive():
                daemon.stop()
        elif line == "systemctl start ipamd":
            daemon.start()
        else:
            line = line.replace("/var/lib/ipamd", str(daemon.state_dir)).replace("/var/backups", str(backups))
            line = re.sub(r"^ipamd ", f"{IPAMD} ", line)
            done = subprocess.run(["sh", "-ec", line], capture_output=True, text=True, check=False, timeout=60 * SLOW)
            assert done.returncode == 0, f"{line}: {done.stderr}"


def losses(ipam):
    return [change.changes_lost for change in Chain().check(ipam) if change.WhichOneof("entity") == "changes_lost"]


def wait_folded(daemon):
    """An idle ipamd moves its log into the database, within seconds: a copy of the two files without the log has all."""
    end = time.monotonic() + 15 * SLOW
    while True:
        with sqlite3.connect(f"file:{daemon.state_dir / 'ipamd.db'}?immutable=1", uri=True) as database:
            newest = database.execute("SELECT revision FROM meta").fetchone()[0]
        if newest == daemon.ipam().GetStatus(pb.GetStatusRequest()).revision:
            return
        assert time.monotonic() < end, "it never folded its log"
        time.sleep(0.1)


# ---- The log


def removed(path):
    path.unlink()


def emptied(path):
    path.write_bytes(b"")


def halved(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def flipped(path):
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [removed, emptied, halved, flipped])
def test_lost_log_is_refused_until_the_loss_is_accepted(used, damage, tmp_path):
    used.kill9()
    wal = used.state_dir / "ipamd.db-wal"
    whole = wal.read_bytes()
    damage(wal)
    refuses(used, "changes lost: changes ", " to 21 were acknowledged")
    wal.write_bytes(whole)
    used.start()
    assert bound(used.ipam()) == used.told, "put back, nothing is lost"
    used.ipam().Allocate(allocate("more", "p"))
    used.kill9()
    damage(wal)
    refuses(used, "changes lost: changes ", " to 22 were acknowledged")
    follow(blocks("Lost changes")[-1], used, tmp_path)
    (loss,) = losses(used.ipam())
    assert loss.lost_revision == 22 and loss.kept_revision < 22 and len(loss.lost_hash) == 32
    assert set(bound(used.ipam()).items()) <= {*used.told.items(), ("more", "10.0.0.21/32")}
    used.ipam().Allocate(allocate("afterwards", "p"))
    used.restart()
    assert "afterwards" in bound(used.ipam())


def test_idle_daemon_folds_its_log(used):
    wait_folded(used)
    assert (used.state_dir / "ipamd.db-wal").exists()
    used.kill9()
    (used.state_dir / "ipamd.db-wal").unlink()
    used.start()
    assert bound(used.ipam()) == used.told


def test_followers_are_told_that_history_was_replaced(used, tmp_path):
    with subprocess.Popen([str(IPAMC), "--socket", str(used.socket), "events", "--after", "0", "-o", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as events:
        while '"21"' not in events.stdout.readline():
            pass
        used.kill9()
        (used.state_dir / "ipamd.db-wal").unlink()
        follow(blocks("Lost changes")[-1], used, tmp_path)
        _, errors = events.communicate(timeout=60 * SLOW)
        assert "another history" in errors and events.returncode != 0, errors
    words = used.ipamc("get", "changes", check=True).stdout
    assert re.search(r"ipamd.*changes lost: revisions \d+ to 21 had been acknowledged", words)
    assert "changes lost" in used.ipamc("history", "--address", "10.0.0.20", check=True).stderr
    assert "changes lost" in used.ipamc("audit", "verify", check=True).stderr
    assert "changesLost" in used.ipamc("get", "changes", "--address", "10.0.0.20", "-o", "json", check=True).stdout


# ---- Copies and backups


def test_copy_of_the_database_alone_of_a_running_daemon_is_refused(used, daemons):
    for folded in (False, True):
        if folded:
            wait_folded(used)
        other = daemons()
        other.state_dir.mkdir()
        shutil.copy(used.state_dir / "ipamd.db", other.state_dir / "ipamd.db")
        refuses(other, "was in use when it was copied")


def test_backup_by_the_document_restores_by_the_document(used, daemons, tmp_path):
    backup, cold = blocks("Backup")
    (restore,) = blocks("Restore a backup")
    follow(backup, used, tmp_path)
    used.ipam().Allocate(allocate("after-the-backup", "p"))
    assert used.alive()
    follow(restore, used, tmp_path)
    assert bound(used.ipam()) == used.told
    (loss,) = losses(used.ipam())
    assert (loss.kept_revision, loss.lost_revision) == (21, 22)
    other = daemons()
    other.state_dir.mkdir()
    follow(restore, other, tmp_path)
    assert bound(other.ipam()) == used.told
    (loss,) = losses(other.ipam())
    assert (loss.kept_revision, loss.lost_revision) == (21, 0)
    follow(cold, used, tmp_path)
    copy = daemons(state_dir=tmp_path / "ipamd").start()
    assert bound(copy.ipam()) == used.told


def test_backup_without_the_step_is_refused_where_more_was_acknowledged(used, tmp_path):
    follow(blocks("Backup")[0], used, tmp_path)
    used.ipam().Allocate(allocate("after-the-backup", "p"))
    used.stop()
    shutil.copy(tmp_path / "ipamd.db", used.state_dir / "ipamd.db")
    refuses(used, "changes 22 to 22 were acknowledged")


def test_backup_alone_starts_where_nothing_was(used, daemons, tmp_path):
    follow(blocks("Backup")[0], used, tmp_path)
    other = daemons()
    other.state_dir.mkdir()
    shutil.copy(tmp_path / "ipamd.db", other.state_dir / "ipamd.db")
    assert bound(other.start().ipam()) == used.told


# ---- Exit codes, and looking only


def run(daemon, *options):
    done = subprocess.run([str(IPAMD), "--state-dir", str(daemon.state_dir), *options], capture_output=True, text=True, check=False,
                          timeout=60 * SLOW)
    return done.returncode, done.stdout + done.stderr


def test_exit_code_tells_whether_to_start_again(used, daemons, tmp_path):
    code, text = run(used, "--check")
    assert code == MAY_PASS and "in use by process" in text
    second = daemons(state_dir=used.state_dir)
    second.start(ready=False)
    assert second.wait() == MAY_PASS
    same_socket = daemons()
    same_socket.socket = used.socket
    same_socket.start(ready=False)
    assert same_socket.wait() == MAY_PASS
    used.stop()
    assert run(used, "--check") == (0, f"{used.state_dir}: sound\n")
    assert run(used, "--no-such-option")[0] == WILL_NOT_START
    assert run(used, "--check", "--accept-lost-changes")[0] == WILL_NOT_START
    assert run(used, "--read-group", "no-such-group")[0] == WILL_NOT_START
    code, text = run(used, "--accept-lost-changes")
    assert code == 0 and "nothing is missing" in text
    code, text = run(daemons(state_dir=tmp_path / "nothing"), "--accept-lost-changes")
    assert code == MAY_PASS and "does not exist" in text
    database = used.state_dir / "ipamd.db"
    whole = database.read_bytes()
    for damaged in (b"", whole[:5000], b"x" * len(whole)):
        database.write_bytes(damaged)
        assert run(used)[0] == WILL_NOT_START
    database.write_bytes(whole)
    with sqlite3.connect(database) as newer:
        newer.execute("PRAGMA user_version = 1000")
    newer.close()
    assert run(used)[0] == WILL_NOT_START


def test_check_of_an_older_database_alters_nothing(used):
    """Of schema 1, which a start migrates."""
    used.stop()
    with sqlite3.connect(used.state_dir / "ipamd.db") as database:
        database.executescript("DROP TABLE origin; PRAGMA user_version = 1;")
    database.close()
    (used.state_dir / "ipamd.mark").unlink()
    before = contents(used.state_dir), used.state_dir.stat().st_mtime_ns
    assert run(used, "--check") == (0, f"{used.state_dir}: sound\n")
    assert (contents(used.state_dir), used.state_dir.stat().st_mtime_ns) == before
    assert bound(used.start().ipam()) == used.told


def test_state_directory_that_others_can_write_is_warned_of(daemons):
    daemon = daemons()
    daemon.state_dir.mkdir()
    daemon.state_dir.chmod(0o777)
    daemon.start()
    assert f"{daemon.state_dir} can be written by every user" in daemon.log()
    daemon.stop()
    daemon.state_dir.chmod(0o750)
    log = len(daemon.log())
    daemon.start()
    assert "can be written" not in daemon.log()[log:]
    assert address(daemon.ipam().Allocate(allocate("vip", address="192.0.2.1"))) == "192.0.2.1/32"
