// See view.h: the numbers and texts of the page as JSON, compressed; what is shown without scripts as plain tables.
#include "view.h"

#include "plan_memory.h"
#include "route_plan.h"
#include "view_files.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

// Lines that occur in several stages are written once.
typedef struct LineTable {
    Arena    *arena;
    Text     *out;                          // their JSON array, still open
    uint32_t *slot; size_t n_slots;         // open addressing; index + 1
    View     *line; size_t n, capacity;
} LineTable;

static uint64_t hash_view(View v)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < v.n; i++)
        h = (h ^ (unsigned char)v.data[i]) * 0x100000001b3u;
    return h;
}

static size_t slot_of(const LineTable *t, View v)
{
    size_t s = (size_t)(hash_view(v) % t->n_slots);
    while (t->slot[s] && (t->line[t->slot[s] - 1].n != v.n || memcmp(t->line[t->slot[s] - 1].data, v.data, v.n) != 0))
        s = (s + 1) % t->n_slots;
    return s;
}

static size_t line_index(LineTable *t, View v)
{
    if (2 * t->n >= t->n_slots) {
        t->n_slots = t->n_slots ? 2 * t->n_slots : 4096;
        t->slot = arena_array(t->arena, uint32_t, t->n_slots);
        for (size_t i = 0; i < t->n; i++)
            t->slot[slot_of(t, t->line[i])] = (uint32_t)i + 1;
    }
    const size_t s = slot_of(t, v);
    if (!t->slot[s]) {
        t->line = arena_grow(t->arena, t->line, t->n, &t->capacity, sizeof *t->line);
        text_add(t->out, t->n ? "," : "");
        text_json(t->out, arena_strndup(t->arena, v.data, v.n));
        t->line[t->n++] = v;
        t->slot[s] = (uint32_t)t->n;
    }
    return t->slot[s] - 1;
}

// The line of the file that a place stands for; 0: none.
static uint32_t line_in(const Sources *sources, uint32_t file, Span at)
{
    return at.file == file && file ? sources_line_col(sources, at.file, at.begin).line : 0;
}

static uint32_t own_line(const ViewPage *page, Span at)
{
    return line_in(page->sources, page->file, at);
}

// "  %12.name = ..": 12. 0: not the line of a node.
static ValueId node_of(View line)
{
    size_t i = 0;
    ValueId id = 0;
    while (i < line.n && line.data[i] == ' ')
        i++;
    if (i == 0 || i >= line.n || line.data[i++] != '%')
        return 0;
    for (; i < line.n && line.data[i] >= '0' && line.data[i] <= '9'; i++)
        id = id * 10 + (ValueId)(line.data[i] - '0');
    return id;
}

// How many numbers all axes of a node's operands together span: the terms of a product.
static double terms(const Graph *g, const Node *n)
{
    double all = 1;
    for (int i = 0; i < n->n_in; i++) {
        const Type *t = &g->node[n->in[i]].type;
        for (int a = 0; a < t->n_axes; a++) {
            bool seen = false;
            for (int k = 0; k < i; k++)
                for (int j = 0; j < g->node[n->in[k]].type.n_axes; j++)
                    seen |= g->node[n->in[k]].type.axis[j] == t->axis[a];
            all *= seen ? 1 : (double)graph_size(g, t->axis[a]);
        }
    }
    return all;
}

// Floating-point operations of a node. A convolution: three transforms of twice the length, 5/2 n log n each.
static double operations(const Graph *g, const Node *n)
{
    int64_t count;
    switch (n->op) {
    case OP_CONST: case OP_INDEX: case OP_STOP: case OP_CAST:
        return 0;
    case OP_CONTRACT:
        return 2 * terms(g, n);
    case OP_REDUCE:
        return terms(g, n);
    case OP_FFTCONV: {
        const double length = 2 * (double)graph_size(g, n->attr[0].axis);
        return 15 * terms(g, n) / fmax((double)graph_size(g, n->attr[1].axis), 1) * log2(fmax(length, 2));
    }
    default:
        return op_row[n->op].flags & OP_FLAG_POINTWISE && type_count(g, &n->type, &count) ? (double)count : 0;
    }
}

static void count_stored(const Graph *g, ViewStage *s)
{
    for (ValueId v = 1; v < g->n_nodes; v++)
        s->flops += operations(g, &g->node[v]);
    const bool fused = g->n_kernels > 1;
    for (ValueId v = 1; v < g->n_nodes; v++) {
        const Node *n = &g->node[v];
        size_t own = 0;
        if (n->op == OP_ARG || n->op == OP_PARAM || n->op == OP_STATE || (fused && !n->kernel) || !type_bytes(g, &n->type, &own))
            continue;
        s->bytes += (double)own;
        s->n_stored++;
    }
}

ViewStage view_stage(Arena *arena, const Graph *g, const Sources *sources, uint32_t file)
{
    ViewStage s = {.n_values = g->n_nodes - 1, .n_kernels = g->n_kernels ? g->n_kernels - 1 : 0};
    Text ir = text_make(arena);
    graph_print(g, &ir);
    s.text = text_str(&ir);
    count_stored(g, &s);
    size_t n = 0;
    for (const char *c = s.text; *c; c++)
        n += *c == '\n';
    s.at = arena_array(arena, uint32_t, n + 1);
    const char *text = s.text;
    for (size_t i = 0; *text; i++) {
        const View line = {text, strcspn(text, "\n")};
        const ValueId v = node_of(line);
        s.at[i] = v && v < g->n_nodes ? line_in(sources, file, g->node[v].at) : 0;
        text += line.n + (text[line.n] == '\n');
    }
    return s;
}

static void put_stage(const ViewStage *s, LineTable *lines, Text *out)
{
    Text at = text_make(lines->arena);
    text_add(out, "{\"name\":");
    text_json(out, s->name);
    text_add(out, ",\"summary\":");
    text_json(out, s->summary);
    text_printf(out, ",\"ms\":%.4g,\"nodes\":%zu,\"stored\":%zu,\"bytes\":%.0f,\"flops\":%.6g,\"kernels\":%zu,\"lines\":[", s->seconds * 1e3,
                s->n_values, s->n_stored, s->bytes, s->flops, s->n_kernels);
    const char *text = s->text;
    for (size_t i = 0; *text; i++) {
        const View line = {text, strcspn(text, "\n")};
        text_printf(out, "%s%zu", i ? "," : "", line_index(lines, line));
        text_printf(&at, "%s%u", i ? "," : "", s->at[i]);
        text += line.n + (text[line.n] == '\n');
    }
    text_printf(out, "],\"at\":[%s]}", text_str(&at));
}

static void put_stages(const ViewPage *page, Arena *arena, Text *out)
{
    Text texts = text_make(arena), stages = text_make(arena);
    LineTable lines = {.arena = arena, .out = &texts};
    for (size_t i = 0; i < page->n_stages; i++) {
        text_add(&stages, i ? ",\n" : "");
        put_stage(&page->stage[i], &lines, &stages);
    }
    text_printf(out, "\"lines\":[%s],\n\"stages\":[%s]", text_str(&texts), text_str(&stages));
}

typedef struct KernelSum { size_t launches; double flops, bytes, seconds; Span at; const char *layer; } KernelSum;

static KernelSum *sum_kernels(const ViewPage *page, Arena *arena)
{
    const Program *p = page->program;
    KernelSum *sum = arena_array(arena, KernelSum, p->n_kernels + 1);
    for (size_t l = 0; l < p->n_launches; l++) {
        KernelSum *s = &sum[p->launch[l].kernel];
        if (!s->launches++) {
            s->at = p->launch[l].at;
            s->layer = p->launch[l].layer;
        }
        s->flops += p->launch[l].flops;
        s->bytes += p->launch[l].bytes;
        s->seconds += page->seconds ? page->seconds[l] : 0;
    }
    return sum;
}

// "26" in the model's own file, "std.norm:5" in another.
static const char *place_text(const ViewPage *page, Arena *arena, Span at)
{
    const uint32_t own = own_line(page, at);
    if (own || !at.file)
        return own ? arena_printf(arena, "%u", own) : "";
    const char *name = page->sources->file[at.file].name, *end = strstr(name, ".mix");
    return arena_printf(arena, "%.*s:%u", (int)(end ? end - name : (ptrdiff_t)strlen(name)), name, line_in(page->sources, at.file, at));
}

static void put_kernels(const ViewPage *page, const KernelSum *sum, Arena *arena, Text *out)
{
    const Program *p = page->program;
    text_add(out, "\"kernels\":[");
    for (size_t k = 1; k < p->n_kernels; k++) {
        const Kernel *kernel = &p->kernel[k];
        text_add(out, k > 1 ? ",\n{\"name\":" : "\n{\"name\":");
        text_json(out, kernel->name);
        text_printf(out, ",\"family\":\"%s\",\"launches\":%zu,\"flops\":%.6g,\"bytes\":%.6g,\"seconds\":%.6g,\"line\":%u,\"place\":",
                    program_kernel_kind(kernel), sum[k].launches, sum[k].flops, sum[k].bytes, sum[k].seconds,
                    own_line(page, sum[k].at));
        text_json(out, place_text(page, arena, sum[k].at));
        text_add(out, ",\"layer\":");
        text_json(out, sum[k].layer ? sum[k].layer : "");
        text_add(out, ",\"c\":");
        text_json(out, kernel->text);
        text_add(out, ",\"cuda\":");
        text_json(out, kernel->cuda ? kernel->cuda : "");
        text_add(out, "}");
    }
    text_add(out, "]");
}

static void put_memory(const ViewPage *page, Arena *arena, Text *out)
{
    static const char *const kind_text[BUFFER_KIND_COUNT] = {"input", "param", "state", "output", "temp", "kept"};
    const Program *p = page->program;
    uint32_t *first, *last;
    plan_lifetimes(p, arena, &first, &last);
    text_printf(out, "\"memory\":{\"arena\":%zu,\"live\":%zu,\"launches\":[", p->arena_bytes, p->live_peak_bytes);
    for (size_t l = 0; l < p->n_launches; l++)
        text_printf(out, "%s[%u,%u,%.4g]", l ? "," : "", p->launch[l].kernel, own_line(page, p->launch[l].at),
                    page->seconds ? page->seconds[l] * 1e6 : 0);
    text_add(out, "],\"buffers\":[");
    bool any = false;
    for (size_t b = 1; b < p->n_buffers; b++) {
        const Buffer *buffer = &p->buffer[b];
        if (buffer->same_as || !buffer->bytes)
            continue;
        text_add(out, any ? ",\n[" : "\n[");
        text_json(out, buffer->name);
        text_printf(out, ",\"%s\",%zu,%zu,%u,%u,\"%s[", kind_text[buffer->kind], buffer->offset, buffer->bytes, first[b], last[b],
                    dtype_row[buffer->dtype].text);
        for (int i = 0; i < buffer->n_axes; i++)
            text_printf(out, "%s%s %lld", i ? ", " : "", buffer->axis[i] ? buffer->axis[i] : "", (long long)buffer->size[i]);
        text_add(out, "]\",");
        const char *layer = buffer->kind == BUFFER_TEMP && p->n_launches ? p->launch[first[b]].layer : NULL;
        text_json(out, layer ? layer : "");         // who makes it
        text_add(out, "]");
        any = true;
    }
    text_add(out, "]}");
}

// zlib's form, in base64.
static void put_compressed(const Text *json, Arena *arena, Text *out)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uLongf n = compressBound((uLong)json->n);
    unsigned char *data = arena_array(arena, unsigned char, (size_t)n + 3);
    if (compress2(data, &n, (const Bytef *)text_str(json), (uLong)json->n, 9) != Z_OK)
        n = 0;
    for (uLongf i = 0; i < n; i += 3) {
        const unsigned bits = (unsigned)data[i] << 16 | (i + 1 < n ? (unsigned)data[i + 1] << 8 : 0) | (i + 2 < n ? data[i + 2] : 0);
        text_char(out, digit[bits >> 18]);
        text_char(out, digit[bits >> 12 & 63]);
        text_char(out, i + 1 < n ? digit[bits >> 6 & 63] : '=');
        text_char(out, i + 2 < n ? digit[bits & 63] : '=');
    }
}

static void put_escaped(Text *out, const char *s)
{
    for (; *s; s++)
        switch (*s) {
        case '<': text_add(out, "&lt;"); break;
        case '>': text_add(out, "&gt;"); break;
        case '&': text_add(out, "&amp;"); break;
        case '"': text_add(out, "&quot;"); break;
        default: text_char(out, *s);
        }
}

// What a reader without scripts sees: the model's text and the passes.
static void put_plain(const ViewPage *page, Text *out)
{
    const SourceFile *file = &page->sources->file[page->file];
    const Program *p = page->program;
    text_add(out, "<h2>Source</h2><pre>");
    put_escaped(out, file->data);
    text_add(out, "</pre><h2>Passes</h2><table><tr><th>pass</th><th>what it does</th><th>ms</th><th>values</th><th>MFLOP</th>"
                  "<th>stored</th><th>MiB</th></tr>");
    for (size_t i = 0; i < page->n_stages; i++) {
        const ViewStage *s = &page->stage[i];
        text_add(out, "<tr><td>");
        put_escaped(out, s->name);
        text_add(out, "</td><td>");
        put_escaped(out, s->summary);
        text_printf(out, "</td><td>%.2f</td><td>%zu</td><td>%.1f</td><td>%zu</td><td>%.2f</td></tr>", s->seconds * 1e3, s->n_values,
                    s->flops * 1e-6, s->n_stored, s->bytes / 1048576);
    }
    text_printf(out, "</table><p>%zu kernels, %zu launches, %.2f MiB of memory (largest live set %.2f MiB).</p>",
                p->n_kernels - 1, p->n_launches, (double)p->arena_bytes / 1048576, (double)p->live_peak_bytes / 1048576);
}

// Copies the template; {{NAME}} is replaced.
static void put_template(const ViewPage *page, const Text *json, Arena *arena, Text *out)
{
    for (const char *at = view_page_text; *at;) {
        const char *open = strstr(at, "{{"), *close = open ? strstr(open, "}}") : NULL;
        if (!close) {
            text_add(out, at);
            return;
        }
        text_add_n(out, at, (size_t)(open - at));
        const View name = {open + 2, (size_t)(close - open - 2)};
        at = close + 2;
        if (!strncmp(name.data, "style", name.n))
            text_add(out, view_style_text);
        else if (!strncmp(name.data, "script", name.n))
            text_add(out, view_script_text);
        else if (!strncmp(name.data, "title", name.n))
            put_escaped(out, page->title);
        else if (!strncmp(name.data, "about", name.n))
            put_escaped(out, page->about);
        else if (!strncmp(name.data, "plain", name.n))
            put_plain(page, out);
        else
            put_compressed(json, arena, out);
    }
}

void view_html(const ViewPage *page, Text *out)
{
    Arena arena = {.out_of_memory = out->arena->out_of_memory, .user = out->arena->user};
    Text json = text_make(&arena);
    text_add(&json, "{\"source\":");
    text_json(&json, page->sources->file[page->file].data);
    text_add(&json, ",\"file\":");
    text_json(&json, page->sources->file[page->file].name);
    text_add(&json, ",\n");
    put_stages(page, &arena, &json);
    text_add(&json, ",\n");
    put_kernels(page, sum_kernels(page, &arena), &arena, &json);
    text_printf(&json, ",\n\"measured\":%s,\n\"ceiling\":{\"flops\":%.6g,\"bytes\":%.6g},\n", page->seconds ? "true" : "false", page->ceiling.flops,
                page->ceiling.bytes);
    put_memory(page, &arena, &json);
    text_add(&json, ",\n\"plan\":");
    Text routes = text_make(&arena);
    route_plan_json(page->module, page->program, &routes);
    plan_print_json(page->program, page->sources, text_str(&routes), &json);
    text_add(&json, "}\n");
    put_template(page, &json, &arena, out);
    arena_free(&arena);
}
