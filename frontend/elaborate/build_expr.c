// Expressions: names, numbers, arithmetic, contraction. A value is a number known now, or a node of the graph.
#include "build_state.h"

#include <math.h>
#include <string.h>

Val val_error(void)
{
    return (Val){.kind = VAL_ERROR};
}

Val val_number(Number n)
{
    return (Val){.kind = VAL_NUMBER, .number = n, .free = true};
}

Val val_tensor(ValueId id, bool is_free)
{
    return id ? (Val){.kind = VAL_TENSOR, .id = id, .free = is_free} : val_error();
}

DType val_dtype(Build *b, Val v)
{
    int64_t whole;
    if (v.kind == VAL_NUMBER)               // what no int can hold is a float
        return number_whole(v.number, &whole) && whole >= INT32_MIN && whole <= INT32_MAX ? DTYPE_I32 : DTYPE_F32;
    return v.kind == VAL_TENSOR && v.id ? b->g->node[v.id].type.dtype : DTYPE_F32;
}

Val to_dtype(Build *b, Val v, DType dtype)
{
    if (v.kind == VAL_NUMBER)
        return val_tensor(graph_const(b->g, dtype, v.number.value), true);
    if (v.kind != VAL_TENSOR || val_dtype(b, v) == dtype)
        return v;
    Val r = v;
    r.id = graph_cast(b->g, dtype, v.id);
    return r.id ? r : val_error();
}

Val to_float(Build *b, Val v)
{
    return to_dtype(b, v, DTYPE_F32);
}

Val value_of_tensor(Build *b, const Expr *e)
{
    Val v = value_of(b, e);
    if (v.kind == VAL_NUMBER)
        return to_dtype(b, v, val_dtype(b, v));
    if (v.kind == VAL_TENSOR || v.kind == VAL_ERROR || v.kind == VAL_FIELD)
        return v;
    report(b, e->at, "E0210", "a value with axes is wanted here, and this is %s", axes_text(b, v));
    return val_error();
}

bool value_of_number(Build *b, const Expr *e, Number *out)
{
    Val v = value_of(b, e);
    if (v.kind == VAL_NUMBER) {
        *out = v.number;
        return true;
    }
    if (v.kind != VAL_ERROR && report(b, e->at, "E0211", "a number known before running is wanted here"))
        label_axes(b, e->at, v);
    return false;
}

Number const_force(Build *b, Symbol *lazy, bool *out_ok)
{
    *out_ok = true;
    if (lazy->kind == SYM_VALUE) {
        *out_ok = lazy->val.kind == VAL_NUMBER;
        return lazy->val.number;
    }
    if (lazy->evaluating) {
        report(b, lazy->at, "E0114", "the value of `%s` depends on itself", lazy->name);
        *out_ok = false;
        return number_of(0);
    }
    Scope *scope = b->scope;
    Frame *frame = b->frame;
    b->scope = b->file_scope;
    b->frame = NULL;
    lazy->evaluating = true;
    const Expr *e = lazy->value;
    const Binding *bind = binding_find(b, lazy->name);
    if (bind)
        e = binding_expr(b, bind->value);
    else
        for (const KeyValue *kv = b->size && b->options->size ? b->size->props : NULL; kv; kv = kv->next)
            if (strcmp(kv->name->text, lazy->name) == 0)
                e = kv->value;
    Number n = number_of(0);
    *out_ok = e && value_of_number(b, e, &n);
    lazy->evaluating = false;
    lazy->kind = SYM_VALUE;
    lazy->val = *out_ok ? val_number(n) : val_error();
    b->scope = scope;
    b->frame = frame;
    return n;
}

ValueId spread(Build *b, ValueId x, const AxisId *to, size_t n)
{
    const Type *t = &b->g->node[x].type;
    if (x && t->n_axes == n && (n == 0 || memcmp(t->axis, to, n * sizeof *to) == 0))
        return x;
    return graph_expand(b->g, x, to, n);
}

Val stand_in(Build *b, DType dtype, const AxisList *axes)
{
    return val_tensor(graph_leaf(b->g, OP_ARG, "not-built", type_make(dtype, axes->id, axes->n)), false);
}

Val field_as(Build *b, Val field, DType dtype, const AxisList *axes)
{
    DataField *f = field.field;
    if (!f->id)
        f->id = graph_leaf(b->g, OP_ARG, f->name, type_make(dtype, axes->id, axes->n));
    return val_tensor(f->id, false);
}

static bool is_value(const Symbol *s)
{
    return s->kind == SYM_VALUE || s->kind == SYM_LAZY_CONST || s->kind == SYM_AXIS || s->kind == SYM_LAZY_AXIS;
}

// Scalars that every graph of a run may have.
bool name_is_taken(Build *b, const char *name, Span at)
{
    if (strcmp(name, "seed") != 0 && strcmp(name, "step") != 0 && strcmp(name, "lr") != 0)
        return false;
    if (report(b, at, "E0104", "an input cannot be called `%s`: every run has a scalar of that name", name))
        diag_help(b->diag, "call it something else, for example `%s_`", name);
    return true;
}

static Val unknown_name(Build *b, const Expr *e)
{
    if (b->in_loss && name_is_taken(b, e->text, e->at))
        return val_error();
    if (b->in_loss) {
        DataField *f = map_get(&b->fields, e->text);
        if (!f) {
            f = arena_new(b->arena, DataField);
            *f = (DataField){.name = e->text, .at = e->at};
            map_set(b->arena, &b->fields, e->text, f);
        }
        return (Val){.kind = VAL_FIELD, .field = f};
    }
    if (!report(b, e->at, "E0101", "nothing is called `%s` here", e->text))
        return val_error();
    diag_label(b->diag, e->at, "not defined");
    const char *near = near_name(b, e->text, is_value);
    if (near)
        diag_help(b->diag, "`%s` is close", near);
    return val_error();
}

static Val eval_name(Build *b, const Expr *e)
{
    bool outside;
    Val made;
    if (b->init && init_call(b, e, &made))
        return made;
    Symbol *sym = scope_find(b->scope, e->text, &outside);
    if (!sym) {
        if (strcmp(e->text, "pi") == 0)
            return val_number(number_double(M_PI));
        if (b->in_loss && strcmp(e->text, "aux") == 0) {
            b->aux_read = true;
            return b->aux;
        }
        AxisId axis = strchr(e->text, '\'') ? axis_quiet(b, e->text) : 0;
        return axis ? val_number(number_of(axis_size(b, axis))) : unknown_name(b, e);
    }
    bool ok;
    AxisId axis;
    switch (sym->kind) {
    case SYM_LAZY_AXIS:
    case SYM_AXIS:
        axis = sym->kind == SYM_AXIS ? sym->axis : axis_force(b, sym);
        return axis ? val_number(number_of(axis_size(b, axis))) : val_error();
    case SYM_LAZY_CONST: {
        Number n = const_force(b, sym, &ok);
        return ok ? val_number(n) : val_error();
    }
    case SYM_VALUE:
        return outside ? route_read(b, sym->val) : sym->val;
    case SYM_LAYER:
    case SYM_INSTANCE:
        if (report(b, e->at, "E0212", "`%s` is a layer: call it with its inputs", e->text))
            diag_help(b->diag, "write `%s(..)`", e->text);
        return val_error();
    }
    return val_error();
}

// `x * W` where the product that sums was meant, or the one of all pairs.
static void help_product(Build *b, const AxisList *ax, const AxisList *ay)
{
    AxisId shared = 0;
    for (size_t i = 0; i < ax->n; i++)
        if (axes_has(ay, ax->id[i]) && b->g->axis[ax->id[i]].kind == AXIS_FEATURE)
            shared = ax->id[i];
    if (shared)
        diag_help(b->diag, "summed over %s? `a @[%s] b`; every pair is meant? `outer(a, b)`", axis_name(b, shared), axis_name(b, shared));
    else
        diag_help(b->diag, "every pair is meant? `outer(a, b)`");
}

static bool subset(const AxisList *a, const AxisList *c)
{
    for (size_t i = 0; i < a->n; i++)
        if (!axes_has(c, a->id[i]))
            return false;
    return true;
}

bool fits_elementwise(Build *b, const Expr *e, Val x, Val y)
{
    if (x.kind == VAL_NUMBER || y.kind == VAL_NUMBER || x.free || y.free)
        return true;
    AxisList ax, ay;
    axes_of(b, x, &ax);
    axes_of(b, y, &ay);
    if (subset(&ax, &ay) || subset(&ay, &ax))
        return true;
    if (!report(b, e->op_at.file ? e->op_at : e->at, "E0202", "neither side's axes lie within the other's: %s and %s",
                list_text(b, &ax), list_text(b, &ay)))
        return false;
    if (e->a && e->b) {
        label_axes(b, e->a->at, x);
        label_axes(b, e->b->at, y);
    }
    AxisList only_x = {0}, only_y = {0};
    for (size_t i = 0; i < ax.n; i++)
        if (!axes_has(&ay, ax.id[i]))
            axes_add(&only_x, ax.id[i]);
    for (size_t i = 0; i < ay.n; i++)
        if (!axes_has(&ax, ay.id[i]))
            axes_add(&only_y, ay.id[i]);
    diag_note(b->diag, "only the left side holds %s, only the right %s", list_text(b, &only_x), list_text(b, &only_y));
    bool twins = only_x.n == 1 && only_y.n == 1 &&
                 b->axis[only_x.id[0]].root == b->axis[only_y.id[0]].root;
    if (twins)
        diag_help(b->diag, "the same positions? `.rename(%s -> %s)`", axis_name(b, only_y.id[0]),
                  axis_name(b, only_x.id[0]));
    else if (e->kind == EXPR_BINARY && e->op == BINARY_MUL)
        help_product(b, &ax, &ay);
    else
        diag_help(b->diag, "sum, select or rename the axes that differ first");
    return false;
}

static DType common_dtype(Build *b, Val x, Val y)
{
    return val_dtype(b, x) == DTYPE_I32 && val_dtype(b, y) == DTYPE_I32 ? DTYPE_I32 : DTYPE_F32;
}

// A field meets a value: it becomes a float of the value's axes.
static void settle_fields(Build *b, Val *x, Val *y)
{
    AxisList axes;
    if (x->kind == VAL_FIELD)
        *x = field_as(b, *x, DTYPE_F32, axes_of(b, *y, &axes));
    if (y->kind == VAL_FIELD)
        *y = field_as(b, *y, DTYPE_F32, axes_of(b, *x, &axes));
}

static bool is_tensor_like(Val v)
{
    return v.kind == VAL_NUMBER || v.kind == VAL_TENSOR || v.kind == VAL_FIELD;
}

Val combine(Build *b, const Expr *e, Op op, Val x, Val y)
{
    settle_fields(b, &x, &y);
    if (x.kind == VAL_ERROR || y.kind == VAL_ERROR || !fits_elementwise(b, e, x, y))
        return val_error();
    DType dtype = op == OP_DIV || op == OP_POW || op == OP_ATAN2 ? DTYPE_F32 : common_dtype(b, x, y);
    bool is_free = x.free && y.free;
    x = to_dtype(b, x, dtype);
    y = to_dtype(b, y, dtype);
    return val_tensor(graph_binary(b->g, op, x.id, y.id), is_free);
}

static Val power(Build *b, const Expr *e, Val x, Val y)
{
    if (x.kind == VAL_TENSOR && y.kind == VAL_NUMBER) {
        if (y.number.value == 2.0) {
            x = to_float(b, x);
            return val_tensor(graph_binary(b->g, OP_MUL, x.id, x.id), x.free);
        }
        if (y.number.value == 0.5)
            return val_tensor(graph_map(b->g, ACT_SQRT, to_float(b, x).id), x.free);
        if (y.number.value == 1.0)
            return to_float(b, x);
    }
    return combine(b, e, OP_POW, x, y);
}

Val binary_op(Build *b, const Expr *e, BinaryOp op, Val x, Val y)
{
    if (x.kind == VAL_ERROR || y.kind == VAL_ERROR)
        return val_error();
    if (!is_tensor_like(x) || !is_tensor_like(y)) {
        Val wrong = is_tensor_like(x) ? y : x;
        report(b, e->at, "E0210", "arithmetic needs numbers or values with axes, and this is %s", axes_text(b, wrong));
        return val_error();
    }
    if (x.kind == VAL_NUMBER && y.kind == VAL_NUMBER)
        return val_number(number_binary(op, x.number, y.number));
    b->g->at = e->at;
    switch (op) {
    case BINARY_ADD: return combine(b, e, OP_ADD, x, y);
    case BINARY_SUB: return combine(b, e, OP_SUB, x, y);
    case BINARY_MUL: return combine(b, e, OP_MUL, x, y);
    case BINARY_DIV: return combine(b, e, OP_DIV, x, y);
    case BINARY_MOD: return combine(b, e, OP_MOD, x, y);
    case BINARY_POW: return power(b, e, x, y);
    case BINARY_LT:  return combine(b, e, OP_LT, x, y);
    case BINARY_LE:  return combine(b, e, OP_LE, x, y);
    case BINARY_GT:  return combine(b, e, OP_LT, y, x);
    case BINARY_GE:  return combine(b, e, OP_LE, y, x);
    case BINARY_EQ:  return combine(b, e, OP_EQ, x, y);
    case BINARY_NE:  return combine(b, e, OP_NE, x, y);
    }
    return val_error();
}

static AxisId bare_axis(Build *b, const Expr *e)
{
    if (e->kind != EXPR_NAME)
        return 0;
    Symbol *sym = scope_find(b->scope, e->text, NULL);
    if (sym ? sym->kind != SYM_AXIS && sym->kind != SYM_LAZY_AXIS : strchr(e->text, '\'') == NULL)
        return 0;
    return axis_quiet(b, e->text);
}

// `T' <= T` compares two equal sizes: positions were meant.
static bool compares_sizes(Build *b, const Expr *e)
{
    if (e->op < BINARY_LT)
        return false;
    AxisId x = bare_axis(b, e->a), y = bare_axis(b, e->b);
    if (!x || !y || x == y || b->axis[x].root != b->axis[y].root)
        return false;
    if (!report(b, e->op_at, "E0413", "this compares two sizes, which are equal; positions were meant"))
        return true;
    diag_label(b->diag, e->a->at, "%lld", (long long)axis_size(b, x));
    diag_label(b->diag, e->b->at, "%lld", (long long)axis_size(b, y));
    const char *op = source_text(b, e->op_at);
    const char *edit = arena_printf(b->arena, "index(%s) %s index(%s)", e->a->text, op, e->b->text);
    diag_help_edit(b->diag, span_join(e->a->at, e->b->at), edit, "compare positions:  %s", edit);
    return true;
}

static Val eval_binary(Build *b, const Expr *e)
{
    if (compares_sizes(b, e))
        return val_error();
    Val x = value_of(b, e->a);
    Val y = value_of(b, e->b);
    if ((e->op == BINARY_MUL && !e->a->parens && !e->b->parens) &&
        (e->b->kind == EXPR_CONTRACT && x.kind == VAL_TENSOR) && y.kind == VAL_TENSOR) {
        const Expr *c = e->b;
        AxisList ax;
        axes_of(b, x, &ax);
        for (const Name *n = c->axes; n; n = n->next) {
            AxisId over = axis_quiet(b, n->text);
            if (over && axes_has(&ax, over) && report_warning(b, e->op_at, "W0204",
                "`*` waits for the sum over `%s`: this is a*(b @[%s] c)", n->text, n->text)) {
                label_axes(b, e->a->at, x);
                diag_help(b->diag, "write the parentheses that are meant: (a*b) @[%s] c, or a*(b @[%s] c)", n->text,
                          n->text);
            }
        }
    }
    return binary_op(b, e, e->op, x, y);
}

// Where the value of a name was made: the cause of what stands further down.
static void note_origin(Build *b, const Expr *e, const char *axis)
{
    Symbol *sym = e->kind == EXPR_NAME ? scope_find(b->scope, e->text, NULL) : NULL;
    if (sym && sym->at.file)
        diag_note(b->diag, "`%s` is made on line %u and still counts by %s", e->text, line_of(b, sym->at), axis);
    else
        diag_note(b->diag, "it still counts by %s, the same axis under another name", axis);
}

// An edit that gives an operand's axis the name that is wanted.
static void help_rename(Build *b, const Expr *e, const char *from, const char *to)
{
    const char *text = source_text(b, e->at);
    bool is_plain = e->kind == EXPR_NAME || e->kind == EXPR_CALL || e->kind == EXPR_SELECT || e->parens;
    if (e->parens && text[0] != '(')
        is_plain = false;
    const char *edit = arena_printf(b->arena, is_plain ? "%s.rename(%s -> %s)" : "(%s).rename(%s -> %s)", text, from, to);
    diag_help_edit(b->diag, e->at, edit, "give it that name:  %s", edit);
}

// The one feature axis that both sides have and that is not summed yet; 0: there is none, or a choice.
static AxisId shared_axis(Build *b, const Expr *e, const AxisList *ax, const AxisList *ay)
{
    AxisId found = 0;
    for (size_t i = 0; i < ax->n; i++) {
        AxisId id = ax->id[i];
        bool is_summed = false;
        for (const Name *n = e->axes; n; n = n->next)
            is_summed |= strcmp(n->text, axis_name(b, id)) == 0;
        if (is_summed || !axes_has(ay, id) || b->g->axis[id].kind != AXIS_FEATURE)
            continue;
        if (found)
            return 0;
        found = id;
    }
    return found;
}

static bool check_summed(Build *b, const Expr *e, const Name *n, AxisId id, Val x, Val y)
{
    AxisList ax, ay;
    axes_of(b, x, &ax);
    axes_of(b, y, &ay);
    bool left = axes_has(&ax, id), right = axes_has(&ay, id);
    if (left && right)
        return true;
    if (!report(b, n->at, "E0201", "cannot sum over `%s`: %s", n->text,
                left ? "the right side does not have it" : right ? "the left side does not have it"
                                                                 : "neither side has it"))
        return false;
    label_axes(b, e->a->at, x);
    label_axes(b, e->b->at, y);
    AxisList *missing = left ? &ay : &ax;
    AxisId shared = shared_axis(b, e, &ax, &ay);
    for (size_t i = 0; i < missing->n; i++) {
        AxisId other = missing->id[i];
        if (b->axis[other].root == b->axis[id].root && other != id) {
            note_origin(b, left ? e->b : e->a, axis_name(b, other));
            help_rename(b, left ? e->b : e->a, axis_name(b, other), n->text);
            return false;
        }
    }
    if (shared) {
        diag_help(b->diag, "is `%s` meant? both sides have it", axis_name(b, shared));
        return false;
    }
    for (size_t i = 0; i < missing->n; i++) {
        AxisId other = missing->id[i];
        if (axis_size(b, other) == axis_size(b, id) && !axes_has(left ? &ax : &ay, other)) {
            diag_help(b->diag, "is `%s` meant? it has the same size, %lld", axis_name(b, other),
                      (long long)axis_size(b, id));
            return false;
        }
    }
    return false;
}

static Val eval_contract(Build *b, const Expr *e)
{
    Val x = value_of_tensor(b, e->a);
    Val y = value_of_tensor(b, e->b);
    AxisList over = {0};
    bool ok = x.kind == VAL_TENSOR && y.kind == VAL_TENSOR;
    for (const Name *n = e->axes; n; n = n->next) {
        AxisId id = axis_find(b, n->text, n->at, false);
        if (!id || (ok && !check_summed(b, e, n, id, x, y)))
            ok = false;
        axes_add(&over, id);
    }
    if (!ok)
        return val_error();
    x = to_float(b, x);
    y = to_float(b, y);
    b->g->at = span_join(e->a->at, e->b->at);
    return val_tensor(graph_contract(b->g, x.id, y.id, over.id, over.n), false);
}

static Val eval_negate(Build *b, const Expr *e)
{
    Val v = value_of(b, e->a);
    if (v.kind == VAL_NUMBER)
        return val_number(number_negate(v.number));
    if (v.kind == VAL_ERROR)
        return v;
    if (v.kind != VAL_TENSOR) {
        report(b, e->at, "E0210", "`-` needs a number or a value with axes, and this is %s", axes_text(b, v));
        return val_error();
    }
    b->g->at = e->at;
    return val_tensor(graph_unary(b->g, OP_NEG, v.id), v.free);
}

Val value_of(Build *b, const Expr *e)
{
    switch (e->kind) {
    case EXPR_ERROR:    return val_error();
    case EXPR_NUMBER:   return val_number(number_literal(e->text ? e->text : "", e->number));
    case EXPR_STRING:   return (Val){.kind = VAL_TEXT, .text = e->text};
    case EXPR_NAME:     return eval_name(b, e);
    case EXPR_BINARY:   return eval_binary(b, e);
    case EXPR_NEGATE:   return eval_negate(b, e);
    case EXPR_CONTRACT: return eval_contract(b, e);
    case EXPR_FIELD:    return value_of_field(b, e);
    case EXPR_SELECT:   return value_of_select(b, e);
    case EXPR_CALL:     return value_of_call(b, e);
    case EXPR_TUPLE:
        report(b, e->at, "E0213", "a list of values has no place here");
        return val_error();
    }
    return val_error();
}
