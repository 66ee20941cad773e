// The tensor graph: pure operations on values whose axes have names.
//
// Node ids are indices; operands come before users; id 0 is "error" and travels quietly. A graph is built by
// appending and never edited in place: a pass reads a const Graph and fills a new one (passes/rewrite.h).
// Sizes are numbers: a graph is bound. Ownership: everything a graph points to lives in g->arena.
#ifndef MIXC_GRAPH_H
#define MIXC_GRAPH_H

#include "arena.h"
#include "diag.h"
#include "source.h"

#include <stdbool.h>
#include <stdint.h>

typedef uint32_t ValueId;                   // index into Graph.node; 0 = error
typedef uint16_t AxisId;                    // index into Graph.axis; 0 = error

typedef enum DType {
#define DTYPE(id, text, bytes, c, cuda, st) DTYPE_##id,
#include "dtypes.def"
#undef DTYPE
    DTYPE_COUNT
} DType;

typedef enum Act {                          // unary functions
#define ACT(id, text, value, uses, derivative) ACT_##id,
#include "acts.def"
#undef ACT
    ACT_COUNT
} Act;

typedef enum Red { RED_SUM, RED_MAX, RED_MIN, RED_COUNT } Red;

typedef enum AxisKind { AXIS_FEATURE, AXIS_BATCH, AXIS_TIME, AXIS_EXPERT, AXIS_KIND_COUNT } AxisKind;

enum { MAX_AXES = 14 };                     // of one value

typedef struct Axis {
    const char *name;                       // unique in the graph: letters, digits, _, then ' or .N
    AxisKind    kind;
    int64_t     size;                       // >= 0
    AxisId      twin_of;                    // T' is a twin of T; 0: none
} Axis;

typedef struct Type {
    DType   dtype;
    uint8_t n_axes;
    AxisId  axis[MAX_AXES];                 // the order is the physical layout (row-major) and only that
} Type;

typedef enum Op {
    OP_ERROR,
#define OP(id, text, n_in, attrs, shape, eval, grad, lower, flags) OP_##id,
#include "ops.def"
#undef OP
    OP_COUNT
} Op;

enum OpFlag {
    OP_FLAG_DECLARED = 1, OP_FLAG_POINTWISE = 2, OP_FLAG_VIEW = 4, OP_FLAG_COMMUTES = 8, OP_FLAG_HOST = 16,
    OP_FLAG_ROUTING = 32, OP_FLAG_ALONE = 64
};

typedef enum AttrKind {
    ATTR_INT, ATTR_FLOAT, ATTR_AXIS, ATTR_AXES, ATTR_ACT, ATTR_RED, ATTR_DTYPE, ATTR_NAME
} AttrKind;

typedef struct Attr {
    AttrKind kind;
    union {
        int64_t i;
        double  f;
        AxisId  axis;
        struct { uint8_t n; AxisId *id; } axes;
        Act     act;
        Red     red;
        DType   dtype;
        const char *name;
    };
} Attr;

enum { OP_MAX_ATTRS = 6, OP_ANY = 255 };

typedef struct OpRow {                      // what ir knows of an op: one row of ops.def
    const char *text;
    uint8_t     n_in;                       // OP_ANY: one or more
    uint8_t     n_attr;
    struct { const char *name; AttrKind kind; } attr[OP_MAX_ATTRS];
    unsigned    flags;
} OpRow;

extern const OpRow op_row[OP_COUNT];
extern const struct DTypeRow { const char *text; size_t bytes; const char *c, *safetensors; } dtype_row[DTYPE_COUNT];
extern const char *const act_text[ACT_COUNT];
extern const bool        act_slope_uses_value[ACT_COUNT];   // the derivative is written in y, not in x
extern const char *const red_text[RED_COUNT];
extern const char *const axis_kind_text[AXIS_KIND_COUNT];

typedef struct Node {
    Op          op;
    uint8_t     n_in, n_attr;
    ValueId    *in;                         // n_in long
    Attr       *attr;                       // in the order of the op's row
    Type        type;                       // from the shape rule; only the order may be changed (layout)
    Span        at;                         // source of the user-visible op
    const char *hint;                       // the user's name for it, a checked identifier; NULL: none
    const char *layer;                      // path of the layer instance that made it ("GPT.l3.Attn"); NULL: none
    uint32_t    kernel;                     // after fusion: the kernel that stores this value; 0: not stored
} Node;

// What the graph computes. A role says who wants it.
typedef enum OutputRole {
    OUTPUT_RESULT,                          // a named result of the model
    OUTPUT_LOSS,                            // "train": the training loss; "aux": balance terms and penalties together
    OUTPUT_TERM,                            // one balance term or penalty, under its own name
    OUTPUT_WATCH,                           // logged
    OUTPUT_FAULT,                           // "AXIS.SIZE.N": the largest position that is looked up beyond the axis; -1: none is
    OUTPUT_NEXT,                            // the new value of the param or state of that name
    OUTPUT_GRAD,                            // gradient of the total with respect to "input.NAME" or "param.NAME"
    OUTPUT_ROLE_COUNT
} OutputRole;
extern const char *const output_role_text[OUTPUT_ROLE_COUNT];

typedef struct Output {
    OutputRole  role;
    const char *name;
    ValueId     value;
} Output;

// `causal over T` on a layer, as the front end recorded it: the values that went in and came out of one instance.
// The pass `causal` proves each claim and drops it; other passes need not keep claims.
typedef struct Claim {
    const char *layer;                      // path of the instance
    Span        at;                         // the clause
    AxisId      axis;                       // T
    int64_t     after;                      // `after P`: reads at most max(t, P-1); 0: none
    bool        leak_allowed;               // `allow leak in` the mode being built: report, do not refuse
    ValueId    *in;  size_t n_in;
    ValueId    *out; size_t n_out;
} Claim;

// After fusion: a kernel's family. Nodes that name the kernel are the values it stores; what they need and nobody
// stores is computed inside it. A kernel of the family monarch stores the last of them only, see monarch.h.
typedef enum KernelFamily { FAMILY_LOOP, FAMILY_CONTRACT, FAMILY_ROWS, FAMILY_SCATTER, FAMILY_ROUTE, FAMILY_CONV, FAMILY_GROUPED, FAMILY_MONARCH,
                          FAMILY_COUNT } KernelFamily;
extern const char *const kernel_family_text[FAMILY_COUNT];

typedef struct Graph {
    Arena      *arena;                      // borrowed
    Diag       *diag;                       // borrowed; where shape rules report
    const char *name;
    Axis       *axis;     size_t n_axes, axis_capacity;       // axis[0] is the error axis
    Node       *node;     size_t n_nodes, node_capacity;      // node[0] is the error node
    Output     *output;   size_t n_outputs, output_capacity;
    KernelFamily *kernel; size_t n_kernels, kernel_capacity;  // kernel[0] is unused
    Claim      *claim;    size_t n_claims, claim_capacity;
    Span        at;                         // place and layer given to nodes that are added next
    const char *layer;
    struct AxisIndex *index;                // axes by name (graph.c)
} Graph;

Graph  *graph_make(Arena *arena, Diag *diag, const char *name);

// Returns the axis of that name, kind and size, adding it if need be. When the name is taken by an axis of another
// size or kind, the new one is called NAME.2, NAME.3, ...
AxisId  graph_axis(Graph *g, const char *name, AxisKind kind, int64_t size, AxisId twin_of);
AxisId  graph_find_axis(const Graph *g, const char *name);    // 0: none
int64_t graph_size(const Graph *g, AxisId axis);

// Appends a node. The type comes from the op's shape rule (or `declared` for DECLARED ops). Reports at g->at and
// returns 0 when the operands do not fit; returns 0 silently when an operand is 0.
ValueId graph_add(Graph *g, Op op, const ValueId *in, size_t n_in, const Attr *attr, size_t n_attr, const Type *declared);
void    graph_output(Graph *g, OutputRole role, const char *name, ValueId value);
ValueId graph_find_output(const Graph *g, OutputRole role, const char *name);   // 0: none
uint32_t graph_add_kernel(Graph *g, KernelFamily family);

// Short forms for the ops. All are graph_add underneath.
ValueId graph_leaf(Graph *g, Op op, const char *name, Type type);               // ARG, PARAM, STATE
ValueId graph_const(Graph *g, DType dtype, double value);                       // a scalar
ValueId graph_index(Graph *g, AxisId axis);
ValueId graph_random(Graph *g, ValueId seed, ValueId step, int64_t stream, Type type);
ValueId graph_unary(Graph *g, Op op, ValueId x);                                // NEG, STOP
ValueId graph_binary(Graph *g, Op op, ValueId a, ValueId b);
ValueId graph_select(Graph *g, ValueId c, ValueId a, ValueId b);
ValueId graph_map(Graph *g, Act f, ValueId x);
ValueId graph_slope(Graph *g, Act f, ValueId x_or_y);
ValueId graph_cast(Graph *g, DType to, ValueId x);                              // x itself when it is of that type
ValueId graph_expand(Graph *g, ValueId x, const AxisId *to, size_t n);
ValueId graph_contract(Graph *g, ValueId a, ValueId b, const AxisId *over, size_t n);
ValueId graph_reduce(Graph *g, Red f, ValueId x, const AxisId *over, size_t n); // x itself when n is 0
ValueId graph_fftconv(Graph *g, ValueId x, ValueId k, const Attr *attr);          // the six attributes of its row
ValueId graph_rename(Graph *g, ValueId x, AxisId from, AxisId to);
ValueId graph_split(Graph *g, ValueId x, AxisId axis, const AxisId *to, size_t n);
ValueId graph_merge(Graph *g, ValueId x, const AxisId *axes, size_t n, AxisId to);
ValueId graph_at(Graph *g, ValueId x, AxisId axis, int64_t index);
ValueId graph_slice(Graph *g, ValueId x, AxisId axis, int64_t start, AxisId to);
ValueId graph_pad(Graph *g, ValueId x, AxisId axis, int64_t start, AxisId to);
ValueId graph_reverse(Graph *g, ValueId x, AxisId axis);
ValueId graph_window(Graph *g, ValueId x, AxisId axis, AxisId out, AxisId offset, int64_t stride, int64_t left);
ValueId graph_unwindow(Graph *g, ValueId x, AxisId out, AxisId offset, AxisId to, int64_t stride, int64_t left);
ValueId graph_take(Graph *g, ValueId x, ValueId index, AxisId axis);
ValueId graph_put_add(Graph *g, ValueId dy, ValueId index, const AxisId *over, size_t n, AxisId to);
ValueId graph_put(Graph *g, ValueId x, ValueId index, ValueId y, AxisId axis);
ValueId graph_topk(Graph *g, ValueId x, AxisId axis, AxisId to);
ValueId graph_rank(Graph *g, ValueId x, const AxisId *over, size_t n);
ValueId graph_slot(Graph *g, ValueId i, ValueId turn, AxisId axis, const AxisId *over, size_t n);    // turn 0: none
ValueId graph_assign(Graph *g, ValueId x, AxisId axis, const AxisId *over, size_t n);

// Types
Type    type_make(DType dtype, const AxisId *axes, size_t n);
bool    type_has(const Type *type, AxisId axis);
int     type_find(const Type *type, AxisId axis);                 // position, or -1
bool    type_equal(const Type *a, const Type *b);                 // same order too
bool    type_same_axes(const Type *a, const Type *b);             // as sets; dtype too
// Number of elements; false when the product overflows.
bool    type_count(const Graph *g, const Type *type, int64_t *out_count);
bool    type_bytes(const Graph *g, const Type *type, size_t *out_bytes);
void    type_print(const Graph *g, const Type *type, Text *out);  // f32[B,T,D]

// Equal: same axes, nodes, outputs (spans, hints and layers aside).
bool    graph_equal(const Graph *a, const Graph *b);

// Text form: print(parse(print(g))) == print(g) byte for byte.
void    graph_print(const Graph *g, Text *out);
// Reads one graph. Reports in diag and returns NULL when the text is not a legal graph.
Graph  *graph_parse(Arena *arena, Diag *diag, const Sources *sources, uint32_t file);

// The written spec of a legal graph. Reports every breach (these are our bugs, so by node id) and returns false.
bool    graph_verify(const Graph *g, Diag *diag);

#endif
