// The causality proof on layers written in Mix (causal_mix.cases): what the front end makes of masks, triangles, windows
// and slices must be what the proof knows. Each verdict is confirmed by numbers, as in test_causal.c.
#include "build.h"
#include "eval.h"
#include "pass.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { B = 2, T = 8, D = 6 };

typedef struct Case {
    const char *name, *body, *claim;
    bool        sound;
    int         after;
} Case;

static char *read_file(Arena *arena, const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    Text text = text_make(arena);
    char buffer[4096];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, f)) > 0; )
        text_add_n(&text, buffer, n);
    fclose(f);
    return text.data;
}

// `sound [after N]: name` or `leaks [after N]: name`, then the body.
static Case read_case(Arena *arena, char *text)
{
    while (*text == '#' || *text == '\n')
        text += strcspn(text, "\n") + 1;
    char *end = strchr(text, '\n'), *colon = strchr(text, ':');
    assert_true(end && colon && colon < end);
    *end = *colon = 0;
    Case c = {.name = colon + 2, .body = end + 1, .claim = text + 5, .sound = strncmp(text, "sound", 5) == 0};
    assert_true(c.sound || strncmp(text, "leaks", 5) == 0);
    if (strncmp(c.claim, " after ", 7) == 0)
        c.after = c.claim[7] == 'P' ? 3 : atoi(c.claim + 7);
    c.claim = arena_strdup(arena, c.claim);
    return c;
}

static Module *build(Arena *arena, Diag *diag, Sources *sources, const Case *c)
{
    char *text = arena_printf(arena, "mix 1\nuse std.norm\n"
        "axis B : batch = 2, T : time = 8, D = 6, H = 2, K = 2, P = 3, J = 3, E : expert = 3, C = 2, W = 3\n"
        "layer Mix(x: [B,T,D]) -> [B,T,D] causal over T%s {\n%s}\n"
        "model Net(x: [B,T,D]) -> y: [B,T,D] { y = Mix(x) }\n", c->claim, c->body);
    uint32_t file = sources_add(sources, "case.mix", text, strlen(text));
    Ast *ast = ast_parse(arena, diag, sources, file);
    BuildOptions options = {.mode = MODE_TRAIN};
    Module *m = ast ? build_module(arena, diag, sources, ast, &options) : NULL;
    if (!m || diag->n_errors) {
        Text out = text_make(arena);
        diag_print(diag, &out, false);
        fail_msg("%s:\n%s", c->name, text_str(&out));
    }
    return m;
}

typedef struct Numbers {
    double x[B * T * D], one, param[256];
} Numbers;

static const double *leaf(void *user, const Graph *g, const Node *n)
{
    (void)g;
    const Numbers *numbers = user;
    return n->op != OP_ARG ? numbers->param : strcmp(n->attr[0].name, "x") == 0 ? numbers->x : &numbers->one;
}

static double noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 8) / (1 << 23) - 1;
}

static bool leaks_in_numbers(Arena *arena, const Graph *g, int after)
{
    Numbers numbers, changed;
    uint32_t state = 9;
    for (size_t i = 0; i < sizeof numbers / sizeof(double); i++)
        ((double *)&numbers)[i] = noise(&state);
    numbers.one = 1;
    EvalResult was, is;
    StatusText why = {0};
    ValueId y = graph_find_output(g, OUTPUT_RESULT, "y");
    assert_int_equal(graph_eval(g, leaf, &numbers, arena, &was, &why), STATUS_OK);
    const Type *type = &g->node[y].type;
    assert_string_equal(g->axis[type->axis[1]].name, "T");
    // The claim is about each sequence by itself: what the others do to it is another matter.
    for (int trial = 0; trial < 4; trial++)
        for (int at = 0; at < B * (T - 1); at++) {
            const int row = at % B, t = at / B;
            changed = numbers;
            for (int i = 0; i < B * T * D; i++)
                if (i / D / T == row && i / D % T > t && i / D % T >= after)
                    changed.x[i] += 2 * noise(&state);
            assert_int_equal(graph_eval(g, leaf, &changed, arena, &is, &why), STATUS_OK);
            for (int i = 0; i < B * T * D; i++)
                if (i / D / T == row && i / D % T <= t && memcmp(&was.value[y][i], &is.value[y][i], sizeof(double)) != 0)
                    return true;
        }
    return false;
}

static void check_case(const Case *c)
{
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    Module *m = build(&arena, &diag, &sources, c);
    const Graph *g = module_graph(m, "main");
    assert_int_equal(g->n_claims, 1);
    bool leaks = leaks_in_numbers(&arena, g, c->after);
    PassContext ctx = {.arena = &arena, .diag = &diag};
    const char *name = "causal";
    bool accepted = passes_run(&ctx, m, &name, 1, &(PassHooks){.verify = true}) != NULL;
    Text out = text_make(&arena);
    diag_print(&diag, &out, false);
    if (accepted != c->sound)
        fail_msg("%s: the proof %s\n%s", c->name, accepted ? "accepts it" : "refuses it", text_str(&out));
    if (leaks == c->sound)
        fail_msg("%s: the numbers say otherwise", c->name);
    if (!accepted && (strcmp(diag.item[diag.n_items - 1].code, "E0412") != 0 || !strstr(text_str(&out), "claimed here")))
        fail_msg("%s: not the report that is wanted\n%s", c->name, text_str(&out));
    arena_free(&arena);
}

static void verdicts_agree_with_numbers(void **state)
{
    (void)state;
    Arena arena = {0};
    char *next;
    int n = 0;
    for (char *at = read_file(&arena, MIXC_TESTS "/passes/causal_mix.cases"); at; at = next, n++) {
        next = strstr(at, "\n----\n");
        if (next) {
            next[1] = 0;
            next += 6;
        }
        Case c = read_case(&arena, at);
        check_case(&c);
    }
    print_message("%d layers\n", n);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(verdicts_agree_with_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
