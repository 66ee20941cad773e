// The implementations behind functions.def. `e` is the call, `x` its first positional argument, already a value.
#ifndef MIXC_BUILD_FUNCTIONS_H
#define MIXC_BUILD_FUNCTIONS_H

#include "build_state.h"

typedef struct Function {
    const char *name;
    unsigned    min, max;
    const char *named;
    Val       (*build)(Build *b, const Expr *e, const struct Function *row);
    Act         act;
    const char *summary;
} Function;

extern const Function function_table[];     // ends with a NULL name

Val fn_map(Build *b, const Expr *e, const Function *row);
Val fn_atan2(Build *b, const Expr *e, const Function *row);
Val fn_clamp(Build *b, const Expr *e, const Function *row);
Val fn_select(Build *b, const Expr *e, const Function *row);
Val fn_min(Build *b, const Expr *e, const Function *row);
Val fn_max(Build *b, const Expr *e, const Function *row);
Val fn_sum(Build *b, const Expr *e, const Function *row);
Val fn_mean(Build *b, const Expr *e, const Function *row);
Val fn_outer(Build *b, const Expr *e, const Function *row);
Val fn_index(Build *b, const Expr *e, const Function *row);
Val fn_full(Build *b, const Expr *e, const Function *row);
Val fn_linspace(Build *b, const Expr *e, const Function *row);
Val fn_concat(Build *b, const Expr *e, const Function *row);
Val fn_reverse(Build *b, const Expr *e, const Function *row);
Val fn_f32(Build *b, const Expr *e, const Function *row);
Val fn_stop(Build *b, const Expr *e, const Function *row);
Val fn_softmax(Build *b, const Expr *e, const Function *row);
Val fn_log_softmax(Build *b, const Expr *e, const Function *row);
Val fn_logsumexp(Build *b, const Expr *e, const Function *row);
Val fn_mask(Build *b, const Expr *e, const Function *row);
Val fn_dropout(Build *b, const Expr *e, const Function *row);
Val fn_jitter(Build *b, const Expr *e, const Function *row);
Val fn_rope(Build *b, const Expr *e, const Function *row);
Val fn_cross_entropy(Build *b, const Expr *e, const Function *row);
Val fn_accuracy(Build *b, const Expr *e, const Function *row);
Val fn_fftconv(Build *b, const Expr *e, const Function *row);
Val fn_pooled(Build *b, const Expr *e, const Function *row);

// The number of positions that reducing `axes` joins, as a factor 1/n.
double one_over_size(Build *b, const AxisList *axes);
ValueId scalar(Build *b, double value);     // f32
ValueId keep_where(Build *b, ValueId keep, ValueId x, double other);

#endif
