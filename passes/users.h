// Who reads a value: for every node of a graph the ids of its users.
#ifndef MIXC_USERS_H
#define MIXC_USERS_H

#include "graph.h"

typedef struct Users {
    size_t  *first;                         // [n_nodes + 1] of user
    ValueId *user;                          // of v: user[first[v] .. first[v+1]), increasing; twice for v*v
    bool    *is_output;                     // [n_nodes]
} Users;

// Users that are not `live` (NULL: all are) do not count. The arrays live in `arena`.
Users users_of(Arena *arena, const Graph *g, const bool *live);

#endif
