/* ipam-status-writer: one call. */
#include <jansson.h>
#include <stdlib.h>

#include "arena.h"
#include "writer.h"

int main(int argc, char *argv[])
{
    json_set_alloc_funcs(mem_alloc, free); /* out of memory ends the process: nothing is lost by that */
    struct writer *writer = writer_new();
    int status = program_main(&writer_role, argc, argv, writer);
    writer_free(writer);
    return status;
}
