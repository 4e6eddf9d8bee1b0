/* What was acknowledged and is not there any more: a start is refused with what is missing, a backup is told from a copy, and a
 * loss that an operator accepts is recorded before the mark is let go. */
#include "store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_vfs.h"

/* ---- Fixture: what alters the disk, SQLite's calls included --------------------------------------- */

static struct {
    unsigned int kill_at; /* the nth call from now kills the process, before it does anything; 0: none */
    bool mark_fails;      /* the disk refuses writes of the mark */
    unsigned int marks;   /* written */
} calls;

static void call_counts(void)
{
    if (calls.kill_at > 0 && --calls.kill_at == 0)
        kill(getpid(), SIGKILL);
}

/* In the place of the C library's, for SQLite too. */
#pragma GCC visibility push(default)

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    bool is_mark = size > 10 && memcmp(bytes, "ipamd-mark", 10) == 0;
    call_counts();
    if (is_mark && calls.mark_fails) {
        errno = EIO;
        return -1;
    }
    calls.marks += is_mark;
    return syscall(SYS_pwrite64, fd, bytes, size, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t at)
{
    return pwrite(fd, bytes, size, at);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    call_counts();
    return syscall(SYS_write, fd, bytes, size);
}

int fsync(int fd)
{
    call_counts();
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    call_counts();
    return (int)syscall(SYS_fdatasync, fd);
}

int rename(const char *from, const char *to)
{
    call_counts();
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path)
{
    call_counts();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

#pragma GCC visibility pop

/* ---- Helpers ---------------------------------------------------------------------------------- */

static int try_open(const char *dir, struct ipam_error *reterr)
{
    struct store_options options = {.dir = dir};
    struct store *store = NULL;
    if (store_open(&options, &store, reterr) < 0)
        return -1;
    store_close(store);
    return 0;
}

/* CHANGES_LOST with these words, and not a byte is altered. */
static void assert_lost(const struct fixture *fixture, const char *what)
{
    struct ipam_error error = {0};
    struct file_copy before[] = {file_read(fixture->db), file_read(fixture->wal), file_read(fixture->mark)};
    if (try_open(fixture->dir, &error) == 0)
        fail_msg("it started, though “%s”", what);
    if (error.reason != IPAM_REASON_CHANGES_LOST || !strstr(error.message, what))
        fail_msg("%s: “%s”, where “%s” was expected", ipam_reason_name(error.reason), error.message, what);
    if (!strstr(error.message, "--accept-lost-changes") || !strstr(error.message, fixture->dir))
        fail_msg("“%s” does not say what to do", error.message);
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
        assert_file_same(&before[i]);
        file_copy_free(&before[i]);
    }
}

static void assert_opens_with(const char *dir, const struct world *world)
{
    struct ipam_error error = {0};
    struct store *store = must_open(dir, 0);
    assert_store_holds(store, world);
    if (store_verify(store, &error) < 0)
        fail_msg("%s", error.message);
    store_close(store);
}

static void copy_file(const char *from, const char *to)
{
    struct file_copy copy = file_read(from);
    assert_non_null(copy.bytes);
    file_write(to, copy.bytes, copy.size);
    file_copy_free(&copy);
}

/* Another state directory, with a copy of the database alone. */
static struct fixture *elsewhere(const struct fixture *fixture)
{
    void *other;
    fixture_setup(&other);
    copy_file(fixture->db, ((struct fixture *)other)->db);
    return other;
}

static void forget(struct fixture *other)
{
    void *state = other;
    fixture_teardown(&state);
}

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

/* What the shell's .backup does. */
static void backup(const char *from, const char *to)
{
    sqlite3 *source, *copy;
    assert_int_equal(sqlite3_open(from, &source), SQLITE_OK);
    assert_int_equal(sqlite3_open(to, &copy), SQLITE_OK);
    sqlite3_backup *work = sqlite3_backup_init(copy, "main", source, "main");
    assert_non_null(work);
    while (sqlite3_backup_step(work, 100) == SQLITE_OK)
        ;
    assert_int_equal(sqlite3_backup_finish(work), SQLITE_OK);
    sqlite3_close(copy);
    sqlite3_close(source);
}

/* A store with changes in the database, and as many that are in the log alone; the process that had it was killed. */
static struct world used_and_killed(const struct fixture *fixture)
{
    struct world world = {0};
    fill_store(fixture->dir, &world, 10, 10);
    killed_store(fixture->dir, &world, 10, 10);
    return world;
}

static void accept_loss(const struct fixture *fixture, struct loss_record *ret)
{
    struct store_options options = {.dir = fixture->dir, .accept_loss = true};
    struct ipam_error error = {0};
    struct store *store;
    struct changes changes;
    struct arena arena;
    if (store_open(&options, &store, &error) < 0)
        fail_msg("%s", error.message);
    struct engine *engine = engine_new(test_hash_key);
    assert_int_equal(store_load(store, engine, &error), 0);
    assert_true(store_lost(store, ret));
    changes_init(&changes);
    arena_init(&arena);
    struct engine_ctx ctx = {
        .now = {1800000000000000000}, .actor = {0, "ipamd", ""}, .arena = &arena, .changes = &changes};
    engine_record_loss(engine, &ctx, ret);
    if (store_commit_loss(store, &changes, &error) < 0)
        fail_msg("%s", error.message);
    *ret = changes.items[0].loss;
    arena_done(&arena);
    changes_done(&changes);
    engine_free(engine);
    store_close(store);
}

/* ---- Tests: the log --------------------------------------------------------------------------- */

static void killed_store_opens_with_its_log(void **state)
{
    struct fixture *fixture = *state;
    struct world world = used_and_killed(fixture);
    assert_opens_with(fixture->dir, &world);
}

static void lost_log_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct world world = used_and_killed(fixture);
    struct file_copy wal = file_read(fixture->wal);
    unlink(fixture->wal);
    assert_lost(fixture, "changes 101 to 200 were acknowledged");
    file_write(fixture->wal, wal.bytes, 0);
    assert_lost(fixture, "changes 101 to 200 were acknowledged");
    file_write(fixture->wal, wal.bytes, 20);
    assert_lost(fixture, "changes 101 to 200 were acknowledged");
    file_write(fixture->wal, wal.bytes, wal.size);
    assert_opens_with(fixture->dir, &world);
    file_copy_free(&wal);
}

static void cut_log_is_told_at_every_length(void **state)
{
    struct fixture *fixture = *state;
    struct world world = used_and_killed(fixture);
    struct file_copy wal = file_read(fixture->wal);
    for (size_t size = 32; size < wal.size; size += 1999) {
        file_write(fixture->wal, wal.bytes, size);
        assert_lost(fixture, "to 200 were acknowledged");
    }
    file_write(fixture->wal, wal.bytes, wal.size - 1);
    assert_lost(fixture, "changes 191 to 200 were acknowledged");
    file_write(fixture->wal, wal.bytes, wal.size);
    assert_opens_with(fixture->dir, &world);
    file_copy_free(&wal);
}

static void flipped_bit_in_the_log_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct world world = used_and_killed(fixture);
    struct file_copy wal = file_read(fixture->wal);
    for (size_t at = 40; at < wal.size; at += 2777) {
        wal.bytes[at] ^= 0x10;
        file_write(fixture->wal, wal.bytes, wal.size);
        wal.bytes[at] ^= 0x10;
        assert_lost(fixture, "to 200 were acknowledged");
    }
    file_write(fixture->wal, wal.bytes, wal.size);
    assert_opens_with(fixture->dir, &world);
    file_copy_free(&wal);
}

static void missing_database_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    fill_store(fixture->dir, &world, 10, 10);
    unlink(fixture->db);
    assert_lost(fixture, "changes 1 to 100 were acknowledged");
}

/* ---- Tests: copies and backups ------------------------------------------------------------------ */

/* In each state of the log that a running store may have. */
static void each_running_state(struct fixture *fixture, void (*check)(struct fixture *, const struct world *))
{
    struct world world = {0};
    struct store *store = must_open(fixture->dir, 0);
    assert_store_holds(store, &world);
    check(fixture, &world); /* nothing was ever written */
    must_commit(store, &world, 10);
    check(fixture, &world); /* all is in the log */
    store_close(store);
    store = must_open(fixture->dir, 0);
    must_commit(store, &world, 0);
    check(fixture, &world); /* started again, and nothing has changed since */
    must_commit(store, &world, 10);
    check(fixture, &world); /* some is in the log */
    run_sql(fixture->db, "PRAGMA wal_checkpoint(PASSIVE)");
    check(fixture, &world); /* folded */
    must_commit(store, &world, 10);
    check(fixture, &world); /* and written to anew */
    store_close(store);
}

static void assert_copy_is_refused(struct fixture *fixture, const struct world *world)
{
    struct fixture *other = elsewhere(fixture);
    (void)world;
    assert_lost(other, "was in use when it was copied");
    forget(other);
}

static void copy_of_the_file_alone_of_a_running_store_is_refused(void **state)
{
    each_running_state(*state, assert_copy_is_refused);
}

static void assert_backups_are_good(struct fixture *fixture, const struct world *world)
{
    void *state;
    fixture_setup(&state);
    struct fixture *other = state;
    backup(fixture->db, other->db);
    assert_opens_with(other->dir, world);
    fixture_empty(other);
    for (int i = 0; i < 12; i++)
        backup(fixture->db, other->db); /* over the one of yesterday */
    assert_opens_with(other->dir, world);
    fixture_empty(other);
    copy_file(fixture->db, other->db);
    backup(fixture->db, other->db); /* over a copy that was none */
    assert_opens_with(other->dir, world);
    forget(other);
}

static void backup_of_a_running_store_is_good(void **state)
{
    each_running_state(*state, assert_backups_are_good);
}

/* A backup that was put into use is a database like any other: its own copies are told as well. */
static void copy_of_a_restored_backup_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct store *store = must_open(fixture->dir, 0);
    must_commit(store, &world, 10);
    void *other_state;
    fixture_setup(&other_state);
    struct fixture *other = other_state;
    backup(fixture->db, other->db);
    store_close(store);
    store = must_open(other->dir, 0);
    must_commit(store, &world, 10);
    assert_copy_is_refused(other, &world);
    assert_backups_are_good(other, &world);
    store_close(store);
    forget(other);
}

static void copy_of_a_stopped_store_is_good(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    fill_store(fixture->dir, &world, 5, 10);
    struct fixture *other = elsewhere(fixture);
    assert_opens_with(other->dir, &world);
    forget(other);
}

/* With its log and its mark, a copy of what a killed process left is whole. */
static void copy_of_a_killed_store_is_good_when_nothing_is_left_out(void **state)
{
    struct fixture *fixture = *state;
    struct world world = used_and_killed(fixture);
    struct fixture *other = elsewhere(fixture);
    copy_file(fixture->wal, other->wal);
    assert_lost(other, "which tells whether all changes after 200 are here, is missing");
    copy_file(fixture->mark, other->mark);
    assert_opens_with(other->dir, &world);
    forget(other);
}

static void older_backup_is_told_by_the_mark(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    char kept[128];
    snprintf(kept, sizeof(kept), "%s/ipamd.db.new", fixture->dir); /* removed with the rest */
    struct store *store = must_open(fixture->dir, 0);
    must_commit(store, &world, 30);
    backup(fixture->db, kept);
    must_commit(store, &world, 12);
    store_close(store);
    copy_file(kept, fixture->db);
    assert_lost(fixture, "changes 31 to 42 were acknowledged");
}

static void database_of_another_past_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0}, other_world = {0};
    fill_store(fixture->dir, &world, 5, 10);
    void *other_state;
    fixture_setup(&other_state);
    struct fixture *other = other_state;
    fill_store(other->dir, &other_world, 9, 10);
    copy_file(other->db, fixture->db);
    assert_lost(fixture, "is not the database that ipamd used in this directory last");
    forget(other);
}

/* Two copies of one database, each with changes of its own after change 50. */
static void copy_that_went_its_own_way_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    fill_store(fixture->dir, &world, 5, 10);
    struct fixture *other = elsewhere(fixture);
    struct loss_record loss;
    accept_loss(other, &loss); /* its change 51 */
    fill_store(fixture->dir, &world, 1, 1);
    copy_file(other->db, fixture->db);
    assert_lost(fixture, "another change 51 than the one that was acknowledged");
    forget(other);
}

/* ---- Tests: the mark ---------------------------------------------------------------------------- */

static void database_ahead_of_its_mark_is_fine(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    fill_store(fixture->dir, &world, 5, 10);
    struct file_copy old = file_read(fixture->mark);
    killed_store(fixture->dir, &world, 3, 10);
    file_write(fixture->mark, old.bytes, old.size); /* as a power loss may leave it */
    assert_opens_with(fixture->dir, &world);
    file_copy_free(&old);
}

static void torn_mark_leaves_the_one_before(void **state)
{
    struct fixture *fixture = *state;
    struct world world = used_and_killed(fixture);
    struct file_copy mark = file_read(fixture->mark);
    assert_int_equal(mark.size, 1024);
    for (size_t slot = 0; slot < 2; slot++) {
        struct file_copy torn = file_read(fixture->mark);
        memset(torn.bytes + 512 * slot + 80, 'x', 50);
        file_write(fixture->mark, torn.bytes, torn.size);
        assert_int_equal(try_open(fixture->dir, NULL), 0);
        struct file_copy wal = file_read(fixture->wal);
        unlink(fixture->wal);
        assert_lost(fixture, "changes 101 to ");
        file_write(fixture->wal, wal.bytes, wal.size);
        file_copy_free(&wal);
        file_write(fixture->mark, mark.bytes, mark.size);
        file_copy_free(&torn);
    }
    assert_opens_with(fixture->dir, &world);
    file_copy_free(&mark);
}

static void mark_that_cant_be_read_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    fill_store(fixture->dir, &world, 5, 10);
    struct file_copy mark = file_read(fixture->mark);
    file_write(fixture->mark, "", 0);
    assert_lost(fixture, "can't be read as ipamd writes it");
    for (size_t at = 0; at < 148; at++) { /* every character counts */
        struct file_copy bad = file_read(fixture->mark);
        file_write(fixture->mark, mark.bytes, mark.size);
        file_copy_free(&bad);
        bad = file_read(fixture->mark);
        bad.bytes[at] ^= 1;
        bad.bytes[512 + at] ^= 1;
        file_write(fixture->mark, bad.bytes, bad.size);
        file_copy_free(&bad);
        assert_lost(fixture, "can't be read as ipamd writes it");
    }
    file_write(fixture->mark, mark.bytes, mark.size);
    assert_opens_with(fixture->dir, &world);
    file_copy_free(&mark);
}

static void mark_is_written_once_with_each_commit(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct store *store = must_open(fixture->dir, 0);
    must_commit(store, &world, 1);
    for (int i = 0; i < 20; i++) {
        unsigned int before = calls.marks;
        must_commit(store, &world, 5);
        assert_int_equal(calls.marks, before + 1);
        char revision[32];
        snprintf(revision, sizeof(revision), " %020llu ", (unsigned long long)world.revision);
        struct file_copy mark = file_read(fixture->mark);
        assert_non_null(memmem(mark.bytes, mark.size, revision, strlen(revision)));
        file_copy_free(&mark);
    }
    store_close(store);
}

static int try_commit(struct store *store, struct world *world, struct ipam_error *reterr)
{
    struct changes changes;
    struct world next = *world;
    changes_init(&changes);
    world_append(&next, &changes, 3);
    int r = store_commit(store, &changes, NULL, reterr);
    if (r == 0)
        *world = next;
    changes_done(&changes);
    return r;
}

/* What is durable is acknowledged; but one commit is all that may go unmarked. */
static void mark_that_cant_be_written_stops_the_next_commit(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct ipam_error error = {0};
    struct store *store = must_open(fixture->dir, 0);
    must_commit(store, &world, 3);
    calls.mark_fails = true;
    assert_int_equal(try_commit(store, &world, &error), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(try_commit(store, &world, &error), -1);
        assert_int_equal(error.reason, IPAM_REASON_STORE_UNAVAILABLE);
        assert_non_null(strstr(error.message, "ipamd.mark can't be written: Input/output error"));
        assert_int_equal(store_probe(store, &error), -1);
        assert_store_holds(store, &world);
    }
    calls.mark_fails = false;
    assert_int_equal(store_probe(store, &error), 0);
    assert_int_equal(try_commit(store, &world, &error), 0);
    store_close(store);
    assert_opens_with(fixture->dir, &world);
}

static void mark_that_cant_be_made_leaves_a_store_that_reads(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct ipam_error error = {0};
    calls.mark_fails = true;
    struct store *store = must_open(fixture->dir, 0);
    assert_store_holds(store, &world);
    assert_int_equal(store_probe(store, &error), -1);
    assert_non_null(strstr(error.message, "ipamd.mark can't be created"));
    calls.mark_fails = false;
    assert_int_equal(store_probe(store, &error), 0);
    must_commit(store, &world, 3);
    store_close(store);
    assert_opens_with(fixture->dir, &world);
}

/* ---- Tests: every moment ------------------------------------------------------------------------ */

/* Killed at its nth write, sync, rename or unlink, SQLite's and the mark's alike: what was acknowledged is there, and the start is never refused. */
static void kill_at_any_moment_is_no_loss(void **state)
{
    struct fixture *fixture = *state;
    struct world *acknowledged =
        mmap(NULL, sizeof(*acknowledged), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool killed = true;
    unsigned int n = 1;
    for (; killed; n++) {
        *acknowledged = (struct world){0};
        pid_t child = fork();
        if (child == 0) {
            struct world world = {0};
            calls.kill_at = n;
            for (int run = 0; run < 2; run++) {
                struct store *store = must_open(fixture->dir, 0);
                free(dump_store(store));
                for (int i = 0; i < 3; i++) {
                    must_commit(store, &world, 7);
                    *acknowledged = world;
                }
                store_close(store);
            }
            _exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        killed = WIFSIGNALED(status);
        struct store *store = must_open(fixture->dir, 0);
        struct engine *engine = engine_new(test_hash_key);
        struct ipam_error error = {0};
        assert_int_equal(store_load(store, engine, &error), 0);
        uint64_t revision = engine_revision(engine);
        assert_true(revision == acknowledged->revision || revision == acknowledged->revision + 7);
        engine_free(engine);
        store_close(store);
        fixture_empty(fixture);
    }
    print_message("%u moments\n", n - 2);
    assert_true(n > 40);
    munmap(acknowledged, sizeof(*acknowledged));
}

/* A commit that failed at its sync may be there after a crash. Nobody was told of it, and the mark neither. */
static void failed_commit_that_comes_back_is_no_loss(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned int nth = 1; nth < 12; nth++) {
        pid_t child = fork();
        if (child == 0) {
            struct world world = {0};
            struct ipam_error error;
            struct store *store = must_open(fixture->dir, 0);
            must_commit(store, &world, 7);
            fault_vfs_arm(nth, true, false);
            try_commit(store, &world, &error);
            kill(getpid(), SIGKILL);
        }
        waitpid(child, NULL, 0);
        struct ipam_error error = {0};
        if (try_open(fixture->dir, &error) < 0)
            fail_msg("%s", error.message);
        fixture_empty(fixture);
    }
}

/* ---- Tests: accepting a loss -------------------------------------------------------------------- */

static void assert_history_holds_loss(const struct fixture *fixture, uint64_t kept)
{
    struct store *store = must_open(fixture->dir, 0);
    struct store_query query = {.after_revision = kept, .limit = 5, .pool = "any", .kind = "", .name = ""};
    struct store_page page;
    struct ipam_error error = {0};
    struct arena arena;
    arena_init(&arena);
    assert_int_equal(store_read_changes(store, &query, &arena, &page, &error), 0);
    assert_int_equal(page.revision, kept + 1);
    assert_int_equal(page.count, 1); /* whatever is asked for */
    if (store_verify(store, &error) < 0)
        fail_msg("%s", error.message);
    struct engine *engine = engine_new(test_hash_key);
    assert_int_equal(store_load(store, engine, &error), 0);
    assert_int_equal(engine_revision(engine), kept + 1);
    engine_free(engine);
    arena_done(&arena);
    store_close(store);
}

static void accepted_loss_is_recorded(void **state)
{
    struct fixture *fixture = *state;
    struct loss_record loss;
    used_and_killed(fixture);
    unlink(fixture->wal);
    assert_lost(fixture, "changes 101 to 200 were acknowledged");
    accept_loss(fixture, &loss);
    assert_int_equal(loss.kept, 100);
    assert_int_equal(loss.lost, 200);
    assert_true(loss.has_hash);
    assert_history_holds_loss(fixture, 100);
}

/* The mark is let go last: a crash before that leaves a start refused. */
static void loss_that_was_not_marked_yet_is_still_told(void **state)
{
    struct fixture *fixture = *state;
    struct loss_record loss;
    used_and_killed(fixture);
    unlink(fixture->wal);
    struct file_copy mark = file_read(fixture->mark);
    accept_loss(fixture, &loss);
    file_write(fixture->mark, mark.bytes, mark.size);
    assert_lost(fixture, "changes 102 to 200 were acknowledged");
    accept_loss(fixture, &loss);
    assert_int_equal(loss.kept, 101);
    assert_history_holds_loss(fixture, 101);
    file_copy_free(&mark);
}

static void loss_of_which_nothing_is_known_is_recorded_too(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct loss_record loss;
    fill_store(fixture->dir, &world, 3, 10);
    struct fixture *other = elsewhere(fixture); /* a backup: it may lack changes, or not */
    accept_loss(other, &loss);
    assert_int_equal(loss.kept, 30);
    assert_int_equal(loss.lost, 0);
    assert_false(loss.has_hash);
    assert_history_holds_loss(other, 30);
    forget(other);
}

static void nothing_is_accepted_where_nothing_is_lost(void **state)
{
    struct fixture *fixture = *state;
    struct world world = used_and_killed(fixture);
    struct store_options options = {.dir = fixture->dir, .accept_loss = true};
    struct ipam_error error = {0};
    struct loss_record loss;
    struct store *store = NULL;
    assert_int_equal(store_open(&options, &store, &error), 0);
    assert_false(store_lost(store, &loss));
    store_close(store);
    assert_opens_with(fixture->dir, &world);
}

static void loss_is_not_accepted_where_there_is_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct store_options options = {.dir = fixture->dir, .accept_loss = true};
    struct ipam_error error = {0};
    struct store *store = NULL;
    assert_int_equal(store_open(&options, &store, &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_STORE_UNAVAILABLE);
    assert_int_equal(access(fixture->db, F_OK), -1);
}

/* ---- Tests: older ones, and looking only -------------------------------------------------------- */

/* As ipamd 0.1.0 leaves it: no origin, no mark. */
static void make_old(const struct fixture *fixture, struct world *world)
{
    fill_store(fixture->dir, world, 3, 10);
    run_sql(fixture->db, "DROP TABLE origin; PRAGMA user_version = 1");
    unlink(fixture->mark);
}

static void older_database_is_adopted(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    make_old(fixture, &world);
    assert_opens_with(fixture->dir, &world);
    killed_store(fixture->dir, &world, 3, 10);
    unlink(fixture->wal);
    assert_lost(fixture, "changes 31 to 60 were acknowledged");
}

static void looking_alters_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct ipam_error error = {0};
    struct store *store = NULL;
    struct store_options options = {.dir = fixture->dir, .read_only = true};
    char lock[128], shm[128];
    snprintf(lock, sizeof(lock), "%s/ipamd.lock", fixture->dir);
    snprintf(shm, sizeof(shm), "%s/ipamd.db-shm", fixture->dir);
    make_old(fixture, &world);
    unlink(lock);
    struct stat before, after;
    assert_int_equal(stat(fixture->dir, &before), 0);
    struct file_copy db = file_read(fixture->db);
    if (store_open(&options, &store, &error) < 0 || store_verify(store, &error) < 0)
        fail_msg("%s", error.message);
    store_close(store);
    assert_file_same(&db);
    assert_int_equal(access(lock, F_OK), -1);
    assert_int_equal(access(fixture->mark, F_OK), -1);
    assert_int_equal(access(fixture->wal, F_OK), -1);
    assert_int_equal(stat(fixture->dir, &after), 0);
    assert_true(before.st_mtim.tv_sec == after.st_mtim.tv_sec && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    file_copy_free(&db);
}

static void looking_tells_a_loss_too(void **state)
{
    struct fixture *fixture = *state;
    struct ipam_error error = {0};
    struct store *store = NULL;
    struct store_options options = {.dir = fixture->dir, .read_only = true};
    used_and_killed(fixture);
    if (store_open(&options, &store, &error) < 0 || store_verify(store, &error) < 0)
        fail_msg("%s", error.message);
    store_close(store);
    unlink(fixture->wal);
    assert_int_equal(store_open(&options, &store, &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_CHANGES_LOST);
}

static int setup(void **state)
{
    memset(&calls, 0, sizeof(calls));
    return fixture_setup(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(killed_store_opens_with_its_log),
        TEST(lost_log_is_told),
        TEST(cut_log_is_told_at_every_length),
        TEST(flipped_bit_in_the_log_is_told),
        TEST(missing_database_is_told),
        TEST(copy_of_the_file_alone_of_a_running_store_is_refused),
        TEST(backup_of_a_running_store_is_good),
        TEST(copy_of_a_restored_backup_is_refused),
        TEST(copy_of_a_stopped_store_is_good),
        TEST(copy_of_a_killed_store_is_good_when_nothing_is_left_out),
        TEST(older_backup_is_told_by_the_mark),
        TEST(database_of_another_past_is_told),
        TEST(copy_that_went_its_own_way_is_told),
        TEST(database_ahead_of_its_mark_is_fine),
        TEST(torn_mark_leaves_the_one_before),
        TEST(mark_that_cant_be_read_is_told),
        TEST(mark_is_written_once_with_each_commit),
        TEST(mark_that_cant_be_written_stops_the_next_commit),
        TEST(mark_that_cant_be_made_leaves_a_store_that_reads),
        TEST(kill_at_any_moment_is_no_loss),
        TEST(failed_commit_that_comes_back_is_no_loss),
        TEST(accepted_loss_is_recorded),
        TEST(loss_that_was_not_marked_yet_is_still_told),
        TEST(loss_of_which_nothing_is_known_is_recorded_too),
        TEST(nothing_is_accepted_where_nothing_is_lost),
        TEST(loss_is_not_accepted_where_there_is_nothing),
        TEST(older_database_is_adopted),
        TEST(looking_alters_nothing),
        TEST(looking_tells_a_loss_too),
    };
    fault_vfs_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
