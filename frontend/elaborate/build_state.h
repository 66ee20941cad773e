// What the files build*.c share: the state of one elaboration. A model is elaborated by walking its tree once for each
// use of a layer, emitting nodes into one graph; `init` and `main` are cut out of it at the end (build_finish.c).
//
// Rule of errors: report() prints one message per place and code, however often a layer is used, and answers VAL_ERROR
// or 0, which everything else passes on in silence.
#ifndef MIXC_BUILD_STATE_H
#define MIXC_BUILD_STATE_H

#include "build.h"
#include "scope.h"
#include "sizes.h"

typedef struct AxisList { size_t n; AxisId id[MAX_AXES]; } AxisList;

typedef enum ValKind { VAL_ERROR, VAL_NUMBER, VAL_TENSOR, VAL_TEXT, VAL_FIELD, VAL_ROUTING, VAL_SEVERAL } ValKind;

typedef struct Routing Routing;             // build_route.h

typedef struct DataField {                  // a name in the loss that the data section fills; typed by its first use
    const char *name;
    ValueId     id;                         // 0: no use yet
    Span        at;
} DataField;

typedef struct Val Val;
struct Val {
    ValKind     kind;
    bool        free;                       // made of index(..) and constants only: broadcasts freely
    bool        may_be_empty;               // a mask that may hide a whole row
    bool        softmaxed;
    Number      number;
    ValueId     id;                         // tensor
    const char *text;                       // text
    DataField  *field;
    Routing    *routing;
    Val        *item;                       // several results of a layer
    size_t      n_items;
};

typedef struct Scope Scope;
typedef struct Layer Layer;
typedef struct Frame Frame;
typedef struct ParamInfo ParamInfo;

typedef struct LayerUse {                   // LN[W, eps=1e-12] before the call: a layer with its statics, or an instance
    Layer      *layer;
    const Sel  *statics;
    Scope      *statics_scope;              // where they are read
    const char *path;                       // of a declared instance; NULL: the call makes one
    Frame      *owner;                      // of the declared instance
} LayerUse;

typedef enum SymbolKind { SYM_AXIS, SYM_LAZY_AXIS, SYM_LAZY_CONST, SYM_VALUE, SYM_LAYER, SYM_INSTANCE } SymbolKind;

typedef struct Symbol {
    SymbolKind  kind;
    const char *name;
    Span        at;
    AxisId      axis;
    Val         val;
    Layer      *layer;
    LayerUse   *instance;
    const AxisDecl *axis_decl;              // lazy
    const Expr *value;                      // lazy
    bool        evaluating;
    bool        is_index;                   // of a repeat
    bool        is_param;
    bool        is_used;                    // came by `use`: the file may declare the name itself
    ParamInfo  *param;
} Symbol;

struct Scope {
    Scope      *parent;
    Map         map;                        // name -> Symbol
    Routing    *route;                      // the body of a route: values from outside are read at the choice
    bool        is_repeat;
};

struct Layer {
    const LayerDecl *decl;
    Scope      *scope;                      // the file it stands in
    Map         ordinal;                    // call site or param -> its number among equals in text order
    Map         mentioned;                  // every name that the body reads, in any mode
    bool        is_scanned, is_library, is_called;
};

typedef struct Space {                      // where names of parameters live: a layer instance or one turn of a repeat
    const struct Space *parent;
    const char *repeat;                     // index name; NULL: the instance itself
    const char *part;                       // "l3"
    const char *path;                       // "GPT.l3"
} Space;

struct Frame {                              // one use of a layer
    Frame      *caller;
    Layer      *layer;
    const char *path;
    Scope      *scope;                      // statics, inputs, twins
    Space      *space;
    AxisList    rest;                       // what `..` stands for
    bool        has_rest;
    AxisId      held[64]; size_t n_held;    // axes that came in or are taken by another name here
    Map         own_axes;                   // declared in its bodies: place and size -> AxisId
    AxisList    per_expert;                 // inside a route: parameters get one copy per expert
    Val        *result;
    bool       *has_result;
    Span       *result_at;                  // of the yield
    size_t      n_results;
    Val        *route_yield;                // inside the body of a route
    bool        route_has_yield;
};

typedef struct AxisInfo {
    const char *name;                       // the user's
    Span        at;
    AxisId      root; unsigned primes;      // T'' is (T, 2)
    bool        ranged; int64_t low, high;  // on the root
    AxisList    made_of;                    // axes that the size was written with: T in `axis P = T + 1`
} AxisInfo;

struct ParamInfo {
    const char *path;
    const ParamDecl *decl;
    ParamRole   role;
    Type        type;                       // as stored
    ValueId     leaf, init, read;
    double      lr, decay, trust;
    AxisId      lower_row, lower_col;
    ValueId     next;                       // states
    Span        next_at;
};

typedef struct Term {                       // penalty or watch
    OutputRole  role;
    const char *name;
    ValueId     id;
    const char *key;                        // path and statement: a pooled penalty counts once
} Term;

typedef struct Pool {                       // pooled(x): one place in one instance
    const char *key;
    ValueId    *stand_in, *value; size_t n, capacity;
    ValueId     mean;
} Pool;

typedef struct Build {
    Arena      *arena;
    Diag       *diag;
    Sources    *sources;
    const BuildOptions *options;
    const Ast  *ast;
    ModeName    mode;
    bool        at_low;                     // ranged axes at their lower bound
    bool        at_high;                    // ranged axes at their upper bound, whatever was bound: initial values
    Graph      *g;                          // everything
    Module     *module;
    AxisInfo   *axis;     size_t axis_capacity;   // by AxisId
    Map         twin;                       // "root#level" -> AxisId
    Scope      *file_scope;
    Scope      *scope;                      // current
    Frame      *frame;                      // current; NULL at file level
    Map        *reported;                   // shared by the elaborations of one build: place and code
    Map         library;                    // std name -> Scope
    Map        *library_trees;              // std name -> Ast; shared
    Map         param_by_path;
    ParamInfo **param;    size_t n_params, param_capacity;
    Map         uses;                       // counters by name
    Map         streams;
    Term       *term;     size_t n_terms, term_capacity;
    Map         pool_by_key;
    Pool      **pool;     size_t n_pools, pool_capacity;
    Symbol    **item;     size_t n_items, item_capacity;   // file-level axes and constants in order
    Layer     **layer;    size_t n_layers, layer_capacity; // of the user's file
    const Section *size;
    Layer      *entry;
    Frame      *entry_frame;
    Scope      *loss_scope;                 // the inputs of the entry
    Map        *binding_texts;              // text -> Expr; shared
    ValueId     seed, step;
    double      dropout_factor;             // NaN: as written; else every rate (0: off)
    bool        noise_off;
    struct Init *init;                      // the initialiser being read; NULL: none
    bool        in_loss;                    // unknown names are data fields
    Map         fields;                     // name -> DataField
    Val         aux;                        // number 0 when there is none
    bool        aux_read;
    size_t      n_turns;                    // statements run; a bound keeps small texts from growing without end
    bool        is_stopped;                 // by that bound
    bool        in_pooled;
    Routing    *routing;                    // in the body of a route, layers called there included; else NULL
} Build;

// build_report.c
bool report(Build *b, Span at, const char *code, const char *format, ...) __attribute__((format(printf, 4, 5)));
bool report_warning(Build *b, Span at, const char *code, const char *format, ...) __attribute__((format(printf, 4, 5)));
void label_axes(Build *b, Span at, Val v);  // the operand's axes under it
const char *axes_text(Build *b, Val v);     // [B,T,H,K]
const char *list_text(Build *b, const AxisList *axes);
const char *near_name(Build *b, const char *name, bool (*fits)(const Symbol *));   // NULL: none close
uint32_t line_of(Build *b, Span at);
const char *source_text(Build *b, Span at); // the words at a place

// build_axes.c
Scope  *scope_make(Build *b, Scope *parent);
Symbol *scope_add(Build *b, Scope *scope, SymbolKind kind, const char *name, Span at);
Symbol *scope_here(const Scope *scope, const char *name);
Symbol *scope_find(const Scope *scope, const char *name, bool *out_outside);    // found outside the body of a route; may be NULL
AxisId  axis_find(Build *b, const char *name, Span at, bool of_formal);   // reports E0102; 0 then
AxisId  axis_quiet(Build *b, const char *name);           // 0: none
AxisId  axis_make(Build *b, const char *name, AxisKind kind, int64_t size, Span at);
AxisId  axis_beside(Build *b, const char *name, AxisKind kind, int64_t size, Span at, const AxisList *avoid);
AxisId  axis_twin(Build *b, AxisId base, unsigned primes, bool of_formal);
AxisId  axis_stored(Build *b, AxisId axis);               // at the upper bound of a ranged axis
void    axis_declare(Build *b, const AxisDecl *decl);     // one, in the current scope
AxisId  axis_force(Build *b, Symbol *lazy);
bool    axes_read(Build *b, const Expr *e, AxisList *out);                // H*K, a list of names
bool    axes_names(Build *b, const Name *names, AxisList *out);           // dims of a type; `..` = the frame's rest
bool    axes_has(const AxisList *list, AxisId axis);
void    axes_add(AxisList *list, AxisId axis);            // once
void    frame_hold(Frame *f, AxisId axis);
const AxisList *axes_of(Build *b, Val v, AxisList *out);
int64_t axis_size(Build *b, AxisId axis);
const char *axis_name(Build *b, AxisId axis);

// build_expr.c
Val     value_of(Build *b, const Expr *e);
Val     value_of_tensor(Build *b, const Expr *e);             // a number becomes a scalar; else as eval
bool    value_of_number(Build *b, const Expr *e, Number *out);
Number  const_force(Build *b, Symbol *lazy, bool *out_ok);
Val     val_tensor(ValueId id, bool is_free);
Val     val_number(Number n);
Val     val_error(void);
DType   val_dtype(Build *b, Val v);
Val     to_dtype(Build *b, Val v, DType dtype);
Val     to_float(Build *b, Val v);
Val     binary_op(Build *b, const Expr *e, BinaryOp op, Val x, Val y);
Val     combine(Build *b, const Expr *e, Op op, Val x, Val y);            // one element type, axes checked
bool    fits_elementwise(Build *b, const Expr *e, Val x, Val y);
Val     field_as(Build *b, Val field, DType dtype, const AxisList *axes);
bool    name_is_taken(Build *b, const char *name, Span at);              // reports E0104
ValueId spread(Build *b, ValueId x, const AxisId *to, size_t n);         // to exactly these axes; x itself if it has them
Val     stand_in(Build *b, DType dtype, const AxisList *axes);            // count_only: a value of that type

// build_select.c
Val     value_of_select(Build *b, const Expr *e);
Val     value_of_method(Build *b, const Expr *e);             // a call whose callee is a field
Val     value_of_field(Build *b, const Expr *e);

// build_call.c
Val     value_of_call(Build *b, const Expr *e);
const Arg *call_arg(const Expr *e, size_t i);             // i-th positional; NULL
const Arg *call_named(const Expr *e, const char *name);   // NULL
bool    call_over(Build *b, const Expr *e, Val x, AxisList *out);         // over=..; reports when absent
bool    call_number(Build *b, const Expr *e, const char *name, double fallback, double *out);
const char *call_word(const Arg *arg);                    // a bare name; NULL

// build_layer.c
bool    layer_find(Build *b, const Expr *callee, LayerUse *out);          // a layer or an instance is called
Val     layer_call(Build *b, const Expr *e, const LayerUse *use);
bool    layer_entry(Build *b, Layer *layer, Val *out_results);

// build_path.c
void    layer_scan(Build *b, Layer *layer);               // before its first use
const char *site_path(Build *b, const void *site, const char *name, const Name *tied_over);

// build_stmt.c
void    run_body(Build *b, const Stmt *body);
bool    mode_active(const Build *b, ModeName mode);
ModeName mode_named(const char *text);

// build_param.c
void    declare_params(Build *b, const Stmt *stmt);
void    add_term(Build *b, const char *name, const char *key, ValueId id);   // to `aux`, in training
void    assign_next(Build *b, const Stmt *stmt);
int64_t stream_of(Build *b, const char *key);
ValueId random_uniform(Build *b, ValueId step, const char *key, const Type *type);
ValueId seed_value(Build *b);
ValueId step_value(Build *b);

// build_init.c
// The first value of a parameter, of exactly the stored type; 0 after an error.
ValueId init_value(Build *b, const Expr *e, const char *path, const Type *type);
bool    init_call(Build *b, const Expr *e, Val *out);     // a name or call from inits.def, inside an initialiser

// build_route.c
Val     value_of_route(Build *b, const Route *r);
Val     route_read(Build *b, Val v);        // a value as the body of a route sees it
bool    route_hides(const Build *b, AxisId axis);

// build_balance.c
Val     routing_field(Build *b, const Expr *e, const Routing *r);

// build_nn.c
// The mean of x over all uses of the instance; `key` names the place.
ValueId pooled_value(Build *b, ValueId x, const char *key);

// build_finish.c
void    build_outputs(Build *b, const Val *results);      // before the loss, which reads aux
bool    build_cut(Build *b, Build *init_from);

// build_keys.c
void    check_section_keys(Build *b);
void    check_fields(Build *b, const Section *s, const char *section, const Field *field, size_t n);

// build_train.c
void    build_sections(Build *b);
void    build_loss(Build *b, const Val *results);
const Section *section_find(const Build *b, SectionKind kind, const char *name);
const Binding *binding_find(Build *b, const char *name);
const Expr *binding_expr(Build *b, const char *text);     // NULL: not an expression

#endif
