#include "guard.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void guard_done(struct guard *guard)
{
    json_decref(guard->absent);
    guard->absent = NULL;
}

static void key_of(const struct guard_record *record, char ret[512])
{
    snprintf(ret, 512, "%d/%s/%s", record->kind, record->uid, record->name);
}

static void judge_record(const struct guard *guard, struct guard_record *record, json_t *absent,
                         struct guard_verdict *verdict)
{
    char key[512];
    verdict->records[record->kind]++;
    verdict->common += record->same_uid;
    record->free = false;
    if (record->listed)
        return;
    key_of(record, key);
    verdict->absent[record->kind]++;
    record->free = json_object_get(guard->absent, key);
    verdict->unsure[record->kind] += !record->free;
    json_object_set_new(absent, key, json_true());
}

/* In parts of a hundred, without rounding. */
static bool too_many(const struct guard_limits *limits, size_t some, size_t all)
{
    return some > limits->count && (uint64_t)some * 100 > limits->share * (uint64_t)all;
}

void guard_judge(struct guard *guard, const struct guard_limits *limits, struct guard_record *records, size_t count,
                 struct guard_verdict *ret)
{
    struct guard_verdict verdict = {0};
    json_t *absent = json_object();
    for (size_t i = 0; i < count; i++)
        judge_record(guard, &records[i], absent, &verdict);
    verdict.other_cluster = count && !verdict.common && !limits->accept_cluster;
    for (int kind = GUARD_POOL; kind <= GUARD_CLAIM; kind++)
        verdict.held[kind] = too_many(limits, verdict.absent[kind], verdict.records[kind]);
    for (size_t i = 0; i < count; i++)
        if (verdict.other_cluster || verdict.held[records[i].kind])
            records[i].free = false;
    guard_done(guard);
    guard->absent = absent;
    *ret = verdict;
}

static void explain_cluster(const struct guard_verdict *verdict, size_t n_objects, struct ipam_error *ret)
{
    ipam_error_set(
        ret, IPAM_REASON_OTHER_CLUSTER,
        "ipamd holds %zu claims and %zu pools of Kubernetes objects, and none of their uids is among the %zu "
        "objects of this %s cluster: nothing is applied or released; check --kubeconfig and --context, or if "
        "this is the right cluster, start ipam-watcher with --accept-cluster",
        verdict->records[GUARD_CLAIM], verdict->records[GUARD_POOL], n_objects, n_objects ? "other" : "empty");
}

static void explain_share(const struct guard_verdict *verdict, const struct guard_limits *limits, enum guard_kind kind,
                          struct ipam_error *ret)
{
    ipam_error_set(
        ret, IPAM_REASON_LIMIT_EXCEEDED,
        "%zu of %zu %s have no object in the cluster any more, which is more than --max-release-count %" PRIu64
        " and --max-release-share %" PRIu64 " %% allow at one go: none of them is released; if that is right, "
        "raise the share, or release them with ipamc",
        verdict->absent[kind], verdict->records[kind], kind == GUARD_POOL ? "pools" : "claims", limits->count,
        limits->share);
}

bool guard_explain(const struct guard_verdict *verdict, const struct guard_limits *limits, size_t n_objects,
                   struct ipam_error *ret)
{
    if (verdict->other_cluster)
        explain_cluster(verdict, n_objects, ret);
    else if (verdict->held[GUARD_CLAIM] || verdict->held[GUARD_POOL])
        explain_share(verdict, limits, verdict->held[GUARD_CLAIM] ? GUARD_CLAIM : GUARD_POOL, ret);
    else
        return false;
    return true;
}
