// See ptx.h. A scanner over the text and one function per construct. After the first failure the scanner gives only
// the end of the text, so that nothing else has to look.
#include "ptx.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum Token { TOKEN_END, TOKEN_NAME, TOKEN_NUMBER, TOKEN_STRING, TOKEN_MARK } Token;

typedef struct Label {
    const char *name;
    size_t      at;
} Label;

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
} Parser;

static const uint8_t type_bytes[] = {[TYPE_pred] = 1, [TYPE_u8] = 2, [TYPE_s8] = 2, [TYPE_u16] = 2, [TYPE_s16] = 2,
    [TYPE_u32] = 4, [TYPE_s32] = 4, [TYPE_f32] = 4, [TYPE_u64] = 8, [TYPE_s64] = 8, [TYPE_f64] = 8};

__attribute__((format(printf, 2, 3)))
static void fail(Parser *p, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!p->failed)
        status_fail(p->why, STATUS_INTERNAL, "%s:%u: %s", p->module->name, p->line, text);
    p->failed = true;
    p->token = TOKEN_END;
    p->text = "";
}

// --- the scanner

static void skip_space(Parser *p)
{
    for (;;) {
        if (*p->s == '\n')
            p->line++;
        if (*p->s == ' ' || *p->s == '\t' || *p->s == '\n' || *p->s == '\r')
            p->s++;
        else if (p->s[0] == '/' && p->s[1] == '/')
            p->s += strcspn(p->s, "\n");
        else if (p->s[0] == '/' && p->s[1] == '*') {
            const char *end = strstr(p->s + 2, "*/");
            for (end = end ? end + 2 : p->s + strlen(p->s); p->s < end; p->s++)
                p->line += *p->s == '\n';
        } else
            return;
    }
}

static bool is_name(const char *s)
{
    return (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || *s == '_' || *s == '$'
        || *s == '.' || *s == '%';
}

static void scan_number(Parser *p)
{
    char *end = NULL;
    p->token = TOKEN_NUMBER;
    p->is_negative = *p->s == '-';
    const char *s = p->s + p->is_negative;
    if (s[0] == '0' && (s[1] == 'f' || s[1] == 'F' || s[1] == 'd' || s[1] == 'D'))
        p->number = strtoull(s + 2, &end, 16);
    else
        p->number = strtoull(s, &end, 0);
    if (*end == 'U')
        end++;
    if (p->is_negative)
        p->number = 0 - p->number;
    p->s = end;
}

static void next(Parser *p)
{
    if (p->failed)
        return;
    skip_space(p);
    const char *from = p->s;
    p->text = "";
    if (!*from)
        p->token = TOKEN_END;
    else if ((*from >= '0' && *from <= '9') || (*from == '-' && from[1] >= '0' && from[1] <= '9'))
        scan_number(p);
    else if (is_name(from)) {
        while (is_name(p->s) || (p->s[0] == ':' && p->s[1] == ':'))
            p->s += *p->s == ':' ? 2 : 1;
        p->token = TOKEN_NAME;
        p->text = arena_strndup(p->arena, from, (size_t)(p->s - from));
    } else if (*from == '"') {
        size_t n = strcspn(from + 1, "\"\n");
        p->s = from + 1 + n + (from[1 + n] == '"');
        p->token = TOKEN_STRING;
        p->text = arena_strndup(p->arena, from + 1, n);
    } else {
        p->token = TOKEN_MARK;
        p->text = arena_strndup(p->arena, p->s++, 1);
    }
}

static bool is(const Parser *p, const char *text)
{
    return p->token != TOKEN_END && p->token != TOKEN_NUMBER && strcmp(p->text, text) == 0;
}

static bool take(Parser *p, const char *text)
{
    if (!is(p, text))
        return false;
    next(p);
    return true;
}

static void expect(Parser *p, const char *text)
{
    if (!take(p, text))
        fail(p, "expected `%s`, found `%s`", text, p->token == TOKEN_NUMBER ? "a number" : p->text);
}

static uint64_t take_number(Parser *p)
{
    uint64_t n = p->number;
    if (p->token != TOKEN_NUMBER)
        fail(p, "expected a number, found `%s`", p->text);
    next(p);
    return n;
}

static const char *take_name(Parser *p)
{
    const char *name = p->text;
    if (p->token != TOKEN_NAME)
        fail(p, "expected a name, found `%s`", p->text);
    next(p);
    return name;
}

// --- declarations

static int width_of_type(const char *type)
{
    static const struct { const char *name; int bytes; } width[] = {
        {".pred", 1}, {".b8", 1}, {".u8", 1}, {".s8", 1}, {".b16", 2}, {".u16", 2}, {".s16", 2}, {".f16", 2}, {".b32", 4}, {".u32", 4},
        {".s32", 4}, {".f32", 4}, {".b64", 8}, {".u64", 8}, {".s64", 8}, {".f64", 8}};
    for (size_t i = 0; i < sizeof width / sizeof *width; i++)
        if (strcmp(width[i].name, type) == 0)
            return width[i].bytes;
    return 0;
}

#define PUSH(p, array, n, capacity) \
    ((array) = arena_grow((p)->arena, (array), (n), &(capacity), sizeof *(array)), &(array)[(n)++])

static void parse_registers(Parser *p)
{
    PtxKernel *k = p->kernel;
    const char *type = take_name(p);
    int bytes = width_of_type(type);
    if (!bytes)
        fail(p, "registers of the unknown type `%s`", type);
    do {
        PtxRegs r = {.prefix = take_name(p), .bytes = bytes, .first = k->n_slots, .n = -1};
        int32_t n_slots = 1;
        if (take(p, "<")) {
            r.n = n_slots = (int32_t)take_number(p);
            expect(p, ">");
        }
        k->n_slots += n_slots;
        *PUSH(p, k->regs, k->n_regs, k->regs_capacity) = r;
    } while (take(p, ","));
    expect(p, ";");
}

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

// .align 4 .b8 name[512] - of the parameters, of shared or of local memory, whose size so far is *size.
static void parse_variable(Parser *p, PtxSpace space, size_t *size)
{
    PtxKernel *k = p->kernel;
    size_t align = 0;
    if (take(p, ".align"))
        align = (size_t)take_number(p);
    const char *type = take_name(p);
    size_t bytes = (size_t)width_of_type(type), count = 1;
    if (!bytes)
        fail(p, "a variable of the unknown type `%s`", type);
    if (align == 0)
        align = bytes ? bytes : 1;
    const char *name = take_name(p);
    if (take(p, "[")) {
        count = (size_t)take_number(p);
        expect(p, "]");
    }
    PtxSymbol s = {.name = name, .space = space, .offset = round_up(*size, align), .bytes = bytes * count};
    *size = s.offset + s.bytes;
    *PUSH(p, k->symbol, k->n_symbols, k->symbol_capacity) = s;
}

static void parse_loc(Parser *p)
{
    uint32_t line = p->line;
    p->file = (uint32_t)take_number(p);
    p->source_line = (uint32_t)take_number(p);
    while (p->token != TOKEN_END && p->line == line)       // the column; the place that it was inlined at
        next(p);
}

// --- operands

static const PtxSymbol *find_symbol(const PtxKernel *k, const char *name)
{
    for (size_t i = 0; i < k->n_symbols; i++)
        if (strcmp(k->symbol[i].name, name) == 0)
            return &k->symbol[i];
    return NULL;
}

static int32_t constant(Parser *p, uint64_t bits, int bytes)
{
    PtxKernel *k = p->kernel;
    bits &= bytes < 8 ? (UINT64_C(1) << 8 * bytes) - 1 : UINT64_MAX;
    if (bytes == 1)
        bits = bits != 0;
    for (size_t i = 0; i < k->n_constants; i++) {
        const Slot *c = &k->constant[i];
        uint64_t has = bytes == 8 ? c->u64[0] : bytes == 4 ? c->u32[0] : bytes == 2 ? c->u16[0] : c->pred[0];
        if (k->constant_bytes[i] == bytes && has == bits)
            return ~(int32_t)i;
    }
    size_t n = k->n_constants;
    *PUSH(p, k->constant_bytes, n, k->bytes_capacity) = (uint8_t)bytes;
    Slot *c = PUSH(p, k->constant, k->n_constants, k->constant_capacity);
    for (int lane = 0; lane < WARP_LANES; lane++)
        switch (bytes) {
        case 1: c->pred[lane] = (uint8_t)bits; break;
        case 2: c->u16[lane] = (uint16_t)bits; break;
        case 4: c->u32[lane] = (uint32_t)bits; break;
        default: c->u64[lane] = bits;
        }
    return ~(int32_t)(k->n_constants - 1);
}

static int32_t special(Parser *p, const char *name)
{
    static const char *const names[SPECIAL_COUNT] = {"%tid.x", "%tid.y", "%tid.z", "%ntid.x", "%ntid.y", "%ntid.z", "%ctaid.x",
        "%ctaid.y", "%ctaid.z", "%nctaid.x", "%nctaid.y", "%nctaid.z", "%laneid"};
    for (int i = 0; i < SPECIAL_COUNT; i++)
        if (strcmp(names[i], name) == 0) {
            if (p->kernel->special[i] == NO_REG)
                p->kernel->special[i] = p->kernel->n_slots++;
            return p->kernel->special[i];
        }
    return NO_REG;
}

// The slot of a register, which must be `bytes` wide, or at least so wide when `may_widen`.
static int32_t find_register(Parser *p, const char *name, int bytes, bool may_widen)
{
    const PtxKernel *k = p->kernel;
    for (size_t i = k->n_regs; i-- > 0;) {
        const PtxRegs *r = &k->regs[i];
        size_t n = strlen(r->prefix);
        long number = 0;
        if (r->n < 0 ? strcmp(r->prefix, name) != 0 : strncmp(r->prefix, name, n) != 0 || name[n] < '0' || name[n] > '9')
            continue;
        if (r->n >= 0)
            number = strtol(name + n, NULL, 10);
        if (number > 0 && number >= r->n)
            continue;
        if (r->bytes != bytes && !(may_widen && r->bytes > bytes))
            fail(p, "`%s` has %d bytes where %d are read or written", name, r->bytes, bytes);
        return r->first + (int32_t)number;
    }
    int32_t slot = special(p, name);
    if (slot == NO_REG)
        fail(p, "there is no register `%s`", name);
    else if (bytes != 4)
        fail(p, "`%s` has 4 bytes where %d are read", name, bytes);
    return slot;
}

static int register_bytes(const PtxKernel *k, int32_t slot)
{
    for (size_t i = 0; i < k->n_regs; i++)
        if (slot >= k->regs[i].first && slot < k->regs[i].first + (k->regs[i].n < 0 ? 1 : k->regs[i].n))
            return k->regs[i].bytes;
    return 4;                               // a special register
}

static int32_t parse_operand(Parser *p, int bytes, bool may_widen)
{
    if (p->token == TOKEN_NUMBER)
        return constant(p, take_number(p), bytes);
    const PtxSymbol *s = find_symbol(p->kernel, p->text);
    if (s) {
        next(p);
        return constant(p, s->offset, bytes);
    }
    const char *name = take_name(p);
    return find_register(p, name, bytes, may_widen);
}

// [%rd4+16], [name+4], [name]
static void parse_address(Parser *p, PtxInsn *i, PtxSpace space)
{
    expect(p, "[");
    i->reg[0] = NO_REG;
    const PtxSymbol *s = p->token == TOKEN_NAME ? find_symbol(p->kernel, p->text) : NULL;
    if (s) {
        if (s->space != space)
            fail(p, "`%s` does not lie in the space that is accessed", s->name);
        i->offset = (int64_t)s->offset;
        next(p);
    } else {
        const char *name = take_name(p);
        i->reg[0] = find_register(p, name, 4, true);
        i->is_narrow = register_bytes(p->kernel, i->reg[0]) == 4;
    }
    if (take(p, "+"))
        i->offset += (int64_t)take_number(p);
    expect(p, "]");
}

static void parse_values(Parser *p, PtxInsn *i, const PtxRow *row)
{
    if (row->n > 1)
        expect(p, "{");
    for (int v = 0; v < row->n; v++) {
        if (v)
            expect(p, ",");
        i->reg[1 + v] = parse_operand(p, type_bytes[row->type[0]], true);
    }
    if (row->n > 1)
        expect(p, "}");
}

// --- instructions

// n operands of the widths that are told.
static void parse_list(Parser *p, PtxInsn *i, const uint8_t *bytes, int n)
{
    for (int k = 0; k < n; k++) {
        if (k)
            expect(p, ",");
        i->reg[k] = parse_operand(p, bytes[k], false);
    }
}

static void parse_control(Parser *p, PtxInsn *i, const char **target)
{
    static const uint8_t bfi32[] = {4, 4, 4, 4, 4}, bfi64[] = {8, 8, 8, 4, 4}, shfl[] = {4, 4, 4, 4, 4}, ballot[] = {4, 1, 4},
                         vote[] = {1, 1, 4}, warp[] = {4};
    switch (i->form) {
    case FORM_bra: case FORM_bra_uni:
        *target = take_name(p);
        break;
    case FORM_bar_sync:
        if (take_number(p) != 0)
            fail(p, "only barrier 0, of all threads, is executed");
        break;
    case FORM_bfi_b32: parse_list(p, i, bfi32, 5); break;
    case FORM_bfi_b64: parse_list(p, i, bfi64, 5); break;
    case FORM_shfl_sync_bfly_b32: case FORM_shfl_sync_down_b32: case FORM_shfl_sync_up_b32: case FORM_shfl_sync_idx_b32:
        parse_list(p, i, shfl, 5);
        break;
    case FORM_vote_sync_ballot_b32: parse_list(p, i, ballot, 3); break;
    case FORM_vote_sync_any_pred: case FORM_vote_sync_all_pred: parse_list(p, i, vote, 3); break;
    case FORM_bar_warp_sync: parse_list(p, i, warp, 1); break;
    default: break;
    }
}

static void parse_operands(Parser *p, PtxInsn *i, const char **target)
{
    const PtxRow *row = &ptx_row[i->form];
    switch (row->kind) {
    case KIND_ALU: {
        uint8_t bytes[4] = {0};
        for (int k = 0; k < row->n; k++)
            bytes[k] = type_bytes[row->type[k]];
        parse_list(p, i, bytes, row->n);
        if (i->reg[0] < 0)
            fail(p, "the result of an instruction must be a register");
        break;
    }
    case KIND_LD:
    case KIND_ATOM:
        if (row->kind == KIND_LD)
            parse_values(p, i, row);
        else
            i->reg[1] = parse_operand(p, type_bytes[row->type[0]], false);
        for (int v = 0; v < (row->kind == KIND_LD ? row->n : 1); v++)
            if (i->reg[1 + v] < 0)
                fail(p, "the result of an instruction must be a register");
        expect(p, ",");
        parse_address(p, i, row->space);
        for (int v = 0; row->kind == KIND_ATOM && v < row->n; v++) {
            expect(p, ",");
            i->reg[2 + v] = parse_operand(p, type_bytes[row->type[0]], false);
        }
        break;
    case KIND_ST:
        parse_address(p, i, row->space);
        expect(p, ",");
        parse_values(p, i, row);
        break;
    case KIND_RED:
        parse_address(p, i, row->space);
        for (int v = 0; v < row->n; v++) {
            expect(p, ",");
            i->reg[2 + v] = parse_operand(p, type_bytes[row->type[0]], false);
        }
        break;
    case KIND_CONTROL:
        parse_control(p, i, target);
        break;
    }
}

static void parse_instruction(Parser *p)
{
    PtxKernel *k = p->kernel;
    PtxInsn i = {.guard = NO_REG, .line = p->line, .source_file = p->file, .source_line = p->source_line};
    for (int r = 0; r < 5; r++)
        i.reg[r] = NO_REG;
    if (take(p, "@")) {
        i.guard_not = take(p, "!");
        const char *name = take_name(p);
        i.guard = find_register(p, name, 1, false);
    }
    const char *opcode = take_name(p), *target = NULL;
    i.form = (uint16_t)ptx_find_form(opcode);
    if (p->failed)
        return;
    if (i.form == FORM_NONE) {
        fail(p, "the simulator does not know the instruction `%s`", opcode);
        return;
    }
    parse_operands(p, &i, &target);
    expect(p, ";");
    size_t n = k->n_insns;
    *PUSH(p, p->target, n, p->target_capacity) = target;
    *PUSH(p, k->insn, k->n_insns, k->insn_capacity) = i;
}

// NAME: - true when one was there.
static bool parse_label(Parser *p)
{
    const char *after = p->s;
    while (*after == ' ' || *after == '\t')
        after++;
    if (p->token != TOKEN_NAME || after[0] != ':' || after[1] == ':')
        return false;
    *PUSH(p, p->label, p->n_labels, p->label_capacity) = (Label){p->text, p->kernel->n_insns};
    next(p);
    next(p);
    return true;
}

static void resolve_branches(Parser *p)
{
    PtxKernel *k = p->kernel;
    for (size_t i = 0; i < k->n_insns; i++) {
        if (!p->target[i])
            continue;
        size_t l = 0;
        while (l < p->n_labels && strcmp(p->label[l].name, p->target[i]) != 0)
            l++;
        p->line = k->insn[i].line;
        if (l == p->n_labels)
            fail(p, "there is no label `%s`", p->target[i]);
        else
            k->insn[i].offset = (int64_t)p->label[l].at;
    }
}

static void parse_body(Parser *p)
{
    for (int depth = 1; depth > 0 && !p->failed;) {
        if (p->token == TOKEN_END)
            fail(p, "the text ends inside kernel `%s`", p->kernel->name);
        else if (take(p, "{"))
            depth++;
        else if (take(p, "}"))
            depth--;
        else if (take(p, ".reg"))
            parse_registers(p);
        else if (take(p, ".loc"))
            parse_loc(p);
        else if (take(p, ".shared")) {
            parse_variable(p, SPACE_SHARED, &p->kernel->shared_bytes);
            expect(p, ";");
        } else if (take(p, ".local")) {
            parse_variable(p, SPACE_LOCAL, &p->kernel->local_bytes);
            expect(p, ";");
        } else if (take(p, ".pragma")) {
            next(p);
            expect(p, ";");
        } else if (p->token == TOKEN_NAME && p->text[0] == '.')
            fail(p, "the simulator does not know the directive `%s`", p->text);
        else if (!parse_label(p))
            parse_instruction(p);
    }
}

static void parse_entry(Parser *p)
{
    p->kernel = PUSH(p, p->module->kernel, p->module->n_kernels, p->module->kernel_capacity);
    PtxKernel *k = p->kernel;
    *k = (PtxKernel){.name = take_name(p)};
    for (int i = 0; i < SPECIAL_COUNT; i++)
        k->special[i] = NO_REG;
    p->n_labels = 0;
    expect(p, "(");
    while (!is(p, ")") && p->token != TOKEN_END) {
        expect(p, ".param");
        parse_variable(p, SPACE_PARAM, &k->param_bytes);
        k->n_params++;
        if (!is(p, ")"))
            expect(p, ",");
    }
    expect(p, ")");
    while (!is(p, "{") && p->token != TOKEN_END) {
        if (take(p, ".maxntid")) {
            k->max_threads = (uint32_t)take_number(p);
            while (take(p, ","))
                k->max_threads *= (uint32_t)take_number(p);
        } else if (take(p, ".minnctapersm") || take(p, ".maxnreg"))
            take_number(p);
        else
            fail(p, "the simulator does not know the directive `%s`", p->text);
    }
    expect(p, "{");
    parse_body(p);
    resolve_branches(p);
    k->slot_bytes = arena_array(p->arena, uint8_t, (size_t)k->n_slots + 1);
    for (int32_t r = 0; r < k->n_slots; r++)
        k->slot_bytes[r] = (uint8_t)register_bytes(k, r);
}

static void parse_file(Parser *p)
{
    size_t n = (size_t)take_number(p);
    const char *name = p->text;
    if (p->token != TOKEN_STRING || n > 1000) {
        fail(p, "a .file without a name");
        return;
    }
    next(p);
    while (take(p, ","))
        take_number(p);
    while (p->module->n_files <= n)
        *PUSH(p, p->module->file, p->module->n_files, p->module->file_capacity) = "";
    p->module->file[n] = name;
}

static void parse_module(Parser *p)
{
    next(p);
    while (p->token != TOKEN_END) {
        if (take(p, ".version"))
            take_number(p), take_name(p);
        else if (take(p, ".target")) {
            do
                take_name(p);
            while (take(p, ","));
        } else if (take(p, ".address_size"))
            take_number(p);
        else if (take(p, ".visible") || take(p, ".weak"))
            continue;
        else if (take(p, ".entry"))
            parse_entry(p);
        else if (take(p, ".file"))
            parse_file(p);
        else if (take(p, ".section")) {
            while (p->token != TOKEN_END && !is(p, "}"))
                next(p);
            expect(p, "}");
        } else
            fail(p, "the simulator does not know the directive `%s`", p->token == TOKEN_NUMBER ? "number" : p->text);
    }
}

Status ptx_parse(Arena *arena, const char *name, const char *text, PtxModule **out_module, StatusText *why)
{
    PtxModule *m = arena_new(arena, PtxModule);
    *m = (PtxModule){.arena = arena, .name = name};
    Parser p = {.arena = arena, .module = m, .why = why, .s = text, .line = 1, .text = ""};
    parse_module(&p);
    if (p.failed)
        return STATUS_INTERNAL;
    *out_module = m;
    return STATUS_OK;
}
