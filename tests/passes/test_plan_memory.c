// The memory plan of random and of training-like programs. The checker is independent of the planner: it takes
// lifetimes from the launches and looks at every pair of buffers that is alive together.
#include "plan_memory.h"
#include "plan_pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static uint32_t pick(uint64_t *seed, uint32_t n)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % n;
}

static uint32_t add_buffer(Program *p, BufferKind kind, size_t bytes)
{
    return program_add_buffer(p, (Buffer){.name = "b", .kind = kind, .bytes = bytes, .dtype = DTYPE_F32});
}

static void add_launch(Program *p, const uint32_t *buffer, uint32_t n)
{
    uint32_t *own = arena_array(p->arena, uint32_t, n);
    memcpy(own, buffer, n * sizeof *own);
    uint32_t kernel = program_add_kernel(p, (Kernel){.name = "k", .text = "", .n_params = n});
    program_add_launch(p, (Launch){.kernel = kernel, .buffer = own});
}

static uint32_t storage(const Program *p, uint32_t i)
{
    while (p->buffer[i].same_as)
        i = p->buffer[i].same_as;
    return i;
}

// Every promise of plan_memory.h, checked in the plainest way.
static void check_plan(const Program *p)
{
    size_t n = p->n_buffers, end = p->n_launches ? p->n_launches - 1 : 0;
    size_t *first = calloc(n, sizeof *first), *last = calloc(n, sizeof *last), peak = 0;
    for (size_t i = 1; i < n; i++)
        first[i] = SIZE_MAX;
    for (size_t t = 0; t < p->n_launches; t++)
        for (size_t k = 0; k < p->kernel[p->launch[t].kernel].n_params; k++) {
            uint32_t b = storage(p, p->launch[t].buffer[k]);
            first[b] = first[b] < t ? first[b] : t;
            last[b] = t;
        }
    for (uint32_t i = 1; i < n; i++) {
        uint32_t b = storage(p, i);
        if (p->buffer[i].kind != BUFFER_TEMP) {
            last[b] = end;
            if (p->buffer[i].kind != BUFFER_OUTPUT || first[b] == SIZE_MAX)
                first[b] = 0;
        }
        assert_int_equal(p->buffer[i].offset, p->buffer[b].offset);
        assert_int_equal(p->buffer[i].offset % PLAN_ALIGN, 0);
        assert_true(p->buffer[i].offset + p->buffer[i].bytes <= p->arena_bytes);
    }
    for (size_t t = 0; t <= end; t++) {
        size_t alive = 0;
        for (size_t i = 1; i < n; i++)
            if (!p->buffer[i].same_as && first[i] <= t && t <= last[i])
                alive += (p->buffer[i].bytes + 63) / 64 * 64;
        peak = alive > peak ? alive : peak;
    }
    assert_true(peak <= p->live_peak_bytes && p->live_peak_bytes <= p->arena_bytes);
    for (size_t i = 1; i < n; i++)
        for (size_t j = 1; j < i; j++) {
            const Buffer *a = &p->buffer[i], *b = &p->buffer[j];
            if (a->same_as || b->same_as || first[i] > last[j] || first[j] > last[i])
                continue;
            if (a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes)
                fail_msg("buffers %zu and %zu overlap", i, j);
        }
    free(first);
    free(last);
}

static void random_programs_do_not_overlap(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10000; seed++) {
        Arena arena = {0};
        Diag diag = diag_make(&arena, NULL);
        uint64_t s = seed;
        Program *p = program_make(&arena, "random");
        uint32_t n = 1 + pick(&s, 60), launches = pick(&s, 40);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t b = add_buffer(p, (BufferKind)pick(&s, BUFFER_KIND_COUNT), pick(&s, 3) ? pick(&s, 5000) : pick(&s, 65));
            if (b > 1 && pick(&s, 8) == 0) {
                uint32_t other = 1 + pick(&s, b - 1);
                p->buffer[b].same_as = other;
                p->buffer[b].bytes = p->buffer[storage(p, b)].bytes;
            }
        }
        for (uint32_t t = 0; t < launches; t++) {
            uint32_t buffer[6], k = 1 + pick(&s, 6), near = t * n / launches;
            for (uint32_t i = 0; i < k; i++)
                buffer[i] = 1 + (near + pick(&s, 8)) % n;
            add_launch(p, buffer, k);
        }
        assert_true(plan_memory(p, &diag));
        check_plan(p);
        arena_free(&arena);
    }
}

// A training step of `layers` equal layers: each keeps a few activations for its turn in the backward pass, and makes
// short-lived values both ways.
static Program *training_like(Arena *arena, uint32_t layers)
{
    enum { KEPT = 7 };
    static const size_t size[KEPT] = {393216, 1179648, 393216, 393216, 1572864, 1572864, 6144};
    Program *p = program_make(arena, "training");
    uint32_t *kept = arena_array(arena, uint32_t, (size_t)layers * KEPT), x = add_buffer(p, BUFFER_TEMP, 393216);
    uint32_t w = add_buffer(p, BUFFER_PARAM, 1 << 20);
    for (uint32_t l = 0; l < layers; l++)
        for (uint32_t k = 0; k < KEPT; k++) {
            uint32_t y = kept[l * KEPT + k] = add_buffer(p, BUFFER_TEMP, size[k]), temp = add_buffer(p, BUFFER_TEMP, size[k] / 3);
            add_launch(p, (uint32_t[]){x, w, temp}, 3);
            add_launch(p, (uint32_t[]){temp, y}, 2);
            x = y;
        }
    uint32_t logits = add_buffer(p, BUFFER_TEMP, 4 << 20), dx = add_buffer(p, BUFFER_TEMP, 393216);
    add_launch(p, (uint32_t[]){x, logits}, 2);
    add_launch(p, (uint32_t[]){logits, dx}, 2);
    for (uint32_t l = layers; l-- > 0;)
        for (uint32_t k = KEPT; k-- > 0;) {
            uint32_t dy = dx, y = kept[l * KEPT + k], dw = add_buffer(p, BUFFER_TEMP, 65536);
            dx = add_buffer(p, BUFFER_TEMP, size[(k + KEPT - 1) % KEPT]);
            add_launch(p, (uint32_t[]){dy, y, dw}, 3);
            add_launch(p, (uint32_t[]){dy, w, dx}, 3);
            add_launch(p, (uint32_t[]){dw, w}, 2);
        }
    return p;
}

static void training_comes_close_to_the_largest_live_set(void **state)
{
    (void)state;
    for (uint32_t layers = 1; layers <= 60; layers = layers * 2 + 1) {
        Arena arena = {0};
        Diag diag = diag_make(&arena, NULL);
        Program *p = training_like(&arena, layers);
        assert_true(plan_memory(p, &diag));
        check_plan(p);
        double ratio = (double)p->arena_bytes / (double)p->live_peak_bytes;
        print_message("%u layers: arena %.4f of the largest live set\n", layers, ratio);
        assert_true(ratio <= 1.005);
        arena_free(&arena);
    }
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// The pairwise check would take too long here; the times are printed, not tested: a machine may be busy.
static void a_hundred_thousand_buffers(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Program *p = training_like(&arena, 2400);
    double start = seconds();
    assert_true(plan_memory(p, &diag));
    print_message("training, %zu buffers: %.4f of the largest live set, %.2f s\n", p->n_buffers - 1,
                  (double)p->arena_bytes / (double)p->live_peak_bytes, seconds() - start);
    assert_true((double)p->arena_bytes <= 1.005 * (double)p->live_peak_bytes);
    enum { N = 100000 };
    Piece *piece = arena_array(&arena, Piece, N);
    uint64_t s = 5;
    for (uint32_t i = 0; i < N; i++) {
        uint32_t first = pick(&s, N), length = 1u << pick(&s, 12);
        piece[i] = (Piece){.first = first, .last = first + length < N ? first + length : N - 1, .size = 64 + 64 * pick(&s, 1000)};
    }
    start = seconds();
    size_t used = pack(&arena, piece, N, N);
    print_message("random, %d pieces: %.4f of the largest live set, %.2f s\n", (int)N,
                  (double)used / (double)pack_lower_bound(&arena, piece, N, N), seconds() - start);
    assert_true((double)used <= 1.1 * (double)pack_lower_bound(&arena, piece, N, N));
    arena_free(&arena);
}

// Pieces cut out of a rectangle of `bytes` by `n_times`: there is a packing without a hole. The cuts go through it all or split one
// piece in two, in time or in bytes.
static size_t cut(Piece *piece, size_t most, uint32_t n_times, size_t bytes, uint64_t *seed)
{
    size_t n = 1;
    piece[0] = (Piece){.first = 0, .last = n_times - 1, .size = bytes};
    for (uint32_t tries = 0; n < most && tries < 100 * most; tries++) {
        Piece *p = &piece[pick(seed, (uint32_t)n)], *q = &piece[n];
        const uint32_t time = p->last - p->first, lines = (uint32_t)(p->size / PLAN_ALIGN);
        *q = *p;
        if (pick(seed, 2) && time > 0) {
            p->last = p->first + pick(seed, time);
            q->first = p->last + 1;
        } else if (lines > 1) {
            q->size = PLAN_ALIGN * (size_t)(1 + pick(seed, lines - 1));
            p->size -= q->size;
        } else
            continue;
        n++;
    }
    return n;
}

static void what_fits_without_a_hole_is_packed_close_to_that(void **state)
{
    (void)state;
    enum { MOST = 400, BYTES = 64 << 14 };
    double worst = 1;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        Arena arena = {0};
        Piece *piece = arena_array(&arena, Piece, MOST);
        uint64_t s = seed;
        const uint32_t n_times = 20 + pick(&s, 300);
        const size_t n = cut(piece, 20 + pick(&s, MOST - 20), n_times, BYTES, &s);
        assert_int_equal(pack_lower_bound(&arena, piece, n, n_times), BYTES);
        const double ratio = (double)pack(&arena, piece, n, n_times) / BYTES;
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < i; j++) {
                const Piece *a = &piece[i], *b = &piece[j];
                assert_true(a->first > b->last || b->first > a->last || a->offset >= b->offset + b->size ||
                            b->offset >= a->offset + a->size);
            }
        worst = ratio > worst ? ratio : worst;
        arena_free(&arena);
    }
    print_message("cut from a rectangle: at most %.4f of it\n", worst);
    assert_true(worst <= 1.08);
}

static void outputs_and_states_keep_their_bytes(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Program *p = program_make(&arena, "step");
    uint32_t w = add_buffer(p, BUFFER_PARAM, 100), next = add_buffer(p, BUFFER_OUTPUT, 100);
    uint32_t a = add_buffer(p, BUFFER_TEMP, 640), b = add_buffer(p, BUFFER_TEMP, 640), y = add_buffer(p, BUFFER_OUTPUT, 640);
    p->buffer[next].same_as = w;
    add_launch(p, (uint32_t[]){w, a}, 2);
    add_launch(p, (uint32_t[]){a, b}, 2);
    add_launch(p, (uint32_t[]){b, y}, 2);               // y takes a's place
    add_launch(p, (uint32_t[]){w, next}, 2);
    assert_true(plan_memory(p, &diag));
    check_plan(p);
    assert_int_equal(p->buffer[next].offset, p->buffer[w].offset);
    assert_int_equal(p->arena_bytes, 128 + 2 * 640);
    assert_int_equal(p->live_peak_bytes, p->arena_bytes);
    arena_free(&arena);
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Program *p = program_make(&arena, "huge");
    add_buffer(p, BUFFER_TEMP, SIZE_MAX - 7);
    assert_false(plan_memory(p, &diag));
    assert_int_equal(diag.n_errors, 1);
    p = program_make(&arena, "huge");
    add_buffer(p, BUFFER_TEMP, SIZE_MAX / 2);
    add_buffer(p, BUFFER_PARAM, SIZE_MAX / 2 + 1);
    add_buffer(p, BUFFER_PARAM, 1);
    assert_false(plan_memory(p, &diag));
    assert_string_equal(diag.item[1].message, "the buffers of `huge` together do not fit into an address space");
    arena_free(&arena);
}

static void the_plan_is_printed(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Program *p = program_make(&arena, "main");
    uint32_t x = program_add_buffer(p, (Buffer){.name = "x", .kind = BUFFER_INPUT, .bytes = 2048, .n_axes = 2,
                                                .axis = {"B", "D"}, .size = {2, 256}});
    uint32_t h = program_add_buffer(p, (Buffer){.name = "h", .kind = BUFFER_TEMP, .bytes = 4096, .n_axes = 1,
                                                .axis = {"F"}, .size = {1024}});
    uint32_t y = program_add_buffer(p, (Buffer){.name = "output.y", .kind = BUFFER_OUTPUT, .bytes = 4});
    add_launch(p, (uint32_t[]){x, h}, 2);
    add_launch(p, (uint32_t[]){h, y}, 2);
    assert_true(plan_memory(p, &diag));
    Text text = text_make(&arena), json = text_make(&arena);
    plan_print(p, NULL, &text);
    assert_string_equal(text_str(&text),
        "memory of main: 2 launches, 3 buffers\n"
        "   6.1 KiB  arena\n"
        "   6.1 KiB  largest live set (the arena is 0.0 % above it)\n"
        "   2.0 KiB    input\n"
        "      64 B    output\n"
        "   4.0 KiB    temp\n"
        "alive at the peak, launch 2 of 2, kernel k:\n"
        "   4.0 KiB  temp   h                        f32[F=1024]  launches 1..2\n"
        "   2.0 KiB  input  x                        f32[B=2,D=256]\n"
        "      64 B  output output.y                 f32[]\n");
    plan_print_json(p, NULL, NULL, &json);
    assert_non_null(strstr(text_str(&json), "{\"peak_bytes\": 6208, \"lower_bound_bytes\": 6208, "));
    assert_non_null(strstr(text_str(&json), "\"routes\": []}"));
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_programs_do_not_overlap),
        cmocka_unit_test(training_comes_close_to_the_largest_live_set),
        cmocka_unit_test(a_hundred_thousand_buffers),
        cmocka_unit_test(what_fits_without_a_hole_is_packed_close_to_that),
        cmocka_unit_test(outputs_and_states_keep_their_bytes),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
        cmocka_unit_test(the_plan_is_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
