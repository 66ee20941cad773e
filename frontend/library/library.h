// A model as a C library: `mixc build`. The forward program, and the training step if wanted, become C files with the plan and
// the launches as static tables, a launcher (launch*.inc) and the pool of threads of the runtime; the system's compiler makes
// libNAME.a and libNAME.so of them. What comes out needs the C library and nothing of ours.
//
//     program --units--> NAME_kernels_1.c ..          tables + launch.inc + pool_core.inc --> NAME.c        NAME.h
//                        \------------------ compiler_library ------------------------/
#ifndef MIXC_LIBRARY_H
#define MIXC_LIBRARY_H

#include "engine.h"

typedef struct LibraryJob {
    Engine       *engine;                   // of the device cpu; borrowed, like everything here
    const Module *forward;
    const Module *step;                     // of mode train, with the loss; NULL: no training
    bool          by_steps;                 // texts as well, token by token, where the model can be run so; not with `step`
    const char   *model, *file;             // what to call it in comments: "GPT", "models/gpt.mix"
    const char   *folder, *name;            // FOLDER/NAME.h, FOLDER/libNAME.a, ..; a C identifier
    const char   *weights;                  // a checkpoint whose values become part of the library; NULL: none
    bool          initial;                  // the model's initial values instead
    uint32_t      seed;                     // of those
    bool          with_sources;             // keep the C files
    const char   *march;                    // compile for this processor; NULL: the one we run on
} LibraryJob;

typedef struct LibraryDone {
    const char  *header, *archive, *shared; // paths
    const char **source; size_t n_sources;  // with_sources
    size_t       memory_bytes;              // of an instance
    size_t       n_weights;
    bool         has_texts;
    const char  *no_steps;                  // by_steps: why there are none; NULL: there are
} LibraryDone;

// Everything is in `arena`. Errors: BAD_MODEL when diag holds the errors; those of compiler_library and checkpoint_load.
Status library_write(Arena *arena, Diag *diag, const LibraryJob *job, LibraryDone *out_done, StatusText *why);

// May a library be called that? Letters, digits and `_`, no digit first, no name that C or the C library keeps for itself.
bool   library_name_ok(const char *name);

#endif
