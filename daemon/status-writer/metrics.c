#include "metrics.h"

#include <inttypes.h>

void metrics_passes(FILE *out, const pass_counts *counts)
{
    fprintf(out, "# HELP ipam_status_passes_total Looks at an object, by what came of it.\n"
                 "# TYPE ipam_status_passes_total counter\n");
    for (int kind = 0; kind < OBJECT_KINDS; kind++)
        for (int i = 0; i < PASS_OUTCOMES; i++)
            fprintf(out, "ipam_status_passes_total{kind=\"%s\",outcome=\"%s\"} %" PRIu64 "\n", object_kinds[kind].kind,
                    pass_outcome_names[i], (*counts)[kind][i]);
}

static void of_kinds(FILE *out, const char *name, const char *help, const struct objects *objects,
                     size_t (*count)(const struct objects *objects, enum object_kind kind))
{
    fprintf(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
    for (int kind = 0; kind < OBJECT_KINDS; kind++)
        fprintf(out, "%s{kind=\"%s\"} %zu\n", name, object_kinds[kind].kind, count(objects, kind));
}

void metrics_unreadable(FILE *out, const size_t counts[OBJECT_KINDS])
{
    fprintf(out, "# HELP ipam_kube_unreadable_objects Objects with a field that can't be read.\n"
                 "# TYPE ipam_kube_unreadable_objects gauge\n");
    for (int kind = 0; kind < OBJECT_KINDS; kind++)
        fprintf(out, "ipam_kube_unreadable_objects{kind=\"%s\"} %zu\n", object_kinds[kind].kind, counts[kind]);
}

static void gauge(FILE *out, const char *name, const char *help, uint64_t value)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %" PRIu64 "\n", name, help, name, name, value);
}

void metrics_state(FILE *out, const struct objects *objects, const struct schedule *schedule,
                   const struct follow *follow)
{
    of_kinds(out, "ipam_status_objects", "Objects known.", objects, objects_count);
    of_kinds(out, "ipam_status_dirty", "Objects whose status may be out of date.", objects, objects_queued);
    gauge(out, "ipam_status_in_flight", "Objects being looked at or written.", schedule_running(schedule));
    gauge(out, "ipam_status_revision", "Last change of ipamd that was seen.", follow_revision(follow));
    gauge(out, "ipam_status_revision_newest", "Newest change that ipamd is known to have.", follow_newest(follow));
}
