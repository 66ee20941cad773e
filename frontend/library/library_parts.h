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
    const char    *prefix;                  // "" or "train_"
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

typedef struct Library {
    Arena            *arena;
    const LibraryJob *job;
    const char       *upper;                // NAME in capitals
    LibraryPart       part[2];              // forward, training step
    int               n_parts;
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

void library_header(const Library *l, Text *out);                // NAME.h
void library_main(const Library *l, Text *out);                  // NAME.c
// NAME_kernels_N.c of a part: `text` is a unit's (units_text), whose kernels get the library's prefix. `with_check`: it also has
// the function that compares the processor with the one it was compiled for.
void library_kernels(const Library *l, const LibraryPart *part, const char *text, bool with_check, Text *out);

#endif
