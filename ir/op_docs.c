// See op_docs.h.
#include "op_docs.h"

const OpDoc op_doc[OP_COUNT] = {
#define OP_GROUP(title)
#define OP_DOC(id, operands, meaning) [OP_##id] = {operands, meaning},
#include "op_docs.def"
#undef OP_GROUP
#undef OP_DOC
};

const OpRules op_rules[OP_COUNT] = {
#define OP(id, text, n_in, attrs, shape, eval, grad, lower, flags) [OP_##id] = {#shape, #grad, #lower},
#include "ops.def"
#undef OP
};

const ActDoc act_doc[ACT_COUNT] = {
#define ACT(id, text, value, uses, derivative) [ACT_##id] = {#value, #derivative},
#include "acts.def"
#undef ACT
};
