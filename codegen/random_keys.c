// See random_keys.h.
#include "random_keys.h"

#include <stdlib.h>

enum { KEYS = 48 };                         // made by one launch: a kernel has at most 64 parameters

typedef struct Stream {
    ValueId  seed, step, v;
    int64_t  stream;
    uint32_t buffer;
} Stream;

static bool is_leaf(const Node *n)
{
    return n->op == OP_ARG || n->op == OP_PARAM || n->op == OP_STATE;
}

bool random_has_key(const Graph *g, const Node *n)
{
    return n->op == OP_RANDOM && is_leaf(&g->node[n->in[0]]) && is_leaf(&g->node[n->in[1]]);
}

static bool same_stream(const Stream *a, const Stream *b)
{
    return a->seed == b->seed && a->step == b->step && a->stream == b->stream;
}

static int by_stream(const void *x, const void *y)
{
    const Stream *a = x, *b = y;
    if (a->seed != b->seed)
        return a->seed < b->seed ? -1 : 1;
    if (a->step != b->step)
        return a->step < b->step ? -1 : 1;
    if (a->stream != b->stream)
        return a->stream < b->stream ? -1 : 1;
    return a->v < b->v ? -1 : a->v > b->v;
}

static const char *kernel_text(Arena *arena, const char *name, const Stream *const *s, size_t n, bool is_cuda)
{
    Text t = text_make(arena);
    text_printf(&t, "// the keys of %zu random streams, from seed and step\n", n);
    if (is_cuda) {
        text_printf(&t, "extern \"C\" __global__ void %s(const int *seed, const int *step", name);
        for (size_t i = 0; i < n; i++)
            text_printf(&t, ", int *key%zu", i);
        text_add(&t, ")\n{\n    if (threadIdx.x == 0) {\n        const unsigned start = mix_s(mix_s((unsigned)seed[0] + 0x9e3779b9u) ^ (unsigned)step[0]);\n");
        for (size_t i = 0; i < n; i++)
            text_printf(&t, "        key%zu[0] = (int)mix_s(start + %uu*0x85ebca6bu);\n", i, (unsigned)s[i]->stream);
        text_add(&t, "    }\n}\n");
        return text_str(&t);
    }
    text_printf(&t, "void %s(void *const *p, long begin, long end, void *scratch)\n{\n    static const unsigned stream[] = {", name);
    for (size_t i = 0; i < n; i++)
        text_printf(&t, "%s%u", i ? ", " : "", (unsigned)s[i]->stream);
    text_printf(&t, "};\n    const int *seed = p[0];\n    const int *step = p[1];\n    (void)scratch;\n"
                    "    const unsigned start = mix_s(mix_s((unsigned)seed[0] + 0x9e3779b9u) ^ (unsigned)step[0]);\n"
                    "    for (long i = begin*%zu; i < end*%zu; i++)\n"
                    "        *(int *)p[i + 2] = (int)mix_s(start + stream[i]*0x85ebca6bu);\n}\n", n, n);
    return text_str(&t);
}

static void add_launch(Program *p, const uint32_t *buffer_of, const Stream *const *s, size_t n)
{
    const char *name = arena_printf(p->arena, "k%zu_random_keys", p->n_kernels);
    Kernel kernel = {.name = name, .family = FAMILY_LOOP, .n_params = (uint32_t)n + 2, .cuda_threads = 32};
    kernel.text = kernel_text(p->arena, name, s, n, false);
    kernel.cuda = kernel_text(p->arena, name, s, n, true);
    Launch launch = {.n_work = 1, .grain = 1, .cuda_blocks = 1, .flops = 16 * (double)n, .bytes = 4 * (double)n};
    launch.buffer = arena_array(p->arena, uint32_t, n + 2);
    launch.buffer[0] = buffer_of[s[0]->seed];
    launch.buffer[1] = buffer_of[s[0]->step];
    for (size_t i = 0; i < n; i++) {
        kernel.writes |= (uint64_t)1 << (i + 2);
        launch.buffer[i + 2] = s[i]->buffer;
    }
    launch.kernel = program_add_kernel(p, kernel);
    program_add_launch(p, launch);
}

void random_add_keys(Program *p, Arena *scratch, const Graph *g, const uint32_t *buffer_of, uint32_t *key_of)
{
    Stream *s = arena_array(scratch, Stream, g->n_nodes);
    size_t n = 0;
    for (ValueId v = 1; v < g->n_nodes; v++)
        if (key_of[v])
            s[n++] = (Stream){g->node[v].in[0], g->node[v].in[1], v, g->node[v].attr[0].i, 0};
    qsort(s, n, sizeof *s, by_stream);
    const Stream *batch[KEYS];
    size_t n_batch = 0;
    for (size_t i = 0; i < n; i++) {
        bool again = i && same_stream(&s[i - 1], &s[i]);
        s[i].buffer = again ? s[i - 1].buffer
                            : program_add_buffer(p, (Buffer){.name = "key", .kind = BUFFER_TEMP, .dtype = DTYPE_I32, .bytes = 4});
        key_of[s[i].v] = s[i].buffer;
        if (again)
            continue;
        bool other = n_batch && (batch[0]->seed != s[i].seed || batch[0]->step != s[i].step);
        if (n_batch == KEYS || other) {
            add_launch(p, buffer_of, batch, n_batch);
            n_batch = 0;
        }
        batch[n_batch++] = &s[i];
    }
    if (n_batch)
        add_launch(p, buffer_of, batch, n_batch);
}
