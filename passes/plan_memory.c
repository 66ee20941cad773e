// Lifetimes over launches, and offsets in the arena. See plan_memory.h; the packing itself is plan_pack.c.
#include "plan_memory.h"
#include "checked.h"
#include "plan_pack.h"
#include "rewrite.h"

#include <assert.h>

// Buffers that share storage have one root, which is the buffer that none of them names as another's.
static uint32_t root_of(const Program *p, uint32_t buffer)
{
    size_t steps = 0;
    while (p->buffer[buffer].same_as) {
        buffer = p->buffer[buffer].same_as;
        steps++;
        assert(steps < p->n_buffers && "same_as goes round in a circle");
    }
    return buffer;
}

typedef struct Storage {                    // of a root: what its buffers need together
    uint32_t first, last;
    bool     used, stays, is_read;          // stays: from run to run; is_read: by the host after a run
    size_t   size;
} Storage;

static Storage *find_storage(const Program *p, Arena *arena, Diag *diag)
{
    Storage *s = arena_array(arena, Storage, p->n_buffers);
    for (uint32_t i = 1; i < p->n_buffers; i++) {
        const Buffer *b = &p->buffer[i];
        Storage *r = &s[root_of(p, i)];
        size_t size;
        if (!checked_align(b->bytes, PLAN_ALIGN, &size)) {
            if (diag)
                diag_error(diag, (Span){0}, NULL, "the buffer `%s` of %zu bytes is too large", b->name, b->bytes);
            return NULL;
        }
        if (size > r->size)
            r->size = size;
        r->stays |= b->kind == BUFFER_INPUT || b->kind == BUFFER_PARAM || b->kind == BUFFER_STATE ||
                    b->kind == BUFFER_KEPT;
        r->is_read |= b->kind == BUFFER_OUTPUT;
    }
    for (uint32_t t = 0; t < p->n_launches; t++) {
        const Launch *l = &p->launch[t];
        for (size_t k = 0; k < p->kernel[l->kernel].n_params; k++) {
            Storage *r = &s[root_of(p, l->buffer[k])];
            if (!r->used)
                r->first = t;
            r->used = true;
            r->last = t;
        }
    }
    uint32_t end = p->n_launches ? (uint32_t)p->n_launches - 1 : 0;
    for (uint32_t i = 1; i < p->n_buffers; i++) {
        if (s[i].stays)
            s[i].first = 0;
        if (s[i].stays || s[i].is_read)
            s[i].last = end;
    }
    return s;
}

void plan_lifetimes(const Program *p, Arena *arena, uint32_t **out_first, uint32_t **out_last)
{
    Arena scratch = scratch_arena(arena);
    const Storage *s = find_storage(p, &scratch, NULL);
    *out_first = arena_array(arena, uint32_t, p->n_buffers);
    *out_last = arena_array(arena, uint32_t, p->n_buffers);
    for (uint32_t i = 1; s && i < p->n_buffers; i++) {
        (*out_first)[i] = s[root_of(p, i)].first;
        (*out_last)[i] = s[root_of(p, i)].last;
    }
    arena_free(&scratch);
}

bool plan_memory(Program *p, Diag *diag)
{
    Arena scratch = scratch_arena(p->arena);
    Storage *s = find_storage(p, &scratch, diag);
    Piece *piece = arena_array(&scratch, Piece, p->n_buffers);
    uint32_t *owner = arena_array(&scratch, uint32_t, p->n_buffers), n_times = p->n_launches ? (uint32_t)p->n_launches : 1;
    size_t n = 0, staying = 0, all = 0;
    bool fits = s != NULL;
    for (uint32_t i = 1; fits && i < p->n_buffers; i++) {
        if (p->buffer[i].same_as || s[i].size == 0)
            continue;
        fits = checked_add(all, s[i].size, &all);
        if (s[i].stays) {
            p->buffer[i].offset = staying;
            staying += s[i].size;
        } else {
            owner[n] = i;
            piece[n++] = (Piece){.first = s[i].first, .last = s[i].last, .size = s[i].size};
        }
    }
    if (s && !fits)
        diag_error(diag, (Span){0}, NULL, "the buffers of `%s` together do not fit into an address space", p->name);
    if (fits) {
        p->live_peak_bytes = staying + pack_lower_bound(&scratch, piece, n, n_times);
        p->arena_bytes = staying + pack(&scratch, piece, n, n_times);
        for (size_t k = 0; k < n; k++)
            p->buffer[owner[k]].offset = staying + piece[k].offset;
        for (uint32_t i = 1; i < p->n_buffers; i++)
            p->buffer[i].offset = p->buffer[root_of(p, i)].offset;
    }
    arena_free(&scratch);
    return fits;
}
