#include "internal.h"

/* A treap: a search tree by `since` that is a heap by a scrambled `since`. Its depth is that of a tree filled in random
 * order, whatever the order of arrival, and its shape depends on its members alone. */

static uint64_t priority(uint64_t since) /* SplitMix64 */
{
    uint64_t z = since + 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static size_t size_of(const struct rank_node *node)
{
    return node ? node->size : 0;
}

static void count(struct rank_node *node)
{
    node->size = 1 + size_of(node->left) + size_of(node->right);
}

/* Members before `since` and those after it, as two trees. */
static void split(struct rank_node *node, uint64_t since, struct rank_node **ret_before, struct rank_node **ret_after)
{
    if (!node) {
        *ret_before = *ret_after = NULL;
    } else if (node->since < since) {
        split(node->right, since, &node->right, ret_after);
        count(node);
        *ret_before = node;
    } else {
        split(node->left, since, ret_before, &node->left);
        count(node);
        *ret_after = node;
    }
}

/* All of `before` come before all of `after`. */
static struct rank_node *join(struct rank_node *before, struct rank_node *after)
{
    if (!before || !after)
        return before ? before : after;
    if (priority(before->since) < priority(after->since)) {
        after->left = join(before, after->left);
        count(after);
        return after;
    }
    before->right = join(before->right, after);
    count(before);
    return before;
}

void rank_insert(struct rank *rank, struct rank_node *node, uint64_t since)
{
    struct rank_node **at = &rank->root;

    while (*at && priority((*at)->since) > priority(since)) {
        (*at)->size++;
        at = since < (*at)->since ? &(*at)->left : &(*at)->right;
    }
    node->since = since;
    split(*at, since, &node->left, &node->right);
    count(node);
    node->rank = rank;
    *at = node;
}

void rank_remove(struct rank_node *node)
{
    struct rank_node **at = &node->rank->root;

    while (*at != node) {
        (*at)->size--;
        at = node->since < (*at)->since ? &(*at)->left : &(*at)->right;
    }
    *at = join(node->left, node->right);
    node->rank = NULL;
}

struct rank_node *rank_after(const struct rank *rank, uint64_t since)
{
    struct rank_node *node = rank->root, *found = NULL;

    while (node) {
        if (node->since > since)
            found = node;
        node = node->since > since ? node->left : node->right;
    }
    return found;
}

uint64_t rank_position(const struct rank_node *node)
{
    const struct rank_node *at = node->rank->root;
    uint64_t before = 0;

    for (; at != node; at = node->since < at->since ? at->left : at->right)
        if (at->since < node->since)
            before += size_of(at->left) + 1;
    return before + size_of(node->left) + 1;
}
