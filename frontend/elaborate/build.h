// Syntax tree -> module: names, scopes, sizes, layer instances; every semantic error of the language.
#ifndef MIXC_BUILD_H
#define MIXC_BUILD_H

#include "ast.h"
#include "module.h"

typedef struct Binding {                    // NAME=VALUE from the command line, or an axis read off an input
    const char *name;                       // axis or constant; "train.batch", "data.source", ... for keys
    const char *value;                      // text of an expression
    bool        used;                       // set by the build; an unused one is reported by the caller
} Binding;

typedef struct BuildOptions {
    const char *entry;                      // layer or model; NULL: the file's model (the last one)
    const char *size;                       // `size` section; NULL: as written, the first fills what is left open
    ModeName    mode;
    bool        with_loss;                  // add OUTPUT_LOSS "train" from the train section (its data fields become ARGs)
    bool        check_only;                 // ranged axes: prove at both ends; no module needed by anyone
    bool        count_only;                 // parameters are wanted: what cannot be built yet is taken as a value of its type
    bool        with_routing_stats;         // add OUTPUT_WATCH route.N.load, .. for each of the module's routes
    Binding    *binding;
    size_t      n_bindings;
} BuildOptions;

// Returns NULL when there are errors (all in diag). `sources` receives the library files that are used.
Module *build_module(Arena *arena, Diag *diag, Sources *sources, const Ast *ast, const BuildOptions *options);

#endif
