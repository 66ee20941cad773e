// The emitter: the text of one kernel while it is written.
//
// A kernel's text is a tree of scopes (the function, loops, blocks). `emit_value` writes the computation of one element
// of a graph value, recursively through everything that is not stored: views become index arithmetic, element-wise ops
// become expressions, reductions become loops. Each value is written into the outermost scope whose loop variables
// determine it, and once: so that a mean is computed per row, not per element, without anybody planning it.
//
// At most one loop variable in force is the lane variable: values that depend on it are vectors of `lanes` floats (C
// dialect). In CUDA every value is a scalar and lanes are threads.
//
//     E = emitter_make(...)                      Scope *row = scope_loop(E, E->top, "t", 0, T, 1, &t);
//     Env env = env_of(E, v); set its indices    Scope *lane = scope_lanes(E, row, "d", 0, D, &d);
//     Val x = emit_value(E, lane, v, &env);      emit_store(E, lane, v, &env, x);
//     scope_close(E, lane); scope_close(E, row); text = emitter_text(E)
#ifndef MIXC_EMITTER_H
#define MIXC_EMITTER_H

#include "graph.h"
#include "index.h"
#include "target.h"

typedef enum Dialect { DIALECT_C, DIALECT_CUDA } Dialect;

// The value counts where lo <= e < hi and, when by > 1, by divides e. Elsewhere it is 0.
typedef struct Guard {
    Ix      e;
    int32_t by;
    int64_t lo, hi;
} Guard;

enum { MAX_GUARDS = 8 };

// Where in a value: an index for each of its axes.
typedef struct Env {
    uint8_t n, n_guards;
    bool    is_zero;                        // a guard never holds: the value is 0
    AxisId  axis[MAX_AXES];
    Ix      at[MAX_AXES];
    Guard   guard[MAX_GUARDS];
} Env;

typedef enum ValKind { VAL_FLOAT, VAL_INT, VAL_MASK } ValKind;   // MASK: vectors 0/-1 per lane, scalars 0/1

// How tightly the text binds, loosest first.
typedef enum Prec { PREC_COMPARE, PREC_SUM, PREC_PRODUCT, PREC_UNARY, PREC_ATOM } Prec;

typedef struct Val {
    const char *text;
    Prec        prec;
    ValKind     kind;
    bool        is_vector;
    bool        is_const;
    double      c;                          // is_const: its value
} Val;

typedef struct Scope Scope;

enum { EMIT_KEY = INT32_MAX };

typedef struct EmitParam {                  // a parameter of the kernel: a buffer
    ValueId     value;                      // whose elements it holds; 0: a workspace
    uint32_t    workspace;                  // which one, from 1; EMIT_KEY: not the value but the key of its random stream
    const char *name;                       // in the text
    DType       dtype;
    bool        is_written;
} EmitParam;

typedef struct Placed {                     // a value that an array of the kernel's own holds
    ValueId     value;
    const char *name;                       // in the text, of where its element 0 would be
} Placed;

typedef struct Turned {                     // a workspace that holds a read value with another axis innermost
    ValueId  value;
    AxisId   last;
    uint32_t workspace;
} Turned;

typedef struct Emitter {
    Arena        *arena;
    const Graph  *g;
    const Target *target;
    Dialect       dialect;
    int           vl;                       // lanes of a vector; 1 in CUDA
    IxTable      *ix;
    Scope        *top;                      // the function's body
    EmitParam    *param; size_t n_params, param_capacity;
    uint32_t     *n_uses;                   // [n_nodes] or NULL: readers of a value inside this kernel; 1 = no name
    uint32_t      kernel;                   // the kernel being written: its stored values are not loaded but computed,
    const ValueId *ready; size_t n_ready;   // except these, which an earlier launch has stored
    const Placed *placed; size_t n_placed;  // values that are stored to and loaded from there
    const Turned *turned; size_t n_turned;  // values that are loaded from there
    ValueId       stream;                   // C: a value larger than the caches, whose vectors go past them; 0: none
    bool          grid_loop;                // CUDA: a block takes every gridDim.x-th work item
    int           launch_threads;           // CUDA: the assembler is told so many; 0: it is not
    bool          by_warp;                  // CUDA: each warp is where it is for itself: its lanes share loops and reductions out, not the block's threads
    bool          one_by_one;               // CUDA: a thread does not take four elements at once
    size_t        scratch_floats;           // used so far, of the thread's scratch
    size_t        shared_floats;            // CUDA: of the block's shared memory
    struct { const char **name; size_t n, capacity; } names;
} Emitter;

Emitter *emitter_make(Arena *arena, const Graph *g, const Target *target, Dialect dialect, uint32_t kernel);

// A fresh C identifier made from `hint` (a model's name or NULL); T' becomes T_1. Never a keyword or a helper's name.
const char *emit_name(Emitter *E, const char *hint);

// The name of the buffer that holds `v`, or of its place in the kernel, adding the parameter when it is new. `v` 0: a workspace of its own.
const char *emit_param(Emitter *E, ValueId v, bool is_written);
// A workspace made by lower_workspace.
const char *emit_workspace(Emitter *E, uint32_t workspace, const char *hint, DType dtype, bool is_written);

// The key of a random value's stream.
const char *emit_key(Emitter *E, ValueId v);

// Scopes. A scope's text joins its parent's when it is closed; an empty loop leaves no trace.
//
// for (long NAME = lo; NAME < hi; NAME += step): an ordinary loop. The bounds may be text of run-time values; then
// lo_max and hi_max bound the variable for simplification.
Scope *scope_loop(Emitter *E, Scope *parent, const char *hint, int64_t lo, int64_t hi, int64_t step, Ix *out_var);
Scope *scope_loop_text(Emitter *E, Scope *parent, const char *hint, const char *lo, const char *hi, int64_t step,
                       int64_t least, int64_t most, Ix *out_var);
// The same as the lane loop: steps of E->vl from a multiple of it while whole vectors fit; the rest [hi - hi%vl, hi) is
// the caller's (a scope_loop with step 1). CUDA: threads stride over lo..hi, by four elements where these divide it, and there is no
// rest; scope_quads: the same between C texts that are multiples of four.
Scope *scope_lanes(Emitter *E, Scope *parent, const char *hint, int64_t lo, int64_t hi, Ix *out_var);
Scope *scope_quads(Emitter *E, Scope *parent, const char *hint, const char *first, const char *last, int64_t most, Ix *out_var);
// Any other block: `head` is a C line that opens it ("if (i < n) {" or "{").
Scope *scope_block(Emitter *E, Scope *parent, const char *head);
void   scope_close(Emitter *E, Scope *s);
// A line of C in the scope, indented; no newline needed.
void   scope_line(Scope *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
// A variable that somebody else's text declares in scope `s`, for use in indices. `multiple` divides it.
Ix     scope_var(Emitter *E, Scope *s, const char *name, int64_t lo, int64_t hi, int64_t multiple);
// CUDA: threads go through the scope each on its own, so that nothing in it may wait for the whole block. Returns s.
Scope *scope_set_threads(Scope *s);
// Makes an existing variable of scope s the lane variable there and below: vectors hold `lanes` values from it on.
void   scope_set_lane(Scope *s, Ix var, int lanes);
int    scope_lane_count(const Scope *s);

// Environments
Env  env_of(Emitter *E, ValueId v);                          // all indices 0
void env_set(Env *env, AxisId axis, Ix at);                  // axes that the value does not have are ignored
Ix   env_get(const Env *env, AxisId axis);                   // 0: none

// Writes what is needed to know element `env` of `v` and returns it. Its text is a name, a literal or an expression
// that is valid in scope `at` and below.
Val  emit_value(Emitter *E, Scope *at, ValueId v, const Env *env);
// From here on, in scope `at` and below, element `env` of `v` is `val` (a C name): nothing is emitted for it. This is
// how a product hands its accumulator to an epilogue.
void emit_bind(Emitter *E, Scope *at, ValueId v, const Env *env, Val val);
// Stores `val` to element `env` of v's buffer (a vector when the lane variable moves it by one, else lane by lane).
void emit_store(Emitter *E, Scope *at, ValueId v, const Env *env, Val val);

// Converts and combines
Val  val_const(Emitter *E, double c, ValKind kind);
Val  val_name(const char *name, ValKind kind, bool is_vector);
Val  val_float(Emitter *E, Val v);                           // masks and ints as floats
Val  val_vector(Emitter *E, Val v);                          // a vector of equal lanes when it was a scalar
Val  val_named(Emitter *E, Scope *at, Val v, const char *hint);   // declares a variable unless it is one or a literal
const char *val_text(Emitter *E, Val v, Prec at_least);      // in parentheses when it binds less tightly

// Position of element `env` in v's row-major buffer; the same with the axis `last` innermost.
Ix   emit_offset(Emitter *E, ValueId v, const Env *env);
Ix   emit_offset_turned(Emitter *E, ValueId v, const Env *env, AxisId last);

// The finished body. All scopes but the top must be closed.
const char *emitter_text(Emitter *E);

#endif
