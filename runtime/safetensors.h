// Files of named tensors in the safetensors format:
//
//   header bytes u64 (little endian) | header: JSON, may end in spaces | data, fully covered by the tensors
//
// The reader takes nothing on trust and reads tensors one at a time, so a file larger than memory is no problem. The
// writer leaves either the old file or the whole new one, whatever happens.
#ifndef MIXC_SAFETENSORS_H
#define MIXC_SAFETENSORS_H

#include "graph.h"
#include "status.h"

typedef enum StDType {
#define ST(id, bits) ST_##id,
#include "st_dtypes.def"
#undef ST
    ST_COUNT
} StDType;
extern const char *const st_dtype_text[ST_COUNT];

typedef struct StTensor {
    const char *name;
    StDType     dtype;
    size_t      n_dims;
    int64_t    *size;                       // n_dims long, row-major
    int64_t     count;                      // elements
    size_t      bytes, offset;              // of its data; offset from the start of the data part
    int64_t     first;                      // of a part (st_part): its first element's number in the whole
} StTensor;

typedef struct StMeta {
    const char *key, *value;
} StMeta;

typedef struct Safetensors {
    const char *path;                       // for messages
    StTensor   *tensor; size_t n_tensors;   // in the order of the header
    StTensor  **by_name;                    // the same, sorted
    StMeta     *meta;   size_t n_meta;
    size_t      data_bytes, data_start;
    int         fd;                         // -1: the file is in memory
    const unsigned char *memory;            // borrowed
} Safetensors;

// Opens a file; st_close gives the descriptor back, the rest lives in the arena. Fails with IO or DAMAGED.
Status st_open(Arena *arena, const char *path, Safetensors *out, StatusText *why);
// The same for a file in memory, which must outlive `out`; `path` is for messages.
Status st_open_memory(Arena *arena, const char *path, const void *data, size_t n, Safetensors *out, StatusText *why);
void   st_close(Safetensors *st);

const StTensor *st_find(const Safetensors *st, const char *name);     // NULL: none
const char     *st_meta(const Safetensors *st, const char *key);      // NULL: none

// Reads a tensor's bytes, or its numbers as f32, double or int (all elements, row-major). bf16 and f16 are widened exactly;
// i64 to i32 and floats to ints fail (DAMAGED) when a value does not fit or is not whole.
Status st_read_raw(const Safetensors *st, const StTensor *t, void *out, StatusText *why);
Status st_read_f32(const Safetensors *st, const StTensor *t, float *out, StatusText *why);
Status st_read_f64(const Safetensors *st, const StTensor *t, double *out, StatusText *why);
Status st_read_i32(const Safetensors *st, const StTensor *t, int32_t *out, StatusText *why);
// In the storage of one of our element types.
Status st_read_as(const Safetensors *st, const StTensor *t, DType dtype, void *out, StatusText *why);

// Elements first .. first+n-1 of a tensor (within it), as a tensor of their own for the readers above: a large one in pieces.
StTensor st_part(const StTensor *t, int64_t first, int64_t n);

// The format's word for one of our element types.
StDType st_dtype_of(DType dtype);

// The value of a bfloat16, and the nearest bfloat16 (ties to even, NaN stays NaN).
float    st_from_bf16(uint16_t bits);
uint16_t st_to_bf16(float value);

// Writing. Names must differ; `data` may be NULL with st_write_begin, whose caller hands the data over in order.
typedef struct StSource {
    const char    *name;
    StDType        dtype;
    size_t         n_dims;
    const int64_t *size;
    const void    *data;
} StSource;

typedef struct StWriter StWriter;

// Writes everything at once: temporary file beside `path`, fsync, rename, fsync of the folder.
Status st_write(const char *path, const StSource *source, size_t n, const StMeta *meta, size_t n_meta, StatusText *why);

// The same in steps, for data that need not be in memory together. After st_write_begin succeeded hand the data of all
// tensors to st_write_data, in order, in pieces of any size; then call st_write_end, which takes over the writer whatever
// happens; with `keep` false, or after a failure, the old file stays as it was.
Status st_write_begin(const char *path, const StSource *source, size_t n, const StMeta *meta, size_t n_meta,
                      StWriter **out_writer, StatusText *why);
Status st_write_data(StWriter *writer, const void *data, size_t bytes, StatusText *why);
Status st_write_end(StWriter *writer, bool keep, StatusText *why);

#endif
