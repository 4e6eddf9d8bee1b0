#include "commands.h"

#include <string.h>

#include "json_message.h"
#include "manifest_files.h"
#include "methods.h"

static int list_methods(struct cli *cli)
{
    size_t count;
    const struct method *all = methods_all(&cli->arena, &count);

    if (output_is_structured(&cli->output)) {
        json_t *list = json_array();
        for (size_t i = 0; i < count; i++)
            json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "method", all[i].path + 1, "request",
                                                  all[i].request->name, "reply", all[i].reply->name));
        output_json(&cli->output, json_pack("{s:o}", "methods", list));
    }
    for (size_t i = 0; i < count; i++)
        cli_say(cli, "%s", all[i].path + 1);
    return 0;
}

/* The message given as an argument, on standard input (-), or none at all: {}. */
static int read_request(struct cli *cli, const struct method *method, ProtobufCMessage **ret, struct ipam_error *reterr)
{
    const char *word = cli->n_arguments > 1 ? cli->arguments[1] : "{}";
    bool standard = strcmp(word, "-") == 0;
    char *text = (char *)(uintptr_t)word;
    size_t size = strlen(word);
    json_t *json;

    if (standard && file_read(&cli->arena, "-", &text, &size, reterr) < 0)
        return -1;
    if (json_text_parse(standard ? "stdin" : "JSON", text, size, &json, reterr) < 0)
        return -1;
    int result = json_message_decode(&cli->arena, method->request, json, ret, reterr);
    json_decref(json);
    return result;
}

int cmd_call(struct cli *cli, struct ipam_error *reterr)
{
    struct ipam_client *client;
    struct method method;
    ProtobufCMessage *request, *reply;

    if (cli->options.list)
        return list_methods(cli);
    if (cli->n_arguments == 0)
        return usage_error(reterr, "call what: write ipamc call METHOD JSON (ipamc call --list names the methods)");
    if (method_find(&cli->arena, cli->arguments[0], &method, reterr) < 0 ||
        read_request(cli, &method, &request, reterr) < 0)
        return -1;
    if (cli_client(cli, &client, reterr) < 0 ||
        ipam_call(client, method.path, request, method.reply, &reply, reterr) < 0)
        return -1;
    output_message(&cli->output, reply);
    ipam_reply_free(reply);
    return 0;
}
