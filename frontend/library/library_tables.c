// See library.h: NAME.c (tables, launcher, functions) and the kernels' files.
#include "library_parts.h"

#include "library_files.h"
#include "units.h"

#include <ctype.h>
#include <string.h>

void library_quote(Text *out, const char *text)
{
    text_char(out, '"');
    for (const char *c = text; *c; c++)
        if (*c == '"' || *c == '\\')
            text_printf(out, "\\%c", *c);
        else if ((unsigned char)*c < ' ')
            text_printf(out, "\\%03o", (unsigned)(unsigned char)*c);
        else
            text_char(out, *c);
    text_char(out, '"');
}

static bool in_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

// Adds text in which words that begin with `lib_` or `LIB_` begin with the library's name, and `lib.h` is its header.
static void add_named(const Library *l, const char *text, Text *out)
{
    for (const char *c = text; *c;) {
        const bool begins = c == text || !in_word(c[-1]);
        if (begins && (!strncmp(c, "lib_", 4) || !strncmp(c, "lib.h", 5))) {
            text_add(out, l->job->name);
            c += 3;
        } else if (begins && !strncmp(c, "LIB_", 4)) {
            text_add(out, l->upper);
            c += 3;
        } else {
            text_char(out, *c++);
        }
    }
}

static const char *kernel_name(const Library *l, const LibraryPart *part, const char *name)
{
    return arena_printf(l->arena, "%s_%s%s", l->job->name, part->prefix, name);
}

// The kernel of that name, of n letters; NULL: none.
static const Kernel *find_kernel(const Program *p, const char *name, size_t n)
{
    for (size_t k = 1; k < p->n_kernels; k++)
        if (strlen(p->kernel[k].name) == n && !strncmp(p->kernel[k].name, name, n))
            return &p->kernel[k];
    return NULL;
}

// Compares what the compiler could count on with the processor at hand, so that an old one gets a sentence and no signal.
static void processor_check(const Library *l, Text *out)
{
    static const char *const feature[][2] = {
        {"AVX", "avx"}, {"AVX2", "avx2"}, {"FMA", "fma"}, {"BMI2", "bmi2"}, {"AVX512F", "avx512f"}, {"AVX512VL", "avx512vl"},
        {"AVX512BW", "avx512bw"}, {"AVX512DQ", "avx512dq"}, {"AVX512BF16", "avx512bf16"},
    };
    const char *name = l->job->name;
    text_printf(out, "\n// What the processor lacks of the one that this file was compiled for, as a sentence; NULL: nothing.\n"
                "const char *%s_cpu_lacks(void);\nconst char *%s_cpu_lacks(void)\n{\n#if defined(__x86_64__)\n    __builtin_cpu_init();\n", name, name);
    for (size_t i = 0; i < sizeof feature / sizeof *feature; i++)
        text_printf(out, "#ifdef __%s__\n    if (!__builtin_cpu_supports(\"%s\"))\n"
                    "        return \"this library was compiled for processors with %s, which this one has not\";\n#endif\n",
                    feature[i][0], feature[i][1], feature[i][1]);
    text_add(out, "#endif\n    return 0;\n}\n");
}

void library_kernels(const Library *l, const LibraryPart *part, const char *text, bool with_check, Text *out)
{
    text_printf(out, "// Kernels of %s, written by `mixc build`: each computes work items begin <= w < end of a call in %s.c.\n\n", l->job->name,
                l->job->name);
    for (const char *c = text; *c;) {
        size_t n = 0;
        while (in_word(c[n]))
            n++;
        const Kernel *kernel = n && (c == text || !in_word(c[-1])) ? find_kernel(part->program, c, n) : NULL;
        if (kernel)
            text_add(out, kernel_name(l, part, kernel->name));
        else
            text_add_n(out, c, n ? n : 1);
        c += n ? n : 1;
    }
    if (with_check)
        processor_check(l, out);
}

// --- tables

static char type_letter(const Buffer *b)
{
    return b->dtype == DTYPE_I32 ? 'i' : b->dtype == DTYPE_BF16 ? 'h' : 'f';
}

static void weight_tables(const Library *l, Text *out)
{
    text_printf(out, "static const %s_tensor tensor[] = {\n", l->job->name);
    for (size_t i = 0; i < l->n_weights; i++) {
        const Buffer *b = l->weight[i].buffer;
        text_add(out, "    {");
        library_quote(out, l->weight[i].name);
        text_printf(out, ", %d, {", b->n_axes);
        for (int a = 0; a < b->n_axes; a++) {
            text_add(out, a ? ", " : "");
            library_quote(out, b->axis[a]);
        }
        text_add(out, b->n_axes ? "}, {" : "0}, {0");
        for (int a = 0; a < b->n_axes; a++)
            text_printf(out, "%s%lld", a ? ", " : "", (long long)b->size[a]);
        text_printf(out, "}, %lld, %d},\n", (long long)library_count(b), b->dtype == DTYPE_I32);
    }
    text_add(out, "    {\"\", 0, {0}, {0}, 0, 0},\n};\n\nstatic const Weight weight[] = {\n");
    for (size_t i = 0; i < l->n_weights; i++) {
        const LibraryWeight *w = &l->weight[i];
        text_printf(out, "    {'%c', %zu, %zu, %s},\n", type_letter(w->buffer), w->at, w->embedded, w->is_needed ? "true" : "false");
    }
    text_add(out, "    {'f', 0, 0, false},\n};\n\n");
}

static void ports(const Library *l, const LibraryPart *part, const char *what, const LibraryPort *port, size_t n, Text *out)
{
    text_printf(out, "static const Port %s%s[] = {\n", part->prefix, what);
    for (size_t i = 0; i < n; i++) {
        const Buffer *b = &part->program->buffer[port[i].buffer];
        text_add(out, "    {");
        library_quote(out, port[i].name);
        text_printf(out, ", '%c', %zu, %s, ", type_letter(b), part->at[port[i].buffer], library_count_name(l, part, &port[i]));
        if (port[i].axis) {
            if (port[i].least < 0)
                text_add(out, "INT64_MIN");
            else
                text_add(out, "0");
            text_printf(out, ", %lld, ", (long long)port[i].limit);
            library_quote(out, port[i].axis);
        } else {
            text_add(out, "0, 0, NULL");
        }
        text_add(out, "},\n");
    }
    text_add(out, "    {\"\", 'f', 0, 0, 0, 0, NULL},\n};\n\n");
}

static void calls(const Library *l, const LibraryPart *part, Text *out)
{
    const Program *p = part->program;
    Text arguments = text_make(l->arena);
    size_t first = 0;
    for (size_t k = 1; k < p->n_kernels; k++)
        text_printf(out, "Kernel %s;\n", kernel_name(l, part, p->kernel[k].name));
    text_printf(out, "\n// Kernel, its first argument, work items, how many at a time; the line of the model that it computes.\nstatic const Call %scall[] = {\n",
                part->prefix);
    for (size_t i = 0; i < p->n_launches; i++) {
        const Launch *launch = &p->launch[i];
        const Kernel *k = &p->kernel[launch->kernel];
        char line[256];
        text_printf(out, "    {%s, %zu, %lld, %lld},", kernel_name(l, part, k->name), first, (long long)launch->n_work, (long long)units_grain(launch));
        text_printf(out, "    // %s%s%s\n", program_line(p, launch, line, sizeof line), launch->layer ? "  " : "", launch->layer ? launch->layer : "");
        text_add(&arguments, "   ");
        for (uint32_t a = 0; a < k->n_params; a++)
            text_printf(&arguments, " %zu,", part->at[launch->buffer[a]]);
        text_printf(&arguments, "    // %zu\n", first);
        first += k->n_params;
    }
    text_printf(out, "    {NULL, %zu, 0, 0},\n};\n\n// Where the arguments of the calls lie in the memory, in bytes.\nstatic const size_t %sargument[] = {\n%s    0,\n};\n\n",
                first, part->prefix, text_str(&arguments));
}

// States that the forward program keeps for itself, because it writes them.
static size_t copies(const Library *l, const LibraryPart *part, Text *out)
{
    size_t n = 0;
    const Program *p = part->program;
    text_printf(out, "static const Copy %scopy[] = {\n", part->prefix);
    for (uint32_t b = 1; b < p->n_buffers && l->train && part == &l->part[0]; b++)
        for (size_t i = 0; i < l->n_weights; i++) {
            const Buffer *from = l->weight[i].buffer, *to = &p->buffer[b];
            if (from->kind != to->kind || strcmp(from->name, to->name) != 0 || l->weight[i].at == part->at[b])
                continue;
            text_printf(out, "    {%zu, %zu, %zu},    // %s\n", l->weight[i].at, part->at[b], to->bytes, l->weight[i].name);
            n++;
        }
    text_add(out, "    {0, 0, 0},\n};\n\n");
    return n;
}

static void scalar(const LibraryPart *part, const char *name, Text *out)
{
    const uint32_t b = program_find_buffer(part->program, BUFFER_INPUT, name);
    if (b && part->program->buffer[b].n_axes == 0)
        text_printf(out, "%zu, ", part->at[b]);
    else
        text_add(out, "NOWHERE, ");
}

static size_t n_arguments(const Program *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_launches; i++)
        n += p->kernel[p->launch[i].kernel].n_params;
    return n;
}

static void part_tables(const Library *l, const LibraryPart *part, size_t *out_copies, Text *out)
{
    calls(l, part, out);
    ports(l, part, "input", part->input, part->n_inputs, out);
    ports(l, part, "result", part->result, part->n_results, out);
    *out_copies = copies(l, part, out);
}

static void part_table(const Library *l, const size_t *n_copies, Text *out)
{
    text_add(out, "static const Part part[] = {\n");
    for (int k = 0; k < l->n_parts; k++) {
        const LibraryPart *part = &l->part[k];
        const char *x = part->prefix;
        text_printf(out, "    {%scall, %zu, %zu, %sargument, %zu, %sinput, %sresult, %zu, %zu,\n     ", x, part->program->n_launches,
                    l->train && k == 0 ? (size_t)0 : part->program->n_once, x, n_arguments(part->program), x, x, part->n_inputs, part->n_results);
        scalar(part, "lr", out);
        scalar(part, "step", out);
        scalar(part, "seed", out);
        scalar(part, "apply", out);
        scalar(part, POSITION_NAME, out);
        text_printf(out, "%scopy, %zu},\n", x, n_copies[k]);
    }
    text_add(out, "};\n\n");
}

// --- functions

// The rate of a step: schedule_factor (engine/schedule.c) for the schedule at hand, times the peak.
static void learning_rate(const TrainSpec *t, Text *out)
{
    text_printf(out, "\n// The learning rate of a step, counted from 1.\nstatic double learning_rate(long long step)\n{\n"
                "    const double peak = %.17g, s = (double)step, warmup = %lld;\n", t->lr, (long long)t->warmup);
    if (t->warmup > 0)
        text_printf(out, "    if (s <= warmup)\n        return peak*(%.17g + (1 - %.17g)*s/warmup);\n", t->start, t->start);
    const double left = (double)(t->steps - t->warmup);
    if (t->schedule == SCHEDULE_LINEAR || t->schedule == SCHEDULE_COSINE)
        text_printf(out, left > 0 ? "    const double p = fmin((s - warmup)/%.17g, 1);\n" : "    const double p = 1;\n", left);
    switch (t->schedule) {
    case SCHEDULE_CONSTANT:
        text_add(out, "    (void)s, (void)warmup;\n    return peak;\n");
        break;
    case SCHEDULE_LINEAR:
        text_printf(out, "    return peak*(1 + (%.17g - 1)*p);\n", t->floor);
        break;
    case SCHEDULE_COSINE:
        text_printf(out, "    return peak*(%.17g + (1 - %.17g)*(1 + cos(3.14159265358979323846*p))/2);\n", t->floor, t->floor);
        break;
    case SCHEDULE_RSQRT:
        text_printf(out, "    return peak*fmax(sqrt(fmax(warmup, 1)/s), %.17g);\n", t->floor);
        break;
    }
    text_add(out, "}\n");
}

static void port_functions(const Library *l, int k, Text *out)
{
    const LibraryPart *part = &l->part[k];
    const char *name = l->job->name;
    for (size_t i = 0; i < part->n_inputs; i++) {
        const Buffer *b = &part->program->buffer[part->input[i].buffer];
        text_printf(out, "\nint %s_%sset_%s(%s_model *m, const %s *values)\n{\n    return set_input(m, %d, %zu, values);\n}\n", name, part->prefix,
                    part->input[i].id, name, b->dtype == DTYPE_I32 ? "int32_t" : "float", k, i);
    }
    for (size_t i = 0; i < part->n_results; i++) {
        const Buffer *b = &part->program->buffer[part->result[i].buffer];
        text_printf(out, "\nint %s_%sget_%s(const %s_model *m, %s *values)\n{\n    return get_result(m, %d, %zu, values);\n}\n", name, part->prefix,
                    part->result[i].id, name, b->dtype == DTYPE_I32 ? "int32_t" : "float", k, i);
    }
}

static size_t most_inputs(const Library *l)
{
    size_t most = 1;
    for (int k = 0; k < l->n_parts; k++)
        most = l->part[k].n_inputs > most ? l->part[k].n_inputs : most;
    return most;
}

// The numbers that launch_text.inc is written with.
static void steps_opening(const Library *l, Text *out)
{
    const LibrarySteps *s = &l->steps;
    const LibraryPart *forward = &l->part[0];
    size_t scores = 0;
    while (scores < forward->n_results && forward->result[scores].buffer != s->score.buffer)
        scores++;
    text_printf(out, "#define NEXT 1\n#define ROWS %lld\n#define WINDOW %lld\n#define N_SCORES %lld\n#define MOST_STEPS %lld\n"
                "#define TOKEN_AT ((size_t)%zu)\n#define SCORES %zu\n#define SCORES_AT ((size_t)%zu)\n#define SCORES_TYPE '%c'\n#define N_CACHES %zu\n",
                (long long)s->rows, (long long)s->window, (long long)s->n_scores, (long long)s->most_steps, s->next->at[s->next_token.buffer],
                scores, s->next->at[s->next_score.buffer], type_letter(&s->next->program->buffer[s->next_score.buffer]), s->n_caches);
    if (s->block)
        text_printf(out, "#define BLOCK 2\n#define N_BLOCK %lld\n#define POSITIONS_AT ((size_t)%zu)\n", (long long)s->n_block,
                    s->block->at[program_find_buffer(s->block->program, BUFFER_INPUT, BLOCK_NAME)]);
}

static void cache_table(const Library *l, Text *out)
{
    text_add(out, "static const Cache cache[] = {\n");
    for (size_t i = 0; i < l->steps.n_caches; i++)
        text_printf(out, "    {%zu, %zu},    // %s\n", l->steps.cache[i].at, l->steps.cache[i].bytes, l->steps.cache[i].name);
    text_add(out, "    {0, 0},\n};\n\n");
}

static void opening(const Library *l, Text *out)
{
    const char *name = l->job->name;
    text_printf(out, "// %s: the model %s of %s, written by `mixc build`; see %s.h. Tables first: weights, and for each program its calls,\n"
                "// arguments, inputs and results. Then threads, the launcher, and the functions of the header.\n"
                "#define _GNU_SOURCE\n#include \"%s.h\"\n\n"
                "#include <errno.h>\n#include <math.h>\n#include <stdarg.h>\n#include <stdbool.h>\n#include <stdio.h>\n#include <stdlib.h>\n"
                "#include <string.h>\n#include <sys/mman.h>\n#include <unistd.h>\n\n", name, l->job->model, l->job->file, name, name);
    text_printf(out, "#define N_PARTS %d\n#define N_WEIGHTS %zu\n#define MOST_INPUTS %zu\n#define MEMORY_BYTES ((size_t)%zu)\n#define SCRATCH_BYTES ((size_t)%zu)\n"
                "#define HAS_WEIGHTS %d\n#define HAS_TRAIN %d\n", l->n_parts, l->n_weights, most_inputs(l), l->memory_bytes, l->scratch_bytes, l->embedded != NULL, l->train != NULL);
    for (size_t i = 0; l->train && i < l->train->n_results; i++)
        if (!strcmp(l->train->result[i].name, "loss.train"))
            text_printf(out, "#define TRAIN 1\n#define LOSS %zu\n", i);
    if (l->steps.next)
        steps_opening(l, out);
    text_printf(out, "\nconst char *%s_cpu_lacks(void);\n", name);
    if (l->embedded)
        text_printf(out, "\n// The values of all weights: the file %s.weights, as it is.\n"
                    "extern const unsigned char %s_embedded[];\n"
                    "__asm__(\".pushsection .rodata\\n.hidden %s_embedded\\n.global %s_embedded\\n.balign 64\\n%s_embedded:\\n\"\n"
                    "        \".incbin \\\"%s.weights\\\"\\n.popsection\\n\");\n", name, name, name, name, name, name);
    text_add(out, "\n");
}

void library_main(const Library *l, Text *out)
{
    size_t n_copies[sizeof l->part / sizeof *l->part] = {0};
    opening(l, out);
    text_add(out, launch_types_text);
    text_add(out, "\n");
    weight_tables(l, out);
    for (int k = 0; k < l->n_parts; k++)
        part_tables(l, &l->part[k], &n_copies[k], out);
    part_table(l, n_copies, out);
    if (l->steps.next)
        cache_table(l, out);
    text_add(out, "typedef struct Pool Pool;\ntypedef void PoolWork(void *user, int64_t begin, int64_t end, int thread);\n"
                  "static int  pool_default_threads(void);\nstatic void pool_close(Pool *pool);\nstatic int  pool_threads(const Pool *pool);\n"
                  "static void pool_run(Pool *pool, PoolWork *work, void *user, int64_t n, int64_t grain);\n\n");
    text_add(out, pool_core_text);
    text_add(out, "\n");
    add_named(l, launch_text, out);
    add_named(l, launch_load_text, out);
    if (l->train) {
        learning_rate(&l->job->step->train, out);
        add_named(l, launch_train_text, out);
    }
    if (l->steps.next)
        add_named(l, launch_text_text, out);
    for (int k = 0; k <= (l->train != NULL); k++)
        port_functions(l, k, out);
}
