/* filter.h: JSON text as it comes, of which only the fields that somebody reads are kept.
 *
 * Used for the responses of the API server: anybody who may write an object may put anything into fields that are none of ours,
 * and that must cost neither memory nor the reading of other objects. It knows JSON (yajl reads, jansson keeps), and must not
 * know where the text comes from or what a field means: no loop, no socket.
 *
 *   text   = value, or of a stream any number of them
 *   value  = at a row with `fields`, an object: its members that have a row there, each by that row
 *          | at a row of a KUBE_LIST, an array: each element is an API object with the row's fields
 *          | at a row of a KUBE_ARRAY, an array: each element is an object with the row's fields
 *          | else a leaf: all of it, as it stands
 *   number = integer where 64 bits hold it, else real where a double does, else the text of it
 *
 * Members without a row are read over: they must be well-formed JSON, and may nest and count as they like. Of members of one name
 * the last counts. A leaf takes at most FILTER_LEAF_MAX bytes of memory and FILTER_DEPTH_MAX levels; its texts are UTF-8, and its
 * names have no NUL. A leaf that breaks this is left out, and its API object says so: kube_object_problem. Where it belongs to
 * no API object it fails the text. */
#ifndef IPAM_KUBE_FILTER_H
#define IPAM_KUBE_FILTER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define FILTER_LEAF_MAX  (16u << 20) /* a pool may list 100,000 addresses */
#define FILTER_VALUE_MAX (64u << 20) /* of one text, or one value of a stream: a page of objects */
#define FILTER_DEPTH_MAX 32

enum kube_part {
    KUBE_FIELD,
    KUBE_OBJECT, /* an API object */
    KUBE_LIST,   /* of API objects */
    KUBE_ARRAY,  /* of objects that are part of one */
};

struct kube_field {
    const char *name;                /* NULL: the end of a table */
    const struct kube_field *fields; /* NULL: a leaf */
    enum kube_part part;
};

#define KUBE_LEAF(name_) \
    {                    \
        .name = (name_)  \
    }
#define KUBE_TABLE(name_, fields_)           \
    {                                        \
        .name = (name_), .fields = (fields_) \
    }
#define KUBE_TABLES(name_, fields_)                              \
    {                                                            \
        .name = (name_), .fields = (fields_), .part = KUBE_ARRAY \
    }
#define KUBE_END     \
    {                \
        .name = NULL \
    }

/* What can't be read of an object, for people: "spec.addresses is left out: it nests deeper than 32 levels". NULL: nothing.
 * Borrowed from the object. What the object lacks then is not known to be empty: don't act on it. */
const char *kube_object_problem(const json_t *object);

struct filter;

/* `row`: of the whole value; its name counts for nothing. Borrowed. `value` takes what is complete, from within filter_add. */
struct filter *filter_new(const struct kube_field *row, bool is_stream, void (*value)(json_t *value, void *user),
                          void *user);
struct filter *filter_free(struct filter *filter);

enum filter_result {
    FILTER_GOOD,
    FILTER_BAD,   /* no JSON, or a leaf of no object breaks the rules: filter_error */
    FILTER_LARGE, /* more than FILTER_VALUE_MAX to keep of several objects */
};
enum filter_result filter_add(struct filter *filter, const void *data, size_t size); /* what failed stays so */
enum filter_result
filter_end(struct filter *filter); /* no more comes: BAD when a value is not whole; blanks are none */
const char *filter_error(const struct filter *filter);
size_t filter_position(const struct filter *filter); /* of the error: bytes since the last value was complete */

#endif
