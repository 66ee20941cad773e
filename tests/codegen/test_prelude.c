// The mathematical functions of generated C against libm: accuracy over their ranges, and the ends (infinities, NaN, zeros,
// denormal numbers), in vectors and one by one.
#include "run_graph.h"

#include <float.h>

enum { N = 40005 };                         // not a multiple of a vector: the last ones are scalars

typedef struct Function {
    const char *name, *op;                  // the graph's op on %1 (x) and %2 (y)
    double    (*exact1)(double);
    double    (*exact2)(double, double);
    double      lo, hi;                     // of x
    double      relative, absolute;         // either error is enough
} Function;

static double rsqrt_exact(double x) { return 1 / sqrt(x); }
static double mod_exact(double x, double y) { return x - y * floor(x / y); }

// Bounds: 2.4e-7 is two units in the last place of a float.
static const Function function[] = {
    {"exp", "map %1 {f = exp}", exp, NULL, -110, 90, 2.4e-7, 1e-44},
    {"log", "map %1 {f = log}", log, NULL, 0, 100, 2.4e-7, 0},
    {"log_all", "map %1 {f = log}", log, NULL, 0, 3e38, 2.4e-7, 0},
    {"sqrt", "map %1 {f = sqrt}", sqrt, NULL, 0, 1000, 1.3e-7, 0},
    {"rsqrt", "map %1 {f = rsqrt}", rsqrt_exact, NULL, 1e-6, 1000, 2.4e-7, 0},
    {"sin", "map %1 {f = sin}", sin, NULL, -100000, 100000, 0, 1.2e-7},
    {"cos", "map %1 {f = cos}", cos, NULL, -100000, 100000, 0, 1.2e-7},
    {"tanh", "map %1 {f = tanh}", tanh, NULL, -12, 12, 0, 1.2e-7},
    {"tanh_small", "map %1 {f = tanh}", tanh, NULL, -0.01, 0.01, 2.4e-7, 0},
    {"erf", "map %1 {f = erf}", erf, NULL, -6, 6, 0, 1.2e-7},
    {"erf_small", "map %1 {f = erf}", erf, NULL, -0.01, 0.01, 2.4e-7, 0},
    {"floor", "map %1 {f = floor}", floor, NULL, -1e7, 1e7, 0, 0},
    {"ceil", "map %1 {f = ceil}", ceil, NULL, -50, 50, 0, 0},
    {"pow", "pow %1, %2", NULL, pow, 0.001, 50, 1.3e-7, 0},
    {"atan2", "atan2 %1, %2", NULL, atan2, -9, 9, 0, 3e-7},
    {"mod", "mod %1, %2", NULL, mod_exact, -20, 20, 0, 4e-6},
};

static const float special[] = {0.0f, -0.0f, 1.0f, -1.0f, INFINITY, -INFINITY, NAN, FLT_MAX, -FLT_MAX, FLT_MIN, 1e-40f, -1e-40f, 88.8f,
                                -103.9f, 0.5f, 0.95f, 0.625f, 2.0f, 3.0f, -3.0f, 8388609.0f};
enum { N_SPECIAL = sizeof special / sizeof *special };

static float place(const Function *f, int i)
{
    if (i < N_SPECIAL || i >= N - 4)
        return special[i % N_SPECIAL];
    double u = (double)i / (N - 1);
    if (f->hi > 1e30)
        return (float)exp(-87 + 175 * u);
    return (float)(f->lo + (f->hi - f->lo) * u);
}

// What float arithmetic makes of the exact number.
static bool agrees(const Function *f, double want, float got)
{
    float near = (float)want;
    if (isnan(want) || isinf(near))
        return isnan(want) ? isnan(got) : got == near || fabs((double)got) > 3.4e38;
    double error = fabs((double)got - want);
    return error <= f->absolute || error <= f->relative * fabs(want) || (fabs(want) < 2e-38 && error < 2e-38);
}

static bool is_defined(const Function *f, float x)
{
    if (f->exact1 == sin || f->exact1 == cos)
        return fabsf(x) < 1e6f || isinf(x);
    return true;
}

static void check_function(Device *device, int lanes, const Function *f)
{
    Ran r;
    char text[512];
    snprintf(text, sizeof text, "graph @main\naxis N = %d\n{\n  %%1 = arg \"x\" : f32[N]\n  %%2 = arg \"y\" : f32[N]\n"
             "  %%3 = %s\n  result \"r\" = %%3\n}\n", N, f->op);
    compile_graph(&r, text, lanes);
    StatusText why = {0};
    LoadedProgram *l = NULL;
    if (device_cpu.load(device, r.program, &l, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    float *x = arena_array(&r.arena, float, N), *y = arena_array(&r.arena, float, N), *got = arena_array(&r.arena, float, N);
    for (int i = 0; i < N; i++) {
        x[i] = place(f, i);
        y[i] = (float)((i * 37) % 101 - 50) / 7.0f;
        if (y[i] == 0)
            y[i] = 1;
    }
    uint32_t bx = program_find_buffer(r.program, BUFFER_INPUT, "x"), by = program_find_buffer(r.program, BUFFER_INPUT, "y");
    assert_int_equal(device_cpu.write(l, bx, 0, x, N * sizeof *x, &why), STATUS_OK);
    if (f->exact2)
        assert_int_equal(device_cpu.write(l, by, 0, y, N * sizeof *y, &why), STATUS_OK);
    if (device_cpu.run(l, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    assert_int_equal(device_cpu.read(l, program_find_buffer(r.program, BUFFER_OUTPUT, "output.r"), 0, got, N * sizeof *got, &why), STATUS_OK);
    int wrong = 0;
    for (int i = 0; i < N; i++) {
        bool ends = f->exact2 && (i < N_SPECIAL || i >= N - 4) && !isfinite(x[i]);
        if (ends || !is_defined(f, x[i]) || (f->exact2 == mod_exact && fabsf(x[i]) > 1e4f))
            continue;
        double want = f->exact1 ? f->exact1((double)x[i]) : f->exact2((double)x[i], (double)y[i]);
        if (!agrees(f, want, got[i]) && wrong++ < 8)
            print_error("%s(%.9g, %.9g) = %.9g, not %.9g\n", f->name, (double)x[i], (double)y[i], (double)got[i], want);
    }
    assert_int_equal(wrong, 0);
    device_cpu.unload(l);
    arena_free(&r.arena);
}

static void test_functions(void **state)
{
    (void)state;
    Device *device = open_device(1);
    Target target;
    device_cpu.target(device, &target);
    for (size_t i = 0; i < sizeof function / sizeof *function; i++)
        check_function(device, target.vector_floats, &function[i]);
    device_cpu.close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
