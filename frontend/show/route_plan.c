// See route_plan.h.
#include "route_plan.h"

#include "drop_rate.h"

#include <math.h>
#include <string.h>

static const double factors[] = {1, 1.25, 1.5, 2};          // what-if rows; then dropless
enum { N_FACTORS = sizeof factors / sizeof *factors };

static bool same_use(const RouteInfo *a, const RouteInfo *b)
{
    return strcmp(a->layer, b->layer) == 0 && a->at.file == b->at.file && a->at.begin == b->at.begin;
}

static bool is_inside(const RouteInfo *info, Span at)
{
    return at.file == info->at.file && at.begin >= info->at.begin && at.begin < info->at.end;
}

static bool is_below(const char *layer, const char *of)
{
    const size_t n = strlen(of);
    return layer && strncmp(layer, of, n) == 0 && (layer[n] == 0 || layer[n] == '.');
}

static bool holds(const Buffer *b, const char *axis)
{
    for (size_t i = 0; i < b->n_axes; i++)
        if (strcmp(b->axis[i], axis) == 0)
            return true;
    return false;
}

// Where whole numbers name one expert a token, no axis counts choices: then it is what the route's text makes for tokens.
static bool is_of_choices(const Buffer *b, const RouteInfo *info, Span made_at)
{
    return info->choice_axis ? holds(b, info->choice_axis) : is_inside(info, made_at) && b->n_axes > 0 && !holds(b, info->experts);
}

// The first and the last launch that name each buffer, from 1: the one that makes it and its last reader.
typedef struct Lives {
    uint32_t *maker, *last;
    uint32_t  loss;                         // of a training step: behind it the backward pass begins; 0: there is none
} Lives;

static Lives lives_of(Arena *arena, const Program *p)
{
    Lives lives = {.maker = arena_array(arena, uint32_t, p->n_buffers), .last = arena_array(arena, uint32_t, p->n_buffers)};
    for (size_t i = 0; i < p->n_launches; i++) {
        const Launch *l = &p->launch[i];
        const Kernel *kernel = &p->kernel[l->kernel];
        for (size_t k = 0; k < kernel->n_params; k++) {
            const uint32_t b = l->buffer[k];
            if (!lives.maker[b])
                lives.maker[b] = (uint32_t)i + 1;
            lives.last[b] = (uint32_t)i + 1;
            if (program_writes(kernel, (uint32_t)k) && p->buffer[b].kind == BUFFER_OUTPUT && strncmp(p->buffer[b].name, "loss.", 5) == 0)
                lives.loss = (uint32_t)i + 1;
        }
    }
    return lives;
}

// A stored value belongs to the route in whose text it is made, or else to one of the layer it is made in. *out_kept: of these and
// of the scores, what the backward pass reads again.
static size_t bytes_of(const Module *m, const Program *p, const Lives *lives, const RouteInfo *info, size_t *out_kept)
{
    size_t bytes = 0, kept = 0, uses = 0;
    for (size_t i = 0; i < m->n_routes; i++)
        uses += same_use(&m->route[i], info);
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        const Buffer *buffer = &p->buffer[b];
        if (buffer->kind != BUFFER_TEMP || buffer->same_as || !lives->maker[b])
            continue;
        const Launch *l = &p->launch[lives->maker[b] - 1];
        const bool of_choices = is_of_choices(buffer, info, l->at), of_route = p->kernel[l->kernel].family == FAMILY_ROUTE;
        if (!of_choices && !of_route)
            continue;
        bool others = false;
        for (size_t i = 0; i < m->n_routes; i++)
            others |= !same_use(&m->route[i], info) && is_inside(&m->route[i], l->at);
        if (!is_below(l->layer, info->layer) || (!is_inside(info, l->at) && others))
            continue;
        bytes += of_choices ? buffer->bytes : 0;
        kept += lives->loss && lives->maker[b] <= lives->loss && lives->last[b] > lives->loss ? buffer->bytes : 0;
    }
    *out_kept = uses ? kept / uses : 0;
    return uses ? bytes / uses : 0;
}

static int64_t rows_of_factor(const RouteInfo *info, double factor)
{
    const double rows = floor(factor * (double)info->n_choices * (double)info->pool_tokens / (double)info->n_experts);
    return rows < (double)info->pool_tokens ? (int64_t)rows : info->pool_tokens;
}

static double drop_of(const RouteInfo *info, int64_t rows)
{
    if (info->by_expert)                    // tokens that nobody takes: each expert takes `rows` of them, whatever the others do
        return 0;
    return drop_rate(info->pool_tokens, info->n_experts, info->n_choices, rows);
}

static int64_t total_of(const RouteInfo *info, int64_t rows)
{
    const int64_t wanted = info->pool_tokens * info->n_choices, places = rows * info->n_experts;
    return info->n_pools * (info->by_expert ? places : wanted < places ? wanted : places);
}

RoutePlan *route_plans(Arena *arena, const Module *m, const Program *p)
{
    RoutePlan *plan = arena_array(arena, RoutePlan, m->n_routes + 1);
    const Lives lives = lives_of(arena, p);
    for (size_t i = 0; i < m->n_routes; i++) {
        const RouteInfo *info = &m->route[i];
        const int64_t rows = info->rows < 0 ? info->pool_tokens : info->rows;
        plan[i] = (RoutePlan){.info = info, .rows = rows, .total_rows = total_of(info, rows), .expected_drop = drop_of(info, info->rows)};
        plan[i].bytes = bytes_of(m, p, &lives, info, &plan[i].kept);
    }
    return plan;
}

// ---- for people ----

static const char *bytes_text(Arena *arena, size_t bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double x = (double)bytes;
    size_t u = 0;
    for (; x >= 1024 && u + 1 < sizeof unit / sizeof *unit; u++)
        x /= 1024;
    return arena_printf(arena, u ? "%.1f %s" : "%.0f %s", x, unit[u]);
}

static const char *drop_text(Arena *arena, const RouteInfo *info, double rate)
{
    if (info->by_expert)
        return "-";
    return rate == 0 ? "0" : rate < 0.0005 ? "< 0.1 %" : arena_printf(arena, "%.1f %%", 100 * rate);
}

static const char *capacity_text(Arena *arena, const RouteInfo *info)
{
    if (info->rows < 0)
        return "dropless";
    const char *who = info->by_expert ? " (experts choose)" : "";
    return isfinite(info->factor) ? arena_printf(arena, "%g%s", info->factor, who) : arena_printf(arena, "rows(%lld)%s", (long long)info->rows, who);
}

static bool same_shape(const RouteInfo *a, const RouteInfo *b)
{
    return a->n_experts == b->n_experts && a->n_choices == b->n_choices && a->pool_tokens == b->pool_tokens && a->by_expert == b->by_expert;
}

static void print_what_if(Arena *arena, const RouteInfo *info, Text *out)
{
    text_printf(out, "what if: %lld experts, top %lld, pools of %lld tokens\n", (long long)info->n_experts, (long long)info->n_choices,
                (long long)info->pool_tokens);
    for (size_t f = 0; f <= N_FACTORS; f++) {
        const bool dropless = f == N_FACTORS;
        const int64_t rows = dropless ? info->pool_tokens : rows_of_factor(info, factors[f]);
        const char *name = dropless ? "dropless" : arena_printf(arena, "capacity %g", factors[f]);
        text_printf(out, "  %-16s %8lld rows an expert   drops %s\n", name, (long long)rows, drop_text(arena, info, drop_of(info, dropless ? -1 : rows)));
    }
}

static int wider(int width, const char *text)
{
    int n = (int)strlen(text);
    return n > width ? n : width;
}

void route_plan_print(const Module *m, const Program *p, Text *out)
{
    Arena scratch = {.out_of_memory = out->arena->out_of_memory, .user = out->arena->user};
    const RoutePlan *plan = route_plans(&scratch, m, p);
    int layer_width = (int)strlen("layer"), place_width = (int)strlen("line");
    for (size_t i = 0; i < m->n_routes; i++) {
        layer_width = wider(layer_width, plan[i].info->layer);
        place_width = wider(place_width, plan[i].info->place);
    }
    if (m->n_routes)
        text_printf(out, "\nroutes: %zu\n%-*s  %-*s  %7s %4s %-18s %-12s %9s %10s %10s %10s %9s\n", m->n_routes, layer_width, "layer", place_width, "line",
                    "experts", "top", "pool", "capacity", "rows each", "rows", "memory", "kept", "drops");
    for (size_t i = 0; i < m->n_routes; i++) {
        const RouteInfo *info = plan[i].info;
        const char *pool = arena_printf(&scratch, "%s = %lld%s", info->pool, (long long)info->pool_tokens,
                                        info->n_pools == 1 ? "" : arena_printf(&scratch, " x %lld", (long long)info->n_pools));
        text_printf(out, "%-*s  %-*s  %7lld %4lld %-18s %-12s %9lld %10lld %10s %10s %9s\n", layer_width, info->layer, place_width, info->place, (long long)info->n_experts,
                    (long long)info->n_choices, pool, capacity_text(&scratch, info), (long long)plan[i].rows, (long long)plan[i].total_rows,
                    bytes_text(&scratch, plan[i].bytes), plan[i].kept ? bytes_text(&scratch, plan[i].kept) : "-", drop_text(&scratch, info, plan[i].expected_drop));
    }
    if (m->n_routes)
        text_add(out, "kept: for the backward pass, besides the layer's input: the hidden rows, the choices, their weights and scores\n"
                      "drops: of the choices, if all experts were chosen equally often; an uneven router drops more\n");
    for (size_t i = 0; i < m->n_routes; i++) {
        bool known = m->route[i].by_expert;
        for (size_t k = 0; k < i; k++)
            known |= same_shape(&m->route[i], &m->route[k]);
        if (!known)
            print_what_if(&scratch, &m->route[i], out);
    }
    arena_free(&scratch);
}

// ---- for programs ----

static void json_row(const RouteInfo *info, double factor, int64_t rows, bool dropless, Text *out)
{
    if (isfinite(factor))
        text_printf(out, "{\"capacity\": %g, ", factor);
    else
        text_printf(out, "{\"capacity\": null, ");
    text_printf(out, "\"dropless\": %s, \"rows\": %lld, \"expected_drop\": %.6g}", dropless ? "true" : "false", (long long)rows,
                drop_of(info, dropless ? -1 : rows));
}

void route_plan_json(const Module *m, const Program *p, Text *out)
{
    Arena scratch = {.out_of_memory = out->arena->out_of_memory, .user = out->arena->user};
    const RoutePlan *plan = route_plans(&scratch, m, p);
    text_char(out, '[');
    for (size_t i = 0; i < m->n_routes; i++) {
        const RouteInfo *info = plan[i].info;
        text_printf(out, "%s\n  {\"layer\": ", i ? "," : "");
        text_json(out, info->layer);
        text_printf(out, ", \"rows\": %lld, \"bytes\": %zu, \"backward_bytes\": %zu, \"place\": ", (long long)plan[i].rows, plan[i].bytes, plan[i].kept);
        text_json(out, info->place);
        text_printf(out, ", \"experts\": %lld, \"choices\": %lld, \"pool\": ", (long long)info->n_experts, (long long)info->n_choices);
        text_json(out, info->pool);
        text_printf(out, ", \"pool_tokens\": %lld, \"pools\": %lld, \"total_rows\": %lld, \"dropless\": %s, \"experts_choose\": %s, \"capacity\": ",
                    (long long)info->pool_tokens, (long long)info->n_pools, (long long)plan[i].total_rows, info->rows < 0 ? "true" : "false",
                    info->by_expert ? "true" : "false");
        if (info->rows >= 0 && isfinite(info->factor))
            text_printf(out, "%g", info->factor);
        else
            text_add(out, "null");
        text_printf(out, ", \"expected_drop\": %.6g, \"what_if\": [", plan[i].expected_drop);
        for (size_t f = 0; f < N_FACTORS; f++) {
            json_row(info, factors[f], rows_of_factor(info, factors[f]), false, out);
            text_add(out, ", ");
        }
        json_row(info, NAN, info->pool_tokens, true, out);
        text_add(out, "]}");
    }
    text_char(out, ']');
    arena_free(&scratch);
}
