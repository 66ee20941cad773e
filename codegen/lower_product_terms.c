// Products of which only a band counts (ir/band.h): which terms of a tile are multiplied, which tiles and blocks are left out.
// Operands are packed as they are, zeros and all, so a tile may always take in more than it has to.
#include "lower_product.h"

#define N(x) ((long long)(x))

// x + c, as C text.
static const char *plus(Emitter *E, const char *x, int64_t c)
{
    return c ? arena_printf(E->arena, "%s %c %lld", x, c < 0 ? '-' : '+', N(c < 0 ? -c : c)) : x;
}

static bool has_least(const ProductText *P)
{
    return P->band.least > -BAND_FAR;
}

static bool has_most(const ProductText *P)
{
    return P->band.most < BAND_FAR;
}

bool product_begins_with_zeros(const ProductText *P)
{
    switch (P->band.kind) {
    case BAND_TERMS_OF_ROW: case BAND_TERMS_OF_COL: return has_least(P) || P->band.most < 0;
    case BAND_COLS_OF_ROW:                          return !P->band.is_choice;
    case BAND_NONE:                                 break;
    }
    return false;
}

const char *product_tile_terms(ProductText *P, Scope *rows, const char *i, const char *j, const char *k0, const char *kn,
                              const char **out_skip)
{
    Emitter *E = P->E;
    const bool of_col = P->band.kind == BAND_TERMS_OF_COL, pairs = P->plan.tile.pairs;
    const int width = tile_width(P->plan.tile), height = P->plan.tile.rows;
    const char *first = of_col ? j : i, *end = kn, *n;
    *out_skip = NULL;
    if (P->band.kind == BAND_COLS_OF_ROW) {
        if (has_least(P))
            scope_line(rows, "if (%s <= %s)", plus(E, j, width), plus(E, i, P->band.least));
        if (has_least(P))
            scope_line(rows, "    continue;");
        if (has_most(P))
            scope_line(rows, "if (%s >= %s)", j, plus(E, i, height + P->band.most));
        if (has_most(P))
            scope_line(rows, "    continue;");
    }
    if (P->band.kind != BAND_TERMS_OF_ROW && P->band.kind != BAND_TERMS_OF_COL)
        return product_places(E->arena, &P->plan, kn);
    if (has_least(P)) {
        const char *from = plus(E, first, P->band.least);
        *out_skip = emit_name(E, "skip");
        scope_line(rows, "const long %s = %s > %s ? (%s - %s)%s : 0;", *out_skip, from, k0, from, k0, pairs ? "/2" : "");
    }
    if (has_most(P)) {
        const char *to = plus(E, first, (of_col ? width : height) + P->band.most);
        end = emit_name(E, "end");
        scope_line(rows, "const long %s = %s < %s + %s ? %s - %s : %s;", end, to, k0, kn, to, k0, kn);
    }
    n = emit_name(E, "n");
    scope_line(rows, "const long %s = %s%s%s;", n, pairs ? arena_printf(E->arena, "(%s + 1)/2", end) : end, *out_skip ? " - " : "",
               *out_skip ? *out_skip : "");
    scope_line(rows, "if (%s <= 0)", n);
    scope_line(rows, "    continue;");
    return n;
}

const char *product_is_wanted(ProductText *P, ProductBlock item, const char *k0, const char *kn)
{
    Emitter *E = P->E;
    const Plan *plan = &P->plan;
    const bool of_col = P->band.kind == BAND_TERMS_OF_COL, cols = P->band.kind == BAND_COLS_OF_ROW;
    const char *from0 = of_col ? item.j0 : item.i0, *from1 = of_col ? item.j1 : item.i1;
    const char *to0 = cols ? item.j0 : k0, *to1 = cols ? item.j1 : arena_printf(E->arena, "%s + %s", k0, kn);
    if (P->band.kind == BAND_NONE || (cols ? plan->n_row_blocks * plan->n_col_blocks : plan->n_sum_blocks) == 1)
        return NULL;
    const char *above = arena_printf(E->arena, "%s > %s", to1, plus(E, from0, P->band.least));
    const char *below = arena_printf(E->arena, "%s < %s", to0, plus(E, from1, P->band.most));
    return has_least(P) && has_most(P) ? arena_printf(E->arena, "%s && %s", above, below) : has_least(P) ? above : below;
}

// The value that alone reads the anchor, inside the kernel; 0: there are several, or the anchor is stored.
static ValueId only_reader(const Graph *g, const Space *space)
{
    ValueId reader = 0;
    for (size_t m = 0; m < space->n_maps; m++) {
        const Node *n = &g->node[space->map[m].value];
        bool reads = false;
        for (int i = 0; i < n->n_in; i++)
            reads |= n->in[i] == space->anchor;
        if (reads && reader)
            return 0;
        reader = reads ? space->map[m].value : reader;
    }
    return g->node[space->anchor].kernel ? 0 : reader;
}

void product_find_band(const Graph *g, ProductText *P, const Space *space)
{
    P->band = band_of_product(g, &P->p, only_reader(g, space));
    const int64_t width = P->band.most - P->band.least + P->plan.tile.rows;
    if (has_least(P) && has_most(P) && P->band.kind != BAND_NONE && P->band.kind != BAND_COLS_OF_ROW && width < P->plan.block_sum)
        plan_cut_sum(&P->plan, (size_t)(width < 64 ? 64 : width) * 4 * (size_t)tile_width(P->plan.tile));
}
