// Ranges for a profiler: a library that stands for one writes down what it hears, once as an older toolkit's library, once as a tool that hands
// its functions over (NVTX 3). The GPU computes nothing. Each in a process of its own, since a process has one listener.
#include "device.h"

#include "cuda_fake.h"
#include "programs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char tool_text[] =
    "#include <stddef.h>\n#include <stdio.h>\n#include <stdlib.h>\n"
    "typedef void (*F)(void);\n"
    "typedef struct { size_t n; int (*table)(int, F ***, unsigned *); } Callbacks;\n"
    "static int put(const char *t)\n"
    "{ FILE *f = fopen(getenv(\"MIXC_TEST_RANGES\"), \"a\"); fputs(t, f); fclose(f); return 0; }\n"
    "static int push(const char *t) { put(\"<\"); return put(t); }\n"
    "static int pop(void) { return put(\">\"); }\n"
    "#ifdef OLD\n"
    "int nvtxRangePushA(const char *t) { return push(t); }\nint nvtxRangePop(void) { return pop(); }\n"
    "#else\n"
    "int InitializeInjectionNvtx2(const void *(*get)(unsigned))\n"
    "{\n    F **place = NULL;\n    unsigned n = 0;\n    const Callbacks *c = get(1);\n"
    "    if (get(3) || c->table(2, &place, &n) || !c->table(1, &place, &n) || n != 16)\n        return 0;\n"
    "    *place[9] = (F)push;\n    *place[11] = (F)pop;\n    return c->table(5, &place, &n);\n}\n"
    "#endif\n";

static char folder[64];

static const char *in_folder(char *out, const char *name)
{
    snprintf(out, 256, "%s/%s", folder, name);
    return out;
}

static void compile_tool(const char *name, const char *flags)
{
    char source[256], object[256], command[1024];
    FILE *f = fopen(in_folder(source, "tool.c"), "w");
    assert_non_null(f);
    fputs(tool_text, f);
    fclose(f);
    snprintf(command, sizeof command, "cc -w -shared -fPIC %s -o %s %s", flags, in_folder(object, name), source);
    assert_int_equal(system(command), 0);
}

// y = x + 1 + 1; a launch has no line here.
static Program *make_program(Arena *arena)
{
    Program *p = program_make(arena, "affine");
    uint32_t x = add_buffer(p, "x", BUFFER_INPUT, 10, 0), y = add_buffer(p, "output.y", BUFFER_OUTPUT, 10, 64);
    uint32_t k = add_kernel(p, "add_one", "", 2, 0);
    p->kernel[k].cuda = "extern \"C\" __global__ void add_one(const float *x, float *y) { y[0] = x[0] + 1; }\n";
    p->kernel[k].cuda_threads = 32;
    p->kernel[k].writes = 2;
    add_launch(p, k, (uint32_t[]){x, y}, 1, 1);
    p->launch[0].cuda_blocks = 1;
    p->launch[0].layer = "Block";
    return p;
}

// Loads, runs, and runs launch by launch. Returns 0 when all went well.
static int work(void)
{
    Fake fake;
    Arena arena = {0};
    Device *d = NULL;
    LoadedProgram *l = NULL;
    StatusText why = {0};
    double seconds[1];
    if (!fake_open(&fake, true))
        return 1;
    const DeviceOptions options = {.threads = 1, .cache_dir = "", .driver = &fake.driver, .nvrtc = &fake.nvrtc};
    const bool good = device_cuda.open(&options, &d, &why) == STATUS_OK && device_cuda.load(d, make_program(&arena), &l, &why) == STATUS_OK
                      && device_cuda.run(l, &why) == STATUS_OK && device_cuda.run_timed(l, seconds, &why) == STATUS_OK;
    device_cuda.unload(l);
    device_cuda.close(d);
    fake_close(&fake);
    arena_free(&arena);
    return !good;
}

// What the tool heard, with these two variables set; "" when it heard nothing.
static void listen(const char *injection, const char *library, char *out, size_t room)
{
    char ranges[256], path[256];
    setenv("MIXC_TEST_RANGES", in_folder(ranges, "ranges"), 1);
    unlink(ranges);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        if (injection)
            setenv("NVTX_INJECTION64_PATH", in_folder(path, injection), 1);
        setenv("MIXC_NVTX", library ? in_folder(path, library) : "/nowhere/libnvtx.so", 1);
        _exit(work());
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    FILE *f = fopen(ranges, "r");
    out[f ? fread(out, 1, room - 1, f) : 0] = 0;
    if (f)
        fclose(f);
}

static const char heard[] = "<load affine><run affine><add_one Block its line is not known>";

static void test_ranges(void **state)
{
    (void)state;
    char text[1024];
    compile_tool("old.so", "-DOLD");
    compile_tool("new.so", "");
    listen(NULL, "old.so", text, sizeof text);
    assert_string_equal(text, heard);
    listen("new.so", NULL, text, sizeof text);
    assert_string_equal(text, heard);
    listen("new.so", "old.so", text, sizeof text);      // once, not twice
    assert_string_equal(text, heard);
    listen("tool.c", NULL, text, sizeof text);          // no library at all
    assert_string_equal(text, "");
    listen(NULL, NULL, text, sizeof text);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranges)};
    char command[128];
    snprintf(folder, sizeof folder, "/tmp/mixc-nvtx-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return failed || system(command) != 0;
}
