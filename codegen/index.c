// See index.h.
#include "index.h"

#include <assert.h>
#include <string.h>

typedef enum AtomKind { ATOM_VAR, ATOM_VALUE, ATOM_DIV, ATOM_MOD } AtomKind;

typedef struct Atom {
    AtomKind    kind;
    bool        is_vector, is_small;
    const char *name;                       // VAR, VALUE
    Ix          e;                          // DIV, MOD: of this expression
    int64_t     by;
    int64_t     lo, hi, multiple;
    uint64_t    deps;
} Atom;

typedef struct Term {
    uint32_t atom;
    int64_t  coef;                          // not 0
} Term;

typedef struct Expr {
    Term    *term;                          // by atom, ascending
    uint32_t n, next;                       // next: same hash bucket
    int64_t  c, lo, hi, multiple;
    uint64_t deps;
} Expr;

enum { BUCKETS = 512, MAX_TERMS = 64 };

struct IxTable {
    Arena   *arena;
    Atom    *atom; size_t n_atoms, atom_capacity;
    Expr    *expr; size_t n_exprs, expr_capacity;
    uint32_t bucket[BUCKETS];
};

IxTable *ix_table(Arena *arena)
{
    IxTable *t = arena_new(arena, IxTable);
    t->arena = arena;
    t->expr = arena_grow(arena, t->expr, 0, &t->expr_capacity, sizeof *t->expr);
    t->n_exprs = 1;
    return t;
}

static int64_t gcd(int64_t a, int64_t b)
{
    a = a < 0 ? -a : a;
    b = b < 0 ? -b : b;
    while (b) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return a % b < 0 ? q - 1 : q;
}

static uint32_t add_atom(IxTable *t, Atom atom)
{
    for (size_t i = 0; i < t->n_atoms && atom.kind >= ATOM_DIV; i++)
        if (t->atom[i].kind == atom.kind && t->atom[i].e == atom.e && t->atom[i].by == atom.by)
            return (uint32_t)i;
    t->atom = arena_grow(t->arena, t->atom, t->n_atoms, &t->atom_capacity, sizeof *t->atom);
    t->atom[t->n_atoms] = atom;
    return (uint32_t)t->n_atoms++;
}

// Finds or adds a normal form: terms by atom, ascending, no zero coefficient.
static Ix intern(IxTable *t, const Term *term, size_t n, int64_t c)
{
    uint64_t hash = (uint64_t)c * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (term[i].atom + (uint64_t)term[i].coef * 0x85ebca6bu)) * 0x9e3779b97f4a7c15u;
    uint32_t *bucket = &t->bucket[(hash >> 32) % BUCKETS];
    for (uint32_t id = *bucket; id; id = t->expr[id].next) {
        const Expr *e = &t->expr[id];
        bool same = e->n == n && e->c == c;
        for (size_t i = 0; i < n && same; i++)              // field by field: a term has padding
            same = e->term[i].atom == term[i].atom && e->term[i].coef == term[i].coef;
        if (same)
            return id;
    }
    Expr e = {.n = (uint32_t)n, .c = c, .lo = c, .hi = c, .multiple = gcd(c, 0), .next = *bucket};
    e.term = arena_array(t->arena, Term, n);
    for (size_t i = 0; i < n; i++) {
        const Atom *a = &t->atom[term[i].atom];
        int64_t k = term[i].coef;
        e.term[i] = term[i];
        e.lo += k * (k > 0 ? a->lo : a->hi);
        e.hi += k * (k > 0 ? a->hi : a->lo);
        e.deps |= a->deps;
        e.multiple = gcd(e.multiple, k * a->multiple);
    }
    t->expr = arena_grow(t->arena, t->expr, t->n_exprs, &t->expr_capacity, sizeof *t->expr);
    t->expr[t->n_exprs] = e;
    *bucket = (uint32_t)t->n_exprs;
    return (Ix)t->n_exprs++;
}

static Ix from_atom(IxTable *t, uint32_t atom)
{
    const Atom *a = &t->atom[atom];
    if (a->lo == a->hi)
        return ix_const(t, a->lo);
    return intern(t, &(Term){atom, 1}, 1, 0);
}

Ix ix_const(IxTable *t, int64_t value)
{
    return intern(t, NULL, 0, value);
}

Ix ix_var(IxTable *t, const char *name, int64_t lo, int64_t hi, int64_t multiple, int depth)
{
    uint32_t atom = add_atom(t, (Atom){.kind = ATOM_VAR, .name = name, .lo = lo, .hi = hi, .multiple = multiple,
                                       .deps = (uint64_t)1 << depth});
    // A loop of steps stays a variable even if it takes one step: its lanes go on from there.
    return multiple > 1 ? intern(t, &(Term){atom, 1}, 1, 0) : from_atom(t, atom);
}

Ix ix_small(IxTable *t, const char *name, int64_t most, int depth)
{
    return from_atom(t, add_atom(t, (Atom){.kind = ATOM_VAR, .is_small = true, .name = name, .hi = most, .deps = (uint64_t)1 << depth,
                                           .multiple = 1}));
}

Ix ix_value(IxTable *t, const char *name, int64_t lo, int64_t hi, uint64_t deps, bool is_vector)
{
    return from_atom(t, add_atom(t, (Atom){.kind = ATOM_VALUE, .name = name, .lo = lo, .hi = hi, .multiple = 1,
                                           .deps = deps, .is_vector = is_vector}));
}

// The expression `a` when it is one bare atom.
static bool bare_atom(const IxTable *t, Ix a, uint32_t *out_atom)
{
    const Expr *e = &t->expr[a];
    if (e->n != 1 || e->c != 0 || e->term[0].coef != 1)
        return false;
    *out_atom = e->term[0].atom;
    return true;
}

// Takes terms i and j out.
static void take_out(Term *term, size_t *n, size_t i, size_t j)
{
    size_t kept = 0;
    for (size_t q = 0; q < *n; q++)
        if (q != i && q != j)
            term[kept++] = term[q];
    *n = kept;
}

// c*k*floor(e/c) + k*(e mod c) = k*e, and c*k*(floor(e/c) mod d) + k*(e mod c) = k*(e mod c*d), two digits that are one: finds such a pair
// among the terms, takes it out and returns what it is; else 0.
static Ix take_pair(IxTable *t, Term *term, size_t *n)
{
    for (size_t i = 0; i < *n; i++) {
        const Atom mod = t->atom[term[i].atom];
        if (mod.kind != ATOM_MOD)
            continue;
        const int64_t k = term[i].coef;
        const Ix quotient = ix_div(t, mod.e, mod.by);
        uint32_t div = UINT32_MAX;
        const bool is_bare = bare_atom(t, quotient, &div);
        for (size_t j = 0; j < *n; j++) {
            const Atom other = t->atom[term[j].atom];
            if (term[j].coef != k * mod.by)
                continue;
            if (is_bare && term[j].atom == div) {
                take_out(term, n, i, j);
                return ix_scale(t, mod.e, k);
            }
            if (other.kind == ATOM_MOD && other.e == quotient) {
                take_out(term, n, i, j);
                return ix_scale(t, ix_mod(t, mod.e, mod.by * other.by), k);
            }
        }
    }
    return 0;
}

Ix ix_add(IxTable *t, Ix a, Ix b)
{
    Term term[MAX_TERMS];
    size_t n = 0, i = 0, j = 0;
    const Expr *x = &t->expr[a], *y = &t->expr[b];
    assert(x->n + y->n <= MAX_TERMS && "an index with more terms than axes");
    while (i < x->n || j < y->n) {
        if (j == y->n || (i < x->n && x->term[i].atom < y->term[j].atom))
            term[n++] = x->term[i++];
        else if (i == x->n || y->term[j].atom < x->term[i].atom)
            term[n++] = y->term[j++];
        else {
            int64_t k = x->term[i].coef + y->term[j].coef;
            if (k)
                term[n++] = (Term){x->term[i].atom, k};
            i++, j++;
        }
    }
    int64_t c = x->c + y->c;
    Ix pair = take_pair(t, term, &n);
    Ix sum = intern(t, term, n, c);
    return pair ? ix_add(t, sum, pair) : sum;
}

Ix ix_scale(IxTable *t, Ix a, int64_t k)
{
    if (k == 0)
        return ix_const(t, 0);
    Term term[MAX_TERMS];
    size_t n = t->expr[a].n;
    assert(n <= MAX_TERMS);
    for (size_t i = 0; i < n; i++)
        term[i] = (Term){t->expr[a].term[i].atom, t->expr[a].term[i].coef * k};
    return intern(t, term, n, t->expr[a].c * k);
}

Ix ix_sub(IxTable *t, Ix a, Ix b)
{
    return ix_add(t, a, ix_scale(t, b, -1));
}

Ix ix_offset(IxTable *t, Ix a, int64_t c)
{
    return ix_add(t, a, ix_const(t, c));
}

// Splits a = by*quotient + rest, where rest holds the terms whose coefficients `by` does not divide.
static void split(IxTable *t, Ix a, int64_t by, Ix *out_quotient, Ix *out_rest)
{
    Term q[MAX_TERMS], r[MAX_TERMS];
    size_t nq = 0, nr = 0;
    const Expr *e = &t->expr[a];
    for (size_t i = 0; i < e->n; i++) {
        if (e->term[i].coef % by == 0)
            q[nq++] = (Term){e->term[i].atom, e->term[i].coef / by};
        else
            r[nr++] = e->term[i];
    }
    int64_t c = floor_div(e->c, by), rest = e->c - c * by;
    *out_quotient = intern(t, q, nq, c);
    *out_rest = intern(t, r, nr, rest);
}

// Takes a place in a group (ix_small) out of `rest`, where all else in it and `by` are multiples of the group. 0: there is none.
static Ix take_small(IxTable *t, Ix *rest, int64_t by)
{
    for (uint32_t i = 0; i < t->expr[*rest].n; i++) {
        const Term term = t->expr[*rest].term[i];
        if (term.coef != 1 || !t->atom[term.atom].is_small)
            continue;
        const Ix small = from_atom(t, term.atom), others = ix_sub(t, *rest, small);
        if (ix_hi(t, small) >= gcd(ix_multiple(t, others), by))
            return 0;
        *rest = others;
        return small;
    }
    return 0;
}

Ix ix_div(IxTable *t, Ix a, int64_t by)
{
    assert(by > 0);
    Ix quotient, rest;
    split(t, a, by, &quotient, &rest);
    if (take_small(t, &rest, by))
        return ix_add(t, quotient, ix_div(t, rest, by));
    int64_t lo = floor_div(ix_lo(t, rest), by), hi = floor_div(ix_hi(t, rest), by);
    if (lo == hi)
        return ix_offset(t, quotient, lo);
    // (g*r + d)/(g*by) = r/by for 0 <= d < g, when g divides all of rest but its constant
    uint32_t inner;
    if (bare_atom(t, rest, &inner) && t->atom[inner].kind == ATOM_DIV)
        return ix_add(t, quotient, ix_div(t, t->atom[inner].e, t->atom[inner].by * by));
    int64_t m = ix_multiple(t, rest);
    Atom atom = {.kind = ATOM_DIV, .e = rest, .by = by, .lo = lo, .hi = hi, .deps = ix_deps(t, rest),
                 .multiple = m % by == 0 ? m / by : 1};
    return ix_add(t, quotient, from_atom(t, add_atom(t, atom)));
}

Ix ix_mod(IxTable *t, Ix a, int64_t by)
{
    assert(by > 0);
    Ix quotient, rest;
    split(t, a, by, &quotient, &rest);
    const Ix small = take_small(t, &rest, by);
    if (small)
        return ix_add(t, ix_mod(t, rest, by), small);
    int64_t q = floor_div(ix_lo(t, rest), by);
    if (q == floor_div(ix_hi(t, rest), by))
        return ix_offset(t, rest, -q * by);
    int64_t g = gcd(ix_multiple(t, rest), by);
    Atom atom = {.kind = ATOM_MOD, .e = rest, .by = by, .lo = 0, .hi = by - 1, .deps = ix_deps(t, rest), .multiple = g};
    return from_atom(t, add_atom(t, atom));
}

bool ix_is_const(const IxTable *t, Ix a, int64_t *out_value)
{
    if (t->expr[a].n)
        return false;
    *out_value = t->expr[a].c;
    return true;
}

int64_t ix_lo(const IxTable *t, Ix a)
{
    return t->expr[a].lo;
}

int64_t ix_hi(const IxTable *t, Ix a)
{
    return t->expr[a].hi;
}

int64_t ix_multiple(const IxTable *t, Ix a)
{
    return t->expr[a].multiple;
}

uint64_t ix_deps(const IxTable *t, Ix a)
{
    return t->expr[a].deps;
}

bool ix_affine(const IxTable *t, Ix a, Ix var, int64_t *out_coef)
{
    uint32_t v;
    if (!bare_atom(t, var, &v))
        return false;
    int64_t coef = 0;
    for (size_t i = 0; i < t->expr[a].n; i++) {
        Term term = t->expr[a].term[i];
        if (term.atom == v)
            coef = term.coef;
        else if (t->atom[term.atom].deps & t->atom[v].deps)
            return false;
    }
    *out_coef = coef;
    return true;
}

static LaneForm atom_lane(const IxTable *t, uint32_t atom, uint32_t var, Ix var_ix, int lanes)
{
    const Atom *a = &t->atom[atom];
    if (atom == var)
        return LANE_UNIT;
    if (!(a->deps & t->atom[var].deps))
        return LANE_UNIFORM;
    if (a->kind < ATOM_DIV)
        return a->is_vector ? LANE_OTHER : LANE_UNIFORM;
    LaneForm form = ix_lane(t, a->e, var_ix, lanes);
    if (form == LANE_UNIFORM)
        return LANE_UNIFORM;
    // base + q with q < lanes stays in one block of `by` when both base and by are multiples of some g >= lanes
    if (form == LANE_UNIT && gcd(ix_multiple(t, a->e), a->by) >= lanes)
        return a->kind == ATOM_DIV ? LANE_UNIFORM : LANE_UNIT;
    return LANE_OTHER;
}

LaneForm ix_lane(const IxTable *t, Ix a, Ix var, int lanes)
{
    uint32_t v;
    if (!var || !bare_atom(t, var, &v))
        return LANE_UNIFORM;
    LaneForm form = LANE_UNIFORM;
    for (size_t i = 0; i < t->expr[a].n; i++) {
        Term term = t->expr[a].term[i];
        LaneForm f = atom_lane(t, term.atom, v, var, lanes);
        if (f == LANE_UNIFORM)
            continue;
        if (f == LANE_OTHER || term.coef != 1 || form != LANE_UNIFORM)
            return LANE_OTHER;
        form = LANE_UNIT;
    }
    return form;
}

static void print_atom(const IxTable *t, uint32_t atom, uint32_t var, const char *lane, Ix var_ix, Text *out)
{
    const Atom *a = &t->atom[atom];
    if (a->kind == ATOM_VAR && lane && atom == var)
        text_printf(out, "(%s + %s)", a->name, lane);
    else if (a->kind == ATOM_VALUE && lane && a->is_vector)
        text_printf(out, "%s[%s]", a->name, lane);
    else if (a->kind < ATOM_DIV)
        text_add(out, a->name);
    else {
        int64_t low = t->expr[a->e].lo;
        bool turn = a->kind == ATOM_MOD && low < 0;         // C's % keeps the sign: make it positive first
        text_add(out, turn ? "(" : "");
        ix_print(t, a->e, true, var_ix, lane, out);
        if (turn)
            text_printf(out, " + %lld)", (long long)(-floor_div(low, a->by) * a->by));
        text_printf(out, "%c%lld", a->kind == ATOM_DIV ? '/' : '%', (long long)a->by);
    }
}

void ix_print(const IxTable *t, Ix a, bool inside_product, Ix var_ix, const char *lane, Text *out)
{
    const Expr *e = &t->expr[a];
    uint32_t var = UINT32_MAX;
    if (var_ix)
        bare_atom(t, var_ix, &var);
    bool wrap = inside_product && ((e->n + (e->c != 0) > 1) || (e->n == 1 && e->term[0].coef != 1) ||
                                   (e->n == 1 && t->atom[e->term[0].atom].kind >= ATOM_DIV) || (!e->n && e->c < 0));
    if (wrap)
        text_char(out, '(');
    bool first = true;
    for (int sign = 1; sign >= -1; sign -= 2)                    // positive terms first: no leading minus if possible
        for (size_t i = 0; i < e->n; i++) {
            int64_t k = e->term[i].coef;
            if ((k > 0) != (sign > 0))
                continue;
            text_add(out, first ? (sign < 0 ? "-" : "") : (sign < 0 ? " - " : " + "));
            first = false;
            print_atom(t, e->term[i].atom, var, lane, var_ix, out);
            if (k != 1 && k != -1)
                text_printf(out, "*%lld", (long long)(k < 0 ? -k : k));
        }
    if (first)
        text_printf(out, "%lld", (long long)e->c);
    else if (e->c)
        text_printf(out, " %c %lld", e->c < 0 ? '-' : '+', (long long)(e->c < 0 ? -e->c : e->c));
    if (wrap)
        text_char(out, ')');
}
