// What the two files of `route` share: choices (build_route.c) and statistics (build_balance.c).
#ifndef MIXC_BUILD_ROUTE_H
#define MIXC_BUILD_ROUTE_H

#include "build_functions.h"

struct Routing {
    AxisList token;                         // what is routed: the axes of the scores without the experts
    AxisId   experts, choice;               // choice: counts the choices of a token; 0: integer scores, one choice
    bool     has_choice_axis;               // the user's own (`top K`)
    bool     passes;                        // a dropped choice passes its token through
    ValueId  score, prob;                   // [tokens, E]; 0: the scores were integers
    ValueId  chosen, index;                 // int [tokens, choice]: the expert, -1: none; `index` after dropping
    ValueId  slot;                          // int [tokens, choice]: its place at its expert, also past the capacity; 0: none counted
    ValueId  kept;                          // [tokens, choice]: 1, or 0 for want of room; 0: nothing is ever dropped
    ValueId  weight;                        // [tokens, choice]
    ValueId  where;                         // weight of each token in statistics, 0: not routed; 0: all are equal
};

// Adds the terms of the clause `balance`; false after an error.
bool balance_terms(Build *b, const Route *r, const Routing *routing);

#endif
