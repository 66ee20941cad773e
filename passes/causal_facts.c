// The rules of the causality proof, op by op. Each is an over-approximation: what is not listed reads everything. The
// one thing taken on trust is that masked scores meet moderate numbers only: x + LOW is LOW, and 0*x is 0. A row in which
// all scores may be LOW is not trusted: its largest score is LOW too, and then exp(LOW - LOW) is not 0.
#include "causal_rules.h"

#include "eval.h"

#include <math.h>
#include <string.h>

const Reads reads_nothing = {.fixed = NOWHERE, .least = -ORDINARY, .most = ORDINARY, .low_at_most = -INFINITY};

bool reads_depend(const Reads *r)
{
    return r->all || r->n_bounds || r->fixed != NOWHERE;
}

static int64_t stride_along(const Bound *b, AxisId axis)
{
    for (size_t i = 0; i < b->n_terms; i++)
        if (b->term[i].axis == axis)
            return b->term[i].stride;
    return 0;
}

bool reads_along(const Reads *r, AxisId axis)
{
    for (size_t i = 0; i < r->n_bounds; i++)
        if (stride_along(&r->bound[i], axis))
            return true;
    return false;
}

int64_t max_place(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// NOWHERE stays nowhere; the sizes of a bound graph keep sums far from overflow, and what is not is taken for "all".
int64_t place_moved(int64_t place, int64_t by)
{
    int64_t sum;
    if (place == NOWHERE)
        return NOWHERE;
    return __builtin_add_overflow(place, by, &sum) ? INT64_MAX : sum;
}

static bool same_terms(const Bound *a, const Bound *b)
{
    bool same = a->n_terms == b->n_terms;
    for (size_t i = 0; same && i < a->n_terms; i++)
        same = a->term[i].axis == b->term[i].axis && a->term[i].stride == b->term[i].stride;
    return same;
}

void reads_add_bound(Reads *r, const Bound *b)
{
    if (b->shift == INT64_MAX) {
        r->all = true;
        return;
    }
    if (b->n_terms == 0) {
        r->fixed = max_place(r->fixed, b->shift);
        return;
    }
    for (size_t i = 0; i < r->n_bounds; i++)
        if (same_terms(&r->bound[i], b)) {
            r->bound[i].shift = max_place(r->bound[i].shift, b->shift);
            return;
        }
    if (r->n_bounds == MAX_BOUNDS)
        r->all = true;
    else
        r->bound[r->n_bounds++] = *b;
}

// Takes the term along an axis out and returns its stride, or 0.
int64_t bound_take(Bound *b, AxisId axis)
{
    for (size_t i = 0; i < b->n_terms; i++)
        if (b->term[i].axis == axis) {
            int64_t stride = b->term[i].stride;
            memmove(&b->term[i], &b->term[i + 1], (--b->n_terms - i) * sizeof b->term[0]);
            return stride;
        }
    return 0;
}

// Adds stride * i_axis. What does not fit becomes a bound on nothing: everything may be read.
void bound_add(Bound *b, AxisId axis, int64_t stride)
{
    stride += bound_take(b, axis);
    size_t at = b->n_terms;
    while (at && b->term[at - 1].axis > axis)
        at--;
    if (b->n_terms == MAX_TERMS) {
        b->shift = INT64_MAX;
        return;
    }
    memmove(&b->term[at + 1], &b->term[at], (b->n_terms++ - at) * sizeof b->term[0]);
    b->term[at].axis = axis;
    b->term[at].stride = stride;
}

static int64_t product_or_all(int64_t a, int64_t b)
{
    int64_t out;
    return __builtin_mul_overflow(a, b, &out) ? INT64_MAX : out;
}

void reads_replace_all(Reads *r, AxisId axis, const AxisId *to, const int64_t *stride, size_t n, int64_t by)
{
    Reads old = *r;
    r->n_bounds = 0;
    for (size_t i = 0; i < old.n_bounds; i++) {
        Bound b = old.bound[i];
        int64_t along = bound_take(&b, axis), moved = along ? product_or_all(along, by) : 0;
        for (size_t k = 0; along && k < n; k++) {
            int64_t step = product_or_all(along, stride[k]);
            if (step == INT64_MAX)
                moved = INT64_MAX;
            else
                bound_add(&b, to[k], step);
        }
        b.shift = b.shift == INT64_MAX || moved == INT64_MAX ? INT64_MAX : place_moved(b.shift, moved);
        reads_add_bound(r, &b);
    }
}

void reads_replace(Reads *r, AxisId axis, AxisId to, int64_t by)
{
    reads_replace_all(r, axis, &to, (const int64_t[]){1}, to != 0, by);
}

bool reads_forget(Reads *r, AxisId axis)
{
    size_t n = 0, had = r->n_bounds;
    for (size_t i = 0; i < had; i++)
        if (!stride_along(&r->bound[i], axis))
            r->bound[n++] = r->bound[i];
    r->n_bounds = n;
    return n < had;
}

void reads_add(Reads *r, const Reads *x)
{
    for (size_t i = 0; i < x->n_bounds; i++)
        reads_add_bound(r, &x->bound[i]);
    r->fixed = max_place(r->fixed, x->fixed);
    r->all |= x->all;
}

// Regions and facts

static bool region_within(const Region *small, const Region *large)
{
    if (small->on_diagonal || large->on_diagonal)
        return small->on_diagonal && small->a == large->a && small->b == large->b &&
               (large->on_diagonal || (large->shift < 0 && large->floor == NOWHERE));
    if (small->a != large->a)
        return false;
    if (large->b == 0)                      // i_a > max(i_b + shift, floor) implies i_a > shift, as i_b >= 0
        return large->floor <= max_place(small->floor, small->b ? small->shift : NOWHERE);
    return small->b == large->b && large->shift <= small->shift && large->floor <= small->floor;
}

// Where both hold; false when that is not a region.
static bool region_common(const Region *x, const Region *y, Region *out)
{
    if (x->on_diagonal || y->on_diagonal) {
        *out = *x;
        return x->on_diagonal && y->on_diagonal && x->a == y->a && x->b == y->b;
    }
    if (x->a != y->a || (x->b && y->b && x->b != y->b))
        return false;
    *out = (Region){x->a, x->b ? x->b : y->b, NOWHERE, max_place(x->floor, y->floor), false};
    out->shift = max_place(x->b ? x->shift : NOWHERE, y->b ? y->shift : NOWHERE);
    return true;
}

static Region diagonal(AxisId a, AxisId b)
{
    return (Region){.a = a, .b = b, .floor = NOWHERE, .on_diagonal = true};
}

void reads_add_fact(Reads *r, Region where, unsigned known)
{
    if (known & (KNOWN_ZERO | KNOWN_ONE))
        known |= KNOWN_SAME;
    if (!where.on_diagonal)
        known &= ~(unsigned)KNOWN_FAIR;
    else if (where.a > where.b)             // one spelling of the pair
        where = diagonal(where.b, where.a);
    if (!known || where.a == where.b)
        return;
    for (size_t i = 0; i < r->n_facts; i++)
        if (region_within(&where, &r->fact[i].where) && (known & ~r->fact[i].known) == 0)
            return;
    if (r->n_facts < MAX_FACTS)
        r->fact[r->n_facts++] = (Fact){where, known};
}

static unsigned known_constant(double value)
{
    return (value == 0 ? KNOWN_ZERO : 0u) | (value == 1 ? KNOWN_ONE : 0u) |
           (value <= LOW_ENOUGH ? KNOWN_LOW : value < -LOW_ENOUGH ? KNOWN_FAIR : 0u);
}

static unsigned known_at(const Reads *r, const Region *where)
{
    unsigned known = (reads_depend(r) ? 0u : KNOWN_SAME) | (r->least >= -ORDINARY ? KNOWN_FAIR : 0u);
    if (r->is_const)
        known |= known_constant(r->value);
    for (size_t i = 0; i < r->n_facts; i++)
        if (region_within(where, &r->fact[i].where))
            known |= r->fact[i].known;
    return known;
}

// The value there, if it is one number.
static bool value_at(const Reads *r, const Region *where, double *out)
{
    unsigned known = known_at(r, where);
    *out = r->is_const ? r->value : known & KNOWN_ONE ? 1 : 0;
    return r->is_const || known & (KNOWN_ZERO | KNOWN_ONE);
}

// Element by element

static bool is_comparison(Op op)
{
    return op == OP_LT || op == OP_LE || op == OP_EQ || op == OP_NE;
}

static bool scalar_op(Op op, double a, double b, double *out)
{
    switch ((int)op) {
    case OP_ADD: *out = a + b; return true;
    case OP_SUB: *out = a - b; return true;
    case OP_MUL: *out = a * b; return true;
    case OP_DIV: *out = a / b; return true;
    case OP_MAX: *out = a > b ? a : b; return true;
    case OP_MIN: *out = a < b ? a : b; return true;
    case OP_LT:  *out = a < b; return true;
    case OP_LE:  *out = a <= b; return true;
    case OP_EQ:  *out = a == b; return true;
    case OP_NE:  *out = a != b; return true;
    default:     return false;
    }
}

static unsigned known_binary(const Node *n, const Reads *x, const Reads *y, const Region *where)
{
    unsigned a = known_at(x, where), b = known_at(y, where), known = a & b & KNOWN_SAME;
    bool fair = n->op == OP_ADD || n->op == OP_MAX || n->op == OP_MIN || (x->most <= ORDINARY && y->most <= ORDINARY);
    if (fair)
        known |= a & b & KNOWN_FAIR;
    double va, vb, value;
    if (value_at(x, where, &va) && value_at(y, where, &vb) && scalar_op(n->op, va, vb, &value))
        known |= known_constant(value);
    bool positive_y = (y->is_const && y->value > 0) || b & KNOWN_ONE;
    bool positive_x = (x->is_const && x->value > 0) || a & KNOWN_ONE;
    switch ((int)n->op) {
    case OP_ADD: known |= (a | b) & KNOWN_LOW; break;
    case OP_SUB: known |= a & KNOWN_LOW; break;
    case OP_MUL:
        known |= (a | b) & KNOWN_ZERO;
        known |= (positive_y ? a & KNOWN_LOW : 0) | (positive_x ? b & KNOWN_LOW : 0);
        break;
    case OP_DIV: known |= (a & KNOWN_ZERO) | (positive_y ? a & KNOWN_LOW : 0); break;
    case OP_MAX: case OP_MIN:
        known |= a & b;
        if (x->is_binary && y->is_binary)
            known |= (a | b) & (n->op == OP_MAX ? KNOWN_ONE : KNOWN_ZERO);
        break;
    default: break;
    }
    return known;
}

static unsigned known_select(const Reads *c, const Reads *x, const Reads *y, const Region *where)
{
    double chosen;
    if (value_at(c, where, &chosen))
        return known_at(chosen != 0 ? x : y, where);
    unsigned known = known_at(x, where) & known_at(y, where);
    return known_at(c, where) & KNOWN_SAME ? known : known & ~(unsigned)KNOWN_SAME;
}

static unsigned known_unary(const Node *n, const Reads *x, const Region *where)
{
    unsigned a = known_at(x, where), known = a & (x->most <= ORDINARY ? KNOWN_SAME | KNOWN_FAIR : KNOWN_SAME);
    switch ((int)n->op) {
    case OP_NEG:  return known | (a & KNOWN_ZERO);
    case OP_CAST: case OP_STOP: case OP_EXPAND: return a;
    case OP_MAP:
        if (a & KNOWN_ZERO)
            known |= known_constant(act_value(n->attr[0].act, 0));
        if (a & KNOWN_LOW && act_value(n->attr[0].act, LOW_ENOUGH) == 0)
            known |= KNOWN_ZERO;
        return known;
    default: return known;
    }
}

// Every region that an operand knows something about, and the common parts of two of them.
static void combine_facts(const Node *n, const Reads *const *in, size_t n_in, Reads *out)
{
    enum { MAX_REGIONS = 3 * MAX_FACTS };
    Region all[MAX_REGIONS];
    size_t n_all = 0;
    for (size_t i = 0; i < n_in; i++)
        for (size_t k = 0; k < in[i]->n_facts; k++)
            all[n_all++] = in[i]->fact[k].where;
    for (size_t i = 0; i < n_all; i++)
        for (size_t k = i; k < n_all; k++) {
            Region where;
            if (!region_common(&all[i], &all[k], &where))
                continue;
            unsigned known = n_in == 3 ? known_select(in[0], in[1], in[2], &where)
                           : n_in == 2 ? known_binary(n, in[0], in[1], &where) : known_unary(n, in[0], &where);
            reads_add_fact(out, where, known);
        }
}

static bool linear_sum(const Reads *x, const Reads *y, bool minus, Reads *out)
{
    if (!x->is_linear || !y->is_linear)
        return false;
    AxisId plus[2] = {x->plus, minus ? y->minus : y->plus}, less[2] = {x->minus, minus ? y->plus : y->minus};
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 2; k++)
            if (plus[i] == less[k])
                plus[i] = less[k] = 0;
    if ((plus[0] && plus[1]) || (less[0] && less[1]))
        return false;
    out->is_linear = true;
    out->plus = plus[0] ? plus[0] : plus[1];
    out->minus = less[0] ? less[0] : less[1];
    out->offset = x->offset + (minus ? -y->offset : y->offset);
    return true;
}

// Comparing index expressions: x <= y is i_p - i_q + c <= 0, which is 0 where i_p > i_q - c and 1 where i_q >= i_p + c.
static void compare_facts(const Node *n, const Reads *x, const Reads *y, Reads *out)
{
    Reads d = reads_nothing;
    if (!linear_sum(x, y, true, &d) || (!d.plus && !d.minus))
        return;
    int64_t c = d.offset;
    bool equal = n->op == OP_EQ || n->op == OP_NE;
    unsigned above = n->op == OP_NE ? KNOWN_ONE : KNOWN_ZERO, below = n->op == OP_EQ ? KNOWN_ZERO : KNOWN_ONE;
    if (n->op == OP_LT)                     // whole numbers: d < 0 is d + 1 <= 0
        c++;
    if (d.plus)
        reads_add_fact(out, (Region){d.plus, d.minus, d.minus ? -c : NOWHERE, d.minus ? NOWHERE : -c, false}, above);
    bool holds = n->op == OP_EQ ? c == 0 : n->op == OP_NE ? c != 0 : c <= 0;
    if (d.plus && d.minus)
        reads_add_fact(out, diagonal(d.plus, d.minus), holds ? KNOWN_ONE | KNOWN_FAIR : KNOWN_ZERO | KNOWN_FAIR);
    int64_t from = equal ? c : c - 1;
    if (d.minus)
        reads_add_fact(out, (Region){d.minus, d.plus, d.plus ? from : NOWHERE, d.plus ? NOWHERE : from, false}, below);
}

static void linear_of(const Node *n, const Reads *const *in, Reads *out)
{
    switch ((int)n->op) {
    case OP_ADD: linear_sum(in[0], in[1], false, out); break;
    case OP_SUB: linear_sum(in[0], in[1], true, out); break;
    case OP_NEG: {
        Reads zero = reads_nothing;
        zero.is_linear = true;
        linear_sum(&zero, in[0], true, out);
        break;
    }
    case OP_CAST: case OP_STOP: case OP_EXPAND:
        out->is_linear = in[0]->is_linear;
        out->plus = in[0]->plus;
        out->minus = in[0]->minus;
        out->offset = in[0]->offset;
        break;
    default: break;
    }
}

typedef struct Range { double least, most; } Range;

static const Range ordinary = {-ORDINARY, ORDINARY}, unknown = {-INFINITY, INFINITY};

static bool is_ordinary(const Reads *r)
{
    return r->least >= -ORDINARY && r->most <= ORDINARY;
}

// A usual number times a usual number is one, as in products of two values.
static Range range_scaled(const Reads *x, double by)
{
    if (is_ordinary(x) && fabs(by) <= ORDINARY)
        return ordinary;
    return by > 0 ? (Range){x->least * by, x->most * by} : (Range){x->most * by, x->least * by};
}

static Range range_of_map(Act f, const Reads *x)
{
    switch ((int)f) {
    case ACT_SIGMOID: case ACT_TANH: case ACT_SIGN: case ACT_ERF: case ACT_SIN: case ACT_COS: return ordinary;
    case ACT_EXP:  return (Range){-ORDINARY, x->most > ORDINARY ? INFINITY : ORDINARY};
    case ACT_RELU: return (Range){-ORDINARY, x->most};
    case ACT_ABS:  return (Range){-ORDINARY, fmax(x->most, -x->least)};
    default:       return is_ordinary(x) ? ordinary : unknown;
    }
}

static Range range_of(const Node *n, const Reads *const *in)
{
    const Reads *x = in[n->op == OP_SELECT], *y = n->n_in > 1 ? in[n->op == OP_SELECT ? 2 : 1] : x;
    switch ((int)n->op) {
    case OP_LT: case OP_LE: case OP_EQ: case OP_NE: return ordinary;
    case OP_ADD: return (Range){x->least + y->least, x->most + y->most};
    case OP_SUB: return (Range){x->least - y->most, x->most - y->least};
    case OP_NEG: return range_scaled(x, -1);
    case OP_MAX: return (Range){fmax(x->least, y->least), fmax(x->most, y->most)};
    case OP_MIN: return (Range){fmin(x->least, y->least), fmin(x->most, y->most)};
    case OP_SELECT: return (Range){fmin(x->least, y->least), fmax(x->most, y->most)};
    case OP_CAST: case OP_STOP: case OP_EXPAND: return (Range){x->least, x->most};
    case OP_MAP: return range_of_map(n->attr[0].act, x);
    case OP_MUL:
        if (x->is_const || x->is_binary)
            return x->is_const && x->value != 0 ? range_scaled(y, x->value)
                   : (Range){fmin(y->least, -ORDINARY), fmax(y->most, ORDINARY)};
        if (y->is_const && y->value != 0)
            return range_scaled(x, y->value);
        break;
    case OP_DIV:
        if (y->is_const && y->value != 0)
            return range_scaled(x, 1 / y->value);
        break;
    default: break;
    }
    return is_ordinary(x) && is_ordinary(y) && is_ordinary(in[0]) ? ordinary : unknown;
}

// Usual numbers stay usual through any number of sums and products; only what masks put in stands out.
static void set_range(Reads *out, Range range)
{
    out->least = range.least >= LOW_ENOUGH ? -ORDINARY : range.least;
    out->most = range.most <= -LOW_ENOUGH ? ORDINARY : range.most;
    if (isnan(out->least) || isnan(out->most)) {
        out->least = unknown.least;
        out->most = unknown.most;
    }
}

// The most that a LOW element of the result can be.
static double low_of(const Node *n, const Reads *const *in)
{
    double most = -INFINITY;
    for (size_t i = 0; i < n->n_in; i++) {
        double low = in[i]->is_const && in[i]->value <= LOW_ENOUGH ? in[i]->value : in[i]->low_at_most;
        const Reads *other = n->n_in == 2 ? in[1 - i] : NULL;
        double factor = other && other->is_const && other->value > 0 ? other->value : 1;
        if (low == -INFINITY || (n->op == OP_SUB && i == 1))
            continue;
        if (n->op == OP_ADD)
            low += other->most;
        else if (n->op == OP_SUB)
            low -= other->least;
        else if (n->op == OP_MUL)
            low *= factor;
        else if (n->op == OP_DIV)
            low /= factor;
        most = low > most ? low : most;
    }
    return most;
}

static bool is_binary(const Node *n, const Reads *const *in)
{
    bool binary = true;
    for (size_t i = n->op == OP_SELECT; i < n->n_in; i++)
        binary &= in[i]->is_binary;
    bool keeps = n->op == OP_MUL || n->op == OP_MAX || n->op == OP_MIN || n->op == OP_SELECT || n->op == OP_CAST ||
                 n->op == OP_STOP || n->op == OP_EXPAND;
    bool inverts = n->op == OP_SUB && in[0]->is_const && in[0]->value == 1 && in[1]->is_binary;
    return is_comparison(n->op) || (keeps && binary) || inverts;
}

void reads_set_const(Reads *r, double value)
{
    r->least = fmin(value, -ORDINARY);
    r->most = fmax(value, ORDINARY);
    r->is_binary = value == 0 || value == 1;
    r->is_const = true;
    r->value = value;
    if (fabs(value) < 1e15 && value == floor(value)) {
        r->is_linear = true;
        r->offset = (int64_t)value;
    }
}

Reads reads_pointwise(const Node *n, const Reads *const *in)
{
    Reads out = reads_nothing;
    for (size_t i = 0; i < n->n_in; i++)
        reads_add(&out, in[i]);
    double value;
    if (n->n_in == 2 && in[0]->is_const && in[1]->is_const && scalar_op(n->op, in[0]->value, in[1]->value, &value)) {
        reads_set_const(&out, value);
        return out;
    }
    if (n->n_in == 1 && in[0]->is_const && (n->op == OP_NEG || n->op == OP_MAP || n->op == OP_CAST || n->op == OP_STOP ||
                                            n->op == OP_EXPAND)) {
        reads_set_const(&out, n->op == OP_NEG ? -in[0]->value : n->op == OP_MAP ? act_value(n->attr[0].act, in[0]->value)
                                                                          : in[0]->value);
        return out;
    }
    set_range(&out, range_of(n, in));
    out.low_at_most = low_of(n, in);
    out.is_binary = is_binary(n, in);
    if (n->n_in <= 3)
        combine_facts(n, in, n->n_in, &out);
    if (is_comparison(n->op))
        compare_facts(n, in[0], in[1], &out);
    linear_of(n, in, &out);
    return out;
}
