// What the files of `route` share: the statement and its body (build_route.c), how scores become choices (build_choose.c,
// build_experts_choose.c), who gets a place and what a choice weighs (build_capacity.c), statistics (build_balance.c).
#ifndef MIXC_BUILD_ROUTE_H
#define MIXC_BUILD_ROUTE_H

#include "build_functions.h"

#include <string.h>

// Most routings name the expert of each choice: tokens choose. With `assign experts_choose` each expert names its tokens: then
// `choice` counts an expert's places, `token_at` says who stands there, and the values of the body hold E and `choice` in
// place of the pool's axes.
struct Routing {
    AxisList token;                         // what is routed: the axes of the scores without the experts
    AxisId   experts, choice;               // choice: counts the choices of a token; 0: integer scores, one choice
    bool     has_choice_axis;               // the user's own (`top K`)
    bool     passes;                        // a dropped choice passes its token through
    bool     fails;                         // a dropped choice is an error
    ValueId  score, prob;                   // [tokens, E]; 0: the scores were integers
    ValueId  open;                          // [tokens, E]: 0 where an expert is left out at random; 0: none is
    ValueId  picked;                        // int [tokens, choice]: the expert, before any choice is given up
    ValueId  blemish;                       // [tokens] 0, or not a number where a score is none; 0: weights show it anyway
    ValueId  used;                          // [tokens, choice]: 0 where `sample` gives a choice up; 0: none is
    ValueId  chosen, index;                 // the expert, -1: none (not routed, given up); `index` after dropping
    ValueId  slot;                          // int [tokens, choice]: its place at its expert, also past the capacity; 0: none counted
    ValueId  kept;                          // [tokens, choice]: 1, or 0 for want of room; 0: nothing is ever dropped
    ValueId  weight;                        // [tokens, choice]
    ValueId  where;                         // weight of each token in statistics, 0: not routed; 0: all are equal
    bool     by_expert;                     // experts choose
    AxisList pool;                          // then: the axes of the pool,
    AxisId   pool_axis;                     // the one axis that counts its tokens,
    ValueId  token_at;                      // int [rest, E, choice]: who stands there, -1: nobody,
    ValueId  chosen_by;                     // [tokens, E]: 1 where the expert chose the token
    int64_t  n_choices;                     // of a token; of experts that choose: 1, or what `top` says
    RouteInfo info;                         // for plans and reports
};

typedef enum Norm { NORM_NONE, NORM_CHOSEN, NORM_KEPT } Norm;

typedef struct Gate {
    const char *word;                       // softmax, sigmoid, one
    Norm        norm;
} Gate;

// ---- build_route.c ----

const Clause *clause_of(const Route *r, ClauseKind kind);               // the first; NULL
// The term that counts in this mode. What a mode does not name falls back generate -> eval -> train; a term without a mode
// counts where no other does. NULL: none.
const ClauseTerm *clause_term(const Build *b, const Clause *c);
bool        clause_acts(const Build *b, const Clause *c);               // one that acts in train unless it names a mode
const char *clause_word(const Expr *e);                                 // `f` of f and of f(x); else ""
bool        clause_unknown(Build *b, Span at, const char *what, const char *word, const char *known);   // reports; false
bool        clause_number(Build *b, const Expr *e, double fallback, double *out);   // x of f(x); `fallback` of f
// The pool of a clause: the axes after `over`, or all token axes. False after an error.
bool        route_pool(Build *b, const Routing *routing, const Expr *over, AxisList *out);
const char *pool_text(Build *b, const AxisList *pool);                  // B*T
int64_t     axes_count(Build *b, const AxisList *axes);                 // product of sizes
const char *route_stream(Build *b, const Route *r, const char *what);   // key of a random stream

// ---- build_choose.c ----

// Adds noise to routing->score and sets `open`. False after an error.
bool    route_noise(Build *b, const Route *r, Routing *routing);
// int [tokens, choice]; 0 after an error.
ValueId route_choices(Build *b, const Route *r, Routing *routing);
// Choices after the first that are given up: sets `used`. False after an error.
bool    route_give_up(Build *b, const Route *r, const Gate *gate, Routing *routing);

// ---- build_experts_choose.c ----

bool    experts_choose(Build *b, const Route *r, const Gate *gate, Routing *routing);
Val     experts_read(Build *b, const Routing *routing, Val v);          // a value at the tokens that the experts chose
Val     experts_combine(Build *b, const Routing *routing, ValueId y);   // results, weighted already, back at their tokens

// ---- build_capacity.c ----

bool    route_gate(Build *b, const Route *r, Gate *out);
ValueId route_all_weights(Build *b, const Routing *routing, const Gate *gate);     // [tokens, E]
// Rows of each expert in a pool; -1: no limit. False after an error.
bool    route_rows(Build *b, const Route *r, Routing *routing, AxisList *out_pool, int64_t *out);
// Sets kept and, where a choice is dropped, *index to -1. False after an error.
bool    route_limit(Build *b, const Route *r, Routing *routing, ValueId *index);
ValueId route_weights(Build *b, const Routing *routing, const Gate *gate);         // [tokens, choice]

// ---- build_balance.c ----

// Adds the terms of the clause `balance`; false after an error.
bool    balance_terms(Build *b, const Route *r, const Routing *routing);
// Adds the outputs that training logs and reports read (BuildOptions.with_routing_stats).
void    routing_stats(Build *b, Routing *routing);

#endif
