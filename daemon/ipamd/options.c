#include "options.h"

#include <stddef.h>

#define AT(field) offsetof(struct options, field)

static const struct option_row rows[] = {
    {"socket", "PATH", OPTION_TEXT, AT(socket), "/run/ipamd/ipamd.sock", 0, 0, NULL, "where ipamd serves gRPC"},
    {"events", "PATH", OPTION_TEXT, AT(events), "/run/ipamd/events.sock", 0, 0, NULL, "where changes are published"},
    {"state-dir", "DIR", OPTION_TEXT, AT(state_dir), "/var/lib/ipamd", 0, 0, NULL,
     "where the database lives; one ipamd a directory"},
    {"socket-mode", "MODE", OPTION_OCTAL, AT(socket_mode), "0660", 0, 0777, NULL,
     "permissions of the socket, in octal"},
    {"socket-group", "GROUP", OPTION_TEXT, AT(socket_group), NULL, 0, 0, NULL,
     "group of both sockets, by name or number, as their permissions have it"},
    {"read-group", "GROUP", OPTION_LIST, AT(read_groups), NULL, 0, 0, NULL,
     "members may look, by name or number; without any of the three groups all who can connect may do all"},
    {"allocate-group", "GROUP[:KIND,…]", OPTION_LIST, AT(allocate_groups), NULL, 0, 0, NULL,
     "members may also allocate and release, for owners of these kinds; without kinds: for all but objects of "
     "Kubernetes"},
    {"admin-group", "GROUP", OPTION_LIST, AT(admin_groups), NULL, 0, 0, NULL, "members may also change pools"},
    {"events-mode", "MODE", OPTION_OCTAL, AT(events_mode), "0660", 0, 0777, NULL,
     "permissions of the socket where changes are published, in octal"},
    {"tick-interval", "MS", OPTION_NUMBER, AT(tick_interval), "2000", 50, 60000, NULL,
     "how often the newest revision is published, in milliseconds"},
    {"bus-budget", "N", OPTION_NUMBER, AT(bus_budget), "5000", 0, 1000000000, NULL,
     "changes times subscribers published in a second; those past it are read by ListChanges"},
    {"max-subscribers", "N", OPTION_NUMBER, AT(max_subscribers), "4096", 1, 1000000, NULL,
     "subscribers connected at once, shared by role and user"},
    {"log-format", "FORMAT", OPTION_CHOICE, AT(log_format), "text", 0, 0, "text|json", "how log lines on stderr look"},
    {"max-connections", "N", OPTION_NUMBER, AT(max_connections), "4096", 1, 1000000, NULL,
     "clients connected at once, shared by role and user"},
    {"max-user-connections", "N", OPTION_NUMBER, AT(max_user_connections), "2048", 1, 1000000, NULL,
     "of these, clients of one user"},
    {"max-streams", "N", OPTION_NUMBER, AT(max_streams), "1024", 1, 65536, NULL, "calls at once on one connection"},
    {"max-message", "BYTES", OPTION_NUMBER, AT(max_message), "4194304", 1024, 67108864, NULL, "size of one request"},
    {"max-header-list", "BYTES", OPTION_NUMBER, AT(max_header_list), "16384", 1024, 1048576, NULL,
     "size of one call's headers"},
    {"max-unread", "BYTES", OPTION_NUMBER, AT(max_unread), "16777216", 4194304, 1073741824, NULL,
     "replies that may wait to be read by a client; at half of it its further calls wait"},
    {"max-buffered", "BYTES", OPTION_NUMBER, AT(max_buffered), "268435456", 16777216, 1099511627776, NULL,
     "held for all clients together, shared by role and user; past it one of the user with most is disconnected"},
    {"handshake-timeout", "SECONDS", OPTION_NUMBER, AT(handshake_timeout), "10", 0, 86400, NULL,
     "how long a client may take to begin HTTP/2; 0: as long as it likes"},
    {"idle-timeout", "SECONDS", OPTION_NUMBER, AT(idle_timeout), "0", 0, 31536000, NULL,
     "how long a client may stay without a call; 0: as long as it likes"},
    {"stall-timeout", "SECONDS", OPTION_NUMBER, AT(stall_timeout), "60", 0, 86400, NULL,
     "how long a request may stay half sent, or a reply or the bus unread; 0: as long as the client likes"},
    {"max-claims", "KIND=N", OPTION_LIST, AT(max_claims), NULL, 0, 0, NULL,
     "claims of owners of a kind, waiting and cooling ones included; the kind * is each that is not named"},
    {"max-claims-total", "N", OPTION_NUMBER, AT(max_claims_total), "2000000", 1, 1000000000, NULL,
     "claims of all owners together, waiting and cooling ones included"},
    {"max-user-claims", "N", OPTION_NUMBER, AT(max_user_claims), "65536", 1, 1000000000, NULL,
     "of these, claims made by one user that has the role allocate"},
    {"max-cooling", "N", OPTION_NUMBER, AT(max_cooling), "4", 1, 1000000, NULL,
     "released addresses of an owner and family that cool at once; past it the one released first ends early"},
    {"manual-addresses", "RANGES", OPTION_LIST, AT(manual_addresses), NULL, 0, 0, NULL,
     "where new claims without a pool may lie: CIDRs, ranges and addresses, separated by commas, or none; without it "
     "wherever pools and the addresses themselves allow"},
    {"max-name", "BYTES", OPTION_NUMBER, AT(max_name), "253", 1, 253, NULL,
     "length of a new pool's or owner's name and kind"},
    {"history-limit", "N", OPTION_NUMBER, AT(history_limit), "1000000", 0, INT64_MAX, NULL,
     "changes kept in the history at least; 0 keeps all"},
    {"history-rate", "N", OPTION_NUMBER, AT(history_rate), "10", 1, 1000000, NULL,
     "pages of history read in a second while more than 1,000 changes a second are written"},
    {"shutdown-timeout", "SECONDS", OPTION_NUMBER, AT(shutdown_timeout), "10", 0, 3600, NULL,
     "how long SIGTERM waits for calls in flight"},
    {"check", NULL, OPTION_FLAG, AT(check), NULL, 0, 0, NULL,
     "read the whole database, say whether it is sound, and exit; changes nothing"},
    {"help", NULL, OPTION_FLAG, AT(help), NULL, 0, 0, NULL, "print this and exit"},
    {"version", NULL, OPTION_FLAG, AT(version), NULL, 0, 0, NULL, "print the version and exit"},
};

const struct option_table ipamd_options = {
    .program = "ipamd",
    .summary = "IP address management for NovaEdge VIPs",
    .footer =
        "A socket passed by systemd (LISTEN_FDS) is used instead of --socket, one named events instead of --events.\n"
        "SIGTERM and SIGINT stop ipamd once calls in flight are answered; SIGHUP retries a "
        "failed store at once.\n",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
    .size = sizeof(struct options),
};
