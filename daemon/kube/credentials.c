#include "credentials.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "files.h"

#define FILE_MAX (1024 * 1024)
#define LOOK_MS  1000

static char *secret_free(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
    return NULL;
}

static void trim(char *text)
{
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\r\n", text[length - 1]))
        text[--length] = '\0';
}

/* It becomes a header: what is no visible character could end that. */
static bool is_token(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

static bool is_encrypted(const char *pem)
{
    return strstr(pem, "-----BEGIN ENCRYPTED PRIVATE KEY-----") || strstr(pem, "Proc-Type: 4,ENCRYPTED");
}

/* The file may be written just now: an empty one is none. */
static int item_read(struct credentials *credentials, int i)
{
    size_t size;
    struct stat st;
    if (stat(credentials->items[i].path, &st) < 0)
        return -1;
    char *text = file_text(credentials->items[i].path, FILE_MAX, &size);
    if (!text)
        return -1;
    trim(text);
    bool is_no_token = i == CREDENTIAL_TOKEN && !is_token(text), is_locked = i == CREDENTIAL_KEY && is_encrypted(text);
    if (!*text || is_no_token || is_locked) {
        errno = is_locked ? EKEYREJECTED : *text ? EILSEQ : ENODATA;
        secret_free(text);
        return -1;
    }
    secret_free(credentials->items[i].text);
    credentials->items[i].text = text;
    credentials->items[i].seen = st;
    return 0;
}

static int refuse(const struct kube_config *config, const char *path, struct ipam_error *reterr)
{
    if (errno == EKEYREJECTED)
        return ipam_error_set(
            reterr, IPAM_REASON_INVALID_CONFIG,
            "%s: client-key%s%s is encrypted, and nobody is there to give its passphrase: write it in "
            "clear where this user alone can read it: openssl pkey -in %s -out NEW-FILE",
            config->source, path ? " " : "-data", path ? path : "", path ? path : "FILE");
    return ipam_error_set(reterr, IPAM_REASON_INVALID_CONFIG, "%s: %s can't be read: %s", config->source, path,
                          strerrordesc_np(errno));
}

int credentials_init(struct credentials *credentials, const struct kube_config *config, struct ipam_error *reterr)
{
    const struct {
        const char *path, *text;
    } given[N_CREDENTIALS] = {
        [CREDENTIAL_CA] = {config->ca_file, config->ca_data},
        [CREDENTIAL_CERTIFICATE] = {config->client_certificate_file, config->client_certificate_data},
        [CREDENTIAL_KEY] = {config->client_key_file, config->client_key_data},
        [CREDENTIAL_TOKEN] = {config->token_file, config->token},
    };
    *credentials = (struct credentials){0};
    for (int i = 0; i < N_CREDENTIALS; i++) {
        credentials->items[i].path = given[i].text ? NULL : given[i].path;
        credentials->items[i].text = given[i].text ? mem_strdup(given[i].text) : NULL;
        if (credentials->items[i].path && item_read(credentials, i) < 0) {
            refuse(config, credentials->items[i].path, reterr);
            credentials_done(credentials);
            return -1;
        }
    }
    const char *key = credentials->items[CREDENTIAL_KEY].text;
    if (key && is_encrypted(key)) {
        errno = EKEYREJECTED;
        refuse(config, NULL, reterr);
        credentials_done(credentials);
        return -1;
    }
    const char *token = credentials->items[CREDENTIAL_TOKEN].text;
    if (!token || is_token(token))
        return 0;
    credentials_done(credentials);
    return ipam_error_set(reterr, IPAM_REASON_INVALID_CONFIG, "%s: the token has blanks or control characters in it",
                          config->source);
}

void credentials_done(struct credentials *credentials)
{
    for (int i = 0; i < N_CREDENTIALS; i++)
        credentials->items[i].text = secret_free(credentials->items[i].text);
}

void credentials_refresh(struct credentials *credentials, uint64_t now_ms)
{
    struct stat st;
    if (credentials->looked_at && now_ms - credentials->looked_at < LOOK_MS)
        return;
    credentials->looked_at = now_ms;
    for (int i = 0; i < N_CREDENTIALS; i++) {
        const char *path = credentials->items[i].path;
        if (path && stat(path, &st) == 0 && !file_is_same(&st, &credentials->items[i].seen))
            item_read(credentials, i);
    }
}

void credentials_doubt(struct credentials *credentials)
{
    credentials->looked_at = 0;
    for (int i = 0; i < N_CREDENTIALS; i++)
        credentials->items[i].seen = (struct stat){0};
}
