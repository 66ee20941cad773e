// See route_stats.h.
#include "route_stats.h"

#include <math.h>

static const Slot *stat_slot(Arena *arena, const Net *net, size_t route, const char *name)
{
    return net_slot(net, BUFFER_OUTPUT, arena_printf(arena, "watch.route.%zu.%s", route, name));
}

static double scalar_of(Arena *arena, Net *net, size_t route, const char *name, double otherwise)
{
    const Slot *slot = stat_slot(arena, net, route, name);
    StatusText ignored = {0};
    float value = 0;
    return slot && slot->count == 1 && net_read(net, slot, &value, &ignored) == STATUS_OK ? (double)value : otherwise;
}

static bool read_one(Arena *arena, const Module *m, Net *net, size_t route, RouteStat *out)
{
    const Slot *slot = stat_slot(arena, net, route, "load");
    const RouteInfo *info = &m->route[route];
    StatusText ignored = {0};
    if (!slot || slot->count != info->n_experts)
        return false;
    float *read = arena_array(arena, float, (size_t)slot->count + 1);
    double *load = arena_array(arena, double, (size_t)slot->count + 1);
    if (net_read(net, slot, read, &ignored) != STATUS_OK)
        return false;
    *out = (RouteStat){.info = info, .load = load};
    for (int64_t e = 0; e < slot->count; e++) {
        load[e] = (double)read[e];
        out->choices += load[e];
        out->n_dead += !(load[e] > 0);
    }
    out->dropped = scalar_of(arena, net, route, "dropped", 0);
    out->entropy = scalar_of(arena, net, route, "entropy", NAN);
    out->bad = scalar_of(arena, net, route, "bad", 0);
    return true;
}

size_t route_stats_read(Arena *arena, const Module *m, Net *net, RouteStat **out)
{
    size_t n = 0;
    *out = arena_array(arena, RouteStat, m->n_routes + 1);
    for (size_t i = 0; i < m->n_routes; i++)
        n += read_one(arena, m, net, i, &(*out)[n]);
    return n;
}

Status route_stats_check(const Module *m, Net *net, StatusText *why)
{
    Arena scratch = {0};
    RouteStat *stat;
    Status status = STATUS_OK;
    size_t n = route_stats_read(&scratch, m, net, &stat);
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        const RouteInfo *info = stat[i].info;
        const long long tokens = (long long)(info->pool_tokens * info->n_pools);
        if (stat[i].bad > 0)
            status = status_fail(why, STATUS_NUMERIC,
                                 "%s: the route of `%s` got scores that are not finite for %.0f of %lld tokens, so it cannot choose\n"
                                 "help: look at what the scores are made of: weights, inputs, or a layer before this one",
                                 info->place, info->layer, stat[i].bad, tokens);
        else if (info->fails && stat[i].dropped > 0)
            status = status_fail(why, STATUS_NUMERIC,
                                 "%s: %.0f of %.0f choices of the route of `%s` found no place: %lld at each of %lld experts in a pool of "
                                 "%lld tokens, and the route says `overflow error`\nhelp: a larger capacity, `dropless`, or `overflow skip`",
                                 info->place, stat[i].dropped, stat[i].choices, info->layer, (long long)info->rows,
                                 (long long)info->n_experts, (long long)info->pool_tokens);
    }
    arena_free(&scratch);
    return status;
}
