#include "fault_vfs.h"

#include <assert.h>
#include <sqlite3.h>
#include <stddef.h>

/* ---- When to fail ----------------------------------------------------------------------------- */

static struct {
    unsigned int countdown; /* 0: disarmed */
    bool lasting, full, failed;
} fault;

void fault_vfs_arm(unsigned int nth, bool lasting, bool full)
{
    fault.countdown = nth;
    fault.lasting = lasting;
    fault.full = full;
    fault.failed = false;
}

bool fault_vfs_disarm(void)
{
    fault.countdown = 0;
    return fault.failed;
}

static int fault_code(int code)
{
    if (fault.countdown == 0 || (fault.countdown > 1 && fault.countdown--))
        return SQLITE_OK;
    fault.failed = true;
    if (!fault.lasting)
        fault.countdown = 0;
    return fault.full && code == SQLITE_IOERR_WRITE ? SQLITE_FULL : code;
}

/* ---- Files ------------------------------------------------------------------------------------ */

struct fault_file {
    sqlite3_file base;
    sqlite3_file *real; /* stands right behind */
};

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct fault_file *)file)->real;
}

#define FORWARD(name, parameters, arguments)            \
    static int file_##name parameters                   \
    {                                                   \
        return real_of(file)->pMethods->name arguments; \
    }

#define FORWARD_OR_FAIL(name, code, parameters, arguments)                               \
    static int file_##name parameters                                                    \
    {                                                                                    \
        int failure = fault_code(code);                                                  \
        return failure != SQLITE_OK ? failure : real_of(file)->pMethods->name arguments; \
    }

FORWARD(xClose, (sqlite3_file * file), (real_of(file)))
FORWARD(xRead, (sqlite3_file * file, void *to, int size, sqlite3_int64 at), (real_of(file), to, size, at))
FORWARD_OR_FAIL(xWrite, SQLITE_IOERR_WRITE, (sqlite3_file * file, const void *from, int size, sqlite3_int64 at),
                (real_of(file), from, size, at))
FORWARD_OR_FAIL(xTruncate, SQLITE_IOERR_TRUNCATE, (sqlite3_file * file, sqlite3_int64 size), (real_of(file), size))
FORWARD_OR_FAIL(xSync, SQLITE_IOERR_FSYNC, (sqlite3_file * file, int flags), (real_of(file), flags))
FORWARD(xFileSize, (sqlite3_file * file, sqlite3_int64 *size), (real_of(file), size))
FORWARD(xLock, (sqlite3_file * file, int level), (real_of(file), level))
FORWARD(xUnlock, (sqlite3_file * file, int level), (real_of(file), level))
FORWARD(xCheckReservedLock, (sqlite3_file * file, int *ret), (real_of(file), ret))
FORWARD(xFileControl, (sqlite3_file * file, int op, void *arg), (real_of(file), op, arg))
FORWARD(xSectorSize, (sqlite3_file * file), (real_of(file)))
FORWARD(xDeviceCharacteristics, (sqlite3_file * file), (real_of(file)))
FORWARD(xShmLock, (sqlite3_file * file, int at, int n, int flags), (real_of(file), at, n, flags))
FORWARD(xShmUnmap, (sqlite3_file * file, int remove), (real_of(file), remove))
FORWARD(xFetch, (sqlite3_file * file, sqlite3_int64 at, int size, void **ret), (real_of(file), at, size, ret))
FORWARD(xUnfetch, (sqlite3_file * file, sqlite3_int64 at, void *page), (real_of(file), at, page))

static int file_xShmMap(sqlite3_file *file, int page, int size, int extend, void volatile **ret)
{
    int failure = extend ? fault_code(SQLITE_IOERR_SHMSIZE) : SQLITE_OK;
    return failure != SQLITE_OK ? failure : real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, ret);
}

static void file_xShmBarrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static const sqlite3_io_methods file_methods = {
    3,
    file_xClose,
    file_xRead,
    file_xWrite,
    file_xTruncate,
    file_xSync,
    file_xFileSize,
    file_xLock,
    file_xUnlock,
    file_xCheckReservedLock,
    file_xFileControl,
    file_xSectorSize,
    file_xDeviceCharacteristics,
    file_xShmMap,
    file_xShmLock,
    file_xShmBarrier,
    file_xShmUnmap,
    file_xFetch,
    file_xUnfetch,
};

/* ---- The VFS ---------------------------------------------------------------------------------- */

static sqlite3_vfs *real_vfs;

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *ret_flags)
{
    struct fault_file *ours = (struct fault_file *)file;
    (void)vfs;
    ours->base.pMethods = NULL;
    ours->real = (sqlite3_file *)(ours + 1);
    int code = fault_code(SQLITE_CANTOPEN);
    if (code == SQLITE_OK)
        code = real_vfs->xOpen(real_vfs, name, ours->real, flags, ret_flags);
    if (code == SQLITE_OK)
        ours->base.pMethods = &file_methods;
    return code;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    int code = fault_code(SQLITE_IOERR_DELETE);
    return code != SQLITE_OK ? code : real_vfs->xDelete(real_vfs, name, sync);
}

void fault_vfs_install(void)
{
    static sqlite3_vfs ours;
    real_vfs = sqlite3_vfs_find(NULL);
    ours = *real_vfs; /* what is not replaced takes no notice of which VFS it is called with */
    ours.szOsFile = (int)sizeof(struct fault_file) + real_vfs->szOsFile;
    ours.zName = "fault";
    ours.xOpen = vfs_open;
    ours.xDelete = vfs_delete;
    int code = sqlite3_vfs_register(&ours, 1);
    assert(code == SQLITE_OK);
    (void)code;
}
