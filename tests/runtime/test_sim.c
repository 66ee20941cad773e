// The simulator on small PTX texts. Each tests/sim/*.ptx says in its first lines what to run and what must come out:
//
//   // launch KERNEL BLOCKS THREADS
//   // buffer TYPE COUNT seq FIRST STEP      TYPE u32 or f32; each buffer is an argument
//   // buffer TYPE COUNT is V V V ...        the last value is repeated
//   // buffer TYPE COUNT unset               nobody wrote it
//   // expect BUFFER seq FIRST STEP | is V V V ...
//   // count NAME VALUE                      a counter
//   // error TEXT                            the message must have it in it
#include "device.h"
#include "sim/sim.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_BUFFERS = 8, MOST_VALUES = 4096 };

typedef struct Case {
    Arena       arena;
    const char *path;
    char        kernel[64];
    uint32_t    blocks, threads;
    SimRegion   region[MOST_BUFFERS];
    bool        is_float[MOST_BUFFERS];
    size_t      n_buffers;
    SimCounters counters;
    StatusText  why;
    Status      status;
} Case;

static char *read_text(Arena *arena, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("cannot read %s", path);
    char *text = arena_alloc(arena, 1 << 18, 1);
    size_t n = fread(text, 1, (1 << 18) - 1, f);
    text[n] = 0;
    fclose(f);
    return text;
}

// Fills COUNT words from `seq FIRST STEP` or `is V V V ...`.
static void make_values(const char *how, bool is_float, uint32_t *out, size_t n)
{
    char *end = NULL;
    const bool is_seq = strncmp(how, "seq ", 4) == 0;
    const char *at = how + (is_seq ? 4 : 3);
    double value = strtod(at, &end), step = is_seq ? strtod(end, NULL) : 0;
    for (size_t i = 0; i < n; i++) {
        float f = (float)value;
        if (is_float)
            memcpy(&out[i], &f, 4);
        else
            out[i] = (uint32_t)(int64_t)value;
        value += step;
        at = end;
        double more = is_seq ? 0 : strtod(at, &end);
        if (!is_seq && end != at)
            value = more;
    }
}

static void add_buffer(Case *c, const char *line)
{
    char type[8], how[2048];
    size_t n = 0;
    assert_int_equal(sscanf(line, "%7s %zu %2047[^\n]", type, &n, how), 3);
    assert_true(n <= MOST_VALUES && c->n_buffers < MOST_BUFFERS);
    const size_t b = c->n_buffers++;
    SimRegion *r = &c->region[b];
    *r = (SimRegion){.name = arena_printf(&c->arena, "b%zu", b), .base = 0x10000 * (b + 1), .bytes = 4 * n, .is_writable = true};
    r->data = arena_alloc(&c->arena, n, 4);
    r->defined = arena_alloc(&c->arena, n, 4);
    c->is_float[b] = strcmp(type, "f32") == 0;
    if (strcmp(how, "unset") == 0)
        return;
    memset(r->defined, 1, 4 * n);
    make_values(how, c->is_float[b], (uint32_t *)(void *)r->data, n);
}

static void check_values(Case *c, const char *line)
{
    static uint32_t want[MOST_VALUES];
    char *how = NULL;
    const size_t b = strtoul(line, &how, 10);
    assert_true(b < c->n_buffers);
    const size_t n = c->region[b].bytes / 4;
    const uint32_t *got = (const uint32_t *)(const void *)c->region[b].data;
    make_values(how + 1, c->is_float[b], want, n);
    for (size_t i = 0; i < n; i++)
        if (got[i] != want[i] || !c->region[b].defined[4 * i])
            fail_msg("%s: word %zu of buffer %zu is 0x%08x, not 0x%08x", c->path, i, b, got[i], want[i]);
}

static void check_count(const Case *c, const char *line)
{
    char name[64];
    unsigned long long want = 0;
    assert_int_equal(sscanf(line, "%63s %llu", name, &want), 2);
    const struct { const char *name; uint64_t value; } all[] = {
        {"instructions", c->counters.instructions}, {"thread_instructions", c->counters.thread_instructions},
        {"divergent_branches", c->counters.divergent_branches}, {"barriers", c->counters.barriers},
        {"global_sectors", c->counters.global_sectors}, {"bank_conflicts", c->counters.bank_conflicts}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, name) == 0) {
            if (all[i].value != want)
                fail_msg("%s: %s is %llu, not %llu", c->path, name, (unsigned long long)all[i].value, want);
            return;
        }
    fail_msg("%s: there is no counter %s", c->path, name);
}

// Calls `use` with what follows `// WORD ` of each such line.
static int for_lines(Case *c, const char *text, const char *word, void (*use)(Case *c, const char *line))
{
    const char *mark = arena_printf(&c->arena, "// %s ", word);
    int n = 0;
    for (const char *s = text; (s = strstr(s, mark)) != NULL; n++) {
        s += strlen(mark);
        use(c, arena_strndup(&c->arena, s, strcspn(s, "\n")));
    }
    return n;
}

static void set_launch(Case *c, const char *line)
{
    assert_int_equal(sscanf(line, "%63s %u %u", c->kernel, &c->blocks, &c->threads), 3);
}

static void check_error(Case *c, const char *line)
{
    if (c->status == STATUS_OK)
        fail_msg("%s: runs, though it must not: %s", c->path, line);
    if (!strstr(c->why.text, line))
        fail_msg("%s: says\n  %s\nand not\n  %s", c->path, c->why.text, line);
}

static void count_use(Case *c, const char *line)
{
    check_count(c, line);
}

static void run_case(const char *folder, const char *name)
{
    Case c = {.path = name};
    const char *text = read_text(&c.arena, arena_printf(&c.arena, "%s/%s", folder, name));
    PtxModule *m = NULL;
    for_lines(&c, text, "launch", set_launch);
    for_lines(&c, text, "buffer", add_buffer);
    uint64_t arg[MOST_BUFFERS];
    for (size_t b = 0; b < c.n_buffers; b++)
        arg[b] = c.region[b].base;
    c.status = ptx_parse(&c.arena, name, text, &m, &c.why);
    if (c.status == STATUS_OK)
        c.status = sim_launch(&(SimLaunch){.module = m, .kernel = c.kernel, .grid = {c.blocks, 1, 1}, .block = {c.threads, 1, 1},
                                           .arg = arg, .n_args = c.n_buffers, .region = c.region, .n_regions = c.n_buffers,
                                           .max_instructions = 100000}, &c.counters, &c.why);
    int n_errors = for_lines(&c, text, "error", check_error);
    if (n_errors == 0 && c.status != STATUS_OK)
        fail_msg("%s", c.why.text);
    int n_checks = n_errors + for_lines(&c, text, "expect", check_values) + for_lines(&c, text, "count", count_use);
    if (n_checks == 0)
        fail_msg("%s checks nothing", name);
    arena_free(&c.arena);
}

static void test_conformance_texts(void **state)
{
    (void)state;
    const char *folder = MIXC_TESTS "/sim";
    DIR *d = opendir(folder);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t length = strlen(e->d_name);
        if (length > 4 && strcmp(e->d_name + length - 4, ".ptx") == 0) {
            run_case(folder, e->d_name);
            n++;
        }
    }
    closedir(d);
    assert_true(n >= 15);
}

static void test_launch_is_checked(void **state)
{
    (void)state;
    Arena arena = {0};
    PtxModule *m = NULL;
    SimCounters counters = {0};
    StatusText why = {0};
    const char *text = ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 k_p0)\n.maxntid 64, 1, 1\n{\nret;\n}\n";
    assert_int_equal(ptx_parse(&arena, "t.ptx", text, &m, &why), STATUS_OK);
    const uint64_t arg[2] = {0};
    SimLaunch l = {.module = m, .kernel = "k", .grid = {1, 1, 1}, .block = {64, 1, 1}, .arg = arg, .n_args = 1};
    assert_int_equal(sim_launch(&l, &counters, &why), STATUS_OK);
    l.block[0] = 65;
    assert_int_equal(sim_launch(&l, &counters, &why), STATUS_INTERNAL);
    assert_string_equal(why.text, "kernel 'k': a block of 65 threads, and it says 64 at most");
    why = (StatusText){0};
    l.block[0] = 64;
    l.n_args = 2;
    assert_int_equal(sim_launch(&l, &counters, &why), STATUS_INTERNAL);
    assert_string_equal(why.text, "kernel 'k' takes 1 arguments, not 2");
    why = (StatusText){0};
    l.kernel = "j";
    assert_int_equal(sim_launch(&l, &counters, &why), STATUS_INTERNAL);
    assert_string_equal(why.text, "t.ptx has no kernel 'j'");
    assert_int_equal(counters.launches, 1);
    arena_free(&arena);
}

// Every form has a name of its own, and cutting a text anywhere is an error or parses, never worse.
static void test_damaged_texts(void **state)
{
    (void)state;
    for (int i = 1; i < FORM_COUNT; i++)
        for (int j = i + 1; j < FORM_COUNT; j++)
            assert_string_not_equal(ptx_row[i].name, ptx_row[j].name);
    Arena arena = {0};
    char *text = read_text(&arena, MIXC_TESTS "/sim/block_sum.ptx");
    for (size_t n = strlen(text); n-- > 0;) {
        Arena scratch = {0};
        PtxModule *m = NULL;
        StatusText why = {0};
        text[n] = 0;
        if (ptx_parse(&scratch, "cut.ptx", text, &m, &why) != STATUS_OK)
            assert_true(strncmp(why.text, "cut.ptx:", 8) == 0);
        arena_free(&scratch);
    }
    arena_free(&arena);
}

static void test_device_without_nvrtc(void **state)
{
    (void)state;
    Device *d = NULL;
    StatusText why = {0};
    assert_ptr_equal(device_find("sim"), &device_sim);
    setenv("MIXC_NVRTC", "/nowhere/libnvrtc.so", 1);
    assert_int_equal(device_sim.open(&(DeviceOptions){0}, &d, &why), STATUS_NO_DEVICE);
    assert_string_equal(why.text, "cannot load '/nowhere/libnvrtc.so', which MIXC_NVRTC names as libnvrtc, the compiler of CUDA text");
    assert_null(d);
    unsetenv("MIXC_NVRTC");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conformance_texts),
        cmocka_unit_test(test_launch_is_checked),
        cmocka_unit_test(test_damaged_texts),
        cmocka_unit_test(test_device_without_nvrtc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
