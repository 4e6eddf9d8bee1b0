#include "read_changes.h"

#include <inttypes.h>
#include <unistd.h>

#include "requests.h"

#define PAGE_SIZE 1000

/* On one line that is taken back when there is nothing more to say. */
static void show_progress(struct cli *cli, uint64_t through, uint64_t revision, bool *shown)
{
    bool last = through >= revision;

    if (!isatty(fileno(cli->err)) || output_is_structured(&cli->output) || (last && !*shown))
        return;
    if (last)
        fputs("\r\033[K", cli->err);
    else
        fprintf(cli->err, "\r\033[Kread %" PRIu64 " of %" PRIu64 " changes", through, revision);
    fflush(cli->err);
    *shown = !last;
}

struct reading {
    change_visitor visit;
    void *user;
    uint64_t left;
};

static int visit_page(struct reading *reading, const Ipam__V1__ListChangesReply *page, struct ipam_error *reterr)
{
    for (size_t i = 0; i < page->n_changes && reading->left > 0; i++, reading->left--) {
        if (reading->visit(page->changes[i], reading->user, reterr) < 0)
            return -1;
    }
    return 0;
}

int read_changes(struct cli *cli, const Ipam__V1__ListChangesRequest *filter, uint64_t limit, change_visitor visit,
                 void *user, struct listing *keep, struct changes_read *ret, struct ipam_error *reterr)
{
    struct reading reading = {visit, user, limit == 0 ? UINT64_MAX : limit};
    Ipam__V1__ListChangesRequest request = *filter;
    struct ipam_client *client;
    bool shown = false, more = true;
    int result = cli_client(cli, &client, reterr);

    while (result == 0 && more) {
        Ipam__V1__ListChangesReply *page;
        request.limit = reading.left < PAGE_SIZE ? (uint32_t)reading.left : PAGE_SIZE;
        result = ipam_list_changes(client, &request, &page, reterr);
        if (result < 0)
            break;
        result = visit_page(&reading, page, reterr);
        *ret = (struct changes_read){page->compacted_through, page->revision};
        more = reading.left > 0 && page->scanned_through < page->revision &&
               page->scanned_through > request.after_revision;
        request.after_revision = page->scanned_through;
        show_progress(cli, more ? page->scanned_through : page->revision, page->revision, &shown);
        if (keep != NULL)
            listing_hold(keep, &page->base);
        else
            ipam_reply_free(page);
    }
    return result;
}

void changes_filter(struct cli *cli, Ipam__V1__ListChangesRequest *ret)
{
    const struct options *options = &cli->options;

    ipam__v1__list_changes_request__init(ret);
    ret->after_revision = options->after;
    if (options->pool != NULL)
        ret->pool = (char *)(uintptr_t)options->pool;
    if (options->address != NULL)
        ret->address = (char *)(uintptr_t)options->address;
    if (options->owner == NULL)
        return;
    ret->owner = arena_alloc(&cli->arena, sizeof(*ret->owner));
    owner_parse(&cli->arena, options->owner, options->kind, "ProxyVIP", ret->owner);
}
