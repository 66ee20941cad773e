// What routes did in one run of a net that was built with BuildOptions.with_routing_stats: for logs and reports, and to say
// which route is to blame when numbers are not finite.
#ifndef MIXC_ROUTE_STATS_H
#define MIXC_ROUTE_STATS_H

#include "engine.h"

typedef struct RouteStat {
    const RouteInfo *info;                  // borrowed from the module
    const double    *load;                  // [info->n_experts] choices of each expert, before any is dropped
    double           choices, dropped;      // how many there were, and how many found no place
    double           entropy;               // of the router, in nats, mean over tokens; NaN: there are no scores
    double           bad;                   // tokens with a score that is no finite number
    int64_t          n_dead;                // experts that nobody chose
} RouteStat;

// Reads the statistics of every route of `m` from a net that has run. Returns their number: 0 without statistics.
size_t route_stats_read(Arena *arena, const Module *m, Net *net, RouteStat **out);

// Fails with NUMERIC and names the first route, and its line, whose scores are no finite numbers or which says `overflow
// error` and overflowed. OK when there is none.
Status route_stats_check(const Module *m, Net *net, StatusText *why);

#endif
