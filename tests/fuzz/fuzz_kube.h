/* fuzz_kube.h: one response of an API server, as bytes that mean anything. */
#ifndef IPAM_TESTS_FUZZ_KUBE_H
#define IPAM_TESTS_FUZZ_KUBE_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* the name is libFuzzer's; aborts at what must not be */

#endif
