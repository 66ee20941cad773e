// The structured layers of std.monarch against numbers worked out by hand or by other implementations, and against
// their definitions: index formulas, ranks, the Fourier transform.
#include "filled.h"

#include <complex.h>
#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const double one_to_12[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
static const double factor_l[] = {1, 2, 3, 4, 5, 6, 7, 8}, factor_r[] = {1, 0, 1, 1, 2, 1, 0, 1};

// y of `layer` between axes N and M, for x = fill "x" or rows of the identity.
static const double *apply(Run *r, const char *layer, int rows, int n, int m, const Fill *fill)
{
    char text[400];
    snprintf(text, sizeof text, "mix 1\nuse std.monarch\naxis B : batch = %d, N = %d, M = %d\n"
             "model X(x: [B,N]) -> y: [B,M] { y = %s(x) }\n", rows, n, m, layer);
    build_text(r, text, &(BuildOptions){.mode = MODE_EVAL});
    must_build(r);
    return filled_result(r, "y", fill);
}

// The matrix of a layer: out[row * m + column of y] for x = each unit vector.
static const double *matrix(Run *r, const char *layer, int n, int m, const Fill *fill)
{
    double *unit = calloc((size_t)n * (size_t)n, sizeof *unit);
    Fill all[8] = {{"x", "B,N", 0, 0, 0, 0, unit}};
    for (int i = 0; i < n; i++)
        unit[i * n + i] = 1;
    for (size_t i = 0; fill[i].name; i++)
        all[i + 1] = fill[i];
    const double *y = apply(r, layer, n, n, m, all);
    free(unit);
    return y;
}

static void the_paper_form(void **state)
{
    (void)state;
    Run r;
    const Fill fill[] = {{"x", "B,N", 0, 0, 0, 0, one_to_12}, {"B1", "N2,M1,N1", 0, 0, 0, 0, factor_l},
                         {"B2", "M1,M2,N2", 0, 0, 0, 0, factor_r}, {0}};
    near(apply(&r, "Monarch2[n1=2, n2=2]", 1, 4, 4, fill), (double[]){7, 76, 41, 46}, 4, 0);
    finish(&r);
    const double rows[4][4] = {{1, 0, 2, 0}, {6, 7, 8, 8}, {1, 5, 2, 6}, {0, 7, 0, 8}};
    const double *m = matrix(&r, "Monarch2[n1=2, n2=2]", 4, 4, fill + 1);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            near(&m[j * 4 + i], &rows[i][j], 1, 0);
    finish(&r);
}

static void the_authors_form(void **state)
{
    (void)state;
    Run r;
    const Fill fill[] = {{"x", "B,N", 0, 0, 0, 0, one_to_12}, {"W1", "K,Q,P", 0, 0, 0, 0, factor_l},
                         {"W2", "L,S,R", 0, 0, 0, 0, factor_r}, {0}};
    near(apply(&r, "Monarch[k=2]", 1, 4, 4, fill), (double[]){5, 75, 44, 53}, 4, 0);
    finish(&r);
    const double rows[4][4] = {{1, 2, 0, 0}, {6, 8, 7, 8}, {1, 2, 5, 6}, {0, 0, 7, 8}};
    const double *m = matrix(&r, "Monarch[k=2]", 4, 4, fill + 1);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            near(&m[j * 4 + i], &rows[i][j], 1, 0);
    finish(&r);
    const Fill wide[] = {{"x", "B,N", 0, 0, 0, 0, one_to_12}, {"W1", "K,Q,P", 0, 0, 0, 0, one_to_12},
                         {"W2", "L,S,R", 0, 0, 0, 0, one_to_12}, {0}};
    near(apply(&r, "Monarch[k=2, l=3, q=3]", 1, 4, 6, wide), (double[]){111, 457, 963, 227, 613, 1159}, 6, 0);
    finish(&r);
}

// M[i1*b + i0, j1*b + j0] = W2[i0,i1,j1] W1[j1,i0,j0]: for fixed i0, j1 of rank 1.
static void slices_of_the_authors_form_have_rank_one(void **state)
{
    (void)state;
    enum { b = 4, n = b * b };
    Run r;
    const Fill fill[] = {{"W1", "K,Q,P", 0, 1, 1, 0, NULL}, {"W2", "L,S,R", 0, 1, 2, 0, NULL}, {0}};
    const double *m = matrix(&r, "Monarch", n, n, fill);
    for (int i0 = 0; i0 < b; i0++)
        for (int i1 = 0; i1 < b; i1++)
            for (int j1 = 0; j1 < b; j1++)
                for (int j0 = 0; j0 < b; j0++) {
                    double w2 = sin(0.37 * ((i0 * b + i1) * b + j1) + 2), w1 = sin(0.37 * ((j1 * b + i0) * b + j0) + 1);
                    near(&m[(j1 * b + j0) * n + i1 * b + i0], (double[]){w2 * w1}, 1, 1e-13);
                }
    finish(&r);
}

static void block_diagonal(void **state)
{
    (void)state;
    Run r;
    const Fill fill[] = {{"x", "B,N", 0, 0, 0, 0, one_to_12}, {"W", "G,Q,P", 0, 0, 0, 0, one_to_12}, {0}};
    near(apply(&r, "Blocks[k=2]", 1, 4, 4, fill), (double[]){5, 11, 39, 53}, 4, 0);
    finish(&r);
    // Two rows read by columns: the blocks hold 1, 3 and 2, 4; of six 1, 4, 2 and 5, 3, 6.
    near(apply(&r, "Blocks[k=2, shuffle=1]", 1, 4, 4, fill), (double[]){7, 15, 34, 46}, 4, 0);
    finish(&r);
    near(apply(&r, "Blocks[k=2, shuffle=1]", 1, 6, 4, fill), (double[]){15, 36, 113, 155}, 4, 0);
    finish(&r);
    // 5 -> 3 by two blocks: zeros behind x, and the last result cut off.
    near(apply(&r, "Blocks[k=2]", 1, 5, 3, fill), (double[]){14, 32, 4 * 7 + 5 * 8}, 3, 0);
    finish(&r);
    // The same padding around a Monarch product: as with 8 -> 8 and x behind zeros.
    const Fill two[] = {{"x", "B,N", 0, 1, 3, 0, NULL}, {"W1", "K,Q,P", 0, 1, 1, 0, NULL}, {"W2", "L,S,R", 0, 1, 2, 0, NULL},
                        {"bias", "M", 0, 0, 0, 0, NULL}, {0}};
    double padded[8] = {0}, want[6];
    for (int i = 0; i < 5; i++)
        padded[i] = sin(0.37 * i + 3);
    const Fill whole[] = {{"x", "B,N", 0, 0, 0, 0, padded}, two[1], two[2], {0}};
    memcpy(want, apply(&r, "Monarch", 1, 8, 8, whole), sizeof want);
    finish(&r);
    near(apply(&r, "MonarchLinear", 1, 5, 6, two), want, 6, 1e-14);
    finish(&r);
}

// A gate that comes from the first half: chunks of x that each chunk of the result depends on.
static void gated_blocks_are_two_halves(void **state)
{
    (void)state;
    enum { n = 8 };
    Run r;
    double x[2 * n * n], change[n][n] = {{0}};
    for (int row = 0; row < 2 * n; row++)
        for (int i = 0; i < n; i++)
            x[row * n + i] = sin(0.37 * i) + (row < n && row == i ? 0.5 : 0);
    const Fill fill[] = {{"x", "B,D", 0, 0, 0, 0, x}, {"W", "G,Q,P", 0, 1, 1, 0, NULL}, {"bias", "D", 0, 1, 2, 0, NULL}, {0}};
    build_text(&r, "mix 1\nuse std.monarch\naxis B : batch = 16, D = 8\n"
               "model X(x: [B,D]) -> y: [B,D] { y = BlockGlu[F=2*D](x) }\n", &(BuildOptions){.mode = MODE_EVAL});
    must_build(&r);
    const double *y = filled_result(&r, "y", fill);
    for (int i = 0; i < n; i++)
        for (int o = 0; o < n; o++)
            change[o][i] = fabs(y[i * n + o] - y[(n + i) * n + o]);
    for (int o = 0; o < n; o++)
        for (int i = 0; i < n; i++) {
            bool same_half = (o / 2 < 2) == (i / 2 % 2 == 0);
            if (same_half ? change[o][i] < 1e-6 : change[o][i] != 0)
                fail_msg("result %d changes by %g with input %d", o, change[o][i], i);
        }
    finish(&r);
}

// The real or the imaginary part of the Fourier factors of a layer over digits n[0], n[1], ..: factor s exchanges n_s
// for k_s, with the twiddles of the digits that are still to come.
static double *fourier_factor(const int *n, int p, int s, bool imaginary)
{
    int blocks = 1, rest = 1;
    for (int i = 0; i < p; i++)
        blocks *= i == s ? 1 : n[i];
    for (int i = s; i < p; i++)
        rest *= n[i];
    double *out = calloc((size_t)blocks * (size_t)(n[s] * n[s]), sizeof *out);
    for (int block = 0, i = 0; block < blocks; block++) {
        int low = block % (rest / n[s]);        // the value of the digits n_{s+1}..; the block counts k_1..k_{s-1} first
        for (int k = 0; k < n[s]; k++)
            for (int j = 0; j < n[s]; j++) {
                double turn = (double)(k * j) / n[s] + (double)(k * low) / rest;
                out[i++] = (imaginary ? -1 : 1) * (imaginary ? sin(2 * M_PI * turn) : cos(2 * M_PI * turn));
            }
    }
    return out;
}

// The product of p complex factors is 2^p products of real ones.
static void check_fourier(const char *layer, const int *n, int p)
{
    static const char *const name[] = {"B1", "B2", "B3", "B4"};
    static const char *const order[5][4] = {
        {0}, {0}, {"N2,M1,N1", "M1,M2,N2"}, {"N2,N3,M1,N1", "M1,N3,M2,N2", "M1,M2,M3,N3"},
        {"N2,N3,N4,M1,N1", "M1,N3,N4,M2,N2", "M1,M2,N4,M3,N3", "M1,M2,M3,M4,N4"}};
    int size = 1;
    for (int s = 0; s < p; s++)
        size *= n[s];
    double complex *got = calloc((size_t)size, sizeof *got);
    for (int parts = 0; parts < 1 << p; parts++) {
        Fill fill[6] = {{"x", "B,N", 0, 1, 1, 0, NULL}};
        double *factor[4];
        for (int s = 0; s < p; s++) {
            factor[s] = fourier_factor(n, p, s, parts >> s & 1);
            fill[s + 1] = (Fill){name[s], order[p][s], 0, 0, 0, 0, factor[s]};
        }
        Run r;
        const double *y = apply(&r, layer, 1, size, size, fill);
        double complex unit = 1;
        for (int s = 0; s < p; s++)
            unit *= parts >> s & 1 ? I : 1;
        for (int i = 0; i < size; i++)
            got[i] += unit * y[i];
        finish(&r);
        for (int s = 0; s < p; s++)
            free(factor[s]);
    }
    for (int k = 0; k < size; k++) {
        double complex want = 0;
        for (int i = 0; i < size; i++)
            want += sin(0.37 * i + 1) * cexp(-2 * M_PI * I * ((k * i) % size) / size);
        if (cabs(want - got[k]) > 1e-13 * size)
            fail_msg("%s: frequency %d is off by %g", layer, k, cabs(want - got[k]));
    }
    free(got);
}

static void fourier_factors_make_the_transform(void **state)
{
    (void)state;
    check_fourier("Monarch2[n1=2, n2=2]", (int[]){2, 2}, 2);
    check_fourier("Monarch2[n1=8, n2=8]", (int[]){8, 8}, 2);
    check_fourier("Monarch2[n1=5, n2=7]", (int[]){5, 7}, 2);
    check_fourier("Monarch3[n1=4, n2=4, n3=4]", (int[]){4, 4, 4}, 3);
    check_fourier("Monarch3[n1=3, n2=2, n3=5]", (int[]){3, 2, 5}, 3);
    check_fourier("Monarch4[n1=2, n2=3, n3=5, n4=7]", (int[]){2, 3, 5, 7}, 4);
}

// M[(k1..k3), (n1..n3)] is the product of the factors' elements, with results of other sizes than the digits.
static void order_three_is_the_product_of_its_factors(void **state)
{
    (void)state;
    enum { n1 = 2, n2 = 3, n3 = 4, m1 = 3, m2 = 2, m3 = 2, n = n1 * n2 * n3, m = m1 * m2 * m3 };
    Run r;
    const Fill fill[] = {{"B1", "N2,N3,M1,N1", 0, 1, 1, 0, NULL}, {"B2", "M1,N3,M2,N2", 0, 1, 2, 0, NULL},
                         {"B3", "M1,M2,M3,N3", 0, 1, 3, 0, NULL}, {0}};
    const double *got = matrix(&r, "Monarch3[n1=2, n2=3, n3=4, m1=3, m2=2, m3=2, reverse=0]", n, m, fill);
    for (int i = 0; i < n; i++)
        for (int o = 0; o < m; o++) {
            int a1 = i / (n2 * n3), a2 = i / n3 % n2, a3 = i % n3, k1 = o / (m2 * m3), k2 = o / m3 % m2, k3 = o % m3;
            double b1 = sin(0.37 * (((a2 * n3 + a3) * m1 + k1) * n1 + a1) + 1);
            double b2 = sin(0.37 * (((k1 * n3 + a3) * m2 + k2) * n2 + a2) + 2);
            double b3 = sin(0.37 * (((k1 * m2 + k2) * m3 + k3) * n3 + a3) + 3);
            near(&got[i * m + o], (double[]){b1 * b2 * b3}, 1, 1e-13);
        }
    finish(&r);
}

// A layer of the Monarch Mixer: a Monarch pair along the sequence, one along the features, both with learned weights.
static void the_abstract_mixer(void **state)
{
    (void)state;
    static const char text[] =
        "mix 1\nuse std.monarch\nuse std.norm\naxis N = 4, D = 4\n"
        "layer Pair[N](x: [..,N]) -> [..,N] { yield Monarch2[N, M=N, n1=2, n2=2](x) }\n"
        "model Mixer(x: [N,D]) -> y: [N,D] {\n"
        "  param K1[D,N] = normal(1), k2[D] = normal(1)\n"
        "  layer m1 = Pair[N], m2 = Pair[N], m3 = Pair[D], m4 = Pair[D]\n"
        "  u = m2(relu(K1 * m1(x)))\n"
        "  y = LN(m4(relu(k2 * m3(u))) + u)\n"
        "}\n";
    Run r;
    Fill fill[16] = {{"x", "N,D", 0, 1, 0.3, 0, NULL}, {"K1", "D,N", 0, 1, 5, 0, NULL}, {"k2", "D", 0, 1, 6, 0, NULL},
                     {.name = "gain"}, {.name = "bias"}};
    static const char *const factor[] = {"m1.Monarch2.B1", "m1.Monarch2.B2", "m2.Monarch2.B1", "m2.Monarch2.B2",
                                         "m3.Monarch2.B1", "m3.Monarch2.B2", "m4.Monarch2.B1", "m4.Monarch2.B2"};
    for (int i = 0; i < 8; i++)
        fill[5 + i] = (Fill){factor[i], i % 2 ? "M1,M2,N2" : "N2,M1,N1", 0, 1, 1 + i * 0.5, 0, NULL};
    const double want[] = {-0.327322, 0.649974, 1.143979, -1.46663, 0.987089, -1.159415, -0.824889, 0.997216,
                           0.807795, -1.178248, -0.772459, 1.142912, 0.946514, -1.090581, -0.902262, 1.046329};
    build_text(&r, text, &(BuildOptions){.mode = MODE_EVAL});
    must_build(&r);
    near(filled_result(&r, "y", fill), want, 16, 1e-6);
    finish(&r);
}

// The polynomials' coefficients: 1 for the own power, the rule's above it, 0 below. The layer keeps rows for results.
static void coefficients(double *out, int blocks, int n, int row, double seed)
{
    for (int block = 0; block < blocks; block++)
        for (int own = 0; own < n; own++)
            for (int power = 0; power < n; power++)
                out[(block * n + power) * n + own] =
                    power < own ? 0 : power == own ? 1 : 0.5 * sin(0.37 * ((block * row + own) * row + power) + seed);
}

// A convolution of polynomials in two bases of a Monarch form, for 8 positions in blocks of 4.
static void the_causal_form(void **state)
{
    (void)state;
    double l1[16], r1[16], l2[16], r2[16];
    coefficients(l1, 1, 4, 4, 1);
    coefficients(r1, 4, 2, 2, 2);
    coefficients(l2, 1, 4, 4, 3);
    coefficients(r2, 4, 2, 2, 4);
    const Fill fill[] = {{"u", "T", 0, 1, 6, 0, NULL}, {"k", "T", 0, 1, 5, 0, NULL},
                         {"CausalMonarch.Cl", "J,J'", 0, 0, 0, 0, l2}, {"CausalMonarch.Cr", "J,I,I'", 0, 0, 0, 0, r2},
                         {"CausalMonarch.2.Cl", "J,J'", 0, 0, 0, 0, l1}, {"CausalMonarch.2.Cr", "J,I,I'", 0, 0, 0, 0, r1}, {0}};
    const double want[] = {0.267938, 0.238944, -0.343556, -1.61285, -2.697347, -3.406287, -2.888842, -1.819216};
    static const char text[] = "mix 1\nuse std.monarch\naxis T : time = 8\n"
                               "model X(u: [T], k: [T]) -> y: [T] causal over T { y = MonarchConv[N=T, b=4](u, k) }\n";
    Run r;
    build_text(&r, text, &(BuildOptions){.mode = MODE_EVAL});
    must_build(&r);
    near(filled_result(&r, "y", fill), want, 8, 1e-6);
    // With first values, the convolution itself.
    const Fill first[] = {fill[0], fill[1], {.name = "Cl"}, {.name = "Cr"}, {0}};
    const double *y = filled_result(&r, "y", first);
    for (int t = 0; t < 8; t++) {
        double sum = 0;
        for (int s = 0; s <= t; s++)
            sum += sin(0.37 * s + 5) * sin(0.37 * (t - s) + 6);
        near(&y[t], &sum, 1, 1e-12);
    }
    finish(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_paper_form),
        cmocka_unit_test(the_authors_form),
        cmocka_unit_test(slices_of_the_authors_form_have_rank_one),
        cmocka_unit_test(block_diagonal),
        cmocka_unit_test(gated_blocks_are_two_halves),
        cmocka_unit_test(fourier_factors_make_the_transform),
        cmocka_unit_test(order_three_is_the_product_of_its_factors),
        cmocka_unit_test(the_abstract_mixer),
        cmocka_unit_test(the_causal_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
