// One value of a graph, a piece at a time: the numbers of the evaluator (eval.h), bit for bit, in little memory and on
// any number of threads. Made for initial values: what is elementwise over the whole value is computed in blocks that
// stay in the cache; everything else (a table, a sum, an orthogonal basis) is evaluated once, before.
#ifndef MIXC_EVAL_PIECES_H
#define MIXC_EVAL_PIECES_H

#include "eval.h"

typedef struct EvalPieces EvalPieces;

enum { EVAL_BLOCK = 1024 };                 // elements that are computed together

// `arena` holds the plan and what had to be evaluated whole; `leaf` must answer for every leaf that the value needs.
Status eval_pieces_make(const Graph *g, ValueId value, EvalLeaf *leaf, void *user, Arena *arena,
                        const EvalPieces **out_pieces, StatusText *why);
// Doubles of working memory that each caller of eval_pieces_fill brings.
size_t eval_pieces_scratch(const EvalPieces *pieces);
// Elements begin .. begin+n-1, row-major in the value's type. Threads may do this at once, each with its own scratch.
void   eval_pieces_fill(const EvalPieces *pieces, int64_t begin, size_t n, double *scratch, double *out);

#endif
