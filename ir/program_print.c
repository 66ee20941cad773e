// Program -> text, which is also the compiled file. Kernel texts stand in blocks of `| line`, so they can be read and
// compared, and any text survives; fields that are zero are left out. See docs/ir.md.
#include "program.h"
#include "program_text.h"
#include "scan.h"

#include <string.h>

const char *const buffer_kind_text[BUFFER_KIND_COUNT] = {
    [BUFFER_INPUT] = "input", [BUFFER_PARAM] = "param", [BUFFER_STATE] = "state", [BUFFER_OUTPUT] = "output",
    [BUFFER_TEMP] = "temp", [BUFFER_KEPT] = "kept",
};

// A line that ends the text without a newline is marked with ! instead of |.
static void print_block(Text *out, const char *indent, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        text_printf(out, "%s%c%s", indent, text[n] ? '|' : '!', n ? " " : "");
        text_add_n(out, text, n);
        text_char(out, '\n');
        text += n + (text[n] != 0);
    }
}

static void print_word(Text *out, const char *word)
{
    if (text_is_name(word))
        text_add(out, word);
    else
        text_string(out, word);
}

static void print_number(Text *out, const char *word, uint64_t value)
{
    if (value)
        text_printf(out, " %s %llu", word, (unsigned long long)value);
}

static void print_double(Text *out, const char *word, double value)
{
    if (value != 0) {
        text_printf(out, " %s ", word);
        text_double(out, value);
    }
}

static void print_buffer(const Program *p, size_t id, Text *out)
{
    const Buffer *b = &p->buffer[id];
    text_printf(out, "buffer %%%zu ", id);
    text_string(out, b->name);
    text_printf(out, " : %s %s[", buffer_kind_text[b->kind], dtype_row[b->dtype].text);
    for (size_t i = 0; i < b->n_axes; i++) {
        text_add(out, i ? ", " : "");
        print_word(out, b->axis[i]);
        text_printf(out, " = %lld", (long long)b->size[i]);
    }
    text_char(out, ']');
    print_number(out, "bytes", b->bytes);
    print_number(out, "offset", b->offset);
    if (b->same_as)
        text_printf(out, " same %%%u", b->same_as);
    if (b->value)
        text_printf(out, " value %%%u", b->value);
    text_char(out, '\n');
}

static void print_place(Text *out, const char *word, const MatrixPlace *m)
{
    text_printf(out, " %s [%u, %lld, %lld, %lld, %lld]", word, m->param, (long long)m->offset, (long long)m->batch, (long long)m->outer,
                (long long)m->step);
}

static void print_library(Text *out, const LibraryProduct *l)
{
    text_printf(out, "  library way %d %s %s batch %lld rows %lld cols %lld sum %lld", l->way, dtype_row[l->type].text,
                dtype_row[l->result].text, (long long)l->batch, (long long)l->rows, (long long)l->cols, (long long)l->sum);
    print_place(out, "a", &l->a);
    print_place(out, "b", &l->b);
    print_place(out, "y", &l->y);
    text_printf(out, " work %u\n", l->work);
}

static void print_kernel(const Program *p, size_t id, Text *out)
{
    const Kernel *k = &p->kernel[id];
    text_printf(out, "kernel %%%zu ", id);
    print_word(out, k->name);
    text_printf(out, " : %s params %u", kernel_family_text[k->family], k->n_params);
    if (k->writes) {
        const char *before = " writes [";
        for (unsigned i = 0; i < 64; i++)
            if (k->writes >> i & 1) {
                text_printf(out, "%s%u", before, i);
                before = ", ";
            }
        text_char(out, ']');
    }
    print_number(out, "scratch", k->scratch_bytes);
    print_number(out, "threads", (uint64_t)k->cuda_threads);
    print_number(out, "shared", (uint64_t)k->cuda_shared_bytes);
    print_number(out, "dynamic", (uint64_t)k->cuda_dynamic_bytes);
    text_char(out, '\n');
    if (k->sweep) {
        text_printf(out, "  sweep own %u chunk %lld [", k->sweep->n_own, (long long)k->sweep->chunk);
        for (uint32_t i = 0; i < k->sweep->n_pieces; i++)
            text_printf(out, "%s%lld", i ? ", " : "", (long long)k->sweep->count[i]);
        text_add(out, "]\n");
    }
    if (k->library)
        print_library(out, k->library);
    print_block(out, "  ", k->text);
    if (k->cuda) {
        text_add(out, "  cuda\n");
        print_block(out, "  ", k->cuda);
    }
}

static void print_launch(const Program *p, const Launch *l, Text *out)
{
    text_printf(out, "launch %%%u [", l->kernel);
    for (size_t i = 0; i < p->kernel[l->kernel].n_params; i++)
        text_printf(out, "%s%%%u", i ? ", " : "", l->buffer[i]);
    text_char(out, ']');
    print_number(out, "work", (uint64_t)l->n_work);
    print_number(out, "grain", (uint64_t)l->grain);
    print_number(out, "blocks", (uint64_t)l->cuda_blocks);
    print_double(out, "flops", l->flops);
    print_double(out, "bytes", l->bytes);
    if (l->layer) {
        text_add(out, " layer ");
        text_string(out, l->layer);
    }
    text_char(out, '\n');
}

void program_print(const Program *p, Text *out)
{
    text_add(out, "program ");
    text_string(out, p->name);
    print_number(out, "arena", p->arena_bytes);
    print_number(out, "live", p->live_peak_bytes);
    print_number(out, "once", p->n_once);
    text_add(out, "\nprelude\n");
    print_block(out, "  ", p->prelude);
    text_add(out, "cuda_prelude\n");
    print_block(out, "  ", p->cuda_prelude);
    for (size_t i = 1; i < p->n_buffers; i++)
        print_buffer(p, i, out);
    for (size_t i = 1; i < p->n_kernels; i++)
        print_kernel(p, i, out);
    for (size_t i = 0; i < p->n_launches; i++)
        print_launch(p, &p->launch[i], out);
    text_add(out, "end\n");                         // so that a file cut short is not taken for a shorter program
}
