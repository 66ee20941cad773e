// The parser of PTX text in three parts: the scanner (ptx_scan.c), instructions (ptx_operands.c), and everything around
// them (ptx_parse.c). After the first failure the scanner gives only the end of the text, so that nothing else has to look.
// Private to runtime/sim.
#ifndef MIXC_PTX_PARSER_H
#define MIXC_PTX_PARSER_H

#include "ptx.h"

typedef enum Token { TOKEN_END, TOKEN_NAME, TOKEN_NUMBER, TOKEN_STRING, TOKEN_MARK } Token;

typedef struct Label {
    const char *name;
    size_t      at;
} Label;

typedef struct Dynamic {                    // .extern .shared: it lies behind what a kernel declares
    const char *name;
    size_t      align;
} Dynamic;

typedef struct Parser {
    Arena      *arena;
    PtxModule  *module;
    PtxKernel  *kernel;
    StatusText *why;
    bool        failed;
    const char *s;                          // what follows the token
    uint32_t    line;                       // of the token
    Token       token;
    const char *text;                       // of the token, copied
    uint64_t    number;                     // the bits, of a literal
    bool        is_negative;
    uint32_t    file, source_line;          // of the last .loc
    Label      *label; size_t n_labels, label_capacity;
    const char **target; size_t target_capacity;    // of each instruction that jumps
    Dynamic    *dynamic; size_t n_dynamic, dynamic_capacity;
} Parser;

#define PUSH(p, array, n, capacity) \
    ((array) = arena_grow((p)->arena, (array), (n), &(capacity), sizeof *(array)), &(array)[(n)++])

// Records the first failure, at the token's line.
void parser_fail(Parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void parser_next(Parser *p);
bool parser_is(const Parser *p, const char *text);
bool parser_take(Parser *p, const char *text);         // true when it was there
void parser_expect(Parser *p, const char *text);
uint64_t    parser_number(Parser *p);
const char *parser_name(Parser *p);

// The width of the registers of a type, `.b32`; 0: unknown.
int  ptx_width(const char *type);
int  ptx_register_bytes(const PtxKernel *k, int32_t slot);
// Fills in where the ways that part at the kernel's jumps come together (PtxInsn.joins, begins).
void ptx_find_joins(Parser *p, PtxKernel *k);
// An instruction with its guard, up to its semicolon.
void ptx_parse_instruction(Parser *p);

#endif
