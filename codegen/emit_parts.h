// What the parts of the emitter share with each other and with nobody else.
#ifndef MIXC_EMIT_PARTS_H
#define MIXC_EMIT_PARTS_H

#include "emitter.h"
#include "prelude.h"
#include "text.h"

typedef struct Memo Memo;
struct Memo {
    ValueId value;
    Env     env;
    Val     val;
    Memo   *next;
};

enum { MEMO_BUCKETS = 16 };

struct Scope {
    Emitter    *emitter;
    Scope      *parent;
    Text        text;
    const char *head, *name;                // the line that opens it; the loop variable
    int         indent, depth, lanes;
    bool        is_loop, is_thread;         // is_thread: CUDA threads share this loop out
    bool        is_floor;                   // nothing is moved out of it: it reads what it has written
    uint64_t    mask;                       // the bit of `depth` when it has variables, else 0
    Ix          lane;                       // the lane variable in force; 0: none
    uint64_t    lane_bit;
    Scope      *quad;                       // CUDA: this loop goes through four elements side by side; the loop around it
    Ix          place;                      // quad: which of the four
    const char *place_name;
    const char **put; size_t n_puts, put_capacity;      // quad: stores of four elements at once, behind the loop
    Memo       *memo[MEMO_BUCKETS];
    const char **local; size_t n_locals, local_capacity;
};

const char *scope_name(Emitter *E, Scope *s, const char *hint);
void        scope_share(Emitter *E, Scope *s, const char *step);   // the loop advances by `step` instead
Scope      *scope_home(Scope *at, uint64_t deps);
uint64_t    env_deps(const Emitter *E, const Env *env);
Env         env_restrict(const Emitter *E, const Env *env, ValueId v);
bool        memo_find(const Scope *at, ValueId v, const Env *env, Val *out);
void        memo_add(Emitter *E, Scope *at, ValueId v, const Env *env, Val val);

// Whether `v` is in memory when the kernel starts: a leaf, stored by another kernel, or by an earlier launch of this one.
bool        emit_is_stored(const Emitter *E, ValueId v);

// CUDA: who shares loops out, as C text - the thread's number among them, and how many they are.
const char *emit_thread(const Emitter *E);
const char *emit_threads(const Emitter *E);

// An integer as the C text of a long: suffixed where an int would not do.
const char *render_long(Emitter *E, int64_t value);

// CUDA, in a loop over four elements: where they lie from a multiple of four on, 16 bytes are moved at once. emit_quad gives the first
// one's place, or NULL; emit_quad_put notes a line for behind the loop.
const char *emit_quad(Emitter *E, Scope *at, Ix offset);
void        emit_quad_put(Emitter *E, Scope *at, const char *line);

// The environment of operand 0 of a view, for element `env` of the view. `take` gives the index for OP_TAKE.
Env  view_operand(Emitter *E, ValueId view, const Env *env);

// Adds `lo <= e < hi, by divides e` to what must hold for the value to be other than 0.
void env_guard(Emitter *E, Env *env, Ix e, int64_t lo, int64_t hi, int64_t by);

// `val`, computed in place from what is 0 outside, made 0 where the guard that env has beyond its first `n_before` does not hold.
Val emit_zero_outside(Emitter *E, Scope *at, ValueId x, const Env *env, int n_before, Val val);

// Element `env` of the buffer of `v`.
Val  emit_load(Emitter *E, Scope *at, ValueId v, const Env *env);
// The guards of env as one condition. Vector conditions are masks.
Val  emit_guard(Emitter *E, Scope *at, const Env *env);

// A reduction or a product, as loops in `home`.
Val  emit_reduction(Emitter *E, Scope *home, ValueId v, const Env *env);
// The same over its axes without those in `done`, for which `env` gives an index.
Val  emit_reduction_part(Emitter *E, Scope *home, ValueId v, const Env *env, const AxisId *done, size_t n_done);
// Adds one number to an accumulator variable.
void emit_accumulate(Emitter *E, Scope *s, Red f, bool is_int, Val acc, Val x);
// The name of a loop over the axis: its own in lower case.
const char *loop_hint(Emitter *E, AxisId axis);

#endif
