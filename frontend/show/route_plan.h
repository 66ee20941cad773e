// The capacity table of `mixc plan`: for each use of a route its places, the memory that its choices take, how much even routing
// would drop, and what other capacities would.
#ifndef MIXC_ROUTE_PLAN_H
#define MIXC_ROUTE_PLAN_H

#include "module.h"
#include "program.h"

typedef struct RoutePlan {
    const RouteInfo *info;                  // borrowed from the module
    int64_t rows;                           // places of each expert in a pool; dropless: as many as the pool has tokens
    int64_t total_rows;                     // rows that experts can be given in all pools: the most that are ever computed
    size_t  bytes;                          // what the program stores for its choices: all values that hold them
    size_t  kept;                           // of these and of the scores, what a training step's backward pass reads again
    double  expected_drop;                  // share of the choices, when all experts are chosen alike
} RoutePlan;

// One for each route of the module, in its order. `program` was made from the module.
RoutePlan *route_plans(Arena *arena, const Module *module, const Program *program);
// Tables for people; nothing without routes.
void route_plan_print(const Module *module, const Program *program, Text *out);
// A JSON array: [{"layer", "rows", "bytes", ..., "what_if": [..]}].
void route_plan_json(const Module *module, const Program *program, Text *out);

#endif
