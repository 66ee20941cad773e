// The edges of routing: tokens x experts x choices x capacities x policies, the cpu against the evaluator, forward and gradients,
// with every output filled with NaN beforehand.
//
//   test_route_matrix              a sample that is the same every time
//   test_route_matrix all          the whole matrix (some minutes)
//   test_route_matrix 65 7 2       one cell: tokens, experts, choices
//
// Sizes are bound when a program is made, so each cell (tokens, experts, choices) is a program of its own; all capacities and
// policies of a cell are routes of one model, each with parameters of its own.
#include "engine.h"
#include "grad.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const int all_tokens[] = {0, 1, 2, 63, 64, 65, 127, 128, 129}, all_experts[] = {1, 2, 7, 64, 256};

typedef struct Cell {
    int tokens, experts, choices;
    int rows, features, hidden;             // rows: of the fullest expert
} Cell;

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static float draw(uint32_t *state)
{
    return (float)next(state) / (1 << 23) - 1;
}

// ---- scores ----

typedef enum Scores { SCORES_RANDOM, SCORES_EQUAL, SCORES_ALL_TO_ONE, SCORES_ONE_EMPTY } Scores;

static void fill_scores(const Cell *c, Scores kind, int which, float *s)
{
    uint32_t state = (uint32_t)(c->tokens * 1000003 + c->experts * 101 + c->choices);
    for (int t = 0; t < c->tokens; t++)
        for (int e = 0; e < c->experts; e++) {
            const float random = draw(&state);
            float *x = &s[t * c->experts + e];
            *x = kind == SCORES_EQUAL ? 0.25f : random;
            if (kind == SCORES_ALL_TO_ONE && e == which)
                *x = 3 + random;
            if (kind == SCORES_ONE_EMPTY && e == which)
                *x = -3 + random;
        }
}

// The load of the fullest expert when tokens take their best.
static int fullest(const Cell *c, const float *s)
{
    int *load = calloc((size_t)c->experts, sizeof *load), most = 0;
    for (int t = 0; t < c->tokens; t++)
        for (int e = 0; e < c->experts; e++) {
            int before = 0;
            for (int o = 0; o < c->experts; o++)
                before += s[t * c->experts + o] > s[t * c->experts + e] || (s[t * c->experts + o] == s[t * c->experts + e] && o < e);
            if (before < c->choices && ++load[e] > most)
                most = load[e];
        }
    free(load);
    return most;
}

// ---- the model ----

typedef struct Policy { const char *clauses; bool top_one, needs_room, needs_many; } Policy;

// %s is a capacity.
static const Policy policies[] = {
    {.clauses = "gate softmax %s"},
    {"gate softmax(norm=kept) %s priority choice", .needs_room = true},
    {"gate sigmoid(norm=chosen) %s priority score", .needs_room = true},
    {"gate softmax(norm=chosen) %s overflow pass", .needs_room = true},
    {.clauses = "gate one %s where live"},
    {"gate sigmoid %s assign experts_choose over T", .needs_room = true},
    {"gate sigmoid assign balanced over T %s", .top_one = true},
    // evened out, the experts of few tokens are all alike, and rounding decides
    {"gate softmax assign sinkhorn(3) over T %s", .needs_many = true},
};
enum { N_POLICIES = sizeof policies / sizeof *policies, N_CAPACITIES = 6 };

// Capacities: dropless, floor(k*n/E), 1.25 of it, what the fullest expert needs, one less, one. NULL: there is none such.
static const char *capacity_text(Arena *a, const Cell *c, int which)
{
    const int even = c->choices * c->tokens / c->experts;
    switch (which) {
    case 0: return "dropless";
    case 1: return even > 0 || c->tokens == 0 ? "capacity 1 over T" : NULL;
    case 2: return 5 * c->choices * c->tokens / (4 * c->experts) > 0 || c->tokens == 0 ? "capacity 1.25 over T" : NULL;
    case 3: return c->rows > 0 ? arena_printf(a, "capacity rows(%d) over T", c->rows) : NULL;
    case 4: return c->rows > 1 ? arena_printf(a, "capacity rows(%d) over T", c->rows - 1) : NULL;
    default: return c->rows > 2 ? "capacity rows(1) over T" : NULL;
    }
}

// Writes one route; false when this policy has no such capacity.
static bool add_route(Arena *a, const Cell *c, int policy, int capacity, int number, Text *body, Text *results)
{
    const Policy *p = &policies[policy];
    const char *room = capacity_text(a, c, capacity);
    if (!room || (p->top_one && c->choices != 1) || (p->needs_room && capacity == 0) ||
        (p->needs_many && c->tokens <= 2 * c->experts))
        return false;
    char *clauses = arena_alloc(a, strlen(p->clauses) + strlen(room) + 1, 1);
    const char *hole = strstr(p->clauses, "%s");
    sprintf(clauses, "%.*s%s%s", (int)(hole - p->clauses), p->clauses, room, hole + 2);
    text_printf(body, "  param W%d[E,D,F], b%d[E,F], V%d[E,F,D]\n", number, number, number);
    text_printf(body, "  y%d = route x by s to E experts top %d %s each t { yield relu(t @[D] W%d + b%d) @[F] V%d }\n", number, c->choices,
                clauses, number, number, number);
    text_printf(results, "%sy%d: [T,D]", number ? ", " : "", number);
    return true;
}

typedef struct Session {
    Arena    arena;
    Sources  sources;
    Diag     diag;
    Module  *module;
    Engine  *engine[2];
    Net     *net[2];                        // cpu, eval
    const char *text;
} Session;

static void build(Session *s, const Cell *c, const char *text, size_t n_routes)
{
    s->sources = sources_make(&s->arena);
    s->diag = diag_make(&s->arena, &s->sources);
    s->text = text;
    const uint32_t file = sources_add(&s->sources, "matrix.mix", text, strlen(text));
    const Ast *ast = ast_parse(&s->arena, &s->diag, &s->sources, file);
    s->module = ast ? build_module(&s->arena, &s->diag, &s->sources, ast, &(BuildOptions){.mode = MODE_TRAIN}) : NULL;
    const char **result = arena_array(&s->arena, const char *, n_routes + 1);
    for (size_t i = 0; i < n_routes; i++)
        result[i] = arena_printf(&s->arena, "y%zu", i);
    if (!s->module || !grad_of_run(s->module, &(RunGradOptions){.cotangent = result, .n_cotangents = n_routes})) {
        Text out = text_make(&s->arena);
        diag_print(&s->diag, &out, false);
        fail_msg("%d tokens, %d experts, top %d:\n%s", c->tokens, c->experts, c->choices, text_str(&out));
    }
    static const char *const devices[] = {"cpu", "eval"};
    StatusText why = {0};
    for (int d = 0; d < 2; d++) {
        Status status = engine_open(&(EngineOptions){.device = devices[d], .on_device = {.threads = 3, .cache_dir = ""}}, &s->engine[d], &why);
        if (status == STATUS_OK)
            status = engine_load(s->engine[d], &s->arena, &s->diag, s->module, &(LoadOptions){0}, &s->net[d], &why);
        if (status != STATUS_OK)
            fail_msg("%s: %s\n%s", devices[d], why.text, text);
    }
}

static void close_session(Session *s)
{
    for (int d = 0; d < 2; d++) {
        net_free(s->net[d]);
        engine_close(s->engine[d]);
    }
    arena_free(&s->arena);
}

// ---- running and comparing ----

// Inputs, parameters and cotangents; outputs become NaN.
static void fill(Session *s, const Cell *c, Scores kind, int which)
{
    const Slot *slots;
    const size_t n = net_slots(s->net[0], &slots);
    StatusText why = {0};
    for (size_t i = 0; i < n; i++) {
        const Slot *slot = &slots[i];
        float *x = calloc((size_t)slot->count + 1, sizeof *x);
        uint32_t state = 17;
        for (const char *p = slot->name; *p; p++)
            state = state * 31 + (unsigned char)*p;
        for (int64_t k = 0; k < slot->count; k++)
            x[k] = slot->kind == BUFFER_OUTPUT ? NAN : draw(&state);
        if (slot->kind == BUFFER_INPUT && strcmp(slot->name, "s") == 0)
            fill_scores(c, kind, which, x);
        if (slot->kind == BUFFER_INPUT && strcmp(slot->name, "live") == 0)
            for (int64_t k = 0; k < slot->count; k++)
                x[k] = k % 5 != 3;
        for (int d = 0; d < 2; d++)
            assert_int_equal(net_write(s->net[d], net_slot(s->net[d], slot->kind, slot->name), x, &why), STATUS_OK);
        free(x);
    }
}

// |got - want| of a whole tensor, over |want|; a value that is not finite on one side only is infinitely far.
static double distance(const float *got, const float *want, int64_t n)
{
    double sum = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(got[i]) || !isfinite(want[i]))
            return INFINITY;
        const double d = (double)got[i] - (double)want[i];
        sum += d * d;
        size += (double)want[i] * (double)want[i];
    }
    return sum == 0 ? 0 : sqrt(sum) / (sqrt(size) + 1e-3);
}

static size_t compare(Session *s, const Cell *c, Scores kind, int which)
{
    const Slot *slots;
    const size_t n = net_slots(s->net[0], &slots);
    StatusText why = {0};
    size_t compared = 0;
    fill(s, c, kind, which);
    for (int d = 0; d < 2; d++)
        if (net_run(s->net[d], &why) != STATUS_OK)
            fail_msg("%s", why.text);
    for (size_t i = 0; i < n; i++) {
        const Slot *slot = &slots[i];
        if (slot->kind != BUFFER_OUTPUT)
            continue;
        float *got = calloc((size_t)slot->count + 1, sizeof *got), *want = calloc((size_t)slot->count + 1, sizeof *want);
        assert_int_equal(net_read(s->net[0], slot, got, &why), STATUS_OK);
        assert_int_equal(net_read(s->net[1], net_slot(s->net[1], BUFFER_OUTPUT, slot->name), want, &why), STATUS_OK);
        const double far = distance(got, want, slot->count);
        if (!(far < 3e-5))
            fail_msg("%d tokens, %d experts, top %d, scores %d (%d): %s is off by %g\n%s", c->tokens, c->experts, c->choices, (int)kind, which,
                     slot->name, far, s->text);
        compared++;
        free(got);
        free(want);
    }
    return compared;
}

// Runs routes first .. of the cell, as many as fit into the evaluator's memory; returns the number of (policy, capacity) pairs seen.
static int run_some(const Cell *c, int first, const int *wanted, size_t n_wanted, size_t *compared, bool edges)
{
    Session s = {0};
    Text body = text_make(&s.arena), results = text_make(&s.arena), text = text_make(&s.arena);
    const double each = 16.0 * c->tokens * c->choices * c->features * c->hidden * 8;    // bytes of what the evaluator keeps
    const int most = each * 24 < 6e8 ? 24 : (int)(6e8 / each) > 0 ? (int)(6e8 / each) : 1;
    int at = first, number = 0;
    for (; at < (int)n_wanted && number < most; at++)
        number += add_route(&s.arena, c, wanted[at] / N_CAPACITIES, wanted[at] % N_CAPACITIES, number, &body, &results);
    if (number == 0) {
        arena_free(&s.arena);
        return at;
    }
    text_printf(&text, "mix 1\naxis T : time = %d, D = %d, F = %d, E : expert = %d\nmodel M(x: [T,D], s: [T,E], live: [T]) -> %s {\n%s}\n",
                c->tokens, c->features, c->hidden, c->experts, text_str(&results), text_str(&body));
    build(&s, c, text_str(&text), (size_t)number);
    *compared += compare(&s, c, SCORES_RANDOM, 0);
    if (edges) {
        *compared += compare(&s, c, SCORES_EQUAL, 0);
        for (int e = 0; e < c->experts; e++) {
            *compared += compare(&s, c, SCORES_ONE_EMPTY, e);
            if (e == 0 || e == c->experts - 1)
                *compared += compare(&s, c, SCORES_ALL_TO_ONE, e);
        }
    }
    close_session(&s);
    return at;
}

static Cell cell_of(int tokens, int experts, int choices)
{
    Cell c = {.tokens = tokens, .experts = experts, .choices = choices, .features = 12, .hidden = 20};
    if (experts * choices > 200) {
        c.features = 4;
        c.hidden = 8;
    }
    float *s = calloc((size_t)tokens * (size_t)experts + 1, sizeof *s);
    fill_scores(&c, SCORES_RANDOM, 0, s);
    c.rows = fullest(&c, s);
    free(s);
    return c;
}

static size_t run_cell(int tokens, int experts, int choices, const int *wanted, size_t n_wanted, bool edges)
{
    const Cell c = cell_of(tokens, experts, choices);
    size_t compared = 0;
    for (int at = 0; at < (int)n_wanted;)
        at = run_some(&c, at, wanted, n_wanted, &compared, edges);
    return compared;
}

static size_t all_pairs(int *wanted)
{
    for (int i = 0; i < N_POLICIES * N_CAPACITIES; i++)
        wanted[i] = i;
    return N_POLICIES * N_CAPACITIES;
}

// ---- the tests ----

static void sample_agrees_with_the_evaluator(void **state)
{
    (void)state;
    // of each cell every fifth pair; together all policies and all capacities
    static const int cells[][3] = {{0, 2, 1}, {1, 7, 2}, {65, 7, 7}, {129, 64, 2}, {64, 256, 1}, {128, 2, 1}};
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        int wanted[N_POLICIES * N_CAPACITIES];
        size_t n = 0;
        for (int k = (int)i; k < N_POLICIES * N_CAPACITIES; k += 5)
            wanted[n++] = k;
        assert_true(run_cell(cells[i][0], cells[i][1], cells[i][2], wanted, n, false) > 0);
    }
}

// One token, one expert, one choice: no value of a route has an index that varies, and still each is read after it is written.
static void a_single_token_agrees_with_the_evaluator(void **state)
{
    (void)state;
    int wanted[N_POLICIES * N_CAPACITIES];
    assert_true(run_cell(1, 1, 1, wanted, all_pairs(wanted), false) > 0);
}

// Every expert empty in turn, all tokens to one, equal scores: one program, other scores.
static void lopsided_scores_agree_with_the_evaluator(void **state)
{
    (void)state;
    static const int wanted[] = {0, 1, 2 * N_CAPACITIES + 2, 1 * N_CAPACITIES + 1, 5 * N_CAPACITIES + 1, 4 * N_CAPACITIES};
    assert_true(run_cell(65, 7, 2, wanted, sizeof wanted / sizeof *wanted, true) > 0);
}

static void of_equal_scores_the_lower_index_wins(void **state)
{
    (void)state;
    static const char text[] = "mix 1\naxis T : time = 5, E : expert = 6, K = 3, D = 1\n"
        "model M(x: [T,D], s: [T,E], live: [T]) -> y0: [T,K] {\n  r = route by s to E experts top K each t\n  y0 = f32(r.index) + 0*sum(x, over=D)*live\n}\n";
    Session s = {0};
    const Cell c = {.tokens = 5, .experts = 6, .choices = 3};
    build(&s, &c, text, 1);
    compare(&s, &c, SCORES_EQUAL, 0);
    float index[15];
    StatusText why = {0};
    for (int d = 0; d < 2; d++) {
        assert_int_equal(net_read(s.net[d], net_slot(s.net[d], BUFFER_OUTPUT, "output.y0"), index, &why), STATUS_OK);
        for (int i = 0; i < 15; i++)
            assert_true(index[i] == (float)(i % 3));
    }
    close_session(&s);
}

// No expert has room, or there are fewer experts than choices: said before anything runs.
static void impossible_cells_are_diagnosed(void **state)
{
    (void)state;
    static const struct { const char *clauses, *code; int tokens; } cases[] = {
        {"top 1 capacity rows(0) over T", "E0301", 7}, {"top 1 capacity 0 over T", "E0301", 7}, {"top 1 capacity 1 over T", "E0301", 2},
        {"top 8", "E0303", 7}, {"top 0", "E0303", 7}, {"top 7 capacity rows(0) over T", "E0301", 7},
        {"top 1 capacity rows(0) over T assign experts_choose", "E0301", 7}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Arena arena = {0};
        Sources sources = sources_make(&arena);
        Diag diag = diag_make(&arena, &sources);
        const char *text = arena_printf(&arena, "mix 1\naxis T : time = %d, D = 2, E : expert = 7\nmodel M(x: [T,D], s: [T,E]) -> y: [T,D] {\n"
            "  y = route x by s to E experts %s each t { yield t }\n}\n", cases[i].tokens, cases[i].clauses);
        const Ast *ast = ast_parse(&arena, &diag, &sources, sources_add(&sources, "m.mix", text, strlen(text)));
        assert_null(build_module(&arena, &diag, &sources, ast, &(BuildOptions){.mode = MODE_TRAIN}));
        assert_int_equal(diag.n_errors, 1);
        assert_string_equal(diag.item[0].code, cases[i].code);
        arena_free(&arena);
    }
}

// ---- the whole matrix ----

static int run_whole_cell(int tokens, int experts, int choices)
{
    int wanted[N_POLICIES * N_CAPACITIES];
    const size_t n = all_pairs(wanted), compared = run_cell(tokens, experts, choices, wanted, n, tokens == 65 && experts == 7);
    print_message("%d tokens, %d experts, top %d: %zu tensors agree\n", tokens, experts, choices, compared);
    fflush(stdout);
    return 0;
}

static int chosen_cell[3];

static void one_cell(void **state)
{
    (void)state;
    run_whole_cell(chosen_cell[0], chosen_cell[1], chosen_cell[2]);
}

static void whole_matrix(void **state)
{
    (void)state;
    for (size_t e = 0; e < sizeof all_experts / sizeof *all_experts; e++)
        for (size_t t = 0; t < sizeof all_tokens / sizeof *all_tokens; t++) {
            const int experts = all_experts[e], tokens = all_tokens[t], k[] = {1, 2, experts};
            for (int i = 0; i < 3; i++)
                if (k[i] <= experts && (i == 0 || k[i] > k[i - 1]))
                    run_whole_cell(tokens, experts, k[i]);
        }
}

int main(int argc, char **argv)
{
    if (argc == 4) {
        for (int i = 0; i < 3; i++)
            chosen_cell[i] = atoi(argv[1 + i]);
        const struct CMUnitTest one[] = {cmocka_unit_test(one_cell)};
        return cmocka_run_group_tests(one, NULL, NULL);
    }
    if (argc == 2 && strcmp(argv[1], "all") == 0) {
        const struct CMUnitTest whole[] = {cmocka_unit_test(whole_matrix)};
        return cmocka_run_group_tests(whole, NULL, NULL);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sample_agrees_with_the_evaluator),
        cmocka_unit_test(a_single_token_agrees_with_the_evaluator),
        cmocka_unit_test(lopsided_scores_agree_with_the_evaluator),
        cmocka_unit_test(of_equal_scores_the_lower_index_wins),
        cmocka_unit_test(impossible_cells_are_diagnosed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
