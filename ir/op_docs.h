// What the tables of the IR mean, in words: for `mixc help ops`, which writes docs/reference/ops.md.
#ifndef MIXC_OP_DOCS_H
#define MIXC_OP_DOCS_H

#include "graph.h"

typedef struct OpDoc {                      // a row of op_docs.def
    const char *operands;                   // names, "x w"
    const char *meaning;                    // NULL: the row is missing, which a test reports
} OpDoc;
extern const OpDoc op_doc[OP_COUNT];

// The names of an op's rules: shape_x, grad_x, lower_x.
typedef struct OpRules { const char *shape, *grad, *lower; } OpRules;
extern const OpRules op_rules[OP_COUNT];

// The functions of acts.def: the value in x, the derivative in x, or in y where act_slope_uses_value says so.
typedef struct ActDoc { const char *value, *derivative; } ActDoc;
extern const ActDoc act_doc[ACT_COUNT];

#endif
