// The causality proof on small programs, sound and leaking (causal.cases). Every verdict is confirmed by numbers: a sound
// program's past does not move by one bit when the future of its inputs changes; a leaking one's does.
#include "eval.h"
#include "pass.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

PassRun pass_causal;

static const char header[] =
    "graph @main\naxis B : batch = 2, T : time = 6, T' : time = 6 twin T, T'' : time = 6 twin T, D = 3, F = 2, J = 3\n"
    "axis G = 2, H = 3, M = 18, U = 5, V = 2\n{\n  %1.x = arg \"x\" : f32[B,T,D]\n  %2.z = arg \"z\" : f32[B,T]\n";

enum { B = 2, T = 6, D = 3 };

typedef struct Case {
    char  name[128], label[160];
    bool  sound;
    int   after;
    char *body;
} Case;

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *text = test_calloc((size_t)n + 1, 1);
    assert_int_equal(fread(text, 1, (size_t)n, f), n);
    fclose(f);
    return text;
}

// `sound [after N]: name` or `leaks [after N]: name | label`, then the body.
static Case read_case(char *text)
{
    Case c = {0};
    while (*text == '\n' || strncmp(text, "//", 2) == 0)
        text += strcspn(text, "\n") + 1;
    char *end = strchr(text, '\n');
    assert_non_null(end);
    *end = 0;
    c.body = end + 1;
    c.sound = strncmp(text, "sound", 5) == 0;
    assert_true(c.sound || strncmp(text, "leaks", 5) == 0);
    char *colon = strchr(text, ':'), *bar = strchr(text, '|');
    assert_non_null(colon);
    if (strncmp(text + 5, " after ", 7) == 0)
        c.after = atoi(text + 12);
    snprintf(c.name, sizeof c.name, "%.*s", (int)((bar ? bar - 1 : end) - colon - 2), colon + 2);
    if (bar)
        snprintf(c.label, sizeof c.label, "%s", bar + 2);
    return c;
}

typedef struct Numbers {
    double   x[B * T * D], z[B * T], param[64];
} Numbers;

static double noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 8) / (1 << 23) - 1;
}

static const double *leaf(void *user, const Graph *g, const Node *n)
{
    (void)g;
    const Numbers *numbers = user;
    static const double places[T] = {4, 2, 5, 0, 3, 1};
    if (n->op == OP_ARG)
        return strcmp(n->attr[0].name, "x") == 0 ? numbers->x : numbers->z;
    return n->type.dtype == DTYPE_I32 ? places : numbers->param;
}

static Numbers make_numbers(void)
{
    Numbers n;
    uint32_t state = 5;
    for (size_t i = 0; i < sizeof n / sizeof(double); i++)
        ((double *)&n)[i] = noise(&state);
    return n;
}

// Other numbers after the first `n_kept` positions.
static void change_future(Numbers *n, int n_kept)
{
    uint32_t state = 77;
    for (int b = 0; b < B; b++)
        for (int t = n_kept; t < T; t++) {
            n->z[b * T + t] += 3 * noise(&state);
            for (int d = 0; d < D; d++)
                n->x[(b * T + t) * D + d] += 3 * noise(&state);
        }
}

// Whether positions up to `t` of the result differ.
static bool past_differs(const Graph *g, const Node *n, const double *a, const double *b, int t)
{
    int64_t count;
    assert_true(type_count(g, &n->type, &count));
    AxisId time = graph_find_axis(g, "T");
    int64_t inner = 1;
    for (int i = type_find(&n->type, time) + 1; i < n->type.n_axes; i++)
        inner *= graph_size(g, n->type.axis[i]);
    for (int64_t i = 0; i < count; i++)
        if (i / inner % T <= t && memcmp(&a[i], &b[i], sizeof *a) != 0)
            return true;
    return false;
}

static bool leaks_in_numbers(Arena *arena, const Graph *g, int after)
{
    Numbers numbers = make_numbers();
    EvalResult was, is;
    StatusText why = {0};
    ValueId y = graph_find_output(g, OUTPUT_RESULT, "y");
    assert_int_equal(graph_eval(g, leaf, &numbers, arena, &was, &why), STATUS_OK);
    for (int t = 0; t < T - 1; t++) {
        Numbers changed = numbers;
        change_future(&changed, t + 1 > after ? t + 1 : after);
        assert_int_equal(graph_eval(g, leaf, &changed, arena, &is, &why), STATUS_OK);
        if (past_differs(g, &g->node[y], was.value[y], is.value[y], t))
            return true;
    }
    return false;
}

static void check_case(const Case *c)
{
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    char *text = arena_printf(&arena, "%s%s}\n", header, c->body);
    uint32_t file = sources_add(&sources, c->name, text, strlen(text));
    Graph *g = graph_parse(&arena, &diag, &sources, file);
    if (!g)
        fail_msg("%s: does not parse: %s", c->name, diag.item[0].message);
    ValueId in[] = {1, 2}, out = graph_find_output(g, OUTPUT_RESULT, "y");
    Claim claim = {.layer = "Net.l3.Mix.2", .axis = graph_find_axis(g, "T"), .after = c->after, .in = in, .n_in = 2,
                   .out = &out, .n_out = 1};
    g->claim = &claim;
    g->n_claims = 1;
    Module *m = module_make(&arena, &diag), *proved = module_make(&arena, &diag);
    module_add_graph(m, g);
    PassContext ctx = {.arena = &arena, .diag = &diag};
    bool sound = pass_causal(&ctx, m, proved), leaks = leaks_in_numbers(&arena, g, c->after);
    if (sound != c->sound)
        fail_msg("%s: the proof says %s (%s)", c->name, sound ? "sound" : "leaks",
                 diag.n_items ? diag.item[0].label[1].text : "");
    if (leaks == c->sound)
        fail_msg("%s: the numbers say otherwise", c->name);
    if (!sound) {
        assert_int_equal(diag.n_errors, 1);
        assert_string_equal(diag.item[0].code, "E0412");
        assert_int_equal(strncmp(diag.item[0].message, "`Mix` says it is causal over T, but ", 36), 0);
        assert_string_equal(diag.item[0].label[1].text, c->label);
    }
    assert_int_equal(proved->graph[0]->n_claims, 0);
    arena_free(&arena);
}

static void verdicts_agree_with_numbers(void **state)
{
    (void)state;
    char *text = read_file(MIXC_TESTS "/passes/causal.cases"), *next;
    int n_sound = 0, n_leaking = 0;
    for (char *at = text; at; at = next) {
        next = strstr(at, "\n----\n");
        if (next) {
            next[1] = 0;
            next += 6;
        }
        Case c = read_case(at);
        check_case(&c);
        *(c.sound ? &n_sound : &n_leaking) += 1;
    }
    print_message("%d sound programs, %d leaking ones\n", n_sound, n_leaking);
    assert_true(n_sound >= 20 && n_leaking >= 20);
    test_free(text);
}

static void an_allowed_leak_is_a_warning(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Graph *g = graph_make(&arena, &diag, "main");
    AxisId time = graph_axis(g, "T", AXIS_TIME, 4, 0);
    ValueId x = graph_leaf(g, OP_ARG, "x", type_make(DTYPE_F32, &time, 1)), y = graph_reverse(g, x, time);
    Claim claim[2] = {{.layer = "A", .axis = time, .leak_allowed = true, .in = &x, .n_in = 1, .out = &y, .n_out = 1}};
    g->claim = claim;
    g->n_claims = 1;
    Module *m = module_make(&arena, &diag), *proved = module_make(&arena, &diag);
    module_add_graph(m, g);
    PassContext ctx = {.arena = &arena, .diag = &diag};
    assert_true(pass_causal(&ctx, m, proved));
    assert_int_equal(diag.n_errors, 0);
    assert_int_equal(diag.n_warnings, 1);
    assert_string_equal(diag.item[0].message,
                        "`A` is not causal over T in this mode, as it allows: position 0 can see position 3");
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_agree_with_numbers),
        cmocka_unit_test(an_allowed_leak_is_a_warning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
