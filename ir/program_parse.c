// Text -> program: recursive descent, one token ahead. Whatever is read has been checked: references, counts, and
// that every buffer is large enough for its sizes.
#include "checked.h"
#include "program.h"
#include "program_text.h"
#include "scan.h"

#include <math.h>
#include <string.h>

// Lines of `| text`, joined; `! text` is a last line without a newline.
static const char *read_block(Scan *s)
{
    Text text = text_make(s->arena);
    bool more = true;
    while (more && (scan_is(s, '|') || scan_is(s, '!'))) {
        more = scan_is(s, '|');
        const char *line = s->token.text.data + 1, *limit = s->data + s->n;
        line += line < limit && *line == ' ';
        const char *end = memchr(line, '\n', (size_t)(limit - line));
        if (!end)
            end = limit;
        if (memchr(line, 0, (size_t)(end - line))) {
            scan_fail(s, "a line of text may not hold a zero byte");
            return "";
        }
        text_add_n(&text, line, (size_t)(end - line));
        if (more)
            text_char(&text, '\n');
        s->at = (size_t)(end - s->data);
        scan_next(s);
    }
    return text_str(&text);
}

static bool read_word(Scan *s, const char *what, const char **out)
{
    return s->token.kind == TOKEN_STRING ? scan_string(s, what, out) : scan_name(s, what, out);
}

// Fields in a fixed order, absent when zero: `word number`.
static bool read_size(Scan *s, const char *word, size_t *out)
{
    return !scan_accept_word(s, word) || scan_size(s, word, out);
}

static bool read_i64(Scan *s, const char *word, int64_t *out)
{
    size_t value = 0;
    if (!read_size(s, word, &value))
        return false;
    *out = (int64_t)value;
    return true;
}

static bool read_double(Scan *s, const char *word, double *out)
{
    return !scan_accept_word(s, word) || scan_double(s, word, out);
}

// %N with 1 <= N < limit
static bool read_ref(Scan *s, const char *what, size_t limit, uint32_t *out)
{
    if (s->token.kind != TOKEN_VALUE || s->token.number == 0 || s->token.number >= limit)
        return scan_fail(s, "expected %s that is there", what);
    *out = s->token.number;
    scan_next(s);
    return true;
}

static bool read_number(Scan *s, size_t expected)
{
    if (s->token.kind != TOKEN_VALUE || s->token.number != expected)
        return scan_fail(s, "numbered in order: expected %%%zu", expected);
    scan_next(s);
    return true;
}

static bool read_sizes(Scan *s, Buffer *b)
{
    if (!scan_expect(s, '['))
        return false;
    while (!scan_is(s, ']')) {
        if (b->n_axes == MAX_AXES)
            return scan_fail(s, "more than %d axes", MAX_AXES);
        size_t size;
        if ((b->n_axes && !scan_expect(s, ',')) || !read_word(s, "an axis", &b->axis[b->n_axes]) ||
            !scan_expect(s, '=') || !scan_size(s, "the size", &size))
            return false;
        b->size[b->n_axes++] = (int64_t)size;
    }
    scan_next(s);
    return true;
}

static bool check_bytes(Scan *s, const Buffer *b)
{
    size_t needed = dtype_row[b->dtype].bytes, end;
    for (size_t i = 0; i < b->n_axes; i++)
        if (!checked_mul(needed, (size_t)b->size[i], &needed))
            return scan_fail(s, "the sizes of this buffer are too large");
    if (b->bytes < needed && b->n_axes)
        return scan_fail(s, "the buffer has %zu bytes, its sizes need %zu", b->bytes, needed);
    return checked_add(b->offset, b->bytes, &end) || scan_fail(s, "the buffer ends beyond all memory");
}

static bool read_dtype(Scan *s, DType *out)
{
    const char *dtypes[DTYPE_COUNT];
    size_t dtype;
    for (size_t i = 0; i < DTYPE_COUNT; i++)
        dtypes[i] = dtype_row[i].text;
    if (!scan_choice(s, "an element type", dtypes, DTYPE_COUNT, &dtype))
        return false;
    *out = (DType)dtype;
    return true;
}

static bool read_buffer(Scan *s, Program *p)
{
    Buffer b = {0};
    size_t kind;
    if (!read_number(s, p->n_buffers) || !scan_string(s, "the buffer's name", &b.name) || !scan_expect(s, ':') ||
        !scan_choice(s, "a kind of buffer", buffer_kind_text, BUFFER_KIND_COUNT, &kind) ||
        !read_dtype(s, &b.dtype) || !read_sizes(s, &b) ||
        !read_size(s, "bytes", &b.bytes) || !read_size(s, "offset", &b.offset) ||
        (scan_accept_word(s, "same") && !read_ref(s, "a buffer", UINT32_MAX, &b.same_as)) ||
        (scan_accept_word(s, "value") && !read_ref(s, "a value", UINT32_MAX, &b.value)))
        return false;
    b.kind = (BufferKind)kind;
    if (!check_bytes(s, &b))
        return false;
    program_add_buffer(p, b);
    return true;
}

static bool read_writes(Scan *s, uint32_t n_params, uint64_t *out)
{
    if (!scan_accept_word(s, "writes"))
        return true;
    if (!scan_expect(s, '['))
        return false;
    do {
        size_t bit;
        if (!scan_size(s, "a parameter's number", &bit))
            return false;
        if (bit >= n_params || bit >= 64)
            return scan_fail(s, "there is no parameter %zu", bit);
        *out |= (uint64_t)1 << bit;
    } while (scan_accept(s, ','));
    return scan_expect(s, ']');
}

// One of `word number`, where the number may be 0.
static bool read_count(Scan *s, const char *word, int64_t *out)
{
    size_t value = 0;
    if (!scan_expect_word(s, word) || !scan_size(s, word, &value))
        return false;
    *out = (int64_t)value;
    return true;
}

static bool read_param(Scan *s, const Kernel *k, uint32_t *out)
{
    size_t value = 0;
    if (!scan_size(s, "a parameter's number", &value))
        return false;
    *out = (uint32_t)value;
    return value < k->n_params || scan_fail(s, "there is no parameter %zu", value);
}

static bool read_place(Scan *s, const char *word, const Kernel *k, MatrixPlace *out)
{
    int64_t *const number[] = {&out->offset, &out->batch, &out->outer, &out->step};
    if (!scan_expect_word(s, word) || !scan_expect(s, '[') || !read_param(s, k, &out->param))
        return false;
    for (size_t i = 0; i < sizeof number / sizeof *number; i++) {
        size_t value = 0;
        if (!scan_expect(s, ',') || !scan_size(s, "a stride", &value))
            return false;
        *number[i] = (int64_t)value;
    }
    return scan_expect(s, ']');
}

static bool read_library(Scan *s, Program *p, Kernel *k)
{
    LibraryProduct *l = arena_new(p->arena, LibraryProduct);
    int64_t way = 0;
    if (!scan_accept_word(s, "library"))
        return true;
    k->library = l;
    if (!read_count(s, "way", &way) || !read_dtype(s, &l->type) || !read_dtype(s, &l->result) || !read_count(s, "batch", &l->batch)
        || !read_count(s, "rows", &l->rows) || !read_count(s, "cols", &l->cols) || !read_count(s, "sum", &l->sum)
        || !read_place(s, "a", k, &l->a) || !read_place(s, "b", k, &l->b) || !read_place(s, "y", k, &l->y) || !scan_expect_word(s, "work"))
        return false;
    l->way = (int32_t)way;
    return (way > 0 && way <= INT32_MAX) ? read_param(s, k, &l->work) : scan_fail(s, "ways are counted from 1");
}

// The pieces' elements; arguments are as many for each.
static bool read_sweep(Scan *s, Program *p, Kernel *k)
{
    int64_t own = 0, *count = NULL;
    size_t n = 0, capacity = 0;
    Sweep *sweep = arena_new(p->arena, Sweep);
    if (!scan_accept_word(s, "sweep"))
        return true;
    if (!read_count(s, "own", &own) || !read_count(s, "chunk", &sweep->chunk) || !scan_expect(s, '['))
        return false;
    do {
        size_t elements = 0;
        if (!scan_size(s, "a piece's elements", &elements))
            return false;
        count = arena_grow(p->arena, count, n, &capacity, sizeof *count);
        count[n++] = (int64_t)elements;
    } while (scan_accept(s, ','));
    if (own < 1 || own > UINT16_MAX || sweep->chunk < 1 || (size_t)own * n != k->n_params)
        return scan_fail(s, "%zu pieces of %lld parameters are not %u", n, (long long)own, k->n_params);
    sweep->n_own = (uint32_t)own;
    sweep->n_pieces = (uint32_t)n;
    sweep->count = count;
    k->sweep = sweep;
    return scan_expect(s, ']');
}

static bool read_kernel(Scan *s, Program *p)
{
    Kernel k = {0};
    size_t family, n_params = 0;
    if (!read_number(s, p->n_kernels) || !read_word(s, "the kernel's name", &k.name) || !scan_expect(s, ':') ||
        !scan_choice(s, "a family of kernels", kernel_family_text, FAMILY_COUNT, &family) ||
        !read_size(s, "params", &n_params))
        return false;
    if (n_params > UINT16_MAX)
        return scan_fail(s, "a kernel with %zu parameters", n_params);
    if (strpbrk(k.name, ".'") || !text_is_name(k.name))         // it is called by that name in C
        return scan_fail(s, "the kernel's name must be a C identifier");
    k.family = (KernelFamily)family;
    k.n_params = (uint32_t)n_params;
    if (!read_writes(s, k.n_params, &k.writes) || !read_size(s, "scratch", &k.scratch_bytes) ||
        !read_i64(s, "threads", &k.cuda_threads) || !read_i64(s, "shared", &k.cuda_shared_bytes) ||
        !read_i64(s, "dynamic", &k.cuda_dynamic_bytes) || !read_sweep(s, p, &k) || !read_library(s, p, &k))
        return false;
    k.text = read_block(s);
    if (scan_accept_word(s, "cuda"))
        k.cuda = read_block(s);
    if (s->failed)
        return false;
    program_add_kernel(p, k);
    return true;
}

static bool read_launch(Scan *s, Program *p)
{
    Launch l = {0};
    if (!read_ref(s, "a kernel", p->n_kernels, &l.kernel) || !scan_expect(s, '['))
        return false;
    uint32_t n = p->kernel[l.kernel].n_params;
    l.buffer = arena_array(p->arena, uint32_t, n);
    for (uint32_t i = 0; i < n; i++)
        if ((i && !scan_expect(s, ',')) || !read_ref(s, "a buffer", p->n_buffers, &l.buffer[i]))
            return false;
    if (!scan_expect(s, ']') || !read_i64(s, "work", &l.n_work) || !read_i64(s, "grain", &l.grain) ||
        !read_i64(s, "blocks", &l.cuda_blocks) || !read_double(s, "flops", &l.flops) ||
        !read_double(s, "bytes", &l.bytes) || (scan_accept_word(s, "layer") && !scan_string(s, "a layer", &l.layer)))
        return false;
    program_add_launch(p, l);
    return true;
}

static bool read_items(Scan *s, Program *p)
{
    for (;;) {
        bool ok;
        if (scan_accept_word(s, "buffer"))
            ok = read_buffer(s, p);
        else if (scan_accept_word(s, "kernel"))
            ok = read_kernel(s, p);
        else if (scan_accept_word(s, "launch"))
            ok = read_launch(s, p);
        else
            return scan_expect_word(s, "end") && (s->token.kind == TOKEN_END || scan_fail(s, "text after `end`"));
        if (!ok)
            return false;
    }
}

Program *program_parse(Arena *arena, Diag *diag, const Sources *sources, uint32_t file)
{
    Scan s = scan_make(arena, diag, sources, file);
    const char *name;
    if (!scan_expect_word(&s, "program") || !scan_string(&s, "the program's name", &name))
        return NULL;
    Program *p = program_make(arena, name);
    if (!read_size(&s, "arena", &p->arena_bytes) || !read_size(&s, "live", &p->live_peak_bytes) ||
        !read_size(&s, "once", &p->n_once))
        return NULL;
    if (!scan_expect_word(&s, "prelude"))
        return NULL;
    p->prelude = read_block(&s);
    if (!scan_expect_word(&s, "cuda_prelude"))
        return NULL;
    p->cuda_prelude = read_block(&s);
    if (!read_items(&s, p))
        return NULL;
    for (size_t i = 1; i < p->n_buffers; i++)
        if (p->buffer[i].same_as >= p->n_buffers) {
            diag_error(diag, (Span){file, 0, 0}, "E0915",
                       "buffer %%%zu shares the storage of a buffer that is not there", i);
            return NULL;
        }
    return s.failed ? NULL : p;
}
