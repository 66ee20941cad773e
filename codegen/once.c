// What depends on parameters and states only, and no launch changes, needs to be computed again only when the host writes one:
// the networks behind long filters, their spectra, tables of roots. Such launches move to the front of the program
// (Program.n_once), and what the others read of them gets storage of its own (BUFFER_KEPT).
//
// What a launch without arithmetic makes (packing, copying) is not kept for the others: that would cost memory and save
// little. Kept is as much as the target allows; beyond that the largest results are computed in every run.
#include "once.h"

#include <string.h>

typedef struct Once {
    Program *p;
    uint32_t *root;                         // [n_buffers] where the storage is
    bool    *varies;                        // by root: not the same in every run
    bool    *is_once;                       // [n_launches]
    bool    *is_read;                       // by root: by a launch of every run
} Once;

static bool can_be_once(const Once *o, const Launch *l)
{
    const Kernel *k = &o->p->kernel[l->kernel];
    bool good = true;
    for (uint32_t a = 0; a < k->n_params && good; a++) {
        const uint32_t root = o->root[l->buffer[a]];
        good = !o->varies[root] && (!program_writes(k, a) || o->p->buffer[root].kind == BUFFER_TEMP);
    }
    return good;
}

// Down to the largest set of launches that read only what they themselves or the host have written.
static void find_once(Once *o)
{
    bool changed = true;
    memset(o->is_read, 0, o->p->n_buffers);
    while (changed) {
        changed = false;
        for (size_t i = 0; i < o->p->n_launches; i++) {
            const Launch *l = &o->p->launch[i];
            const Kernel *k = &o->p->kernel[l->kernel];
            o->is_once[i] = can_be_once(o, l);
            for (uint32_t a = 0; a < k->n_params && !o->is_once[i]; a++)
                if (program_writes(k, a) && !o->varies[o->root[l->buffer[a]]])
                    changed = o->varies[o->root[l->buffer[a]]] = true;
        }
    }
    for (size_t i = 0; i < o->p->n_launches; i++) {
        const Launch *l = &o->p->launch[i];
        for (uint32_t a = 0; a < o->p->kernel[l->kernel].n_params && !o->is_once[i]; a++)
            o->is_read[o->root[l->buffer[a]]] = true;
    }
}

static bool is_kept(const Once *o, uint32_t b)
{
    return o->root[b] == b && o->p->buffer[b].kind == BUFFER_TEMP && !o->varies[b] && o->is_read[b];
}

// What should not be kept after all: the result of a launch without arithmetic; or the largest buffer, if all together are more
// than `most`. 0: nothing.
static uint32_t find_excess(const Once *o, size_t most)
{
    size_t bytes = 0;
    uint32_t largest = 0;
    for (size_t i = 0; i < o->p->n_launches; i++) {
        const Launch *l = &o->p->launch[i];
        for (uint32_t a = 0; a < o->p->kernel[l->kernel].n_params && l->flops <= 0; a++)
            if (program_writes(&o->p->kernel[l->kernel], a) && is_kept(o, o->root[l->buffer[a]]))
                return o->root[l->buffer[a]];
    }
    for (uint32_t b = 1; b < o->p->n_buffers; b++) {
        if (!is_kept(o, b))
            continue;
        bytes += o->p->buffer[b].bytes;
        if (!largest || o->p->buffer[b].bytes > o->p->buffer[largest].bytes)
            largest = b;
    }
    return bytes > most ? largest : 0;
}

static void move_to_front(Once *o, Arena *scratch)
{
    Program *p = o->p;
    Launch *launch = arena_array(scratch, Launch, p->n_launches + 1);
    size_t n = 0;
    for (int once = 1; once >= 0; once--) {
        for (size_t i = 0; i < p->n_launches; i++)
            if (o->is_once[i] == once)
                launch[n++] = p->launch[i];
        p->n_once = once ? n : p->n_once;
    }
    if (n)
        memcpy(p->launch, launch, n * sizeof *launch);
    for (uint32_t b = 1; b < p->n_buffers; b++)
        if (is_kept(o, b))
            p->buffer[b].kind = BUFFER_KEPT;
}

// An operand that only the CUDA text reads need not live until then: the launch gets one of its other buffers in that place.
static void drop_ignored(Program *p)
{
    for (size_t i = 0; i < p->n_launches; i++) {
        Launch *l = &p->launch[i];
        const Kernel *k = &p->kernel[l->kernel];
        for (uint32_t a = 0; a < k->n_params && a < 64; a++)
            for (uint32_t w = 0; w < k->n_params && (k->c_ignores >> a & 1); w++)
                if (program_writes(k, w)) {
                    l->buffer[a] = l->buffer[w];
                    break;
                }
    }
}

void find_once_stage(Program *p, Arena *scratch, size_t keep_bytes)
{
    Once o = {.p = p, .root = arena_array(scratch, uint32_t, p->n_buffers), .varies = arena_array(scratch, bool, p->n_buffers),
              .is_once = arena_array(scratch, bool, p->n_launches + 1), .is_read = arena_array(scratch, bool, p->n_buffers)};
    if (!keep_bytes)
        return;
    drop_ignored(p);
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        o.root[b] = b;
        while (p->buffer[o.root[b]].same_as)
            o.root[b] = p->buffer[o.root[b]].same_as;
        const BufferKind kind = p->buffer[b].kind;
        o.varies[o.root[b]] |= kind == BUFFER_INPUT || kind == BUFFER_OUTPUT;
    }
    find_once(&o);
    for (uint32_t b; (b = find_excess(&o, keep_bytes)) != 0; find_once(&o))
        o.varies[b] = true;
    move_to_front(&o, scratch);
}
