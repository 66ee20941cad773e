// Every op with a gradient against central differences, in double precision, driven by the op table: an op that has a
// gradient rule and no case here fails the test. Then compositions: softmax, attention, norms, cross entropy.
#include "eval.h"
#include "grad.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct Case {
    Op          op;                         // the op under test; OP_ERROR: a composition
    const char *name;
    double      low, high;                  // range of the float leaves
    int         n_ints;                     // int leaves are 0 .. n_ints - 1
    const char *text;                       // body; the last node is the result y
    const char *same_as;                    // unused when NULL: leaf "b" starts as a copy of leaf "a" (ties)
} Case;

static const char axes[] =
    "axis B : batch = 2, T : time = 5, T' : time = 5 twin T, D = 4, F = 3, H = 2, K = 2, V = 7, J = 3, O = 3, S = 2, P = 9, Z = 10\n";

// Two choices each, a product with a bias, and the token itself beside them: y = sum over K of b (h @ w + v + x).
#define GATES \
    "%1 = arg \"a\" : f32[B,T,F] %2 = arg \"b\" : f32[B,T,K] %3 = arg \"i\" : int[B,T,K] %4 = param \"w\" : f32[H,F,D] " \
    "%5 = param \"v\" : f32[H,D] %6 = arg \"x\" : f32[B,T,D] %7 = map %1 {f = tanh} %8 = take %4, %3 {axis = H} " \
    "%9 = contract %7, %8 {over = [F]} %10 = take %5, %3 {axis = H} %11 = add %9, %10 %12 = add %6, %11 %13 = mul %12, %2 " \
    "%14 = reduce %13 {f = sum, over = [K]}"

static const Case cases[] = {
    {OP_ADD, "add", -1, 1, 0, "%1 = arg \"a\" : f32[B,D] %2 = arg \"b\" : f32[D] %3 = add %1, %2", NULL},
    {OP_ADD, "add brings axes", -1, 1, 0, "%1 = arg \"a\" : f32[B] %2 = arg \"b\" : f32[D] %3 = add %1, %2", NULL},
    {OP_SUB, "sub", -1, 1, 0, "%1 = arg \"a\" : f32[D] %2 = arg \"b\" : f32[T,D] %3 = sub %1, %2", NULL},
    {OP_MUL, "mul", -1, 1, 0, "%1 = arg \"a\" : f32[B,T,D] %2 = arg \"b\" : f32[B,T] %3 = mul %1, %2", NULL},
    {OP_MUL, "a square", -1, 1, 0, "%1 = arg \"a\" : f32[B,T] %2 = mul %1, %1", NULL},
    {OP_MUL, "used twice", -1, 1, 0, "%1 = arg \"a\" : f32[B,T] %2 = arg \"b\" : f32[T,D] %3 = mul %1, %2 %4 = add %3, %1", NULL},
    {OP_DIV, "div", 0.5, 2, 0, "%1 = arg \"a\" : f32[B,D] %2 = arg \"b\" : f32[B,T] %3 = div %1, %2", NULL},
    {OP_POW, "pow", 0.5, 2, 0, "%1 = arg \"a\" : f32[B,D] %2 = arg \"b\" : f32[D] %3 = pow %1, %2", NULL},
    {OP_POW, "pow of a constant", -2, 2, 0, "%1 = arg \"a\" : f32[B,D] %2 = const {value = 3} : f32[] %3 = pow %1, %2", NULL},
    {OP_POW, "pow to the second", -2, 2, 0, "%1 = arg \"a\" : f32[B,D] %2 = const {value = 2} : f32[] %3 = pow %1, %2", NULL},
    {OP_MAX, "max", -1, 1, 0, "%1 = arg \"a\" : f32[B,D] %2 = arg \"b\" : f32[D] %3 = max %1, %2", NULL},
    {OP_MAX, "max with a constant", -1, 1, 0, "%1 = arg \"a\" : f32[B,D] %2 = const {value = 0.1} : f32[] %3 = max %1, %2", NULL},
    {OP_MAX, "equal operands share", -1, 1, 0, "%1 = arg \"a\" : f32[D] %2 = arg \"b\" : f32[D] %3 = max %1, %2", "a"},
    {OP_MIN, "min", -1, 1, 0, "%1 = arg \"a\" : f32[B] %2 = arg \"b\" : f32[D] %3 = min %1, %2", NULL},
    {OP_MIN, "min of a constant", -1, 1, 0, "%1 = arg \"a\" : f32[B,D] %2 = const {value = 0.1} : f32[] %3 = min %2, %1", NULL},
    {OP_ATAN2, "atan2", 0.3, 2, 0, "%1 = arg \"a\" : f32[B] %2 = arg \"b\" : f32[D] %3 = atan2 %1, %2", NULL},
    {OP_SELECT, "select", -1, 1, 0,
     "%1 = arg \"a\" : f32[T] %2 = arg \"b\" : f32[B] %3 = index {axis = T} %4 = index {axis = T'} %5 = lt %3, %4 "
     "%6 = select %5, %1, %2", NULL},
    {OP_NEG, "neg", -1, 1, 0, "%1 = arg \"a\" : f32[B,D] %2 = neg %1", NULL},
    {OP_MAP, "map", -1, 1, 0, "%1 = arg \"a\" : f32[D] %2 = map %1 {f = tanh}", NULL},
    {OP_CAST, "cast", -1, 1, 0, "%1 = arg \"a\" : f32[D] %2 = cast %1 {to = f32}", NULL},      // bf16 rounds: no quotients
    {OP_EXPAND, "expand", -1, 1, 0, "%1 = arg \"a\" : f32[D] %2 = expand %1 {to = [B,D,T]}", NULL},
    {OP_EXPAND, "expand in another order", -1, 1, 0, "%1 = arg \"a\" : f32[B,D] %2 = expand %1 {to = [D,B]}", NULL},
    {OP_CONTRACT, "contract", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T,D] %2 = arg \"b\" : f32[D,F] %3 = contract %1, %2 {over = [D]}", NULL},
    {OP_CONTRACT, "contract with batch axes", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T,H,K] %2 = arg \"b\" : f32[B,T',H,K] %3 = contract %1, %2 {over = [K]}", NULL},
    {OP_CONTRACT, "contract to a number", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,D] %2 = arg \"b\" : f32[B,D] %3 = contract %1, %2 {over = [B,D]}", NULL},
    {OP_CONTRACT, "contract with itself", -1, 1, 0, "%1 = arg \"a\" : f32[B,D] %2 = contract %1, %1 {over = [D]}", NULL},
    {OP_CONTRACT, "contract of a sum", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T,D] %2 = arg \"b\" : f32[D,F] %3 = contract %1, %2 {over = [D]} "
     "%4 = reduce %3 {f = sum, over = [T,F]}", NULL},
    {OP_REDUCE, "sum", -1, 1, 0, "%1 = arg \"a\" : f32[B,T,D] %2 = reduce %1 {f = sum, over = [B,D]}", NULL},
    {OP_REDUCE, "max", -1, 1, 0, "%1 = arg \"a\" : f32[B,T,D] %2 = reduce %1 {f = max, over = [T]}", NULL},
    {OP_REDUCE, "min", -1, 1, 0, "%1 = arg \"a\" : f32[B,T,D] %2 = reduce %1 {f = min, over = [T,D]}", NULL},
    {OP_RENAME, "rename", -1, 1, 0, "%1 = arg \"a\" : f32[B,T] %2 = rename %1 {from = [T], to = [T']}", NULL},
    {OP_RENAME, "rename of a sum", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T] %2 = rename %1 {from = [T], to = [T']} %3 = reduce %2 {f = sum, over = [T']}", NULL},
    {OP_SPLIT, "split", -1, 1, 0, "%1 = arg \"a\" : f32[B,D] %2 = split %1 {axis = D, to = [H,K]}", NULL},
    {OP_MERGE, "merge", -1, 1, 0, "%1 = arg \"a\" : f32[H,B,K] %2 = merge %1 {axes = [K,H], to = D}", NULL},
    {OP_AT, "at", -1, 1, 0, "%1 = arg \"a\" : f32[B,T,D] %2 = at %1 {axis = T, index = 3}", NULL},
    {OP_SLICE, "slice", -1, 1, 0, "%1 = arg \"a\" : f32[B,T] %2 = slice %1 {axis = T, start = 1, to = F}", NULL},
    {OP_PAD, "pad", -1, 1, 0, "%1 = arg \"a\" : f32[B,F] %2 = pad %1 {axis = F, start = 1, to = T}", NULL},
    {OP_REVERSE, "reverse", -1, 1, 0, "%1 = arg \"a\" : f32[B,T] %2 = reverse %1 {axis = T}", NULL},
    {OP_WINDOW, "window", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T] %2 = window %1 {axis = T, to = [O,J], stride = 2, left = 1}", NULL},
    {OP_WINDOW, "overlapping window", -1, 1, 0,
     "%1 = arg \"a\" : f32[T,B] %2 = window %1 {axis = T, to = [T',J], stride = 1, left = 2}", NULL},
    {OP_UNWINDOW, "unwindow", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,O,J] %2 = unwindow %1 {axes = [O,J], to = T, stride = 2, left = 1}", NULL},
    {OP_TAKE, "take a row each", -1, 1, 7, "%1 = arg \"a\" : f32[V,D] %2 = arg \"i\" : int[B,T] %3 = take %1, %2 {axis = V}", NULL},
    {OP_TAKE, "take one each", -1, 1, 7, "%1 = arg \"a\" : f32[B,T,V] %2 = arg \"i\" : int[B,T] %3 = take %1, %2 {axis = V}", NULL},
    {OP_TAKE, "take, some axes shared", -1, 1, 5,
     "%1 = arg \"a\" : f32[B,T,D] %2 = arg \"i\" : int[B,P] %3 = take %1, %2 {axis = T}", NULL},
    {OP_FFTCONV, "fftconv", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T,D] %2 = arg \"b\" : f32[T,D] "
     "%3 = fftconv %1, %2 {axis = T, taps = T, to = T, left = 0, over = [], circular = 0}", NULL},
    {OP_FFTCONV, "fftconv to another length, new axes, one summed", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T,D] %2 = arg \"b\" : f32[J,D,H] "
     "%3 = fftconv %1, %2 {axis = T, taps = J, to = V, left = 1, over = [D], circular = 0}", NULL},
    {OP_FFTCONV, "circular fftconv", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T] %2 = arg \"b\" : f32[J,H] "
     "%3 = fftconv %1, %2 {axis = T, taps = J, to = T, left = 2, over = [], circular = 1}", NULL},
    {OP_FFTCONV, "fftconv with itself", -1, 1, 0,
     "%1 = arg \"a\" : f32[T] %2 = fftconv %1, %1 {axis = T, taps = T, to = T, left = 0, over = [], circular = 0}", NULL},
    {OP_PUT_ADD, "put_add", -1, 1, 7,
     "%1 = arg \"a\" : f32[B,T,D] %2 = arg \"i\" : int[B,T] %3 = put_add %1, %2 {over = [T], to = V}", NULL},
    {OP_ERROR, "softmax", -3, 3, 0,
     "%1 = arg \"a\" : f32[B,T] %2 = reduce %1 {f = max, over = [T]} %3 = stop %2 %4 = sub %1, %3 %5 = map %4 {f = exp} "
     "%6 = reduce %5 {f = sum, over = [T]} %7 = div %5, %6", NULL},
    {OP_ERROR, "softmax that guards against empty rows", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T] %2 = map %1 {f = exp} %3 = reduce %2 {f = sum, over = [T]} %4 = const {value = 0.5} : f32[] "
     "%5 = add %3, %4 %6 = div %2, %5", NULL},
    {OP_ERROR, "centred by a mean", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T] %2 = arg \"b\" : f32[B] %3 = reduce %1 {f = sum, over = [T]} %4 = const {value = 0.2} : f32[] "
     "%5 = mul %3, %4 %6 = sub %1, %5 %7 = mul %6, %2 %8 = mul %6, %6 %9 = reduce %8 {f = sum, over = [T]} %10 = mul %7, %9", NULL},
    {OP_ERROR, "log softmax", -3, 3, 0,
     "%1 = arg \"a\" : f32[B,T] %2 = reduce %1 {f = max, over = [T]} %3 = stop %2 %4 = sub %1, %3 %5 = map %4 {f = exp} "
     "%6 = reduce %5 {f = sum, over = [T]} %7 = map %6 {f = log} %8 = sub %4, %7", NULL},
    {OP_ERROR, "causal attention", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T,H,K] %2 = arg \"b\" : f32[B,T',H,K] %3 = arg \"c\" : f32[B,T',H,K] "
     "%4 = contract %1, %2 {over = [K]} %5 = index {axis = T'} %6 = index {axis = T} %7 = le %5, %6 "
     "%8 = const {value = -inf} : f32[] %9 = select %7, %4, %8 %10 = reduce %9 {f = max, over = [T']} %11 = stop %10 "
     "%12 = sub %9, %11 %13 = map %12 {f = exp} %14 = reduce %13 {f = sum, over = [T']} %15 = div %13, %14 "
     "%16 = contract %15, %3 {over = [T']}", NULL},
    {OP_ERROR, "attention with dropout", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T,H,K] %2 = arg \"b\" : f32[B,T',H,K] %3 = arg \"c\" : f32[B,T',H,K] "
     "%4 = contract %1, %2 {over = [K]} %5 = map %4 {f = exp} %6 = reduce %5 {f = sum, over = [T']} %7 = div %5, %6 "
     "%8 = arg \"i\" : int[] %9 = random %8, %8 {stream = 3} : f32[B,H,T,T'] %10 = const {value = 0.5} : f32[] "
     "%11 = lt %9, %10 %12 = div %7, %10 %13 = const {value = 0} : f32[] %14 = select %11, %12, %13 "
     "%15 = contract %14, %3 {over = [T']}", NULL},
    {OP_ERROR, "probabilities used twice", -1, 1, 0,
     "%1 = arg \"a\" : f32[T,T'] %2 = arg \"b\" : f32[T',D] %3 = map %1 {f = exp} %4 = reduce %3 {f = sum, over = [T']} "
     "%5 = div %3, %4 %6 = contract %5, %2 {over = [T']} %7 = reduce %5 {f = max, over = [T']} %8 = mul %6, %7", NULL},
    {OP_ERROR, "layer norm", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T,D] %2 = arg \"b\" : f32[D] %3 = const {value = 4} : f32[] "
     "%4 = reduce %1 {f = sum, over = [D]} %5 = div %4, %3 %6 = sub %1, %5 %7 = mul %6, %6 "
     "%8 = reduce %7 {f = sum, over = [D]} %9 = div %8, %3 %10 = const {value = 0.00001} : f32[] %11 = add %9, %10 "
     "%12 = map %11 {f = rsqrt} %13 = mul %6, %12 %14 = mul %13, %2", NULL},
    {OP_ERROR, "a gate of a product with weights", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T,F] %2 = arg \"b\" : f32[B,T] %3 = param \"w\" : f32[F,D] %4 = contract %1, %3 {over = [F]} "
     "%5 = mul %4, %2", NULL},
    {OP_ERROR, "a gate of a product that another reads", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T,F] %2 = arg \"b\" : f32[B,T] %3 = param \"w\" : f32[F,D] %4 = contract %1, %3 {over = [F]} "
     "%5 = mul %4, %2 %6 = map %4 {f = tanh} %7 = mul %6, %5", NULL},
    {OP_ERROR, "a gate of some columns", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,F] %2 = arg \"b\" : f32[D] %3 = param \"w\" : f32[F,H,D] %4 = contract %1, %3 {over = [F]} "
     "%5 = mul %4, %2", NULL},
    {OP_ERROR, "a gate of all rows together", -1, 1, 0,
     "%1 = arg \"a\" : f32[B,T,F] %2 = arg \"b\" : f32[] %3 = param \"w\" : f32[F,D] %4 = contract %1, %3 {over = [F]} "
     "%5 = mul %2, %4", NULL},
    {OP_ERROR, "gates of experts", -1, 1, 2, GATES, NULL},
    {OP_ERROR, "gates of experts of one product", -1, 1, 2,
     "%1 = arg \"a\" : f32[B,T,F] %2 = arg \"b\" : f32[B,T,K] %3 = arg \"i\" : int[B,T,K] %4 = param \"w\" : f32[H,F,D] "
     "%5 = take %4, %3 {axis = H} %6 = contract %5, %1 {over = [F]} %7 = mul %2, %6 %8 = reduce %7 {f = sum, over = [K]}", NULL},
    {OP_ERROR, "cross entropy", -2, 2, 7,
     "%1 = arg \"a\" : f32[B,T,V] %2 = arg \"i\" : int[B,T] %3 = reduce %1 {f = max, over = [V]} %4 = stop %3 "
     "%5 = sub %1, %4 %6 = map %5 {f = exp} %7 = reduce %6 {f = sum, over = [V]} %8 = map %7 {f = log} %9 = add %8, %4 "
     "%10 = take %1, %2 {axis = V} %11 = sub %9, %10 %12 = reduce %11 {f = sum, over = [B,T]}", NULL},
};

enum { MAX_LEAVES = 8, MAX_ELEMENTS = 400 };

typedef struct Leaves {
    size_t      n;
    const char *name[MAX_LEAVES];
    double      value[MAX_LEAVES][MAX_ELEMENTS];
} Leaves;

static const double *find_leaf(void *user, const Graph *g, const Node *leaf)
{
    (void)g;
    Leaves *l = user;
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->name[i], leaf->attr[0].name) == 0)
            return l->value[i];
    return NULL;
}

static double uniform(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(*seed >> 11) / 9007199254740992.0;
}

static Graph *parse_case(Arena *arena, Diag *diag, const Case *c)
{
    Text text = text_make(arena);
    text_printf(&text, "graph @main\n%s{\n%s\n", axes, c->text);
    int last = 0;
    for (const char *p = c->text; (p = strchr(p, '%')) != NULL; p++)
        last = atoi(p + 1) > last ? atoi(p + 1) : last;
    text_printf(&text, "  result \"y\" = %%%d\n}\n", last);
    Sources sources = sources_make(arena);
    uint32_t file = sources_add(&sources, "case", text_str(&text), text.n);
    Graph *g = graph_parse(arena, diag, &sources, file);
    if (!g)
        fail_msg("%s: %s", c->name, diag->n_items ? diag->item[0].message : "?");
    return g;
}

// total = sum of cotangent times y, straight from the definition.
static double total(Arena *arena, const Graph *g, Leaves *leaves)
{
    EvalResult r;
    StatusText why = {{0}};
    Status s = graph_eval(g, find_leaf, leaves, arena, &r, &why);
    if (s != STATUS_OK)
        fail_msg("%s", why.text);
    ValueId y = graph_find_output(g, OUTPUT_RESULT, "y");
    int64_t n;
    assert_true(type_count(g, &g->node[y].type, &n));
    const double *cotangent = leaves->value[leaves->n - 1];
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += cotangent[i] * r.value[y][i];
    return sum;
}

static void fill_leaves(const Case *c, const Graph *g, Leaves *l)
{
    uint64_t seed = 7;
    for (ValueId id = 1; id < g->n_nodes; id++) {
        const Node *n = &g->node[id];
        int64_t count;
        if (n->op != OP_ARG && n->op != OP_PARAM)
            continue;
        assert_true(type_count(g, &n->type, &count) && count <= MAX_ELEMENTS && l->n < MAX_LEAVES - 1);
        for (int64_t i = 0; i < count; i++) {
            double u = uniform(&seed);
            if (n->type.dtype == DTYPE_I32)
                l->value[l->n][i] = floor(u * c->n_ints);
            else if (c->same_as && l->n > 0)
                l->value[l->n][i] = l->value[0][i];
            else
                l->value[l->n][i] = c->low + u * (c->high - c->low);
        }
        l->name[l->n++] = n->attr[0].name;
    }
    for (size_t i = 0; i < MAX_ELEMENTS; i++)
        l->value[l->n][i] = 2 * uniform(&seed) - 1;
    l->name[l->n++] = "cotangent.y";
}

static void check_case(const Case *c)
{
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Graph *g = parse_case(&arena, &diag, c);
    Leaves *leaves = arena_new(&arena, Leaves);
    fill_leaves(c, g, leaves);

    Module *m = module_make(&arena, &diag);
    module_add_graph(m, g);
    const char *results[] = {"y"};
    if (!grad_of_run(m, &(RunGradOptions){.cotangent = results, .n_cotangents = 1}))
        fail_msg("%s: %s", c->name, diag.item[0].message);
    const Graph *gg = module_graph(m, "main");
    if (!graph_verify(gg, &diag))
        fail_msg("%s: %s", c->name, diag.item[0].message);
    EvalResult r;
    StatusText why = {{0}};
    if (graph_eval(gg, find_leaf, leaves, &arena, &r, &why) != STATUS_OK)
        fail_msg("%s: %s", c->name, why.text);

    for (size_t i = 0; i + 1 < leaves->n; i++) {
        char name[32];
        snprintf(name, sizeof name, "input.%s", leaves->name[i]);
        ValueId d = graph_find_output(gg, OUTPUT_GRAD, name);
        if (strchr("vw", leaves->name[i][0])) {                         // the parameters
            snprintf(name, sizeof name, "param.%s", leaves->name[i]);
            d = graph_find_output(gg, OUTPUT_GRAD, name);
        }
        if (strcmp(leaves->name[i], "i") == 0) {
            assert_int_equal(d, 0);
            continue;
        }
        assert_int_not_equal(d, 0);
        int64_t n;
        assert_true(type_count(gg, &gg->node[d].type, &n));
        for (int64_t k = 0; k < n; k++) {
            // At a tie the two-sided difference gives the mean of the one-sided slopes: an even share.
            double *x = &leaves->value[i][k], x0 = *x, h = 1e-5;
            *x = x0 + h;
            double up = total(&arena, g, leaves);
            *x = x0 - h;
            double down = total(&arena, g, leaves);
            *x = x0;
            double slope = (up - down) / (2 * h), tolerance = 1e-7 * (1 + fabs(slope));    // h^2 and 1e-16/h, doubled
            if (!(fabs(r.value[d][k] - slope) <= tolerance))
                fail_msg("%s: d%s[%d] is %.12g, the difference quotient %.12g", c->name, leaves->name[i], (int)k,
                         r.value[d][k], slope);
        }
    }
    arena_free(&arena);
}

static void gradients_match_central_differences(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(&cases[i]);
}

static void every_op_with_a_gradient_has_a_case(void **state)
{
    (void)state;
    static const char *const rule[OP_COUNT] = {
#define OP(id, text, n_in, attrs, shape, eval, grad, lower, flags) [OP_##id] = #grad,
#include "ops.def"
#undef OP
    };
    for (Op op = 1; op < OP_COUNT; op++) {
        bool has_case = false;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            has_case |= cases[i].op == op;
        if (strcmp(rule[op], "none") != 0 && !has_case)
            fail_msg("`%s` has a gradient and no case", op_row[op].text);
    }
}

static void every_function_matches(void **state)
{
    (void)state;
    for (Act f = 0; f < ACT_COUNT; f++) {
        Arena arena = {0};
        Case c = {.op = OP_MAP, .name = act_text[f], .low = 0.3, .high = 1.9};
        c.text = arena_printf(&arena, "%%1 = arg \"a\" : f32[T,D] %%2 = map %%1 {f = %s}", act_text[f]);
        check_case(&c);
        if (f != ACT_LOG && f != ACT_SQRT && f != ACT_RSQRT) {
            c.low = -1.9;
            c.high = -0.3;
            check_case(&c);
        }
        arena_free(&arena);
    }
}

static Graph *gradient_of(Arena *arena, Diag *diag, const Case *c)
{
    Module *m = module_make(arena, diag);
    module_add_graph(m, parse_case(arena, diag, c));
    const char *results[] = {"y"};
    assert_true(grad_of_run(m, &(RunGradOptions){.cotangent = results, .n_cotangents = 1}));
    return module_graph(m, "main");
}

// A masked score is -inf; its gradient is 0 and nothing becomes NaN. The row sums come from the product's result.
static void masked_scores_give_zero(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    const Case c = {OP_ERROR, "masked softmax", -1, 1, 0,
        "%1 = arg \"a\" : f32[T] %2 = index {axis = T} %3 = const {value = 2} : int[] %4 = lt %2, %3 "
        "%5 = const {value = -inf} : f32[] %6 = select %4, %1, %5 %7 = reduce %6 {f = max, over = [T]} %8 = stop %7 "
        "%9 = sub %6, %8 %10 = map %9 {f = exp} %11 = reduce %10 {f = sum, over = [T]} %12 = div %10, %11", NULL};
    const Graph *g = gradient_of(&arena, &diag, &c);
    Leaves *leaves = arena_new(&arena, Leaves);
    fill_leaves(&c, parse_case(&arena, &diag, &c), leaves);
    EvalResult r;
    assert_int_equal(graph_eval(g, find_leaf, leaves, &arena, &r, NULL), STATUS_OK);
    const double *d = r.value[graph_find_output(g, OUTPUT_GRAD, "input.a")];
    for (int i = 0; i < 5; i++)
        assert_true(i < 2 ? isfinite(d[i]) && d[i] != 0 : d[i] == 0);
    arena_free(&arena);
}

// The backward pass reads the experts' hidden rows, not what they return: nothing but the sum reads the product.
static void a_gate_needs_no_product(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    const Case c = {OP_ERROR, "gates of experts", -1, 1, 2, GATES, NULL};
    const Graph *g = gradient_of(&arena, &diag, &c);
    ValueId product = 0, hidden = 0;
    for (ValueId id = 1; id < g->n_nodes && !product; id++)
        if (g->node[id].op == OP_CONTRACT)
            product = id;
    hidden = g->node[product].in[0];
    size_t n_product = 0, n_hidden = 0;
    for (ValueId id = 1; id < g->n_nodes; id++)
        for (size_t i = 0; i < g->node[id].n_in; i++) {
            n_product += g->node[id].in[i] == product;
            n_hidden += g->node[id].in[i] == hidden;
        }
    assert_int_equal(n_product, 1);
    assert_true(n_hidden > 2);
    arena_free(&arena);
}

static void what_cannot_be_differentiated_is_said(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Module *m = module_make(&arena, &diag);
    const Case c = {.name = "plain", .text = "%1 = arg \"a\" : f32[T] %2 = neg %1"};
    module_add_graph(m, parse_case(&arena, &diag, &c));
    const char *other[] = {"z"};
    assert_false(grad_of_run(m, &(RunGradOptions){.cotangent = other, .n_cotangents = 1}));
    assert_string_equal(diag.item[0].message, "`cotangent.z` is given, and there is no result `z`");
    assert_false(grad_of_run(m, &(RunGradOptions){.with_loss = true}));
    assert_string_equal(diag.item[1].message, "a gradient of the training loss is asked for, and the model has none");
    assert_false(grad_of_run(m, &(RunGradOptions){.with_loss = false}));
    assert_string_equal(diag.item[2].message,
                        "there is nothing to differentiate: no cotangent is given and there is no loss");
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_match_central_differences),
        cmocka_unit_test(every_op_with_a_gradient_has_a_case),
        cmocka_unit_test(every_function_matches),
        cmocka_unit_test(masked_scores_give_zero),
        cmocka_unit_test(a_gate_needs_no_product),
        cmocka_unit_test(what_cannot_be_differentiated_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
