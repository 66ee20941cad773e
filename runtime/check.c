// See check.h. Time runs over launches: 0 is before the first, launch l happens at l + 1, the end is n_launches + 1. The
// overlap check sweeps over time with the live ranges sorted by address, so a range is compared with its two neighbours.
#include "check.h"

#include "checked.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct Live {                       // one piece of storage: a buffer with all that share it
    uint32_t buffer;
    size_t   first, last;                   // times, both inclusive
    size_t   begin, end;                    // bytes
} Live;

typedef struct Event {
    size_t time;
    bool   starts;
    const Live *live;
} Event;

uint32_t program_storage(const Program *p, uint32_t id)
{
    while (p->buffer[id].same_as)
        id = p->buffer[id].same_as;
    return id;
}

static Status check_buffer(const Program *p, uint32_t id, StatusText *why)
{
    const Buffer *b = &p->buffer[id];
    const char *name = b->name ? b->name : "";
    if (b->kind >= BUFFER_KIND_COUNT || b->dtype >= DTYPE_COUNT || b->n_axes > MAX_AXES)
        return status_fail(why, STATUS_INTERNAL, "buffer %u '%s' has a kind, type or number of axes that does not exist",
                           id, name);
    uint32_t root_id = id;
    for (size_t steps = 0; p->buffer[root_id].same_as; steps++) {
        root_id = p->buffer[root_id].same_as;
        if (root_id >= p->n_buffers || steps > p->n_buffers)
            return status_fail(why, STATUS_INTERNAL, "buffer %u '%s' shares storage with no buffer", id, name);
    }
    size_t n = dtype_row[b->dtype].bytes;
    for (int i = 0; i < b->n_axes; i++)
        if (b->size[i] < 0 || !checked_mul(n, (size_t)b->size[i], &n))
            return status_fail(why, STATUS_TOO_LARGE, "buffer %u '%s' has a size that does not fit", id, name);
    if (b->n_axes > 0 && n > b->bytes)
        return status_fail(why, STATUS_INTERNAL, "buffer %u '%s' needs %zu bytes and has %zu", id, name, n, b->bytes);
    const Buffer *root = &p->buffer[root_id];
    size_t end;
    if (b->bytes > root->bytes)
        return status_fail(why, STATUS_INTERNAL, "buffer %u '%s' is larger than '%s', whose storage it shares", id, name,
                           root->name);
    if (root->offset % 64 != 0)
        return status_fail(why, STATUS_INTERNAL, "buffer %u '%s' starts at byte %zu, not at a multiple of 64", id, name,
                           root->offset);
    if (!checked_add(root->offset, root->bytes, &end) || end > p->arena_bytes)
        return status_fail(why, STATUS_INTERNAL, "buffer %u '%s' (%zu bytes at %zu) ends outside the arena of %zu bytes",
                           id, name, root->bytes, root->offset, p->arena_bytes);
    return STATUS_OK;
}

static bool is_identifier(const char *s)
{
    if (!s || !(isalpha((unsigned char)*s) || *s == '_'))
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_')
            return false;
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static Status check_kernels(const Program *p, const char **name, StatusText *why)
{
    for (size_t i = 1; i < p->n_kernels; i++) {
        const Kernel *k = &p->kernel[i];
        if (!is_identifier(k->name))
            return status_fail(why, STATUS_INTERNAL, "kernel %zu is called '%s', which is not a C name", i,
                               k->name ? k->name : "");
        name[i] = k->name;
    }
    if (p->n_kernels > 1)
        qsort(name + 1, p->n_kernels - 1, sizeof *name, compare_names);
    for (size_t i = 2; i < p->n_kernels; i++)
        if (strcmp(name[i - 1], name[i]) == 0)
            return status_fail(why, STATUS_INTERNAL, "two kernels are called '%s'", name[i]);
    return STATUS_OK;
}

// The bytes of `m`'s argument that its last element of a matrix x by k ends at; false: more than there can be.
static bool matrix_end(const MatrixPlace *m, int64_t batch, int64_t n_x, int64_t n_k, size_t element, size_t *out)
{
    const int64_t stride[] = {m->batch, m->outer, m->step}, count[] = {batch, n_x, n_k};
    size_t end = (size_t)m->offset;
    for (int i = 0; i < 3; i++) {
        size_t far;
        if (stride[i] < 0 || count[i] < 1 || !checked_mul((size_t)stride[i], (size_t)(count[i] - 1), &far) || !checked_add(end, far, &end))
            return false;
    }
    return m->offset >= 0 && checked_add(end, 1, &end) && checked_mul(end, element, out);
}

// What a library reads and writes lies within the arguments of the launch: nobody else looks.
static Status check_library(const Program *p, const Launch *launch, StatusText *why)
{
    const Kernel *k = &p->kernel[launch->kernel];
    const LibraryProduct *l = k->library;
    const MatrixPlace *const place[] = {&l->a, &l->b, &l->y};
    const int64_t n_x[] = {l->rows, l->cols, l->rows}, n_k[] = {l->sum, l->sum, l->cols};
    if (l->type >= DTYPE_COUNT || l->result >= DTYPE_COUNT || l->work >= k->n_params)
        return status_fail(why, STATUS_INTERNAL, "kernel '%s' has a library's product with a type or argument that does not exist", k->name);
    for (int i = 0; i < 3; i++) {
        size_t end;
        if (place[i]->param >= k->n_params
            || !matrix_end(place[i], l->batch, n_x[i], n_k[i], dtype_row[i == 2 ? l->result : l->type].bytes, &end)
            || end > p->buffer[launch->buffer[place[i]->param]].bytes)
            return status_fail(why, STATUS_INTERNAL, "operand %d of the library's product in kernel '%s' lies outside its buffer", i + 1, k->name);
    }
    return STATUS_OK;
}

static Status check_launch(const Program *p, size_t i, StatusText *why)
{
    const Launch *l = &p->launch[i];
    if (l->kernel == 0 || l->kernel >= p->n_kernels)
        return status_fail(why, STATUS_INTERNAL, "launch %zu names kernel %u of %zu", i, l->kernel, p->n_kernels);
    const Kernel *k = &p->kernel[l->kernel];
    if (p->n_once > p->n_launches)
        return status_fail(why, STATUS_INTERNAL, "%zu of %zu launches run once", p->n_once, p->n_launches);
    if (l->n_work < 0 || l->grain < 0)
        return status_fail(why, STATUS_INTERNAL, "launch %zu of '%s' has a negative number of work items", i, k->name);
    for (uint32_t a = 0; a < k->n_params; a++)
        if (l->buffer[a] == 0 || l->buffer[a] >= p->n_buffers)
            return status_fail(why, STATUS_INTERNAL, "launch %zu of '%s' passes buffer %u of %zu", i, k->name,
                               l->buffer[a], p->n_buffers);
    return k->library ? check_library(p, l, why) : STATUS_OK;
}

// Lifetimes of all storage, from who uses it.
static void find_lives(const Program *p, Live *live)
{
    size_t end = p->n_launches + 1;
    for (uint32_t b = 1; b < p->n_buffers; b++)
        live[b] = (Live){.buffer = b, .first = end, .last = 0, .begin = p->buffer[b].offset,
                         .end = p->buffer[b].offset + p->buffer[b].bytes};
    for (size_t i = 0; i < p->n_launches; i++) {
        const Launch *l = &p->launch[i];
        for (uint32_t a = 0; a < p->kernel[l->kernel].n_params; a++) {
            Live *v = &live[program_storage(p, l->buffer[a])];
            if (i + 1 < v->first) v->first = i + 1;
            if (i + 1 > v->last)  v->last = i + 1;
        }
    }
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        Live *v = &live[program_storage(p, b)];
        switch (p->buffer[b].kind) {
        case BUFFER_KEPT:
        case BUFFER_PARAM:
        case BUFFER_STATE:  v->first = 0; v->last = end; break;
        case BUFFER_INPUT:  v->first = 0; break;
        case BUFFER_OUTPUT: v->last = end; break;
        case BUFFER_TEMP:
        case BUFFER_KIND_COUNT: break;
        }
    }
}

static int compare_events(const void *a, const void *b)
{
    const Event *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    if (x->starts != y->starts)
        return x->starts ? -1 : 1;          // both ends are inclusive: who starts meets who ends
    return x->live < y->live ? -1 : x->live > y->live;
}

// The position of the first live range that begins at or after `begin`.
static size_t find_place(const Live *const *sorted, size_t n, const Live *v)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (sorted[mid]->begin < v->begin)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static Status overlap(const Program *p, const Live *a, const Live *b, StatusText *why)
{
    return status_fail(why, STATUS_INTERNAL, "buffers %u '%s' (bytes %zu to %zu) and %u '%s' (bytes %zu to %zu) share "
                       "memory while both are alive", a->buffer, p->buffer[a->buffer].name, a->begin, a->end,
                       b->buffer, p->buffer[b->buffer].name, b->begin, b->end);
}

static Status sweep(const Program *p, const Event *event, size_t n_events, const Live **sorted, StatusText *why)
{
    size_t n = 0;
    for (size_t i = 0; i < n_events; i++) {
        const Live *v = event[i].live;
        size_t at = find_place(sorted, n, v);
        if (!event[i].starts) {
            memmove(sorted + at, sorted + at + 1, (n - at - 1) * sizeof *sorted);
            n--;
            continue;
        }
        if (at > 0 && sorted[at - 1]->end > v->begin)
            return overlap(p, sorted[at - 1], v, why);
        if (at < n && sorted[at]->begin < v->end)
            return overlap(p, sorted[at], v, why);
        memmove(sorted + at + 1, sorted + at, (n - at) * sizeof *sorted);
        sorted[at] = v;
        n++;
    }
    return STATUS_OK;
}

static Status check_overlaps(const Program *p, Arena *arena, StatusText *why)
{
    Live *live = arena_array(arena, Live, p->n_buffers);
    Event *event = arena_array(arena, Event, 2 * p->n_buffers);
    const Live **sorted = arena_array(arena, const Live *, p->n_buffers + 1);
    size_t n = 0;
    find_lives(p, live);
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        if (p->buffer[b].same_as || p->buffer[b].bytes == 0 || live[b].first > live[b].last)
            continue;                       // shared, empty or never used
        event[n++] = (Event){live[b].first, true, &live[b]};
        event[n++] = (Event){live[b].last, false, &live[b]};
    }
    qsort(event, n, sizeof *event, compare_events);
    return sweep(p, event, n, sorted, why);
}

Status program_reach(const Program *p, uint32_t buffer, size_t offset, size_t bytes, StatusText *why)
{
    if (buffer == 0 || buffer >= p->n_buffers)
        return status_fail(why, STATUS_INTERNAL, "program '%s' has no buffer %u", p->name, buffer);
    size_t all = p->buffer[buffer].bytes;
    if (offset > all || bytes > all - offset)
        return status_fail(why, STATUS_INTERNAL, "buffer '%s' has %zu bytes: no %zu from %zu on", p->buffer[buffer].name,
                           all, bytes, offset);
    return STATUS_OK;
}

Status program_check(const Program *p, StatusText *why)
{
    Arena arena;
    arena_init(&arena);
    Status s = STATUS_OK;
    for (uint32_t b = 1; b < p->n_buffers && s == STATUS_OK; b++)
        s = check_buffer(p, b, why);
    if (s == STATUS_OK)
        s = check_kernels(p, arena_array(&arena, const char *, p->n_kernels + 1), why);
    for (size_t i = 0; i < p->n_launches && s == STATUS_OK; i++)
        s = check_launch(p, i, why);
    if (s == STATUS_OK)
        s = check_overlaps(p, &arena, why);
    arena_free(&arena);
    return s;
}
