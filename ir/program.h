// A program: what the runtime executes. Buffers, kernels (texts), launches in order. Code generation writes it, the
// runtime reads it; neither knows the other. It has a text form, which is also the compiled file.
//
// A kernel in C is a function
//     void NAME(void *const *p, long begin, long end, void *scratch);
// p[i] is the buffer of the launch's i-th argument; the call computes work items begin <= w < end of the launch's
// n_work. Items are independent: any split over threads gives the same bits. scratch is 64-byte aligned, private to
// the thread, scratch_bytes long, its contents undefined on entry.
#ifndef MIXC_PROGRAM_H
#define MIXC_PROGRAM_H

#include "graph.h"

// States of this name are caches of generation: programs that lie beside each other share them, also those that write them.
#define CACHE_PREFIX "cache/"

typedef enum BufferKind {
    BUFFER_INPUT,                           // written by the host before a run (ARG)
    BUFFER_PARAM,                           // lives across runs (PARAM)
    BUFFER_STATE,                           // lives across runs (STATE)
    BUFFER_OUTPUT,                          // read by the host after a run
    BUFFER_TEMP,                            // lives between its first and last launch
    BUFFER_KEPT,                            // written by the launches before n_once, lives across runs
    BUFFER_KIND_COUNT
} BufferKind;

typedef struct Buffer {
    const char *name;                       // leaf or output name ("output.y"); for TEMP the hint
    BufferKind  kind;
    DType       dtype;
    uint8_t     n_axes;
    const char *axis[MAX_AXES];             // names and sizes, row-major
    int64_t     size[MAX_AXES];
    size_t      bytes, offset;              // offset into the arena, a multiple of 64; set by plan_memory
    uint32_t    same_as;                    // shares the storage of that buffer (a state updated in place); 0: none
    ValueId     value;                      // of the graph it came from; 0: a workspace
} Buffer;

// A matrix in an argument of a kernel: element (g, x, k) lies at offset + g*batch + x*outer + k*step, in elements. Of an operand of a product
// x is its row or column and k the term of the sum; of the result they are row and column. One of outer and step is 1.
typedef struct MatrixPlace {
    uint32_t    param;
    int64_t     offset, batch, outer, step;
} MatrixPlace;

// What a kernel says that computes y[g,i,j] = sum over k of a[g,i,k]*b[g,k,j] and nothing else, and that a measurement gave to a
// library (cuBLASLt). A device that has none, or whose library refuses, runs the kernel's own text.
typedef struct LibraryProduct {
    int32_t     way;                        // of those that the library offers, from 1 on
    DType       type, result;               // of both operands; of y
    int64_t     batch, rows, cols, sum;
    MatrixPlace a, b, y;
    uint32_t    work;                       // an argument that the library may use as it likes
} LibraryProduct;

// A kernel that does the same to many buffers, its pieces, in one launch. Its arguments are those of piece 0, then those of piece 1, .. A block of the
// CUDA text takes a chunk of a piece; it is NAME(void *const *p, const long *count, const int *at): all arguments, the pieces' elements, and
// a piece and the number of a chunk of it for each block, all of which the device keeps for each launch. A work item of the C text is a piece.
typedef struct Sweep {
    uint32_t    n_pieces, n_own;            // n_own: arguments of a piece
    int64_t     chunk;                      // elements
    const int64_t *count;                   // [n_pieces] elements
} Sweep;

typedef struct Kernel {
    const char *name;                       // C identifier, unique in the program
    KernelFamily family;
    const char *text;                       // C function(s), without the prelude
    const char *cuda;                       // the same for CUDA; NULL: none
    uint32_t    n_params;
    size_t      scratch_bytes;
    uint64_t    writes;                     // bit i: writes parameter i; of a sweep, of each piece's: program_writes
    uint64_t    c_ignores;                  // bit i: only the CUDA text reads parameter i; not in the text form
    int64_t     cuda_threads, cuda_shared_bytes;
    int64_t     cuda_dynamic_bytes;         // of `extern __shared__`, given at the launch; 0: none
    const LibraryProduct *library;          // NULL: its text is all there is
    const Sweep *sweep;                     // NULL: it is none
} Kernel;

typedef struct Launch {
    uint32_t    kernel;                     // index into Program.kernel
    uint32_t   *buffer;                     // n_params of it
    int64_t     n_work;                     // CPU work items
    int64_t     grain;                      // hand out at least so many at a time
    int64_t     cuda_blocks;
    double      flops, bytes;               // for reports
    Span        at;                         // the model line it computes
    const char *layer;
} Launch;

typedef struct Program {
    Arena      *arena;
    const char *name;
    const Sources *sources;                 // borrowed: what launches' spans point into; NULL: unknown
    const char *prelude, *cuda_prelude;     // helpers shared by all kernels of the program
    Buffer     *buffer; size_t n_buffers, buffer_capacity;    // buffer[0] is unused
    Kernel     *kernel; size_t n_kernels, kernel_capacity;
    Launch     *launch; size_t n_launches, launch_capacity;
    size_t      n_once;                     // so many launches come first and depend on parameters and states only: they
                                            // need to run again only when the host has written one
    size_t      arena_bytes;                // set by plan_memory
    size_t      live_peak_bytes;            // the largest live set: the lower bound
} Program;

Program *program_make(Arena *arena, const char *name);
uint32_t program_add_buffer(Program *p, Buffer buffer);
uint32_t program_add_kernel(Program *p, Kernel kernel);
void     program_add_launch(Program *p, Launch launch);
uint32_t program_find_buffer(const Program *p, BufferKind kind, const char *name);   // 0: none
// The first launch of a kernel; NULL: it is never launched.
const Launch *program_first_launch(const Program *p, size_t kernel);
// Whether the kernel writes its parameter `param`.
bool     program_writes(const Kernel *kernel, uint32_t param);
// The kernel's family, or "cublaslt" for a product that is left to that library: for reports.
const char *program_kernel_kind(const Kernel *kernel);
// The model's line of a launch and the name of its file, borrowed; 0: it is not known.
uint32_t program_place(const Program *p, const Launch *launch, const char **out_file);
// "models/gpt.mix:14", the model's line of a launch; "its line is not known" where it is not. Returns out.
const char *program_line(const Program *p, const Launch *launch, char *out, size_t room);

// The same program, packed into `arena`: what it was made of may go.
Program *program_copy(Arena *arena, const Program *p);

// Text form: print(parse(print(p))) == print(p) byte for byte.
void     program_print(const Program *p, Text *out);
Program *program_parse(Arena *arena, Diag *diag, const Sources *sources, uint32_t file);

#endif
