// What the files of library.h share: a library before it is text.
#ifndef MIXC_LIBRARY_PARTS_H
#define MIXC_LIBRARY_PARTS_H

#include "library.h"
#include "text.h"

typedef struct LibraryPort {                // an input or a result
    const char *id;                         // the end of its functions' names: gpt_set_ID
    const char *name;                       // "tokens"; "output.logits"
    uint32_t    buffer;
    int64_t     least, limit;
    const char *axis;                       // that its numbers index; NULL: none
} LibraryPort;

typedef struct LibraryPart {                // a program
    const char    *prefix;                  // "", "train_", "next_" or "block_"
    const Program *program;
    size_t        *at;                      // [n_buffers] bytes from the start of an instance's memory
    LibraryPort   *input;  size_t n_inputs;     // without the scalars of the host
    LibraryPort   *result; size_t n_results;
} LibraryPart;

typedef struct LibraryWeight {
    const char   *name;                     // "param.GPT.Wte"
    const Buffer *buffer;
    size_t        at, embedded;             // offsets: in the memory, in the embedded values
    bool          is_needed;                // of the forward program
} LibraryWeight;

// Token by token: the program `next` goes on from what the forward program, or next itself, has left in the caches
// (passes/incremental.c). A text has caches of its own.
typedef struct LibrarySteps {
    const LibraryPart *next, *block;        // NULL: none; block: to be run after every n_block positions
    LibraryPort token, score;               // of the forward program: int[B, T], float[B, T, V]
    LibraryPort next_token, next_score;     // of next: int[B, 1], float[B, 1, V]
    int64_t     rows, window, n_scores, n_block;
    int64_t     most_steps;                 // generate_most_steps
    struct LibraryCache { const char *name; size_t at, bytes; } *cache;     // at: bytes from the start of an instance's memory
    size_t      n_caches;
} LibrarySteps;

typedef struct Library {
    Arena            *arena;
    const LibraryJob *job;
    const char       *upper;                // NAME in capitals
    LibraryPart       part[3];              // forward; then the training step, or `next` and `block`
    int               n_parts;
    const LibraryPart *train;               // NULL: none
    LibrarySteps      steps;
    LibraryWeight    *weight; size_t n_weights;
    size_t            memory_bytes, scratch_bytes, embedded_bytes;
    unsigned char    *embedded;             // values of all weights, as the device keeps them; NULL: none
} Library;

int64_t     library_count(const Buffer *b);                      // elements
// "int32[B = 1, T = 64]"
void        library_shape(Text *out, const Buffer *b);
// "GPT_TOKENS_COUNT" for part, port
const char *library_count_name(const Library *l, const LibraryPart *part, const LibraryPort *port);
// A C string literal.
void        library_quote(Text *out, const char *text);

// The program of `next` or `block`, to lie beside the forward one. NULL after an error in diag, or where *out_why says why there is none.
const Program *library_next_program(const Library *l, Diag *diag, const char *graph, const char **out_why);
// Fills in l->steps once all parts have their places. False: the model has other inputs than its tokens.
bool           library_find_steps(Library *l);
bool           library_is_cache(const Buffer *b);

void library_header(const Library *l, Text *out);                // NAME.h
void library_main(const Library *l, Text *out);                  // NAME.c
// NAME_kernels_N.c of a part: `text` is a unit's (units_text), whose kernels get the library's prefix. `with_check`: it also has
// the function that compares the processor with the one it was compiled for.
void library_kernels(const Library *l, const LibraryPart *part, const char *text, bool with_check, Text *out);

#endif
