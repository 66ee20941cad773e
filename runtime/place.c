// See place.h.
#include "place.h"

#include "check.h"

#include <stdlib.h>
#include <string.h>

static size_t aligned(size_t n)
{
    return (n + 63) / 64 * 64;
}

static bool is_root(const Program *p, uint32_t b)
{
    return p->buffer[b].same_as == 0;
}

// Which roots stay from run to run, and the span of the others.
static void divide(const Program *p, bool *stays, size_t *out_low, size_t *out_high)
{
    size_t low = SIZE_MAX, high = 0;
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        BufferKind kind = p->buffer[b].kind;
        stays[program_storage(p, b)] |= kind == BUFFER_INPUT || kind == BUFFER_PARAM || kind == BUFFER_STATE ||
                                         kind == BUFFER_KEPT;
    }
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        const Buffer *buffer = &p->buffer[b];
        if (!is_root(p, b) || stays[b] || buffer->bytes == 0)
            continue;
        if (buffer->offset < low)
            low = buffer->offset;
        if (buffer->offset + buffer->bytes > high)
            high = buffer->offset + buffer->bytes;
    }
    *out_low = low < high ? low : 0;
    *out_high = low < high ? high : 0;
}

// True when nothing that stays lies in the span.
static bool is_pure(const Program *p, const bool *stays, size_t low, size_t high)
{
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        const Buffer *buffer = &p->buffer[b];
        if (is_root(p, b) && stays[b] && buffer->offset < high && buffer->offset + buffer->bytes > low)
            return false;
    }
    return true;
}

Placement place_at(Arena *arena, const Program *p, unsigned char *memory)
{
    Placement place = {.program = p, .address = arena_array(arena, unsigned char *, p->n_buffers + 1)};
    bool *stays = arena_array(arena, bool, p->n_buffers + 1);
    size_t low, high;
    for (uint32_t b = 1; b < p->n_buffers; b++)
        place.address[b] = memory + p->buffer[program_storage(p, b)].offset;
    divide(p, stays, &low, &high);
    if (high > low && is_pure(p, stays, low, high)) {
        place.room = memory + low;
        place.room_bytes = high - low;
    }
    return place;
}

// Marks the storage that a launch writes.
static void find_written(const Program *p, bool *written)
{
    for (size_t i = 0; i < p->n_launches; i++) {
        const Kernel *k = &p->kernel[p->launch[i].kernel];
        for (uint32_t a = 0; a < k->n_params; a++)
            if (program_writes(k, a))
                written[program_storage(p, p->launch[i].buffer[a])] = true;
    }
}

static bool same_storage(const Buffer *a, const Buffer *b)
{
    if (a->kind != b->kind || a->dtype != b->dtype || a->n_axes != b->n_axes || a->bytes != b->bytes ||
        strcmp(a->name, b->name) != 0)
        return false;
    for (int i = 0; i < a->n_axes; i++)
        if (a->size[i] != b->size[i] || strcmp(a->axis[i], b->axis[i]) != 0)
            return false;
    return true;
}

static int compare_buffers(const void *a, const void *b)
{
    const Buffer *x = *(const Buffer *const *)a, *y = *(const Buffer *const *)b;
    return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1) : strcmp(x->name, y->name);
}

typedef struct Twins {                      // parameters and states of a program, sorted
    const Program *program;
    const Buffer **sorted;
    size_t         n;
} Twins;

static bool may_be_shared(const Buffer *b)
{
    return b->kind == BUFFER_PARAM || b->kind == BUFFER_STATE;
}

static Twins sort_twins(Arena *arena, const Program *p)
{
    Twins t = {.program = p, .sorted = arena_array(arena, const Buffer *, p->n_buffers + 1)};
    for (uint32_t b = 1; b < p->n_buffers; b++)
        if (may_be_shared(&p->buffer[b]))
            t.sorted[t.n++] = &p->buffer[b];
    if (t.n)
        qsort(t.sorted, t.n, sizeof *t.sorted, compare_buffers);
    return t;
}

// The buffer of the other program that is the same parameter or state; 0: there is none.
static uint32_t find_twin(const Twins *t, const Buffer *b)
{
    const Buffer **found = t->n && may_be_shared(b) ? bsearch(&b, t->sorted, t->n, sizeof *t->sorted, compare_buffers) : NULL;
    return found && same_storage(b, *found) ? (uint32_t)(*found - t->program->buffer) : 0;
}

PlacePlan place_plan(Arena *arena, const Program *p, const Placement *other)
{
    PlacePlan plan = {.shared = arena_array(arena, uint32_t, p->n_buffers + 1),
                      .stays = arena_array(arena, bool, p->n_buffers + 1)};
    bool *written = arena_array(arena, bool, p->n_buffers + 1);
    Twins twins = sort_twins(arena, other->program);
    find_written(p, written);
    divide(p, plan.stays, &plan.low, &plan.high);
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        if (!is_root(p, b) || !plan.stays[b])
            continue;
        const bool is_cache = p->buffer[b].kind == BUFFER_STATE && !strncmp(p->buffer[b].name, CACHE_PREFIX, sizeof CACHE_PREFIX - 1);
        plan.shared[b] = written[b] && !is_cache ? 0 : find_twin(&twins, &p->buffer[b]);
        plan.n_shared += plan.shared[b] != 0;
        if (!plan.shared[b])
            plan.bytes += aligned(p->buffer[b].bytes);
    }
    plan.uses_room = plan.high - plan.low <= other->room_bytes;
    if (!plan.uses_room)
        plan.bytes += aligned(plan.high - plan.low);
    return plan;
}

Placement place_beside(Arena *arena, const Program *p, const PlacePlan *plan, const Placement *other, unsigned char *memory)
{
    Placement place = {.program = p, .address = arena_array(arena, unsigned char *, p->n_buffers + 1)};
    unsigned char *room = other->room ? other->room : memory;
    if (!plan->uses_room) {
        room = memory;
        memory += aligned(plan->high - plan->low);
    }
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        if (!is_root(p, b))
            continue;
        if (plan->shared[b]) {
            place.address[b] = other->address[plan->shared[b]];
        } else if (plan->stays[b]) {
            place.address[b] = memory;
            memory += aligned(p->buffer[b].bytes);
        } else {                            // an empty one may lie outside the span; it has no bytes to touch
            place.address[b] = room + (p->buffer[b].bytes ? p->buffer[b].offset - plan->low : 0);
        }
    }
    bool *is_shared = arena_array(arena, bool, p->n_buffers + 1);
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        place.address[b] = place.address[program_storage(p, b)];
        is_shared[b] = plan->shared[program_storage(p, b)] != 0;
    }
    place.is_shared = is_shared;
    return place;
}
