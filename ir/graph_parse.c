// Text -> graph: recursive descent, one token ahead, linear time. Nodes go through graph_add, so whatever is read
// has passed the shape rules; the written type is compared with the inferred one. See docs/ir.md.
#include "graph_text.h"

#include <string.h>

bool graph_read_axis(Scan *s, const Graph *g, AxisId *out_axis)
{
    const char *name;
    Span at = s->token.at;
    if (!scan_name(s, "an axis", &name))
        return false;
    *out_axis = graph_find_axis(g, name);
    if (!*out_axis && !s->failed) {
        s->failed = true;
        diag_error(s->diag, at, "E0915", "no axis is called `%s`", name);
    }
    return *out_axis != 0;
}

// [A,B]
static bool read_axis_list(Scan *s, const Graph *g, AxisId *list, size_t *out_n)
{
    size_t n = 0;
    if (!scan_expect(s, '['))
        return false;
    while (!scan_is(s, ']')) {
        if (n == MAX_AXES)
            return scan_fail(s, "more than %d axes", MAX_AXES);
        if ((n && !scan_expect(s, ',')) || !graph_read_axis(s, g, &list[n++]))
            return false;
    }
    scan_next(s);
    *out_n = n;
    return true;
}

static bool read_dtype(Scan *s, DType *out_dtype)
{
    for (int i = 0; i < DTYPE_COUNT; i++)
        if (scan_accept_word(s, dtype_row[i].text)) {
            *out_dtype = (DType)i;
            return true;
        }
    return scan_fail(s, "expected an element type");
}

bool graph_read_type(Scan *s, const Graph *g, Type *out_type)
{
    DType dtype = DTYPE_F32;
    AxisId axis[MAX_AXES];
    size_t n;
    if (!read_dtype(s, &dtype) || !read_axis_list(s, g, axis, &n))
        return false;
    *out_type = type_make(dtype, axis, n);
    return true;
}

// NAME [: kind] = size [twin NAME]
static bool read_axis_item(Scan *s, Graph *g)
{
    const char *name;
    size_t kind = AXIS_FEATURE, size;
    AxisId twin = 0;
    if (s->token.kind == TOKEN_NAME) {
        name = arena_strndup(s->arena, s->token.text.data, s->token.text.n);
        if (graph_find_axis(g, name))
            return scan_fail(s, "the axis `%s` is declared twice", name);
    }
    if (!scan_name(s, "the name of an axis", &name) ||
        (scan_accept(s, ':') &&
         !scan_choice(s, "batch, time, expert or feature", axis_kind_text, AXIS_KIND_COUNT, &kind)) ||
        !scan_expect(s, '=') || !scan_size(s, "the size", &size) ||
        (scan_accept_word(s, "twin") && !graph_read_axis(s, g, &twin)))
        return false;
    g->at = s->token.at;
    return graph_axis(g, name, (AxisKind)kind, (int64_t)size, twin) != 0;
}

// kN, one token
static bool read_kernel_ref(Scan *s, uint32_t *out_kernel)
{
    const View *t = &s->token.text;
    uint32_t number = 0;
    if (s->token.kind != TOKEN_NAME || t->data[0] != 'k' || t->n < 2 || t->n > 9)
        return scan_fail(s, "expected a kernel such as `k1`");
    for (size_t i = 1; i < t->n; i++) {
        if (t->data[i] < '0' || t->data[i] > '9')
            return scan_fail(s, "expected a kernel such as `k1`");
        number = number * 10 + (uint32_t)(t->data[i] - '0');
    }
    *out_kernel = number;
    scan_next(s);
    return true;
}

static bool read_kernel_item(Scan *s, Graph *g)
{
    uint32_t number;
    size_t family;
    if (s->token.kind == TOKEN_NAME && s->token.text.n < 10) {
        char wanted[16];
        snprintf(wanted, sizeof wanted, "k%zu", g->n_kernels);
        if (!scan_is_word(s, wanted))
            return scan_fail(s, "kernels are numbered in order: expected `%s`", wanted);
    }
    if (!read_kernel_ref(s, &number) || !scan_expect(s, ':') ||
        !scan_choice(s, "a family of kernels", kernel_family_text, FAMILY_COUNT, &family))
        return false;
    graph_add_kernel(g, (KernelFamily)family);
    return true;
}

static bool read_header(Scan *s, Graph *g)
{
    for (;;) {
        bool axes = scan_accept_word(s, "axis");
        if (!axes && !scan_accept_word(s, "kernel"))
            return true;
        do {
            if (axes ? !read_axis_item(s, g) : !read_kernel_item(s, g))
                return false;
        } while (scan_accept(s, ','));
    }
}

static bool read_attr(Scan *s, const Graph *g, AttrKind kind, Attr *out)
{
    size_t choice = 0, n = 0;
    bool ok = false;
    *out = (Attr){.kind = kind};
    switch (kind) {
    case ATTR_INT:   return scan_int(s, "the attribute", &out->i);
    case ATTR_FLOAT: return scan_double(s, "the attribute", &out->f);
    case ATTR_AXIS:  return graph_read_axis(s, g, &out->axis);
    case ATTR_AXES:
        out->axes.id = arena_array(s->arena, AxisId, MAX_AXES);
        ok = read_axis_list(s, g, out->axes.id, &n);
        out->axes.n = (uint8_t)n;
        return ok;
    case ATTR_ACT:
        ok = scan_choice(s, "a function of acts.def", act_text, ACT_COUNT, &choice);
        out->act = (Act)choice;
        return ok;
    case ATTR_RED:
        ok = scan_choice(s, "sum, max or min", red_text, RED_COUNT, &choice);
        out->red = (Red)choice;
        return ok;
    case ATTR_DTYPE: return read_dtype(s, &out->dtype);
    case ATTR_NAME:  return scan_string(s, "a name", &out->name);
    }
    return false;
}

static bool read_op(Scan *s, Op *out_op)
{
    for (int op = OP_ERROR + 1; op < OP_COUNT; op++)
        if (scan_accept_word(s, op_row[op].text)) {
            *out_op = (Op)op;
            return true;
        }
    return scan_fail(s, "no op is called `%.*s`", (int)(s->token.text.n < 40 ? s->token.text.n : 40), s->token.text.data);
}

static bool read_operands(Scan *s, const Graph *g, ValueId *in, size_t *out_n)
{
    size_t n = 0;
    while (s->token.kind == TOKEN_VALUE) {
        if (n == OP_ANY - 1)
            return scan_fail(s, "too many operands");
        if (s->token.number == 0 || s->token.number >= g->n_nodes)
            return scan_fail(s, "%%%u is not defined before it is used", s->token.number);
        in[n++] = s->token.number;
        scan_next(s);
        if (!scan_accept(s, ','))
            break;
        if (s->token.kind != TOKEN_VALUE)
            return scan_fail(s, "expected an operand");
    }
    *out_n = n;
    return true;
}

// The attributes in the order of the op's row: a name first and bare, the others in braces.
static bool read_attrs(Scan *s, const Graph *g, const OpRow *row, Attr *attr)
{
    bool open = false;
    for (size_t i = 0; i < row->n_attr; i++) {
        if (row->attr[i].kind == ATTR_NAME)
            continue;
        if (!scan_expect(s, open ? ',' : '{') || !scan_expect_word(s, row->attr[i].name) || !scan_expect(s, '=') ||
            !read_attr(s, g, row->attr[i].kind, &attr[i]))
            return false;
        open = true;
    }
    return !open || scan_expect(s, '}');
}

// Adds the node once all of it is read. The written type may order the axes differently (layout), no more.
static bool finish_node(Scan *s, Graph *g, Op op, const ValueId *in, size_t n_in, const Attr *attr, const Type *written)
{
    const OpRow *row = &op_row[op];
    size_t errors = g->diag->n_errors;
    ValueId id = graph_add(g, op, in, n_in, attr, row->n_attr, row->flags & OP_FLAG_DECLARED ? written : NULL);
    if (!id) {
        s->failed = g->diag->n_errors > errors;
        return s->failed ? false : scan_fail(s, "this op does not fit its operands");
    }
    Node *n = &g->node[id];
    if (written && !type_same_axes(&n->type, written)) {
        Text wrote = text_make(s->arena), gives = text_make(s->arena);
        type_print(g, written, &wrote);
        type_print(g, &n->type, &gives);
        s->failed = true;
        diag_error(s->diag, g->at, "E0916", "the type is written as %s, but the op gives %s", text_str(&wrote),
                   text_str(&gives));
        return false;
    }
    if (written)
        n->type = *written;
    return true;
}

// %N[.hint] = op ["name"] [%A, %B] [{attr = .., ..}] [: type] [@kN]
static bool read_node(Scan *s, Graph *g)
{
    Token head = s->token;
    Span at = head.at;
    Op op = OP_ERROR;
    ValueId in[OP_ANY];
    size_t n_in = 0;
    Attr attr[OP_MAX_ATTRS] = {0};
    Type written = {0};
    uint32_t kernel = 0;
    if (head.number != g->n_nodes)
        return scan_fail(s, "values are numbered in order: expected %%%zu", g->n_nodes);
    scan_next(s);
    if (!scan_expect(s, '=') || !read_op(s, &op))
        return false;
    const OpRow *row = &op_row[op];
    if ((row->n_attr && row->attr[0].kind == ATTR_NAME && !read_attr(s, g, ATTR_NAME, &attr[0])) ||
        !read_operands(s, g, in, &n_in) || !read_attrs(s, g, row, attr))
        return false;
    bool typed = scan_accept(s, ':');
    if (!typed && row->flags & OP_FLAG_DECLARED)
        return scan_fail(s, "expected `:` and the type, which cannot be inferred here");
    if (typed && !graph_read_type(s, g, &written))
        return false;
    if (scan_accept(s, '@') && !read_kernel_ref(s, &kernel))
        return false;
    at.end = s->token.at.begin;
    while (at.end > at.begin + 1 && strchr(" \t\r\n", s->data[at.end - 1]))
        at.end--;
    g->at = at;
    if (!finish_node(s, g, op, in, n_in, attr, typed ? &written : NULL))
        return false;
    Node *n = &g->node[g->n_nodes - 1];
    n->kernel = kernel;
    if (head.text.n)
        n->hint = arena_strndup(g->arena, head.text.data, head.text.n);
    return true;
}

// role "name" = %N
static bool read_output(Scan *s, Graph *g)
{
    size_t role;
    const char *name;
    if (!scan_choice(s, "a value, an output or `}`", output_role_text, OUTPUT_ROLE_COUNT, &role) ||
        !scan_string(s, "the output's name", &name) || !scan_expect(s, '='))
        return false;
    if (s->token.kind != TOKEN_VALUE || s->token.number == 0 || s->token.number >= g->n_nodes)
        return scan_fail(s, "expected a value of this graph");
    graph_output(g, (OutputRole)role, name, s->token.number);
    scan_next(s);
    return true;
}

Graph *graph_read(Scan *s)
{
    const char *name;
    if (!scan_expect_word(s, "graph") || !scan_expect(s, '@') || !scan_name(s, "the graph's name", &name))
        return NULL;
    Graph *g = graph_make(s->arena, s->diag, name);
    if (!read_header(s, g) || !scan_expect(s, '{'))
        return NULL;
    while (s->token.kind == TOKEN_VALUE)
        if (!read_node(s, g))
            return NULL;
    while (!scan_is(s, '}'))
        if (!read_output(s, g))
            return NULL;
    scan_next(s);
    g->at = (Span){0};
    return graph_verify(g, s->diag) ? g : NULL;
}

Graph *graph_parse(Arena *arena, Diag *diag, const Sources *sources, uint32_t file)
{
    Scan s = scan_make(arena, diag, sources, file);
    Graph *g = graph_read(&s);
    if (g && s.token.kind != TOKEN_END) {
        scan_fail(&s, "expected the end of the text after `}`");
        return NULL;
    }
    return g;
}
