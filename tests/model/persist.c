#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "persist.h"

#define BATCH 40 /* changes of one commit, about */

static int persist_open(struct persist *persist, struct ipam_error *reterr)
{
    struct store_options options = {.dir = persist->dir};

    return store_open(&options, &persist->store, reterr);
}

int persist_init(struct persist *persist, struct ipam_error *reterr)
{
    const char *parent = getenv("TMPDIR");

    *persist = (struct persist){0};
    changes_init(&persist->pending);
    snprintf(persist->dir, sizeof(persist->dir), "%.40s/model-XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(persist->dir))
        return ipam_error_set(reterr, IPAM_REASON_INTERNAL, "can't make %s", persist->dir);
    return persist_open(persist, reterr);
}

void persist_done(struct persist *persist)
{
    DIR *dir = opendir(persist->dir);
    struct dirent *entry;

    persist->store = store_close(persist->store);
    changes_done(&persist->pending);
    while (dir && (entry = readdir(dir)) != NULL)
        unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    rmdir(persist->dir);
}

static int persist_commit(struct persist *persist, struct ipam_error *reterr)
{
    if (persist->pending.count == 0)
        return 0;
    if (store_commit(persist->store, &persist->pending, NULL, reterr) < 0)
        return -1;
    changes_reset(&persist->pending);
    return 0;
}

int persist_add(struct persist *persist, const struct changes *changes, struct ipam_error *reterr)
{
    for (size_t i = 0; i < changes->count; i++)
        changes_append(&persist->pending, &changes->items[i]);
    return persist->pending.count < BATCH ? 0 : persist_commit(persist, reterr);
}

int persist_reload(struct persist *persist, struct engine *engine, struct ipam_error *reterr)
{
    if (persist_commit(persist, reterr) < 0)
        return -1;
    persist->store = store_close(persist->store);
    if (persist_open(persist, reterr) < 0 || store_verify(persist->store, reterr) < 0)
        return -1;
    return store_load(persist->store, engine, reterr);
}
