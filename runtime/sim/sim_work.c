// What a stream of the simulated driver does: launches with what they may touch, and outputs that must have been written. It is done
// at once, or recorded while the stream is captured and done whenever the graph is launched.
#include "sim_driver_state.h"

#include <stdio.h>
#include <string.h>

static int region_of(SimDriver *s, const CudaTouch *touch, SimRegion *out)
{
    Taken *t = sim_find_taken(s, touch->address, touch->bytes);
    if (!t)
        return INVALID;
    const size_t at = (size_t)(touch->address - t->address);
    *out = (SimRegion){.name = touch->name, .base = touch->address, .bytes = touch->bytes, .data = t->block.data + at,
                       .defined = t->defined + at, .is_writable = touch->is_written};
    return 0;
}

static int regions_of(SimDriver *s, const WorkNode *n, Arena *arena, SimRegion **out, size_t *out_n)
{
    *out_n = n->touch ? n->n_touch : s->n_taken;
    *out = arena_array(arena, SimRegion, *out_n + 1);
    for (size_t i = 0; i < *out_n; i++) {
        const Taken *t = n->touch ? NULL : &s->taken[i];
        const CudaTouch all = t ? (CudaTouch){"the memory", t->address, t->block.bytes, true, false} : n->touch[i];
        if (region_of(s, &all, &(*out)[i]) != 0)
            return INVALID;
        if (all.is_new)
            memset((*out)[i].defined, 0, all.bytes);
    }
    return 0;
}

static int do_launch(SimDriver *s, const WorkNode *n)
{
    Arena arena = {0};
    SimRegion *region = NULL;
    size_t n_regions = 0;
    int error = regions_of(s, n, &arena, &region, &n_regions);
    if (error == 0) {
        const SimLaunch launch = {.module = n->function->module->ptx, .kernel = n->function->kernel->name, .line = n->line,
                                  .grid = {n->grid[0], n->grid[1], n->grid[2]}, .block = {n->block[0], n->block[1], n->block[2]},
                                  .arg = n->arg, .n_args = n->n_args, .shared_bytes = n->shared_bytes, .region = region,
                                  .n_regions = n_regions, .max_instructions = s->limit, .trace = s->trace, .fill_is_unset = s->fill_is_unset,
                                  .seed = s->seed ? s->seed + 0x9e3779b97f4a7c15u * ++s->n_launches : 0};
        s->why = (StatusText){0};
        error = sim_launch(&launch, &s->counters, &s->why) == STATUS_OK ? 0 : sim_complain(s, FAILED);
    }
    arena_free(&arena);
    return error;
}

static int do_demand(SimDriver *s, const WorkNode *n)
{
    for (size_t i = 0; i < n->n_touch; i++) {
        SimRegion r;
        if (region_of(s, &n->touch[i], &r) != 0)
            return INVALID;
        const uint8_t *gap = memchr(r.defined, 0, r.bytes);
        if (!gap)
            continue;
        s->why = (StatusText){0};
        status_fail(&s->why, STATUS_INTERNAL, "no launch wrote byte %zu of '%s'", (size_t)(gap - r.defined), r.name);
        return sim_complain(s, FAILED);
    }
    return 0;
}

static int do_work(SimDriver *s, const WorkNode *n)
{
    return n->kind == WORK_LAUNCH ? do_launch(s, n) : do_demand(s, n);
}

// Does it now, or records it with everything that it points to.
static int add_work(SimDriver *s, CudaStream *stream, const WorkNode *n)
{
    CudaGraph *g = stream->capture;
    if (!g)
        return do_work(s, n);
    WorkNode copy = *n;
    copy.arg = arena_array(&g->owned.arena, uint64_t, n->n_args + 1);
    for (size_t i = 0; i < n->n_args; i++)
        copy.arg[i] = n->arg[i];
    if (n->touch) {
        copy.touch = arena_array(&g->owned.arena, CudaTouch, n->n_touch + 1);
        memcpy(copy.touch, n->touch, n->n_touch * sizeof *n->touch);
    }
    g->node = arena_grow(&g->owned.arena, g->node, g->n, &g->capacity, sizeof *g->node);
    g->node[g->n++] = copy;
    return 0;
}

int sim_expect(void *self, CudaStream *stream, const char *line, const CudaTouch *touch, size_t n)
{
    (void)self;
    arena_free(&stream->owned.arena);
    arena_init(&stream->owned.arena);
    stream->touch = arena_array(&stream->owned.arena, CudaTouch, n + 1);
    memcpy(stream->touch, touch, n * sizeof *touch);
    stream->n_touch = n;
    stream->has_touch = true;
    snprintf(stream->line, sizeof stream->line, "%s", line);
    return 0;
}

int sim_demand(void *self, CudaStream *stream, const CudaTouch *touch, size_t n)
{
    return add_work(self, stream, &(WorkNode){.kind = WORK_DEMAND, .touch = (CudaTouch *)touch, .n_touch = n});
}

int sim_launch_kernel(void *self, CudaFunction *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                      unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes, CudaStream *stream,
                      void **argument, void **extra)
{
    const PtxKernel *k = function->kernel;
    uint64_t arg[MOST_PARAMS] = {0};
    if (extra || k->n_params > MOST_PARAMS)
        return INVALID;
    size_t a = 0;
    for (size_t i = 0; i < k->n_symbols; i++)
        if (k->symbol[i].space == SPACE_PARAM) {
            if (k->symbol[i].bytes > sizeof *arg)
                return INVALID;
            memcpy(&arg[a], argument[a], k->symbol[i].bytes);
            a++;
        }
    WorkNode n = {.kind = WORK_LAUNCH, .function = function, .grid = {grid_x, grid_y, grid_z}, .block = {block_x, block_y, block_z},
                  .shared_bytes = shared_bytes, .arg = arg, .n_args = k->n_params,
                  .touch = stream->has_touch ? stream->touch : NULL, .n_touch = stream->n_touch};
    if (stream->has_touch)
        memcpy(n.line, stream->line, sizeof n.line);
    stream->has_touch = false;
    return add_work(self, stream, &n);
}

int sim_exec_launch(void *self, CudaExec *exec, CudaStream *stream)
{
    int error = stream->capture ? INVALID : 0;
    for (size_t i = 0; i < exec->n && error == 0; i++)
        error = do_work(self, &exec->node[i]);
    return error;
}
