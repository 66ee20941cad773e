// See library.h: NAME.h, which a program includes and a person reads.
#include "library_parts.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

void library_shape(Text *out, const Buffer *b)
{
    text_add(out, b->dtype == DTYPE_I32 ? "int32[" : "float[");
    for (int a = 0; a < b->n_axes; a++)
        text_printf(out, "%s%s = %lld", a ? ", " : "", b->axis[a], (long long)b->size[a]);
    text_add(out, "]");
}

const char *library_count_name(const Library *l, const LibraryPart *part, const LibraryPort *port)
{
    const bool is_result = port >= part->result && port < part->result + part->n_results;
    bool clashes = false;                   // a result may be called as an input is
    for (size_t i = 0; is_result && i < part->n_inputs; i++)
        clashes = clashes || !strcasecmp(part->input[i].id, port->id);
    char *name = arena_printf(l->arena, "%s_%s%s_%sCOUNT", l->job->name, part->prefix, port->id, clashes ? "result_" : "");
    for (char *c = name; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    return name;
}

static const char *c_type(const Buffer *b)
{
    return b->dtype == DTYPE_I32 ? "int32_t" : "float";
}

// The numbers of the first input and result of a part, for the example at the top.
static void example(const Library *l, Text *out)
{
    const char *name = l->job->name;
    const LibraryPart *part = &l->part[0];
    text_printf(out, "//     const char *why;\n//     %s_model *m = %s_create(0, &why);              // NULL: why says what is missing\n", name, name);
    if (!l->embedded)
        text_printf(out, "//     if (%s_load(m, \"weights.safetensors\") != %s_OK)\n//         puts(%s_error(m));\n", name, l->upper, name);
    for (size_t i = 0; i < part->n_inputs; i++)
        text_printf(out, "//     %s_set_%s(m, %s);\n", name, part->input[i].id, part->input[i].id);
    text_printf(out, "//     %s_run(m);\n", name);
    for (size_t i = 0; i < part->n_results && i < 1; i++)
        text_printf(out, "//     %s_get_%s(m, %s);\n", name, part->result[i].id, part->result[i].id);
    text_printf(out, "//     %s_destroy(m);\n", name);
}

static void opening(const Library *l, Text *out)
{
    const char *name = l->job->name, *upper = l->upper;
    text_printf(out, "// %s: the model %s of %s as a library, written by `mixc build`.\n//\n", name, l->job->model, l->job->file);
    example(l, out);
    text_printf(out, "//\n// Link with -l%s -lm -lpthread. An instance holds %.1f MiB, and a stack for each of its threads; instances are independent,\n"
                "// and each is used by one thread at a time. Nothing is printed, and nothing ends the process.\n//\n"
                "// Numbers are float or int32_t, 4 bytes each, row by row in the order of the axes. Every run needs all inputs anew, and\n"
                "// results are those of the last run until an input is set again.\n",
                name, (double)l->memory_bytes / 1048576);
    text_printf(out, "#ifndef %s_H\n#define %s_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n"
                "#define %s_API __attribute__((visibility(\"default\")))\n\n", upper, upper, upper);
    text_printf(out, "enum %s_status {                        // what functions return; %s_error says more\n    %s_OK,\n"
                "    %s_BAD_USAGE,                           // an unknown name, a wrong size, an input or a weight without a value\n"
                "    %s_BAD_VALUE,                           // a number beyond its axis; a tensor of another shape or type\n"
                "    %s_OUT_OF_MEMORY,\n    %s_IO,                                  // a file cannot be read or written\n"
                "    %s_DAMAGED,                             // a file is not what it should be\n"
                "    %s_INCOMPLETE,                          // a file lacks weights; what it has was read\n"
                "    %s_NUMERIC                              // the loss is not finite\n};\n\n",
                name, name, upper, upper, upper, upper, upper, upper, upper, upper);
}

static void instances(const Library *l, Text *out)
{
    const char *name = l->job->name, *upper = l->upper;
    text_printf(out, "typedef struct %s_model %s_model;\n\n"
                "// A new instance, yours until %s_destroy. threads 0: as many as there are processors. NULL: *why (which may be NULL) is the\n"
                "// reason, a string that stays.\n"
                "%s_API %s_model *%s_create(int threads, const char **why);\n%s_API void %s_destroy(%s_model *m);            // NULL is fine\n"
                "// What went wrong in the last call that failed; it belongs to m and stays until the next one.\n"
                "%s_API const char *%s_error(const %s_model *m);\n\n",
                name, name, name, upper, name, name, upper, name, name, upper, name, name);
}

static int most_axes(const Library *l)
{
    int most = 1;
    for (size_t i = 0; i < l->n_weights; i++)
        most = l->weight[i].buffer->n_axes > most ? l->weight[i].buffer->n_axes : most;
    return most;
}

static void weights(const Library *l, Text *out)
{
    const char *name = l->job->name, *upper = l->upper;
    text_printf(out, "// --- weights\n\n"
                "// Reads a safetensors file: param.NAME (or NAME) and state.NAME as F32, F16, BF16 or I32. Other tensors do no harm.\n"
                "// Errors: IO, DAMAGED, BAD_VALUE (another shape or type), INCOMPLETE.%s\n"
                "%s_API int %s_load(%s_model *m, const char *path);\n",
                l->embedded ? " The library has weights of its own; these replace them." : "", upper, name, name);
    if (l->train)
        text_printf(out, "// Writes all of them, with the optimiser's states, as a checkpoint that `mixc` and %s_load read. Errors: IO.\n"
                    "%s_API int %s_save(%s_model *m, const char *path);\n", name, upper, name, name);
    text_printf(out, "\ntypedef struct %s_tensor {\n    const char *name;                       // \"param.GPT.Wte\"\n    int         n_axes;\n"
                "    const char *axis[%d];                    // names and sizes, outermost first\n    long long   size[%d];\n"
                "    size_t      count;                      // elements\n    int         is_int;                     // int32_t; else float\n} %s_tensor;\n\n"
                "// All of them, *n. The table stays.\n%s_API const %s_tensor *%s_weights(int *n);\n"
                "// One by name, with or without `param.`; count is its number of elements. Errors: BAD_USAGE.\n"
                "%s_API int %s_write_weight(%s_model *m, const char *name, const void *data, size_t count);\n"
                "%s_API int %s_read_weight(%s_model *m, const char *name, void *data, size_t count);\n\n",
                name, most_axes(l), most_axes(l), name, upper, name, name, upper, name, name, upper, name, name);
}

static void input(const Library *l, const LibraryPart *part, const LibraryPort *port, Text *out)
{
    const Buffer *b = &part->program->buffer[port->buffer];
    text_printf(out, "#define %s %lld\n// ", library_count_name(l, part, port), (long long)library_count(b));
    library_shape(out, b);
    if (port->axis && port->least < 0)
        text_printf(out, ", below %lld: positions of %s; negative ones mean none. Errors: BAD_VALUE", (long long)port->limit, port->axis);
    else if (port->axis)
        text_printf(out, ", 0 to %lld: positions of %s. Errors: BAD_VALUE", (long long)port->limit - 1, port->axis);
    text_printf(out, ". Copied.\n%s_API int %s_%sset_%s(%s_model *m, const %s *values);\n", l->upper, l->job->name, part->prefix, port->id,
                l->job->name, c_type(b));
}

static void result(const Library *l, const LibraryPart *part, const LibraryPort *port, Text *out)
{
    const Buffer *b = &part->program->buffer[port->buffer];
    text_printf(out, "#define %s %lld\n// ", library_count_name(l, part, port), (long long)library_count(b));
    library_shape(out, b);
    text_printf(out, ".\n%s_API int %s_%sget_%s(const %s_model *m, %s *values);\n", l->upper, l->job->name, part->prefix, port->id, l->job->name,
                c_type(b));
}

static void part_functions(const Library *l, const LibraryPart *part, Text *out)
{
    const char *name = l->job->name, *upper = l->upper;
    const bool train = part->prefix[0] != '\0';
    text_add(out, train ? "// --- training: an optimiser step on inputs of its own\n\n" : "// --- forward\n\n");
    for (size_t i = 0; i < part->n_inputs; i++)
        input(l, part, &part->input[i], out);
    if (train)
        text_printf(out, "\n// One step; the learning rate is that of the model's schedule. *loss (which may be NULL): before the update. Results of\n"
                    "// %s_run are no longer there afterwards, and the other way round. Errors: BAD_USAGE, NUMERIC.\n"
                    "%s_API int %s_train_step(%s_model *m, float *loss);\n"
                    "%s_API long long %s_steps(const %s_model *m);            // taken so far; %s_load sets it\n\n",
                    name, upper, name, name, upper, name, name, name);
    else
        text_printf(out, "\n// Runs the model. Errors: BAD_USAGE when an input or a weight has no value.\n%s_API int %s_run(%s_model *m);\n\n",
                    upper, name, name);
    for (size_t i = 0; i < part->n_results; i++)
        result(l, part, &part->result[i], out);
    text_add(out, "\n");
}

// One after the other: what a text costs, and its functions.
static void texts(const Library *l, Text *out)
{
    const LibrarySteps *s = &l->steps;
    const char *name = l->job->name, *upper = l->upper, *rows = s->rows == 1 ? "" : "rows of ";
    size_t bytes = 0;
    for (size_t i = 0; i < s->n_caches; i++)
        bytes += s->cache[i].bytes;
    text_printf(out, "// --- texts, token by token: a new token costs one position, not a window\n//\n"
                "// A text remembers what it has taken in (%.1f MiB); one model may have many, which go on in any order, on the model's thread.\n"
                "// Close them before the model; begin anew (reset) after weights were written. Results of %s_run are no longer there afterwards.\n"
                "#define %s_TEXT_WINDOW %lld                  // the most tokens of a text\n"
                "typedef struct %s_text %s_text;\n\n"
                "%s_API %s_text *%s_text_open(%s_model *m);   // yours until closed; NULL: %s_error says why\n"
                "%s_API void %s_text_close(%s_text *t);       // NULL is fine\n"
                "%s_API void %s_text_reset(%s_text *t);       // nothing was taken in; also when the window is full\n"
                "%s_API long %s_text_length(const %s_text *t);\n",
                (double)bytes / 1048576, name, upper, (long long)s->window, name, name, upper, name, name, name, name, upper, name, name,
                upper, name, name, upper, name, name);
    text_printf(out, "// Takes in the next n >= 1 tokens, %sint32[%sn]. scores (which may be NULL): float[%s%lld], how likely each token is to\n"
                "// be the one after them (logits). Errors: BAD_VALUE for a token that the model has not; BAD_USAGE when there would be more than\n"
                "// %s_TEXT_WINDOW of them, or a weight has no value. Then nothing was taken in.\n"
                "#define %s_TEXT_SCORES %lld\n"
                "%s_API int %s_text_next(%s_text *t, const int32_t *tokens, int n, float *scores);\n\n",
                rows, s->rows == 1 ? "" : arena_printf(l->arena, "%lld, ", (long long)s->rows),
                s->rows == 1 ? "" : arena_printf(l->arena, "%lld, ", (long long)s->rows), (long long)s->n_scores, upper, upper,
                (long long)(s->rows * s->n_scores), upper, name, name);
}

void library_header(const Library *l, Text *out)
{
    opening(l, out);
    instances(l, out);
    weights(l, out);
    for (int k = 0; k <= (l->train != NULL); k++)
        part_functions(l, &l->part[k], out);
    if (l->steps.next)
        texts(l, out);
    text_printf(out, "// Of masks, noise and samples, where the model has any; 0 unless set.\n%s_API void %s_seed(%s_model *m, unsigned seed);\n\n",
                l->upper, l->job->name, l->job->name);
    text_add(out, "#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
}
