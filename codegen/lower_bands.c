// Bands: a block of copied rows times the columns of operand 1, panel by panel. Columns that follow each other in memory are
// read where they lie; others are packed into a panel first.
#include "lower_product.h"

#include "emit_parts.h"

#include <string.h>

#define N(x) ((long long)(x))

// From one copied row to the next: the same for all products, which share the micro-kernel, and never a multiple of a page.
int64_t bands_line(const Plan *plan)
{
    return plan_places(plan, BANDS_MOST_TERMS) + 16;
}

Tile bands_tile(const Plan *plan)
{
    Tile tile = plan->tile;
    tile.row_step = (int)bands_line(plan);
    return tile;
}

bool bands_need_panel(ProductText *P)
{
    return !bands_columns(P).in_place || P->plan.cols % tile_width(P->plan.tile) != 0;
}

Columns bands_columns(ProductText *P)
{
    Columns cols = {.from = NULL};
    cols.is_place = pack_place(P, 1, &cols.from, &cols.row, &cols.step);
    cols.in_place = cols.is_place && cols.row == 1 && !P->plan.tile.pairs;
    return cols;
}

// Where the next work item's columns begin: those of the next block, or of the next group.
static const char *emit_following(ProductText *P, Scope *at, const char *panels, ProductBlock block, const char *next)
{
    Emitter *E = P->E;
    if (P->plan.n_col_blocks > 1)
        return arena_printf(E->arena, "%s + %s", panels, block.j1);
    if (!next)
        return panels;
    const Ix here = P->batch;
    Columns cols;
    P->batch = scope_var(E, at, next, 0, product_top_index(P->plan.batch), 1);
    cols = bands_columns(P);
    P->batch = here;
    return cols.from;
}

void bands_emit(ProductText *P, Scope *at, ProductBlock block, const char *k0, const char *kn, const Bands *use, const char *add)
{
    Emitter *E = P->E;
    const Plan *plan = &P->plan;
    const int width = tile_width(plan->tile);
    const Columns cols = bands_columns(P);
    const bool has_edge = plan->cols % width != 0;
    const char *rows = minus(E, block.i1, block.i0), *j = emit_name(E, "j"), *band = band_name(E->arena, bands_tile(plan));
    if (use->packed) {
        const char *panels = product_packed_at(P, at, use->packed, block.j0, k0, kn, false), *panel = emit_name(E, "panel");
        const char *places = product_places(E->arena, plan, kn);
        Scope *ready = scope_block(E, at, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s += %d) {", j, block.j0, j, block.j1, j, width));
        scope_line(ready, "const float *const %s = %s + %s*%s;", panel, panels, minus(E, j, block.j0), places);
        scope_line(ready, "%s(%s, %s, %s, %d, %s + %s, %lld, %s, %s, %s + %s*%d, %d);", band, rows, use->a, panel, width, use->c,
                   minus(E, j, block.j0), N(use->c_line), places, add, panel, places, width, width);
        scope_close(E, ready);
        return;
    }
    if (cols.in_place) {
        const char *panels = emit_name(E, "panels");
        Text from = text_make(E->arena);
        text_add(&from, cols.from);
        if (strcmp(k0, "0") != 0)
            text_printf(&from, " + %s*%lld", k0, N(cols.step));
        scope_line(at, "const float *const %s = %s;", panels, text_str(&from));
        const char *following = emit_following(P, at, panels, block, use->next);
        const char *head = has_edge ? arena_printf(E->arena, "for (long %s = %s; %s + %d <= %s; %s += %d) {", j, block.j0, j, width, block.j1, j, width)
                                    : arena_printf(E->arena, "for (long %s = %s; %s < %s; %s += %d) {", j, block.j0, j, block.j1, j, width);
        Scope *loop = scope_block(E, at, head);
        scope_line(loop, "%s(%s, %s, %s + %s, %lld, %s + %s, %lld, %s, %s, %s + %d < %s ? %s + %s + %d : %s, %lld);", band, rows, use->a,
                   panels, j, N(cols.step), use->c, minus(E, j, block.j0), N(use->c_line), kn, add, j, width, block.j1, panels, j, width,
                   following, N(cols.step));
        scope_close(E, loop);
        if (!has_edge)
            return;
    }
    const char *first = cols.in_place ? arena_printf(E->arena, "%s/%d*%d", block.j1, width, width) : block.j0;
    Scope *loop = scope_block(E, at, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s += %d) {", j, first, j, block.j1, j, width));
    const char *end = product_declare(E, loop, "end", arena_printf(E->arena, "%s + %d < %s ? %s + %d : %s", j, width, block.j1, j, width, block.j1));
    pack_operand(P, loop, 1, (PackRange){j, end, k0, kn, use->panel});
    const bool lined_up = cols.is_place && cols.step == 1 && cols.row == plan->sum && plan->n_sum_blocks == 1;
    const char *next = lined_up ? arena_printf(E->arena, "%s + (%s + %d)*%lld, %d", cols.from, j, width, N(cols.row), width)
        : cols.is_place && cols.row == 1 ? arena_printf(E->arena, "%s + %s*%lld + %s + %d, %lld", cols.from, k0, N(cols.step), j, width, N(cols.step))
                                         : arena_printf(E->arena, "%s, 0", use->panel);
    scope_line(loop, "%s(%s, %s, %s, %d, %s + %s, %lld, %s, %s, %s);", band, rows, use->a, use->panel, width, use->c,
               minus(E, j, block.j0), N(use->c_line), product_places(E->arena, plan, kn), add, next);
    scope_close(E, loop);
}
