// Between the files of the pass incremental: what is known of one model while its graph `next` is made. See incremental.c.
//
// A value of main may be wanted in two forms:
//   whole        along all its axes; of what the tokens reach, only positions up to now count
//   rows of A    its time axis A replaced by `now`, the positions that are new
#ifndef MIXC_INCREMENTAL_H
#define MIXC_INCREMENTAL_H

#include "causal_facts.h"
#include "pass.h"
#include "program.h"
#include "rewrite.h"

enum { MAX_ROWS = 3 };

typedef enum Kept {
    KEPT_NOT,
    KEPT_CACHE,                             // grows by a row: depends on the tokens along one axis of time
    KEPT_FIXED                              // does not depend on the tokens, and is dear: stays as main has made it
} Kept;

typedef struct Forms {                      // of a node of main
    bool    whole;                          // wanted; its value is in Rewrite.map
    uint8_t n_rows;
    AxisId  axis[MAX_ROWS];                 // rows of these are wanted
    ValueId row[MAX_ROWS];                  // and what they are in `next`
    Kept    kept;
    AxisId  along;                          // KEPT_CACHE: its axis of time
    const char *seen_as;                    // what the model calls a view of it; NULL
    const char *name;                       // of the state that keeps it
    bool        is_long;                    // a convolution whose steps go by blocks
    const char *past;                       // of the state that holds what earlier blocks add to it
} Forms;

typedef struct Steps {
    PassContext *ctx;
    Arena       *scratch;
    const Graph *in;                        // main
    Rewrite      rw;                        // from main to next
    ValueId      tokens, scores;            // of main
    AxisId       batch, time;               // of the tokens
    AxisId       now;                       // of next: the new positions
    ValueId      position;                  // of next: the first new position, int[]
    ValueId      place;                     // of next: the new positions, int[now]
    const Reads **reads;                    // [n_nodes] of what each value reads of the tokens
    bool        *dear;                      // [n_nodes] holds sums, products or long runs of functions
    Forms       *forms;                     // [n_nodes]
    // why the graph cannot be made; NULL so far
    const char  *why;
    ValueId      blamed;
} Steps;

bool step_varies(const Steps *s, ValueId v);               // depends on the tokens
void step_fail(Steps *s, ValueId v, const char *why);      // the first reason stays
void step_want_whole(Steps *s, ValueId v);
void step_want_rows(Steps *s, ValueId v, AxisId axis);

// Rows of `axis` of a value that varies, or that is made anew for each position: first what they need, then what they are.
void    step_rows_plan(Steps *s, ValueId v, AxisId axis);
ValueId step_rows_emit(Steps *s, ValueId v, AxisId axis);
ValueId step_rows_value(const Steps *s, ValueId v, AxisId axis);  // made before

// Convolutions (incremental_conv.c). False when it is not one that steps can follow.
bool    step_conv_plan(Steps *s, ValueId v);
ValueId step_conv_rows(Steps *s, ValueId v, const Type *type);
bool    step_has_blocks(const Steps *s);
void    step_block_emit(Steps *s);          // the convolutions of the graph `block`; whole operands are in s->rw.map
void    step_conv_fill(const Steps *s, Graph *main);

#endif
