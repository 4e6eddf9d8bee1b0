/* What an API server sends, damaged at random. With a build by clang, fuzz_kube.c is a libFuzzer target as well: docs/HACKING.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fuzz.h"
#include "fuzz_kube.h"

#define ROUNDS 2000

static uint64_t seed;

/* Each a few pieces: fuzz_damage takes some out, doubles and swaps them. */
static const char *const texts[][8] = {
    {"{\"metadata\":{\"resourceVersion\":\"7\",", "\"continue\":\"c\"},", "\"items\":[",
     "{\"metadata\":{\"name\":\"a\"},", "\"spec\":{\"list\":[1,-2.5e3,null],", "\"x\":{\"\\u0000\":[[]]}}}",
     ",{\"spec\":{\"address\":\"\\u00e9\\n\"}}", "]}"},
    {"{\"type\":\"ADDED\",", "\"object\":{\"metadata\":{\"name\":\"a\",", "\"resourceVersion\":\"8\"},",
     "\"spec\":{}}}\n", "{\"type\":\"ERROR\",\"object\":", "{\"code\":410,\"reason\":\"Gone\"}}\n",
     "{\"type\":\"BOOKMARK\",", "\"object\":{}}\n"},
    {"{\"metadata\":", "{\"name\":\"a\",\"finalizers\":[\"f\"]},", "\"spec\":", "[[[[[[[[[[[[[[[[[[",
     "]]]]]]]]]]]]]]]]]]", ",\"x\":1", "00000000000000000000", "}"},
};

static void damaged_responses_are_read_or_refused(void **state)
{
    static struct fuzz_input input;
    size_t n = sizeof texts / sizeof *texts;
    (void)state;
    for (unsigned int round = 0, rounds = fuzz_rounds(ROUNDS); round < rounds; round++) {
        struct fuzz_random random = fuzz_random_of(seed, round);
        uint8_t head[] = {(uint8_t)fuzz_below(&random, 8), (uint8_t)fuzz_below(&random, 256)};
        input.size = input.n_pieces = 0;
        fuzz_append(&input, head, sizeof head);
        for (size_t i = 0; i < 8; i++) {
            input.pieces[input.n_pieces++] = i > 0 ? input.size : 0;
            fuzz_append(&input, (const uint8_t *)texts[round % n][i], strlen(texts[round % n][i]));
        }
        for (uint32_t damages = fuzz_below(&random, 4); damages > 0; damages--)
            fuzz_damage(&input, &random);
        assert_int_equal(LLVMFuzzerTestOneInput(input.bytes, input.size), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(damaged_responses_are_read_or_refused)};
    seed = fuzz_seed();
    print_message("fuzz: seed %llu (FUZZ_SEED repeats it), %u rounds\n", (unsigned long long)seed, fuzz_rounds(ROUNDS));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
