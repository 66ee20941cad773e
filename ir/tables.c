// The tables of graph.h, expanded from the .def files.
#include "graph.h"

#define DECLARED  OP_FLAG_DECLARED
#define POINTWISE OP_FLAG_POINTWISE
#define VIEW      OP_FLAG_VIEW
#define COMMUTES  OP_FLAG_COMMUTES
#define HOST      OP_FLAG_HOST
#define ROUTING   OP_FLAG_ROUTING
#define ALONE     OP_FLAG_ALONE
#define ANY       OP_ANY
#define ATTRS0                             .n_attr = 0
#define ATTRS1(a, A)                       .n_attr = 1, .attr = {{#a, ATTR_##A}}
#define ATTRS2(a, A, b, B)                 .n_attr = 2, .attr = {{#a, ATTR_##A}, {#b, ATTR_##B}}
#define ATTRS3(a, A, b, B, c, C)           .n_attr = 3, .attr = {{#a, ATTR_##A}, {#b, ATTR_##B}, {#c, ATTR_##C}}
#define ATTRS4(a, A, b, B, c, C, d, D) \
    .n_attr = 4, .attr = {{#a, ATTR_##A}, {#b, ATTR_##B}, {#c, ATTR_##C}, {#d, ATTR_##D}}
#define ATTRS6(a, A, b, B, c, C, d, D, e, E_, f, F) \
    .n_attr = 6, .attr = {{#a, ATTR_##A}, {#b, ATTR_##B}, {#c, ATTR_##C}, {#d, ATTR_##D}, {#e, ATTR_##E_}, {#f, ATTR_##F}}

const OpRow op_row[OP_COUNT] = {
    [OP_ERROR] = {.text = "error"},
#define OP(id, name, inputs, attrs, shape, eval, grad, lower, flag) \
    [OP_##id] = {.text = name, .n_in = inputs, attrs, .flags = flag},
#include "ops.def"
#undef OP
};

const struct DTypeRow dtype_row[DTYPE_COUNT] = {
#define DTYPE(id, name, size, c_name, cuda, st) [DTYPE_##id] = {name, size, c_name, st},
#include "dtypes.def"
#undef DTYPE
};

const char *const act_text[ACT_COUNT] = {
#define ACT(id, name, value, uses, derivative) [ACT_##id] = name,
#include "acts.def"
#undef ACT
};

#define X false
#define Y true
const bool act_slope_uses_value[ACT_COUNT] = {
#define ACT(id, name, value, uses, derivative) [ACT_##id] = uses,
#include "acts.def"
#undef ACT
};
#undef X
#undef Y

const char *const red_text[RED_COUNT] = {[RED_SUM] = "sum", [RED_MAX] = "max", [RED_MIN] = "min"};

const char *const axis_kind_text[AXIS_KIND_COUNT] = {
    [AXIS_FEATURE] = "feature", [AXIS_BATCH] = "batch", [AXIS_TIME] = "time", [AXIS_EXPERT] = "expert",
};

const char *const output_role_text[OUTPUT_ROLE_COUNT] = {
    [OUTPUT_RESULT] = "result", [OUTPUT_LOSS] = "loss", [OUTPUT_TERM] = "term", [OUTPUT_WATCH] = "watch", [OUTPUT_FAULT] = "fault",
    [OUTPUT_NEXT] = "next", [OUTPUT_GRAD] = "grad",
};

const char *const kernel_family_text[FAMILY_COUNT] = {
    [FAMILY_LOOP] = "loop", [FAMILY_CONTRACT] = "contract", [FAMILY_ROWS] = "rows", [FAMILY_SCATTER] = "scatter",
    [FAMILY_ROUTE] = "route", [FAMILY_CONV] = "conv", [FAMILY_GROUPED] = "grouped", [FAMILY_MONARCH] = "monarch",
};
