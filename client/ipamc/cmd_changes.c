#include "commands.h"

#include "changes.h"
#include "json_message.h"
#include "read_changes.h"

static int keep_change(const Ipam__V1__Change *change, void *user, struct ipam_error *reterr)
{
    (void)reterr;
    listing_add(user, change);
    return 0;
}

static json_t *number_text(uint64_t number)
{
    return json_sprintf("%llu", (unsigned long long)number);
}

static void print_changes(struct cli *cli, const struct listing *listing, const struct changes_read *read)
{
    if (!output_is_structured(&cli->output)) {
        if (listing->count > 0)
            output_rows(&cli->output, &change_view, listing->items, listing->count);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < listing->count; i++)
        json_array_append_new(list, json_message_encode(listing->items[i]));
    output_json(&cli->output, json_pack("{s:o, s:o, s:o}", "changes", list, "compactedThrough",
                                        number_text(read->compacted_through), "revision", number_text(read->revision)));
}

int cmd_get_changes(struct cli *cli, struct ipam_error *reterr)
{
    struct listing listing = {0};
    struct changes_read read = {0};
    Ipam__V1__ListChangesRequest filter;

    if (cli->options.watch)
        return watch_changes(cli, reterr);
    changes_filter(cli, &filter);
    int result = read_changes(cli, &filter, cli->options.limit, keep_change, &listing, &listing, &read, reterr);
    if (result == 0 && listing.count == 0 && cli->output.format != OUTPUT_NAME)
        cli_note(cli, "no changes found");
    if (result == 0 && read.compacted_through > filter.after_revision)
        cli_note(cli, "changes up to revision %llu are no longer kept", (unsigned long long)read.compacted_through);
    if (result == 0)
        print_changes(cli, &listing, &read);
    listing_done(&listing);
    return result;
}
