// CONV kernels against the evaluator: by transforms and directly, and the same bits for one thread and for three; and, for long
// ones, against transforms in double precision.
#include "run_graph.h"

#include "conv.h"

#include "conv_cases.h"

static void check_sizes(const int size[][5], int n)
{
    Arena arena = {0};
    Text axes = text_make(&arena), body = text_make(&arena), all = text_make(&arena);
    int id = 1;
    for (int i = 0; i < n; i++)
        add_case(&axes, &body, &id, size[i], i);
    text_printf(&all, "graph @main\n%s\n{\n%s", text_str(&axes), text_str(&body));
    for (int i = 0; i < n; i++)
        text_printf(&all, " result \"y%d\" = %%%d\n result \"d%d\" = %%%d\n", i, 6 * i + 5, i, 6 * i + 6);
    text_add(&all, "}\n");
    check_graph(text_str(&all), 5e-6);
    arena_free(&arena);
}

static void test_lengths(void **state)
{
    (void)state;
    static const int size[][5] = {      // B, T, S, C, left
        {2, 96, 96, 16, 0}, {3, 127, 127, 19, 0}, {1, 150, 300, 5, 150}, {4, 211, 100, 8, 3}, {2, 331, 97, 1, -4}, {2, 700, 64, 4, 0},
        {3, 640, 640, 3, 0}, {1, 9, 5, 33, 2},
    };
    check_sizes(size, sizeof size / sizeof *size);
}

// Filters that reach beyond all of x, or results that none reaches.
static void test_far(void **state)
{
    (void)state;
    static const int size[][5] = {
        {2, 120, 400, 3, 260}, {2, 120, 500, 3, 500}, {1, 250, 90, 17, -100}, {1, 200, 200, 2, -250}, {1, 60, 300, 2, 400}, {2, 1, 200, 2, 100},
        {1, 300, 200, 2, 199},
    };
    check_sizes(size, sizeof size / sizeof *size);
}

static void test_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_graph(cases[i], 5e-6);
}

static void test_gates(void **state)
{
    (void)state;
    static const int size[][4] = {{40, 5, 0, 0}, {300, 300, 0, 1}, {333, 111, 0, 0}, {200, 300, 131, 0}, {96, 500, 400, 0}, {250, 130, -3, 0}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        char text[1024];
        snprintf(text, sizeof text, gated, size[i][0], size[i][1], size[i][2], size[i][3] ? " result \"conv\" = %7\n" : "");
        check_graph(text, 5e-6);
    }
}

// --- against transforms in double precision: any length, modulo X^n - 1 with n a power of two that holds the whole product

static void transform(double *z, size_t n, int sign)
{
    for (size_t i = 1, j = 0; i < n; i++) {
        size_t bit = n >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        for (int p = 0; i < j && p < 2; p++) {
            double t = z[2*i + (size_t)p];
            z[2*i + (size_t)p] = z[2*j + (size_t)p];
            z[2*j + (size_t)p] = t;
        }
    }
    double *w = malloc(n * sizeof *w + 16);
    for (size_t k = 0; k < n / 2; k++) {
        w[2*k] = cos(2 * M_PI * (double)k / (double)n);
        w[2*k + 1] = sign * sin(2 * M_PI * (double)k / (double)n);
    }
    for (size_t m = 2; m <= n; m *= 2)
        for (size_t b = 0; b < n; b += m)
            for (size_t k = 0; k < m / 2; k++) {
                double *p = z + 2*(b + k), *q = p + m, re = w[2*k*(n/m)], im = w[2*k*(n/m) + 1];
                double x = q[0]*re - q[1]*im, y = q[0]*im + q[1]*re;
                q[0] = p[0] - x; q[1] = p[1] - y;
                p[0] += x; p[1] += y;
            }
    free(w);
}

// out[0 .. 2L - 2] = x * k, in double: x is the real part and k the imaginary one, and the imaginary part of z^2 is 2 x*k.
static void convolve(const float *x, const float *k, size_t L, double *out)
{
    size_t n = 1;
    while (n < 2 * L)
        n *= 2;
    double *z = calloc(2 * n, sizeof *z);
    for (size_t i = 0; i < L; i++) {
        z[2*i] = (double)x[i];
        z[2*i + 1] = (double)k[i];
    }
    transform(z, n, -1);
    for (size_t i = 0; i < n; i++) {
        double re = z[2*i]*z[2*i] - z[2*i + 1]*z[2*i + 1];
        z[2*i + 1] *= 2 * z[2*i];
        z[2*i] = re;
    }
    transform(z, n, 1);
    for (size_t i = 0; i < 2 * L - 1; i++)
        out[i] = z[2*i + 1] / (2 * (double)n);
    free(z);
}

typedef enum Form { CAUSAL, BOTH_WAYS, CIRCULAR } Form;

// x and k of one channel; numbers with a mean, so that sums grow with the length.
static void make_numbers(float *x, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((seed + (uint32_t)i) * 2654435761u >> 8) / 16777216 - 0.4f;
}

// The largest error of a length, relative to the largest result.
static double error_of(Device *device, size_t L, Form form)
{
    Ran r;
    Target target;
    char text[512];
    int taps = form == BOTH_WAYS ? 2 * (int)L - 1 : (int)L;
    snprintf(text, sizeof text, "graph @main\naxis T : time = %d, S = %d, C = 2\n{\n %%1 = arg \"x\" : f32[T,C]\n %%2 = arg \"k\" : f32[S,C]\n"
             " %%3 = fftconv %%1, %%2 {axis = T, taps = S, to = T, left = %d, over = [], circular = %d}\n result \"y\" = %%3\n}\n",
             (int)L, taps, form == BOTH_WAYS ? (int)L - 1 : 0, form == CIRCULAR);
    device_cpu.target(device, &target);
    compile_only(&r, text, target.vector_floats);
    StatusText why = {0};
    LoadedProgram *l = NULL;
    assert_int_equal(device_cpu.load(device, r.program, &l, &why), STATUS_OK);
    float *x = malloc(L * 4), *k = malloc((size_t)taps * 4), *two = malloc((size_t)taps * 8);
    double *want = calloc(2 * (size_t)taps, sizeof *want), worst = 0, most = 0;
    make_numbers(x, L, 1);
    make_numbers(k, (size_t)taps, 77);
    for (int which = 0; which < 2; which++) {
        const float *from = which ? k : x;
        size_t n = which ? (size_t)taps : L;
        for (size_t i = 0; i < n; i++) {
            two[2*i] = from[i];
            two[2*i + 1] = -from[i] / 2;
        }
        uint32_t b = program_find_buffer(r.program, BUFFER_INPUT, which ? "k" : "x");
        assert_int_equal(device_cpu.write(l, b, 0, two, n * 8, &why), STATUS_OK);
    }
    assert_int_equal(device_cpu.run(l, &why), STATUS_OK);
    assert_int_equal(device_cpu.read(l, program_find_buffer(r.program, BUFFER_OUTPUT, "output.y"), 0, two, L * 8, &why), STATUS_OK);
    float *padded = calloc((size_t)taps, 4);
    memcpy(padded, x, L * 4);
    convolve(padded, k, (size_t)taps, want);
    for (size_t i = 0; i < L; i++) {
        double y = form == BOTH_WAYS ? want[i + L - 1] : want[i];
        if (form == CIRCULAR)
            y += i + L < 2 * L - 1 ? want[i + L] : 0;
        double error = fmax(fabs((double)two[2*i] - y), fabs((double)two[2*i + 1] - y / 4));
        worst = fmax(worst, error);
        most = fmax(most, fabs(y));
    }
    device_cpu.unload(l);
    arena_free(&r.arena);
    free(x); free(k); free(two); free(want); free(padded);
    return worst / most;
}

// A few lengths of each kind here; MIXC_TEST_LENGTHS="1 2 3 .." tries others (tests/codegen/all_lengths.sh sweeps).
static void test_long(void **state)
{
    (void)state;
    static const size_t few[] = {1, 2, 31, 257, 4095, 6007, 65537};
    Device *device = open_device(2);
    const char *wanted = getenv("MIXC_TEST_LENGTHS");
    char *end;
    size_t n = wanted ? SIZE_MAX : sizeof few / sizeof *few;
    for (size_t i = 0; i < n; i++) {
        size_t L = wanted ? strtoul(wanted, &end, 10) : few[i];
        if (wanted && end == wanted)
            break;
        wanted = wanted ? end : NULL;
        for (Form form = CAUSAL; form <= CIRCULAR; form++) {
            if (!wanted && form != (Form)(i % 3))
                continue;
            double error = error_of(device, L, form);
            if (wanted)
                print_message("%zu %s %.2g\n", L, form == CAUSAL ? "causal" : form == BOTH_WAYS ? "both" : "circular", error);
            if (!(error <= 1e-5))
                fail_msg("length %zu, form %d: relative error %g", L, form, error);
        }
    }
    device_cpu.close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_far),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_gates),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
