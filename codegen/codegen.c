// Fused graph -> program.
//
// For each kernel of the graph, in an order that respects what reads what: find its structure, lower it if it is new,
// and append its launches with this instance's buffers. New values of parameters and states are written straight into
// the old ones' buffers where no later kernel reads the old value; elsewhere they are copied at the end.
#include "codegen_state.h"
#include "merge_kernels.h"

#include "grouped.h"
#include "lower_loop.h"
#include "lower_product.h"
#include "monarch.h"
#include "once.h"
#include "prelude.h"
#include "random_keys.h"
#include "sweep.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool is_leaf(const Node *n)
{
    return n->op == OP_ARG || n->op == OP_PARAM || n->op == OP_STATE;
}

// --- buffers

static uint32_t add_buffer(Codegen *c, const char *name, BufferKind kind, ValueId v)
{
    const Graph *g = c->g;
    const Type *type = &g->node[v].type;
    Buffer b = {.name = name, .kind = kind, .dtype = type->dtype, .n_axes = type->n_axes, .value = v};
    for (int i = 0; i < type->n_axes; i++) {
        b.axis[i] = g->axis[type->axis[i]].name;
        b.size[i] = graph_size(g, type->axis[i]);
    }
    if (!type_bytes(g, type, &b.bytes)) {
        diag_error(c->diag, g->node[v].at, NULL, "value %%%u has a size that does not fit", v);
        return 0;
    }
    return program_add_buffer(c->program, b);
}

static void add_leaf_buffers(Codegen *c)
{
    const Graph *g = c->g;
    for (ValueId v = 1; v < g->n_nodes; v++) {
        const Node *n = &g->node[v];
        if (!is_leaf(n))
            continue;
        BufferKind kind = n->op == OP_ARG ? BUFFER_INPUT : n->op == OP_PARAM ? BUFFER_PARAM : BUFFER_STATE;
        c->buffer_of[v] = add_buffer(c, n->attr[0].name, kind, v);
    }
}

static const char *const output_prefix[OUTPUT_ROLE_COUNT] = {
    [OUTPUT_RESULT] = "output", [OUTPUT_LOSS] = "loss", [OUTPUT_TERM] = "term", [OUTPUT_WATCH] = "watch", [OUTPUT_FAULT] = "fault",
    [OUTPUT_NEXT] = "next", [OUTPUT_GRAD] = "grad",
};

// A new value of a cache that this graph does not read is computed where the cache is, if it is stored nowhere else.
static void add_filled_caches(Codegen *c)
{
    const Graph *g = c->g;
    for (size_t i = 0; i < g->n_outputs; i++) {
        const Output *o = &g->output[i];
        if (o->role != OUTPUT_NEXT || strncmp(o->name, CACHE_PREFIX, sizeof CACHE_PREFIX - 1) || codegen_replaced_leaf(c, o)
            || c->buffer_of[o->value] || !g->node[o->value].kernel)
            continue;
        c->buffer_of[o->value] = add_buffer(c, o->name, BUFFER_STATE, o->value);
        c->copied[i] = false;
    }
}

// Every output but NEXT gets a buffer; the first name of a value is where its kernel writes.
static void add_output_buffers(Codegen *c, const ValueId *old)
{
    const Graph *g = c->g;
    for (size_t i = 0; i < g->n_outputs; i++) {
        const Output *o = &g->output[i];
        if (o->role == OUTPUT_NEXT)
            continue;
        uint32_t first = c->buffer_of[o->value];
        const char *name = arena_printf(c->program->arena, "%s.%s", output_prefix[o->role], o->name);
        uint32_t b = add_buffer(c, name, BUFFER_OUTPUT, o->value);
        if (first)
            c->program->buffer[b].same_as = first;
        else
            c->buffer_of[o->value] = b;
    }
    add_filled_caches(c);
    for (ValueId v = 1; v < g->n_nodes; v++) {
        const Node *n = &g->node[v];
        if (old[v])
            c->buffer_of[v] = c->buffer_of[old[v]];
        else if (n->kernel && !c->buffer_of[v] && !monarch_is_inside(g, v, c->member[c->first[n->kernel + 1] - 1]))
            c->buffer_of[v] = add_buffer(c, n->hint ? n->hint : op_row[n->op].text, BUFFER_TEMP, v);
    }
}

static bool check_outputs(Codegen *c)
{
    const Graph *g = c->g;
    for (size_t i = 0; i < g->n_outputs; i++) {
        const Node *n = &g->node[g->output[i].value];
        if (!n->kernel && !is_leaf(n)) {
            diag_error(c->diag, n->at, NULL, "internal: no kernel stores the output `%s`; did the pass fuse_loops run?",
                       g->output[i].name);
            return false;
        }
    }
    return true;
}

// --- kernels

static void grow_slots(Codegen *c)
{
    if (c->n_known * 2 < c->n_slots)
        return;
    c->n_slots = c->n_slots ? 2 * c->n_slots : 256;
    c->slot = arena_array(&c->scratch, uint32_t, c->n_slots);
    for (uint32_t i = 0; i < c->n_known; i++) {
        size_t s = c->known[i].hash % c->n_slots;
        while (c->slot[s])
            s = (s + 1) % c->n_slots;
        c->slot[s] = i + 1;
    }
}

static bool lower_family(Lower *L)
{
    switch (L->g->kernel[L->kernel]) {
    case FAMILY_LOOP: return lower_loop(L);
    case FAMILY_CONTRACT: return lower_contract(L);
    case FAMILY_ROWS: return lower_rows(L);
    case FAMILY_SCATTER: return lower_scatter(L);
    case FAMILY_ROUTE: return lower_route(L);
    case FAMILY_CONV: return lower_conv(L);
    case FAMILY_GROUPED: return lower_grouped(L);
    case FAMILY_MONARCH: return lower_monarch(L);
    case FAMILY_COUNT: break;
    }
    return false;
}

// The structure of the kernel in c->cone, lowered now if it is new. NULL after an error.
static const Known *find_known(Codegen *c, uint32_t kernel)
{
    Text key = text_make(&c->scratch);
    cone_key(c->g, kernel, &c->cone, &c->cones, c->order_for, &key);
    uint64_t hash = cone_hash(&key);
    grow_slots(c);
    size_t s = hash % c->n_slots;
    for (; c->slot[s]; s = (s + 1) % c->n_slots) {
        const Known *k = &c->known[c->slot[s] - 1];
        if (k->hash == hash && k->n_key == key.n && !memcmp(k->key, key.data, key.n))
            return k;
    }
    Lower L = {.arena = &c->scratch, .diag = c->diag, .g = c->g, .target = c->target, .program = c->program, .kernel = kernel,
               .member = &c->member[c->first[kernel]], .n_members = c->first[kernel + 1] - c->first[kernel], .n_uses = c->n_uses, .order_for = c->order_for,
               .keeps_weights = c->keeps_weights};
    const Schedules *measured = c->target->schedules;
    const Schedule *schedule = measured ? measured->find(measured->user, hash) : NULL;
    if (schedule)
        L.schedule = *schedule;
    if (!lower_family(&L))
        return NULL;
    lower_plain_cuda(&L);
    for (size_t i = 0; i < L.n_launches; i++)
        for (uint32_t a = 0; a < L.launch[i].n_args; a++)
            if (!L.launch[i].workspace[a] || L.launch[i].workspace[a] == EMIT_KEY)
                L.launch[i].value[a] = c->cones.local[L.launch[i].value[a]];
    for (size_t i = 1; i < L.n_workspaces; i++)     // one more than the place in the cone: 0 stays "none"
        if (L.workspace[i].made_of)
            L.workspace[i].made_of = c->cones.local[L.workspace[i].made_of] + 1;
    c->known = arena_grow(&c->scratch, c->known, c->n_known, &c->known_capacity, sizeof *c->known);
    c->known[c->n_known] = (Known){key.data, key.n, hash, L.launch, L.n_launches, L.workspace, L.n_workspaces};
    c->slot[s] = (uint32_t)++c->n_known;
    return &c->known[c->n_known - 1];
}

// Every buffer of the launch once: what a perfect cache leaves of its traffic.
static double touched_bytes(const Program *p, const Launch *launch, uint32_t n)
{
    double bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool seen = false;
        for (uint32_t j = 0; j < i; j++)
            seen |= launch->buffer[j] == launch->buffer[i];
        bytes += seen ? 0 : (double)p->buffer[launch->buffer[i]].bytes;
    }
    return bytes;
}

// The buffer of what an earlier launch has made of a value, such as an order of rows; 0: there is none.
static uint32_t find_made(const Codegen *c, ValueId of, uint64_t key)
{
    for (size_t i = c->n_made; i-- > 0;)
        if (c->made[i].of == of && c->made[i].key == key)
            return c->made[i].buffer;
    return 0;
}

// Parameters and states may be overwritten before the next kernel asks, so what is made of them is not kept.
static void note_made(Codegen *c, ValueId of, uint64_t key, uint32_t buffer)
{
    const BufferKind kind = c->program->buffer[c->buffer_of[of]].kind;
    if (kind == BUFFER_PARAM || kind == BUFFER_STATE)
        return;
    c->made = arena_grow(&c->scratch, c->made, c->n_made, &c->made_capacity, sizeof *c->made);
    c->made[c->n_made++] = (Made){of, key, buffer};
}

// Which products by an index are grouped: its maker may write the order of their rows.
static void find_orders(Codegen *c)
{
    const Graph *g = c->g;
    c->order_for = arena_array(&c->scratch, ValueId, g->n_nodes);
    for (ValueId v = 1; v < g->n_nodes; v++) {
        Grouped of;
        const Op op = g->node[v].op;
        if ((op == OP_CONTRACT || op == OP_PUT_ADD) && grouped_of(g, v, &of) && grouped_is_worth(&of) && !c->order_for[of.index])
            c->order_for[of.index] = v;
    }
}

// Whether all parameters, in bf16, could be kept besides (once.c): none is updated, and there is room.
static bool keeps_weights(const Codegen *c)
{
    const Graph *g = c->g;
    size_t all = 0, bytes;
    for (size_t i = 0; i < g->n_outputs; i++) {
        const ValueId leaf = g->output[i].role == OUTPUT_NEXT ? codegen_replaced_leaf(c, &g->output[i]) : 0;
        if (leaf && g->node[leaf].op == OP_PARAM)
            return false;
    }
    for (ValueId v = 1; v < g->n_nodes; v++)
        if (g->node[v].op == OP_PARAM && type_bytes(g, &g->node[v].type, &bytes))
            all += bytes / 2;
    return !c->target->is_cuda && all <= c->target->keep_bytes / 2;
}

enum { COPY_BYTES = 1 << 16 };              // per work item

static uint32_t copy_kernel(Codegen *c, size_t bytes)
{
    Program *p = c->program;
    const char *name = arena_printf(p->arena, "copy_%zu", bytes);
    for (uint32_t k = 1; k < p->n_kernels; k++)
        if (strcmp(p->kernel[k].name, name) == 0)
            return k;
    Text t = text_make(p->arena);
    text_printf(&t, "// %zu bytes, as they are\nvoid %s(void *const *p, long begin, long end, void *scratch)\n{\n", bytes, name);
    text_printf(&t, "    const char *x = p[0];\n    char *y = p[1];\n    (void)scratch;\n"
                    "    for (long w = begin; w < end; w++) {\n        const long at = w*%d;\n"
                    "        const long n = %zu - at < %d ? %zu - at : %d;\n"
                    "        __builtin_memcpy(y + at, x + at, (unsigned long)n);\n    }\n}\n",
                COPY_BYTES, bytes, COPY_BYTES, bytes, COPY_BYTES);
    Text cuda = text_make(p->arena);
    text_printf(&cuda, "// %zu bytes, as they are\nextern \"C\" __global__ void %s(const char *x, char *y)\n{\n", bytes, name);
    text_printf(&cuda, "    for (long i = (long)blockIdx.x*%d + threadIdx.x; i < (blockIdx.x + 1L)*%d && i < %zuL; i += blockDim.x)\n"
                       "        y[i] = x[i];\n}\n", COPY_BYTES, COPY_BYTES, bytes);
    return program_add_kernel(p, (Kernel){.name = name, .family = FAMILY_LOOP, .text = text_str(&t), .cuda = text_str(&cuda),
                                          .n_params = 2, .writes = 2, .cuda_threads = 256});
}

static void add_copy(Codegen *c, uint32_t from, uint32_t to, ValueId v)
{
    size_t bytes = c->program->buffer[to].bytes;
    if (!bytes || !from)
        return;
    int64_t n = (int64_t)((bytes + COPY_BYTES - 1) / COPY_BYTES);
    Launch launch = {.kernel = copy_kernel(c, bytes), .n_work = n, .grain = 1, .cuda_blocks = n, .bytes = 2 * (double)bytes,
                     .at = c->g->node[v].at, .layer = c->g->node[v].layer};
    launch.buffer = arena_array(c->program->arena, uint32_t, 2);
    launch.buffer[0] = from;
    launch.buffer[1] = to;
    program_add_launch(c->program, launch);
}

// A put writes a few places only. What is in the others comes over first, where the value does not lie where x lies.
static void copy_put_into(Codegen *c, uint32_t kernel)
{
    for (uint32_t m = c->first[kernel]; m < c->first[kernel + 1]; m++) {
        const ValueId v = c->member[m];
        const Node *n = &c->g->node[v];
        if (n->op == OP_PUT && c->buffer_of[n->in[0]] != c->buffer_of[v])
            add_copy(c, c->buffer_of[n->in[0]], c->buffer_of[v], v);
    }
}

static bool add_launches(Codegen *c, uint32_t kernel)
{
    codegen_cone(c, kernel);
    const Known *known = find_known(c, kernel);
    if (!known)
        return false;
    copy_put_into(c, kernel);
    uint32_t *workspace = arena_array(&c->scratch, uint32_t, known->n_workspaces + 1);
    bool *is_there = arena_array(&c->scratch, bool, known->n_workspaces + 1);
    for (size_t i = 1; i < known->n_workspaces; i++) {
        const LowerWorkspace *w = &known->workspace[i];
        const ValueId of = w->made_of ? c->cone.value[w->made_of - 1] : 0;
        workspace[i] = of ? find_made(c, of, w->made_key) : 0;
        is_there[i] = workspace[i] != 0;
        size_t bytes = (size_t)w->count * dtype_row[w->dtype].bytes;
        if (!workspace[i])
            workspace[i] = program_add_buffer(c->program, (Buffer){.name = w->hint, .kind = BUFFER_TEMP, .dtype = w->dtype,
                                                                   .bytes = bytes, .n_axes = 1, .axis = {"n"}, .size = {w->count}});
        if (of && !is_there[i])
            note_made(c, of, w->made_key, workspace[i]);
    }
    // What a kernel is for its last value says; a choice is for its first, the scores.
    const Node *n = &c->g->node[c->member[c->g->kernel[kernel] == FAMILY_ROUTE ? c->first[kernel] : c->first[kernel + 1] - 1]];
    for (size_t i = 0; i < known->n_launches; i++) {
        const LowerLaunch *l = &known->launch[i];
        bool is_made = false;
        for (uint32_t a = 0; a < l->n_args && l->is_shared; a++)
            is_made |= l->workspace[a] != EMIT_KEY && is_there[l->workspace[a]];
        if (is_made)
            continue;
        Launch launch = {.kernel = l->kernel, .n_work = l->n_work, .grain = l->grain, .cuda_blocks = l->cuda_blocks,
                         .flops = l->flops, .bytes = l->bytes, .at = n->at, .layer = n->layer};
        launch.buffer = arena_array(c->program->arena, uint32_t, l->n_args + 1);
        for (uint32_t a = 0; a < l->n_args; a++) {
            if (l->workspace[a] == EMIT_KEY)
                launch.buffer[a] = c->key_of[c->cone.value[l->value[a]]];
            else
                launch.buffer[a] = l->workspace[a] ? workspace[l->workspace[a]] : c->buffer_of[c->cone.value[l->value[a]]];
            assert(launch.buffer[a] && "an argument without a buffer");
        }
        if (launch.bytes == 0)
            launch.bytes = touched_bytes(c->program, &launch, l->n_args);
        program_add_launch(c->program, launch);
    }
    return true;
}

// Outputs that are leaves are copied first, before anybody overwrites the leaf.
static void copy_leaves(Codegen *c)
{
    for (size_t b = 1; b < c->program->n_buffers; b++) {
        Buffer *buffer = &c->program->buffer[b];
        if (buffer->kind == BUFFER_OUTPUT && is_leaf(&c->g->node[buffer->value])) {
            buffer->same_as = 0;
            add_copy(c, c->buffer_of[buffer->value], (uint32_t)b, buffer->value);
        }
    }
}

// New values that have a place of their own go home last. A value that is itself a leaf was saved by then: leaves that
// replace each other in a circle would need a third place, so such a leaf is copied out first.
static void copy_next(Codegen *c, const uint32_t *saved)
{
    const Graph *g = c->g;
    for (size_t i = 0; i < g->n_outputs; i++) {
        const Output *o = &g->output[i];
        if (!c->copied[i])
            continue;
        ValueId leaf = codegen_replaced_leaf(c, o);
        const bool is_cache = !strncmp(o->name, CACHE_PREFIX, sizeof CACHE_PREFIX - 1);
        uint32_t to = leaf ? c->buffer_of[leaf] : add_buffer(c, o->name, is_cache ? BUFFER_STATE : BUFFER_PARAM, o->value);
        add_copy(c, saved[i] ? saved[i] : c->buffer_of[o->value], to, o->value);
    }
}

static uint32_t *save_leaves(Codegen *c)
{
    const Graph *g = c->g;
    uint32_t *saved = arena_array(&c->scratch, uint32_t, g->n_outputs + 1);
    for (size_t i = 0; i < g->n_outputs; i++)
        if (c->copied[i] && is_leaf(&g->node[g->output[i].value]) && g->node[g->output[i].value].op != OP_ARG) {
            saved[i] = add_buffer(c, "old", BUFFER_TEMP, g->output[i].value);
            add_copy(c, c->buffer_of[g->output[i].value], saved[i], g->output[i].value);
        }
    return saved;
}

static void make_prelude(Codegen *c)
{
    PreludeUse c_use = {0}, cuda_use = {0};
    Text c_text = text_make(c->program->arena), cuda_text = text_make(c->program->arena);
    Text product_text = text_make(c->program->arena);       // is made of helpers itself
    product_prelude(c->program, c->target, &product_text);
    prelude_scan(text_str(&product_text), &c_use);
    for (size_t k = 1; k < c->program->n_kernels; k++) {
        prelude_scan(c->program->kernel[k].text, &c_use);
        if (c->program->kernel[k].cuda)
            prelude_scan(c->program->kernel[k].cuda, &cuda_use);
    }
    prelude_print(&c_use, c->target->vector_floats, &c_text);
    text_add(&c_text, text_str(&product_text));
    prelude_print(&cuda_use, 0, &cuda_text);
    c->program->prelude = text_str(&c_text);
    c->program->cuda_prelude = text_str(&cuda_text);
}

Program *codegen_program(Arena *arena, Diag *diag, const Graph *g, const Target *target)
{
    Codegen c = {.arena = arena, .diag = diag, .g = g, .target = target, .program = program_make(arena, g->name)};
    size_t errors = diag->n_errors;
    c.program->sources = diag->sources;
    c.scratch = (Arena){.out_of_memory = arena->out_of_memory, .user = arena->user};
    c.buffer_of = arena_array(&c.scratch, uint32_t, g->n_nodes);
    c.key_of = arena_array(&c.scratch, uint32_t, g->n_nodes);
    c.n_uses = arena_array(&c.scratch, uint32_t, g->n_nodes);
    c.reader = arena_array(&c.scratch, uint32_t, g->n_nodes);
    c.cones = cone_scratch(&c.scratch, g);
    const KernelMembers members = kernel_members(&c.scratch, g);
    c.member = members.member;
    c.first = members.first;
    codegen_find_leaves(&c);
    find_orders(&c);
    c.keeps_weights = keeps_weights(&c);
    bool good = check_outputs(&c);
    ValueId *old = codegen_replacements(&c);
    good = good && codegen_order(&c, old);
    if (good) {
        codegen_reuse(&c, old);
        for (size_t i = 0; i < g->n_outputs; i++)
            if (g->output[i].role == OUTPUT_NEXT && g->node[g->output[i].value].kernel)
                c.copied[i] = !old[g->output[i].value] || strcmp(g->node[old[g->output[i].value]].attr[0].name, g->output[i].name) != 0;
        add_leaf_buffers(&c);
        add_output_buffers(&c, old);
        copy_leaves(&c);
        uint32_t *saved = save_leaves(&c);
        random_add_keys(c.program, &c.scratch, g, c.buffer_of, c.key_of);
        SweepStep *step;
        const size_t n_steps = sweep_plan(&c, &step);
        for (size_t i = 0; i < n_steps && good; i++)
            if (step[i].n > 1)
                sweep_add(&c, &step[i]);
            else
                good = add_launches(&c, step[i].kernel[0]);
        copy_next(&c, saved);
    }
    good = good && diag->n_errors == errors;
    if (good) {
        merge_kernels(c.program, &c.scratch);
        find_once_stage(c.program, &c.scratch, target->keep_bytes);
        make_prelude(&c);
    }
    arena_free(&c.scratch);
    return good ? c.program : NULL;
}

// "// models/gpt.mix:14, layer l0, and 3 more launches". A file's name is the user's: what could end a comment is not printed.
static void emit_place(const Program *p, size_t kernel, Text *out)
{
    const Launch *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < p->n_launches; i++)
        if (p->launch[i].kernel == kernel) {
            first = first ? first : &p->launch[i];
            n++;
        }
    const char *file = NULL;
    const uint32_t line = first ? program_place(p, first, &file) : 0;
    if (!line)
        return;
    text_add(out, "// ");
    for (const char *c = file; *c; c++)
        text_char(out, (unsigned char)*c < ' ' || *c == '\\' ? '?' : *c);
    text_printf(out, ":%u", line);
    if (n > 1)
        text_printf(out, ", and %zu more launches", n - 1);
    text_char(out, '\n');
}

void codegen_emit_c(const Program *p, Text *out)
{
    text_printf(out, "// The kernels of `%s`. Each computes work items begin <= w < end.\n\n", p->name);
    text_add(out, p->prelude);
    for (size_t k = 1; k < p->n_kernels; k++) {
        text_add(out, k > 1 ? "\n" : "");
        emit_place(p, k, out);
        text_add(out, p->kernel[k].text);
    }
}

void codegen_emit_cuda(const Program *p, Text *out)
{
    text_printf(out, "// The kernels of `%s` for CUDA. A block computes a work item.\n\n", p->name);
    text_add(out, p->cuda_prelude);
    for (size_t k = 1; k < p->n_kernels; k++)
        if (p->kernel[k].cuda) {
            text_add(out, k > 1 ? "\n" : "");
            emit_place(p, k, out);
            text_add(out, p->kernel[k].cuda);
        }
}
