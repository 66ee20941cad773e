// The memory plan for people and for programs. See plan_memory.h.
#include "plan_memory.h"
#include "checked.h"
#include "rewrite.h"

#include <stdlib.h>

enum { MOST_BUFFERS = 20 };                 // rows of the table

static const char *const kind_text[BUFFER_KIND_COUNT] = {
    [BUFFER_INPUT] = "input", [BUFFER_PARAM] = "param", [BUFFER_STATE] = "state", [BUFFER_OUTPUT] = "output",
    [BUFFER_TEMP] = "temp", [BUFFER_KEPT] = "kept",
};

typedef struct Peak {
    uint32_t  launch, *first, *last;
    uint32_t *alive;                        // roots alive at the peak, largest first
    size_t    n_alive;
    size_t    bytes[BUFFER_KIND_COUNT];     // of roots, by kind, at the peak
} Peak;

static size_t padded(const Buffer *b)
{
    return (b->bytes + PLAN_ALIGN - 1) & ~(size_t)(PLAN_ALIGN - 1);
}

typedef struct Sized {
    size_t   bytes;
    uint32_t buffer;
} Sized;

static int by_bytes(const void *a, const void *b)
{
    const Sized *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->buffer < y->buffer ? -1 : x->buffer > y->buffer;
}

static Peak find_peak(const Program *p, Arena *arena)
{
    Peak peak = {0};
    plan_lifetimes(p, arena, &peak.first, &peak.last);
    size_t *change = arena_array(arena, size_t, p->n_launches + 2), now = 0, most = 0;
    for (uint32_t i = 1; i < p->n_buffers; i++) {
        if (p->buffer[i].same_as)
            continue;
        change[peak.first[i]] += padded(&p->buffer[i]);
        change[peak.last[i] + 1] -= padded(&p->buffer[i]);
    }
    for (uint32_t t = 0; t < p->n_launches; t++) {
        now += change[t];
        if (now > most) {
            most = now;
            peak.launch = t;
        }
    }
    Sized *sized = arena_array(arena, Sized, p->n_buffers);
    for (uint32_t i = 1; i < p->n_buffers; i++) {
        const Buffer *b = &p->buffer[i];
        if (b->same_as || peak.first[i] > peak.launch || peak.last[i] < peak.launch)
            continue;
        peak.bytes[b->kind] += padded(b);
        sized[peak.n_alive++] = (Sized){padded(b), i};
    }
    qsort(sized, peak.n_alive, sizeof *sized, by_bytes);
    peak.alive = arena_array(arena, uint32_t, peak.n_alive);
    for (size_t i = 0; i < peak.n_alive; i++)
        peak.alive[i] = sized[i].buffer;
    return peak;
}

static void print_bytes(Text *out, size_t bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double x = (double)bytes;
    size_t u = 0;
    for (; x >= 1024 && u + 1 < sizeof unit / sizeof *unit; u++)
        x /= 1024;
    char text[32];
    snprintf(text, sizeof text, u ? "%.1f %s" : "%.0f %s", x, unit[u]);
    text_printf(out, "%10s", text);
}

static void print_shape(Text *out, const Buffer *b)
{
    text_printf(out, "%s[", dtype_row[b->dtype].text);
    for (size_t i = 0; i < b->n_axes; i++)
        text_printf(out, "%s%s=%lld", i ? "," : "", b->axis[i], (long long)b->size[i]);
    text_char(out, ']');
}

// The layer and the line of the model that a launch computes, as far as they are known.
static void print_origin(Text *out, const Program *p, const Sources *sources, const char *before, uint32_t launch)
{
    const Launch *l = &p->launch[launch];
    if (l->layer)
        text_printf(out, "%s%s", before, l->layer);
    if (sources && l->at.file)
        text_printf(out, "%s%s:%u", l->layer ? ", " : before, sources->file[l->at.file].name,
                    sources_line_col(sources, l->at.file, l->at.begin).line);
}

static void print_place(Text *out, const Program *p, const Sources *sources, uint32_t launch)
{
    text_printf(out, "launch %u of %zu, kernel %s", launch + 1, p->n_launches, p->kernel[p->launch[launch].kernel].name);
    print_origin(out, p, sources, ", ", launch);
}

// What the hungriest kernel wants for each thread that runs it.
static size_t thread_scratch(const Program *p)
{
    size_t most = 0;
    for (size_t k = 1; k < p->n_kernels; k++)
        most = p->kernel[k].scratch_bytes > most ? p->kernel[k].scratch_bytes : most;
    return most;
}

void plan_print(const Program *p, const Sources *sources, Text *out)
{
    Arena scratch = scratch_arena(out->arena);
    Peak peak = find_peak(p, &scratch);
    double over = p->live_peak_bytes ? 100.0 * ((double)p->arena_bytes / (double)p->live_peak_bytes - 1) : 0;
    text_printf(out, "memory of %s: %zu launches, %zu buffers\n", p->name, p->n_launches, p->n_buffers - 1);
    print_bytes(out, p->arena_bytes);
    text_add(out, "  arena\n");
    print_bytes(out, p->live_peak_bytes);
    text_printf(out, "  largest live set (the arena is %.1f %% above it)\n", over);
    for (BufferKind kind = 0; kind < BUFFER_KIND_COUNT; kind++) {
        if (!peak.bytes[kind])
            continue;
        print_bytes(out, peak.bytes[kind]);
        text_printf(out, "    %s\n", kind_text[kind]);
    }
    if (thread_scratch(p)) {
        print_bytes(out, thread_scratch(p));
        text_add(out, "  scratch for each thread, beside the arena\n");
    }
    if (p->n_launches) {
        text_add(out, "alive at the peak, ");
        print_place(out, p, sources, peak.launch);
        text_add(out, ":\n");
    }
    size_t shown = peak.n_alive < MOST_BUFFERS ? peak.n_alive : MOST_BUFFERS, rest = 0;
    for (size_t k = 0; k < peak.n_alive; k++) {
        const Buffer *b = &p->buffer[peak.alive[k]];
        if (k >= shown) {
            rest += padded(b);
            continue;
        }
        print_bytes(out, padded(b));
        text_printf(out, "  %-6s %-24s ", kind_text[b->kind], b->name && b->name[0] ? b->name : "-");
        print_shape(out, b);
        if (b->kind == BUFFER_TEMP) {
            text_printf(out, "  launches %u..%u", peak.first[peak.alive[k]] + 1, peak.last[peak.alive[k]] + 1);
            print_origin(out, p, sources, "  ", peak.first[peak.alive[k]]);     // who makes it
        }
        text_char(out, '\n');
    }
    if (peak.n_alive > shown) {
        print_bytes(out, rest);
        text_printf(out, "  in %zu smaller ones\n", peak.n_alive - shown);
    }
    arena_free(&scratch);
}

void plan_print_json(const Program *p, const Sources *sources, const char *routes, Text *out)
{
    Arena scratch = scratch_arena(out->arena);
    Peak peak = find_peak(p, &scratch);
    text_printf(out, "{\"peak_bytes\": %zu, \"lower_bound_bytes\": %zu, \"launches\": %zu, \"kernels\": %zu, \"buffers\": %zu", p->arena_bytes,
                p->live_peak_bytes, p->n_launches, p->n_kernels - 1, p->n_buffers - 1);
    for (BufferKind kind = 0; kind < BUFFER_KIND_COUNT; kind++)
        text_printf(out, ", \"%s_bytes\": %zu", kind_text[kind], peak.bytes[kind]);
    text_printf(out, ", \"thread_scratch_bytes\": %zu", thread_scratch(p));
    if (p->n_launches) {
        Text place = text_make(&scratch);
        print_place(&place, p, sources, peak.launch);
        text_add(out, ", \"peak_at\": ");
        text_json(out, text_str(&place));
    }
    text_add(out, ", \"at_peak\": [");
    for (size_t k = 0; k < peak.n_alive; k++) {
        const Buffer *b = &p->buffer[peak.alive[k]];
        text_printf(out, "%s\n  {\"name\": ", k ? "," : "");
        text_json(out, b->name ? b->name : "");
        text_printf(out, ", \"kind\": \"%s\", \"bytes\": %zu, \"offset\": %zu, \"first\": %u, \"last\": %u",
                    kind_text[b->kind], b->bytes, b->offset, peak.first[peak.alive[k]], peak.last[peak.alive[k]]);
        Text origin = text_make(&scratch);
        if (b->kind == BUFFER_TEMP)
            print_origin(&origin, p, sources, "", peak.first[peak.alive[k]]);
        if (origin.n) {
            text_add(out, ", \"made_by\": ");
            text_json(out, text_str(&origin));
        }
        text_add(out, "}");
    }
    text_printf(out, "], \"routes\": %s}\n", routes ? routes : "[]");
    arena_free(&scratch);
}
