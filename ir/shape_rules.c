// The shape rule of every op: a rule called `x` in ops.def's column shape is the function shape_x here. A rule
// works out the result's type from the operands' types and the attributes, or reports why they do not fit. The
// front end checks a model first, in the user's terms; people who write IR text see these messages.
#include "shape.h"

#include "checked.h"

#include <math.h>

static const Type *operand(const ShapeCall *c, size_t i)
{
    return &c->g->node[c->in[i]].type;
}

static const char *axis_name(const ShapeCall *c, AxisId axis)
{
    return c->g->axis[axis].name;
}

static int64_t axis_size(const ShapeCall *c, AxisId axis)
{
    return c->g->axis[axis].size;
}

__attribute__((format(printf, 3, 4)))
static bool fail(const ShapeCall *c, const char *code, const char *format, ...)
{
    if (!c->diag)
        return false;
    Text text = text_make(c->diag->arena);
    text_printf(&text, "%s: ", op_row[c->op].text);
    va_list args;
    va_start(args, format);
    text_vprintf(&text, format, args);
    va_end(args);
    if (c->n_in) {
        text_add(&text, c->n_in == 1 ? "; the operand is " : "; the operands are ");
        for (size_t i = 0; i < c->n_in; i++) {
            text_add(&text, i == 0 ? "" : i + 1 == c->n_in ? " and " : ", ");
            type_print(c->g, operand(c, i), &text);
        }
    }
    diag_error(c->diag, c->at, code, "%s", text_str(&text));
    return false;
}

// Appends an axis to the result; fails when it is there already or there are too many.
static bool push(const ShapeCall *c, Type *out, AxisId axis)
{
    if (type_has(out, axis))
        return fail(c, "E0911", "the result would hold the axis `%s` twice", axis_name(c, axis));
    if (out->n_axes == MAX_AXES)
        return fail(c, "E0913", "the result would have more than %d axes", MAX_AXES);
    out->axis[out->n_axes++] = axis;
    return true;
}

static bool push_all(const ShapeCall *c, Type *out, const AxisId *axes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!push(c, out, axes[i]))
            return false;
    return true;
}

static bool listed(const Attr *list, AxisId axis)
{
    for (size_t i = 0; i < list->axes.n; i++)
        if (list->axes.id[i] == axis)
            return true;
    return false;
}

// The value must hold the axis; `what` names the value in the message.
static bool need_axis(const ShapeCall *c, const Type *type, AxisId axis, const char *what)
{
    return type_has(type, axis) || fail(c, "E0911", "%s does not hold the axis `%s`", what, axis_name(c, axis));
}

// The list must name axes that the value holds, each once.
static bool need_axes(const ShapeCall *c, const Type *type, const Attr *list, const char *what)
{
    for (size_t i = 0; i < list->axes.n; i++) {
        if (!need_axis(c, type, list->axes.id[i], what))
            return false;
        for (size_t k = 0; k < i; k++)
            if (list->axes.id[k] == list->axes.id[i])
                return fail(c, "E0911", "the axis `%s` is listed twice", axis_name(c, list->axes.id[i]));
    }
    return true;
}

static bool need_float(const ShapeCall *c, size_t i)
{
    return operand(c, i)->dtype != DTYPE_I32 || fail(c, "E0910", "operand %zu must not be int; cast it first", i + 1);
}

static bool need_int(const ShapeCall *c, size_t i)
{
    return operand(c, i)->dtype == DTYPE_I32 || fail(c, "E0910", "operand %zu must be int", i + 1);
}

// Replaces one axis by others, in place; the other axes stay.
static bool replace(const ShapeCall *c, const Type *x, AxisId axis, const AxisId *by, size_t n, Type *out)
{
    *out = (Type){.dtype = x->dtype};
    for (size_t i = 0; i < x->n_axes; i++)
        if (x->axis[i] == axis ? !push_all(c, out, by, n) : !push(c, out, x->axis[i]))
            return false;
    return true;
}

// Operand `first` and those after it, merged: operand 0's axes, then those that later ones add.
static bool merge_operands(const ShapeCall *c, size_t first, Type *out)
{
    for (size_t i = first; i < c->n_in; i++) {
        if (operand(c, i)->dtype != operand(c, first)->dtype)
            return fail(c, "E0910", "the operands must have one element type");
        const Type *x = operand(c, i);
        for (size_t k = 0; k < x->n_axes; k++)
            if (!type_has(out, x->axis[k]) && !push(c, out, x->axis[k]))
                return false;
    }
    return true;
}

// Leaves

static bool check_const(const ShapeCall *c)
{
    double value = c->attr[0].f;
    if (c->declared->dtype == DTYPE_I32 && !(value >= INT32_MIN && value <= INT32_MAX && value == floor(value)))
        return fail(c, "E0910", "%g is not an int", value);
    return true;
}

static bool check_random(const ShapeCall *c)
{
    if (!need_int(c, 0) || !need_int(c, 1))
        return false;
    if (operand(c, 0)->n_axes || operand(c, 1)->n_axes)
        return fail(c, "E0911", "seed and step must be scalars");
    if (c->declared->dtype != DTYPE_F32)
        return fail(c, "E0910", "the result is f32");
    if (c->attr[0].i < 0 || c->attr[0].i > UINT32_MAX)
        return fail(c, "E0912", "the stream must be a number from 0 to %u", UINT32_MAX);
    return true;
}

static bool shape_declared(const ShapeCall *c, Type *out)
{
    if (!c->declared)
        return fail(c, "E0914", "the type must be written");
    *out = (Type){.dtype = c->declared->dtype};
    if (!push_all(c, out, c->declared->axis, c->declared->n_axes))
        return false;
    if (c->op == OP_CONST)
        return check_const(c);
    if (c->op == OP_RANDOM)
        return check_random(c);
    return c->attr[0].name[0] != 0 || fail(c, "E0914", "the name is empty");
}

static bool shape_index(const ShapeCall *c, Type *out)
{
    *out = type_make(DTYPE_I32, &c->attr[0].axis, 1);
    return axis_size(c, c->attr[0].axis) <= INT32_MAX || fail(c, "E0912", "the axis is too long for int");
}

// Element by element

static bool shape_same(const ShapeCall *c, Type *out)
{
    bool whole = c->op == OP_ADD || c->op == OP_SUB || c->op == OP_MUL || c->op == OP_MOD || c->op == OP_MAX ||
                 c->op == OP_MIN || c->op == OP_NEG || c->op == OP_STOP;
    for (size_t i = 0; !whole && i < c->n_in; i++)          // the others have no agreed meaning on whole numbers
        if (!need_float(c, i))
            return false;
    *out = (Type){.dtype = operand(c, 0)->dtype};
    if (!merge_operands(c, 0, out))
        return false;
    return c->op != OP_ORTHO || need_axes(c, out, &c->attr[0], "the operand");
}

static bool shape_compare(const ShapeCall *c, Type *out)
{
    *out = (Type){.dtype = DTYPE_F32};
    return merge_operands(c, 0, out);
}

static bool shape_select(const ShapeCall *c, Type *out)
{
    const Type *condition = operand(c, 0);
    if (condition->dtype != DTYPE_F32)
        return fail(c, "E0910", "the condition must be f32");
    *out = *condition;
    out->dtype = operand(c, 1)->dtype;
    return merge_operands(c, 1, out);
}

static bool shape_cast(const ShapeCall *c, Type *out)
{
    *out = *operand(c, 0);
    out->dtype = c->attr[0].dtype;
    return true;
}

static bool shape_expand(const ShapeCall *c, Type *out)
{
    const Type *x = operand(c, 0);
    const Attr *to = &c->attr[0];
    for (size_t i = 0; i < x->n_axes; i++)
        if (!listed(to, x->axis[i]))
            return fail(c, "E0911", "`to` leaves out the axis `%s`", axis_name(c, x->axis[i]));
    *out = (Type){.dtype = x->dtype};
    return push_all(c, out, to->axes.id, to->axes.n);
}

// Sums and products

static bool shape_contract(const ShapeCall *c, Type *out)
{
    const Type *a = operand(c, 0), *b = operand(c, 1);
    const Attr *over = &c->attr[0];
    if (a->dtype != b->dtype)
        return fail(c, "E0910", "the operands must have one element type");
    if (!need_axes(c, a, over, "the left operand") || !need_axes(c, b, over, "the right operand"))
        return false;
    *out = (Type){.dtype = a->dtype};
    for (size_t i = 0; i < a->n_axes; i++)
        if (!listed(over, a->axis[i]) && !push(c, out, a->axis[i]))
            return false;
    for (size_t i = 0; i < b->n_axes; i++)
        if (!type_has(a, b->axis[i]) && !push(c, out, b->axis[i]))
            return false;
    return true;
}

static bool shape_reduce(const ShapeCall *c, Type *out)
{
    const Type *x = operand(c, 0);
    const Attr *over = &c->attr[1];
    if (!need_axes(c, x, over, "the operand"))
        return false;
    *out = (Type){.dtype = x->dtype};
    for (size_t i = 0; i < x->n_axes; i++)
        if (!listed(over, x->axis[i]) && !push(c, out, x->axis[i]))
            return false;
    return true;
}

// x must hold `axis` and k `taps`; neither holds the other's, nor the new one.
static bool conv_axes(const ShapeCall *c, const Type *x, const Type *k, AxisId axis, AxisId taps, AxisId to)
{
    if (!need_axis(c, x, axis, "the left operand") || !need_axis(c, k, taps, "the right operand"))
        return false;
    if (taps != axis && (type_has(x, taps) || type_has(k, axis)))
        return fail(c, "E0911", "`%s` runs along the left operand only and `%s` along the right one; rename one of them",
                    axis_name(c, axis), axis_name(c, taps));
    if (to != axis && (type_has(x, to) || (to != taps && type_has(k, to))))
        return fail(c, "E0911", "the operands hold the axis `%s` of the result already", axis_name(c, to));
    return true;
}

static bool shape_fftconv(const ShapeCall *c, Type *out)
{
    const Type *x = operand(c, 0), *k = operand(c, 1);
    AxisId axis = c->attr[0].axis, taps = c->attr[1].axis, to = c->attr[2].axis;
    const Attr *over = &c->attr[4];
    if (x->dtype != k->dtype)
        return fail(c, "E0910", "the operands must have one element type");
    if (!need_float(c, 0) || !conv_axes(c, x, k, axis, taps, to) || !need_axes(c, x, over, "the left operand") ||
        !need_axes(c, k, over, "the right operand"))
        return false;
    if (listed(over, axis) || listed(over, taps))
        return fail(c, "E0911", "`over` lists the axis that the filter runs along");
    if (c->attr[5].i != 0 && c->attr[5].i != 1)
        return fail(c, "E0914", "`circular` is 0 or 1");
    if (c->attr[3].i < -(INT64_C(1) << 40) || c->attr[3].i > INT64_C(1) << 40)
        return fail(c, "E0914", "`left` is out of range");
    if (c->attr[5].i && (axis_size(c, to) != axis_size(c, axis) || axis_size(c, taps) > axis_size(c, axis)))
        return fail(c, "E0912", "a circular result is as long as `%s`, and the filter is not longer", axis_name(c, axis));
    *out = (Type){.dtype = x->dtype};
    for (size_t i = 0; i < x->n_axes; i++)
        if (!listed(over, x->axis[i]) && !push(c, out, x->axis[i] == axis ? to : x->axis[i]))
            return false;
    for (size_t i = 0; i < k->n_axes; i++)
        if (k->axis[i] != taps && !type_has(x, k->axis[i]) && !push(c, out, k->axis[i]))
            return false;
    return true;
}

// Views

static bool shape_rename(const ShapeCall *c, Type *out)
{
    const Type *x = operand(c, 0);
    const Attr *from = &c->attr[0], *to = &c->attr[1];
    if (from->axes.n != to->axes.n)
        return fail(c, "E0911", "`from` lists %d axes and `to` lists %d", from->axes.n, to->axes.n);
    if (!need_axes(c, x, from, "the operand"))
        return false;
    *out = (Type){.dtype = x->dtype};
    for (size_t i = 0; i < x->n_axes; i++) {
        AxisId axis = x->axis[i];
        for (size_t k = 0; k < from->axes.n; k++)
            if (from->axes.id[k] == x->axis[i])
                axis = to->axes.id[k];
        if (axis_size(c, axis) != axis_size(c, x->axis[i]))
            return fail(c, "E0912", "`%s` has size %lld and `%s` has size %lld", axis_name(c, x->axis[i]),
                        (long long)axis_size(c, x->axis[i]), axis_name(c, axis), (long long)axis_size(c, axis));
        if (!push(c, out, axis))
            return false;
    }
    return true;
}

// The product of the sizes must be that of `whole`.
static bool need_product(const ShapeCall *c, const Attr *parts, AxisId whole)
{
    int64_t product = 1;
    bool ok = true, zero = false;
    for (size_t i = 0; i < parts->axes.n; i++) {
        zero |= axis_size(c, parts->axes.id[i]) == 0;
        ok = ok && checked_mul_i64(product, axis_size(c, parts->axes.id[i]), &product);
    }
    if (zero)
        product = 0;
    if ((!ok && !zero) || product != axis_size(c, whole))
        return fail(c, "E0912", "`%s` has size %lld, which is not the product of the listed sizes",
                    axis_name(c, whole), (long long)axis_size(c, whole));
    return true;
}

static bool shape_split(const ShapeCall *c, Type *out)
{
    const Attr *axis = &c->attr[0], *to = &c->attr[1];
    return need_axis(c, operand(c, 0), axis->axis, "the operand") && need_product(c, to, axis->axis) &&
           replace(c, operand(c, 0), axis->axis, to->axes.id, to->axes.n, out);
}

// The new axis stands where the first listed one stood.
static bool shape_merge(const ShapeCall *c, Type *out)
{
    const Type *x = operand(c, 0);
    const Attr *axes = &c->attr[0];
    AxisId to = c->attr[1].axis;
    if (axes->axes.n == 0)
        return fail(c, "E0911", "no axis is listed");
    if (!need_axes(c, x, axes, "the operand") || !need_product(c, axes, to))
        return false;
    *out = (Type){.dtype = x->dtype};
    for (size_t i = 0; i < x->n_axes; i++) {
        if (x->axis[i] == axes->axes.id[0] ? !push(c, out, to) : !listed(axes, x->axis[i]) && !push(c, out, x->axis[i]))
            return false;
    }
    return true;
}

static bool shape_at(const ShapeCall *c, Type *out)
{
    AxisId axis = c->attr[0].axis;
    int64_t index = c->attr[1].i;
    if (!need_axis(c, operand(c, 0), axis, "the operand"))
        return false;
    if (index < 0 || index >= axis_size(c, axis))
        return fail(c, "E0912", "index %lld is outside `%s`, which has size %lld", (long long)index,
                    axis_name(c, axis), (long long)axis_size(c, axis));
    return replace(c, operand(c, 0), axis, NULL, 0, out);
}

// `part` at `start` must lie inside `whole`.
static bool need_inside(const ShapeCall *c, AxisId part, int64_t start, AxisId whole)
{
    if (start < 0 || start > axis_size(c, whole) || axis_size(c, part) > axis_size(c, whole) - start)
        return fail(c, "E0912", "`%s` (size %lld) at %lld does not lie inside `%s` (size %lld)", axis_name(c, part),
                    (long long)axis_size(c, part), (long long)start, axis_name(c, whole),
                    (long long)axis_size(c, whole));
    return true;
}

static bool shape_slice(const ShapeCall *c, Type *out)
{
    AxisId axis = c->attr[0].axis, to = c->attr[2].axis;
    return need_axis(c, operand(c, 0), axis, "the operand") && need_inside(c, to, c->attr[1].i, axis) &&
           replace(c, operand(c, 0), axis, &to, 1, out);
}

static bool shape_pad(const ShapeCall *c, Type *out)
{
    AxisId axis = c->attr[0].axis, to = c->attr[2].axis;
    return need_axis(c, operand(c, 0), axis, "the operand") && need_inside(c, axis, c->attr[1].i, to) &&
           replace(c, operand(c, 0), axis, &to, 1, out);
}

static bool shape_reverse(const ShapeCall *c, Type *out)
{
    *out = *operand(c, 0);
    return need_axis(c, out, c->attr[0].axis, "the operand");
}

// Two axes [O, J]; a positive stride; and numbers small enough that o*stride + j - left cannot overflow.
static bool check_window(const ShapeCall *c, const Attr *pair)
{
    int64_t stride = c->attr[2].i, left = c->attr[3].i, reach;
    if (pair->axes.n != 2 || pair->axes.id[0] == pair->axes.id[1])
        return fail(c, "E0911", "two axes are wanted: the places and the offsets");
    if (stride < 1)
        return fail(c, "E0912", "stride must be at least 1");
    if (left < -INT32_MAX || left > INT32_MAX || axis_size(c, pair->axes.id[1]) > INT64_MAX / 4 ||
        !checked_mul_i64(axis_size(c, pair->axes.id[0]), stride, &reach) || reach > INT64_MAX / 4)
        return fail(c, "E0912", "stride, left or the sizes are too large");
    return true;
}

static bool shape_window(const ShapeCall *c, Type *out)
{
    AxisId axis = c->attr[0].axis;
    const Attr *to = &c->attr[1];
    return check_window(c, to) && need_axis(c, operand(c, 0), axis, "the operand") &&
           replace(c, operand(c, 0), axis, to->axes.id, 2, out);
}

static bool shape_unwindow(const ShapeCall *c, Type *out)
{
    const Attr *axes = &c->attr[0];
    AxisId to = c->attr[1].axis;
    return check_window(c, axes) && need_axes(c, operand(c, 0), axes, "the operand") &&
           replace(c, operand(c, 0), axes->axes.id[0], &to, 1, out);
}

// Indexing. The index must not hold the axis it selects along: two things would then have one name.

// What an index finds of operand 0 along the axis: in the axis's place stand the axes that only the index has.
static bool found_type(const ShapeCall *c, AxisId axis, const char *does, Type *out)
{
    const Type *x = operand(c, 0), *index = operand(c, 1);
    if (!need_int(c, 1) || !need_axis(c, x, axis, "the left operand"))
        return false;
    if (type_has(index, axis))
        return fail(c, "E0911", "the index holds `%s`, the axis it %s along; rename it first", axis_name(c, axis), does);
    AxisId added[MAX_AXES];
    size_t n = 0;
    for (size_t i = 0; i < index->n_axes; i++)
        if (!type_has(x, index->axis[i]))
            added[n++] = index->axis[i];
    return replace(c, x, axis, added, n, out);
}

static bool shape_take(const ShapeCall *c, Type *out)
{
    return found_type(c, c->attr[0].axis, "selects", out);
}

// `to` stands where the first of dy's summed axes stood; last, when none is summed.
static bool shape_put_add(const ShapeCall *c, Type *out)
{
    const Type *dy = operand(c, 0), *index = operand(c, 1);
    const Attr *over = &c->attr[0];
    AxisId to = c->attr[1].axis;
    if (!need_int(c, 1) || !need_axes(c, dy, over, "the left operand") || !need_axes(c, index, over, "the index"))
        return false;
    for (size_t i = 0; i < index->n_axes; i++)
        if (!need_axis(c, dy, index->axis[i], "the left operand"))
            return false;
    if (type_has(dy, to))
        return fail(c, "E0911", "the left operand holds `%s`, the axis it is put along; rename it first",
                    axis_name(c, to));
    *out = (Type){.dtype = dy->dtype};
    for (size_t i = 0; i < dy->n_axes; i++)
        if (listed(over, dy->axis[i]) ? !type_has(out, to) && !push(c, out, to) : !push(c, out, dy->axis[i]))
            return false;
    return type_has(out, to) || push(c, out, to);
}

static bool shape_put(const ShapeCall *c, Type *out)
{
    const AxisId axis = c->attr[0].axis;
    Type wanted;
    if (!found_type(c, axis, "puts", &wanted))
        return false;
    if (operand(c, 0)->dtype != operand(c, 2)->dtype)
        return fail(c, "E0910", "the operands must have one element type");
    if (!type_same_axes(&wanted, operand(c, 2)))
        return fail(c, "E0911", "what is put must have the axes of the value without `%s`, and those that only the index has",
                    axis_name(c, axis));
    *out = *operand(c, 0);
    return true;
}

// Routing

static bool shape_topk(const ShapeCall *c, Type *out)
{
    AxisId axis = c->attr[0].axis, to = c->attr[1].axis;
    if (!need_axis(c, operand(c, 0), axis, "the operand") || !replace(c, operand(c, 0), axis, NULL, 0, out))
        return false;
    if (to == axis)
        return fail(c, "E0911", "the choices need an axis of their own, not `%s`", axis_name(c, to));
    if (axis_size(c, to) > axis_size(c, axis))
        return fail(c, "E0912", "`%s` asks for %lld of the %lld of `%s`", axis_name(c, to), (long long)axis_size(c, to),
                    (long long)axis_size(c, axis), axis_name(c, axis));
    out->dtype = DTYPE_I32;
    return push(c, out, to);
}

static bool shape_rank(const ShapeCall *c, Type *out)
{
    *out = *operand(c, 0);
    out->dtype = DTYPE_I32;
    return need_axes(c, operand(c, 0), &c->attr[0], "the operand");
}

static bool shape_slot(const ShapeCall *c, Type *out)
{
    *out = *operand(c, 0);
    if (c->n_in > 2)
        return fail(c, "E0914", "one or two operands are wanted");
    if (!need_int(c, 0) || (c->n_in == 2 && !need_int(c, 1)) || !need_axes(c, operand(c, 0), &c->attr[1], "the operand"))
        return false;
    if (type_has(out, c->attr[0].axis))
        return fail(c, "E0911", "the operand holds `%s`, which its numbers count along", axis_name(c, c->attr[0].axis));
    const Attr *over = &c->attr[1];
    const Type *turn = c->n_in == 2 ? operand(c, 1) : NULL;
    size_t n_turn = 0;
    for (size_t i = 0; turn && i < turn->n_axes; i++) {
        if (!need_axis(c, operand(c, 0), turn->axis[i], "the operand"))
            return false;
        n_turn += listed(over, turn->axis[i]);
    }
    for (size_t i = 0; i < n_turn; i++)
        if (!type_has(turn, over->axes.id[over->axes.n - 1 - i]))
            return fail(c, "E0911", "the axes of the turn must be the last of `over`");
    return true;
}

static bool shape_assign(const ShapeCall *c, Type *out)
{
    AxisId axis = c->attr[0].axis;
    if (!need_axis(c, operand(c, 0), axis, "the operand") || !replace(c, operand(c, 0), axis, NULL, 0, out))
        return false;
    out->dtype = DTYPE_I32;
    return need_axes(c, out, &c->attr[1], "the operand");
}

typedef bool ShapeRule(const ShapeCall *c, Type *out);

static ShapeRule *const shape_rule[OP_COUNT] = {
#define OP(id, text, n_in, attrs, shape, eval, grad, lower, flags) [OP_##id] = shape_##shape,
#include "ops.def"
#undef OP
};

static bool attr_is_sound(const ShapeCall *c, const Attr *attr)
{
    if (attr->kind == ATTR_AXIS)
        return attr->axis != 0 && attr->axis < c->g->n_axes;
    for (size_t i = 0; attr->kind == ATTR_AXES && i < attr->axes.n; i++)
        if (attr->axes.id[i] == 0 || attr->axes.id[i] >= c->g->n_axes)
            return false;
    return attr->kind != ATTR_NAME || attr->name;
}

// Counts, kinds and ids: what the rules take for granted.
static bool is_well_formed(const ShapeCall *c)
{
    if (c->op == OP_ERROR || c->op >= OP_COUNT)
        return c->diag && (diag_error(c->diag, c->at, "E0914", "there is no such op"), false);
    const OpRow *row = &op_row[c->op];
    ShapeCall quiet = *c;                                   // operands are not sound yet: leave them out of messages
    quiet.n_in = 0;
    if (row->n_in == OP_ANY ? c->n_in == 0 || c->n_in >= OP_ANY : c->n_in != row->n_in)
        return fail(&quiet, "E0914", "%zu operands were given, %d are wanted", c->n_in, row->n_in);
    for (size_t i = 0; i < c->n_in; i++)
        if (c->in[i] == 0 || c->in[i] >= c->g->n_nodes)
            return fail(&quiet, "E0914", "operand %zu is not a value", i + 1);
    if (c->n_attr != row->n_attr)
        return fail(&quiet, "E0914", "%zu attributes were given, %d are wanted", c->n_attr, row->n_attr);
    for (size_t i = 0; i < c->n_attr; i++)
        if (c->attr[i].kind != row->attr[i].kind || !attr_is_sound(c, &c->attr[i]))
            return fail(&quiet, "E0914", "the attribute `%s` is not sound", row->attr[i].name);
    if (c->declared && c->declared->n_axes > MAX_AXES)
        return fail(&quiet, "E0913", "the type has more than %d axes", MAX_AXES);
    for (size_t i = 0; c->declared && i < c->declared->n_axes; i++)
        if (c->declared->axis[i] == 0 || c->declared->axis[i] >= c->g->n_axes)
            return fail(&quiet, "E0914", "the written type is not sound");
    return true;
}

bool shape_infer(const ShapeCall *c, Type *out_type)
{
    Type type = {0};
    size_t bytes;
    if (!is_well_formed(c) || !shape_rule[c->op](c, &type))
        return false;
    if (!type_bytes(c->g, &type, &bytes))
        return fail(c, "E0913", "the result has more elements than can be counted");
    *out_type = type;
    return true;
}
