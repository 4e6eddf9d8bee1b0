/* Takes an address from a pool and gives it back: example POOL NAME
 * cc example.c $(pkg-config --cflags --libs ipam) -o example */
#include <stdio.h>

#include <ipam/client.h>

int main(int argc, char **argv)
{
    struct ipam_client *client = NULL;
    struct ipam_error error;
    Ipam__V1__Owner owner = IPAM__V1__OWNER__INIT;
    Ipam__V1__AllocateRequest allocate = IPAM__V1__ALLOCATE_REQUEST__INIT;
    Ipam__V1__AllocateReply *allocated = NULL;
    Ipam__V1__ReleaseRequest release = IPAM__V1__RELEASE_REQUEST__INIT;
    Ipam__V1__ReleaseReply *released = NULL;
    int failed = -1;

    owner.kind = "Example";
    owner.name = argc == 3 ? argv[2] : "example";
    allocate.pool = argc == 3 ? argv[1] : "main-vip-pool";
    allocate.owner = release.owner = &owner;
    if (ipam_client_new(NULL, &client, &error) == 0 && ipam_allocate(client, &allocate, &allocated, &error) == 0) {
        printf("%s\n", allocated->claims[0]->address);
        failed = ipam_release(client, &release, &released, &error);
    }
    if (failed != 0)
        fprintf(stderr, "example: %s: %s\n", ipam_reason_name(error.reason), error.message);
    ipam_reply_free(allocated);
    ipam_reply_free(released);
    ipam_client_free(client);
    return failed == 0 ? 0 : ipam_error_exit_code(&error);
}
