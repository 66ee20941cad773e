// Between the files that lower ROUTE kernels: one op that makes small integers (lower_route.c), the kernel that chooses for each
// token (lower_route_tokens.c), and the one that gives the choices their places (lower_route_places.c).
#ifndef MIXC_LOWER_ROUTE_H
#define MIXC_LOWER_ROUTE_H

#include "lower_loop.h"

typedef struct Route {                      // a topk, rank, slot or assign
    ValueId  v;
    AxisId   item[MAX_AXES]; size_t n_items;        // axes whose points are pools (topk: rows)
    AxisId   pool[MAX_AXES]; size_t n_pool;         // axes of a pool, in its order
    size_t   n_turn;                                // slot: so many of the last ones go by the second operand
    int64_t  n_rows;                                // pools (topk: rows)
    int64_t  n, n_turns;                            // elements of a pool; of the part that takes turns
    uint32_t floats, ints;                          // workspaces; 0: none
    int64_t  n_floats, n_ints;                      // of one pool
} Route;

Route route_describe(Lower *L, ValueId v);
// An environment of the result and of the axes that only operand 0 has.
Env   route_env(Emitter *E, const Route *r);
// The score x as a number that can be compared: NaN counts as inf.
const char *route_score(Emitter *E, Scope *s, ValueId x, const Env *env);
// A rank, slot or assign: the pool number `item`, whose indices are set in env. Text of one thread.
void  route_one_pool(Emitter *E, Scope *s, const Route *r, Env *env, Ix item);

// Whether a topk goes by as many rows as a vector has lanes (C); else a row at a time.
bool  route_by_lanes(const Emitter *E, const Route *r);
// Arrays of the thread's own for that.
typedef struct RouteArrays { const char *keys, *turned; } RouteArrays;
RouteArrays route_arrays(Emitter *E, const Route *r);
// Rows first <= row < last (C names), at most a vector's lanes.
void  route_topk_lanes(Emitter *E, Scope *s, const Route *r, const RouteArrays *use, const char *first, const char *last);
// The same row by row in CUDA, by a warp of its own (Emitter.by_warp); whether that holds so many scores and choices.
bool  route_by_warp(const Graph *g, const Route *r);
void  route_topk_warp(Emitter *E, Scope *s, const Route *r, Env *env);
// The row whose indices are set in env (C).
void  route_topk(Emitter *E, Scope *s, const Route *r, Env *env);

bool  lower_route_tokens(Lower *L);
bool  lower_route_places(Lower *L);

#endif
