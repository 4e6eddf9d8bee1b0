/* bench_requests: the yardstick of the Kubernetes benchmark: HTTP requests as fast as a plain parallel client sends them.
 *
 * Usage: bench_requests SERVER CA-FILE TOKEN-FILE METHOD CONTENT-TYPE CONNECTIONS, with a line "PATH BODY" for each request on
 * stdin. It knows nothing of what it sends and reads nothing of what comes but the status. libcurl's multi interface keeps so many
 * connections busy from one thread. Prints as JSON how many were answered with 2xx, how many weren't, and in how many seconds. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BODY_MAX = 65536, CONNECTIONS_MAX = 1024 };

struct line {
    char *path, *body;
};

struct load {
    const char *server, *ca, *method;
    struct curl_slist *headers;
    struct line *lines;
    size_t n_lines, sent, failed;
    CURLM *multi;
};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_requests: %s: %s\n", what, why);
    exit(1);
}

static double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void header_add(struct load *load, const char *name, const char *value)
{
    char header[BODY_MAX];
    snprintf(header, sizeof header, "%s%s", name, value);
    load->headers = curl_slist_append(load->headers, header);
    if (!load->headers)
        die("header", "out of memory");
}

static void token_read(struct load *load, const char *path)
{
    char token[BODY_MAX];
    FILE *file = fopen(path, "re");
    if (!file || !fgets(token, sizeof token, file))
        die(path, "can't be read");
    fclose(file);
    token[strcspn(token, "\n")] = 0;
    header_add(load, "Authorization: Bearer ", token);
}

static void lines_read(struct load *load)
{
    char *text = NULL;
    size_t size = 0, room = 0;
    while (getline(&text, &size, stdin) > 0) {
        text[strcspn(text, "\n")] = 0;
        char *space = strchr(text, ' ');
        if (!space)
            die("stdin", "a line is not \"PATH BODY\"");
        if (load->n_lines == room) {
            room = room ? 2 * room : 1024;
            load->lines = realloc(load->lines, room * sizeof *load->lines);
            if (!load->lines)
                die("stdin", "out of memory");
        }
        *space = 0;
        load->lines[load->n_lines++] = (struct line){.path = text, .body = space + 1};
        text = NULL;
    }
    free(text);
}

static size_t on_data(char *data, size_t one, size_t size, void *user)
{
    (void)data, (void)user;
    return one * size;
}

static CURL *easy_new(const struct load *load)
{
    CURL *easy = curl_easy_init();
    if (!easy)
        die("curl", "out of memory");
    curl_easy_setopt(easy, CURLOPT_CAINFO, load->ca);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, load->headers);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, load->method);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    return easy;
}

static void send_next(struct load *load, CURL *easy)
{
    char url[BODY_MAX];
    const struct line *line = &load->lines[load->sent++];
    snprintf(url, sizeof url, "%s%s", load->server, line->path);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, line->body);
    curl_multi_add_handle(load->multi, easy);
}

static void on_done(struct load *load, CURL *easy, CURLcode result)
{
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (result != CURLE_OK || status / 100 != 2) {
        if (load->failed++ == 0)
            fprintf(stderr, "bench_requests: %s, status %ld\n", curl_easy_strerror(result), status);
    }
    curl_multi_remove_handle(load->multi, easy);
    if (load->sent < load->n_lines)
        send_next(load, easy);
    else
        curl_easy_cleanup(easy);
}

static void run(struct load *load, size_t connections)
{
    int running, left;
    load->multi = curl_multi_init();
    for (size_t i = 0; i < connections && load->sent < load->n_lines; i++)
        send_next(load, easy_new(load));
    do {
        curl_multi_perform(load->multi, &running);
        for (CURLMsg *message; (message = curl_multi_info_read(load->multi, &left));)
            on_done(load, message->easy_handle, message->data.result);
        curl_multi_perform(load->multi, &running);
        if (running)
            curl_multi_poll(load->multi, NULL, 0, 1000, NULL);
    } while (running);
    curl_multi_cleanup(load->multi);
}

static void load_done(struct load *load)
{
    for (size_t i = 0; i < load->n_lines; i++)
        free(load->lines[i].path);
    free(load->lines);
    curl_slist_free_all(load->headers);
}

int main(int argc, char **argv)
{
    if (argc != 7)
        die("usage", "bench_requests SERVER CA-FILE TOKEN-FILE METHOD CONTENT-TYPE CONNECTIONS");
    struct load load = {.server = argv[1], .ca = argv[2], .method = argv[4]};
    unsigned long connections = strtoul(argv[6], NULL, 10);
    if (connections < 1 || connections > CONNECTIONS_MAX)
        die("CONNECTIONS", "must be 1 to 1024");
    curl_global_init(CURL_GLOBAL_DEFAULT);
    token_read(&load, argv[3]);
    header_add(&load, "Content-Type: ", argv[5]);
    header_add(&load, "User-Agent: ", "bench-requests");
    lines_read(&load);
    double begin = clock_seconds();
    run(&load, connections);
    double seconds = clock_seconds() - begin;
    printf("{\"done\": %zu, \"failed\": %zu, \"seconds\": %.4f}\n", load.sent - load.failed, load.failed, seconds);
    load_done(&load);
    curl_global_cleanup();
}
