// Instructions of PTX text and their operands, by the rows of ptx_ops.def.
#include "ptx_parser.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t type_bytes[] = {[TYPE_pred] = 1, [TYPE_u8] = 2, [TYPE_s8] = 2, [TYPE_u16] = 2, [TYPE_s16] = 2,
    [TYPE_u32] = 4, [TYPE_s32] = 4, [TYPE_f32] = 4, [TYPE_u64] = 8, [TYPE_s64] = 8, [TYPE_f64] = 8};

int ptx_width(const char *type)
{
    static const struct { const char *name; int bytes; } width[] = {
        {".pred", 1}, {".b8", 1}, {".u8", 1}, {".s8", 1}, {".b16", 2}, {".u16", 2}, {".s16", 2}, {".f16", 2}, {".b32", 4}, {".u32", 4},
        {".s32", 4}, {".f32", 4}, {".b64", 8}, {".u64", 8}, {".s64", 8}, {".f64", 8}};
    for (size_t i = 0; i < sizeof width / sizeof *width; i++)
        if (strcmp(width[i].name, type) == 0)
            return width[i].bytes;
    return 0;
}

// --- operands

static const PtxSymbol *find_symbol(const PtxKernel *k, const char *name)
{
    for (size_t i = 0; i < k->n_symbols; i++)
        if (strcmp(k->symbol[i].name, name) == 0)
            return &k->symbol[i];
    return NULL;
}

// The symbol that the token names; NULL: none. Dynamic shared memory becomes a symbol of the kernel where it is first used.
static const PtxSymbol *symbol_here(Parser *p)
{
    PtxKernel *k = p->kernel;
    const PtxSymbol *s = p->token == TOKEN_NAME ? find_symbol(k, p->text) : NULL;
    for (size_t i = 0; !s && p->token == TOKEN_NAME && i < p->n_dynamic; i++) {
        const Dynamic *d = &p->dynamic[i];
        if (strcmp(d->name, p->text) != 0)
            continue;
        const size_t align = d->align ? d->align : 16;
        k->shared_bytes = (k->shared_bytes + align - 1) / align * align;
        *PUSH(p, k->symbol, k->n_symbols, k->symbol_capacity) =
            (PtxSymbol){.name = d->name, .space = SPACE_SHARED, .offset = k->shared_bytes};
        s = find_symbol(k, p->text);
    }
    return s;
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
            parser_fail(p, "`%s` has %d bytes where %d are read or written", name, r->bytes, bytes);
        return r->first + (int32_t)number;
    }
    int32_t slot = special(p, name);
    if (slot == NO_REG)
        parser_fail(p, "there is no register `%s`", name);
    else if (bytes != 4)
        parser_fail(p, "`%s` has 4 bytes where %d are read", name, bytes);
    return slot;
}

int ptx_register_bytes(const PtxKernel *k, int32_t slot)
{
    for (size_t i = 0; i < k->n_regs; i++)
        if (slot >= k->regs[i].first && slot < k->regs[i].first + (k->regs[i].n < 0 ? 1 : k->regs[i].n))
            return k->regs[i].bytes;
    return 4;                               // a special register
}

static int32_t parse_operand(Parser *p, int bytes, bool may_widen)
{
    if (p->token == TOKEN_NUMBER)
        return constant(p, parser_number(p), bytes);
    const PtxSymbol *s = symbol_here(p);
    if (s) {
        parser_next(p);
        return constant(p, s->offset, bytes);
    }
    const char *name = parser_name(p);
    return find_register(p, name, bytes, may_widen);
}

// [%rd4+16], [name+4], [name]
static PtxAddress parse_address(Parser *p, PtxSpace space)
{
    PtxAddress a = {.reg = NO_REG};
    parser_expect(p, "[");
    const PtxSymbol *s = symbol_here(p);
    if (s) {
        if (s->space != space)
            parser_fail(p, "`%s` does not lie in the space that is accessed", s->name);
        a.offset = (int64_t)s->offset;
        parser_next(p);
    } else {
        const char *name = parser_name(p);
        a.reg = find_register(p, name, 4, true);
        a.is_narrow = ptx_register_bytes(p->kernel, a.reg) == 4;
    }
    if (parser_take(p, "+"))
        a.offset += (int64_t)parser_number(p);
    parser_expect(p, "]");
    return a;
}

// --- instructions

static void add_register(Parser *p, PtxInsn *i, int bytes, bool may_widen, bool is_result)
{
    const int32_t reg = parse_operand(p, bytes, may_widen);
    if (i->n_regs == INSN_REGS) {
        parser_fail(p, "an instruction of more than %d registers", INSN_REGS);
        return;
    }
    if (is_result && reg < 0)
        parser_fail(p, "the result of an instruction must be a register");
    i->reg[i->n_regs++] = reg;
    i->n_results = (uint8_t)(i->n_results + is_result);
}

// n values side by side, in braces when there are several.
static void parse_values(Parser *p, PtxInsn *i, int n, int bytes, bool may_widen, bool is_result)
{
    const bool in_braces = n > 1 || parser_is(p, "{");
    if (in_braces)
        parser_expect(p, "{");
    for (int v = 0; v < n; v++) {
        if (v)
            parser_expect(p, ",");
        add_register(p, i, bytes, may_widen, is_result);
    }
    if (in_braces)
        parser_expect(p, "}");
}

// A conversion may read a register that is too wide: its low bits go to a register of their own first.
static void narrow_source(Parser *p, PtxInsn *i, int bytes)
{
    PtxKernel *k = p->kernel;
    const int has = i->reg[1] < 0 ? bytes : ptx_register_bytes(k, i->reg[1]);
    if (has <= bytes)
        return;
    PtxInsn low = *i;
    low.form = (uint16_t)(bytes == 4 ? FORM_cvt_u32_u64 : has == 8 ? FORM_cvt_u16_u64 : FORM_cvt_u16_u32);
    low.reg[0] = i->reg[1] = k->n_slots++;
    size_t n = k->n_insns;
    *PUSH(p, p->target, n, p->target_capacity) = NULL;
    *PUSH(p, k->insn, k->n_insns, k->insn_capacity) = low;
}

static void parse_alu(Parser *p, PtxInsn *i, const PtxRow *row)
{
    const bool is_conversion = strncmp(row->name, "cvt_", 4) == 0;
    for (int k = 0; k < row->n; k++) {
        if (k)
            parser_expect(p, ",");
        add_register(p, i, type_bytes[row->type[k]], is_conversion && k == 1, k == 0);
    }
    if (is_conversion && row->n == 2 && !p->failed)
        narrow_source(p, i, type_bytes[row->type[1]]);
}

static void parse_memory(Parser *p, PtxInsn *i, const PtxRow *row)
{
    const int bytes = type_bytes[row->type[0]];
    if (row->kind == KIND_LD || row->kind == KIND_ATOM) {
        parse_values(p, i, row->kind == KIND_LD ? row->n : 1, bytes, row->kind == KIND_LD, true);
        parser_expect(p, ",");
    }
    i->address[0] = parse_address(p, row->space);
    if (row->kind == KIND_ST) {
        parser_expect(p, ",");
        parse_values(p, i, row->n, bytes, true, false);
    }
    for (int v = 0; (row->kind == KIND_ATOM || row->kind == KIND_RED) && v < row->n; v++) {
        parser_expect(p, ",");
        add_register(p, i, bytes, false, false);
    }
}

static int letter_bytes(char letter)
{
    return letter == 'p' ? 1 : letter == 'h' ? 2 : letter == 'r' ? 4 : letter == 'l' ? 8 : 0;
}

// One word of a row's operands (ptx_ops.def says what they mean). Returns what follows it.
static const char *parse_word(Parser *p, PtxInsn *i, const char *word, const char **target, int *n_addresses, int *n_numbers)
{
    const bool is_result = *word == '=';
    word += is_result;
    int n = 1;
    if (*word == '_') {                     // a result that nobody may want
        word++;
        if (parser_take(p, "_")) {
            i->reg[i->n_regs++] = NO_REG;
            i->n_results++;
            return word + 1;
        }
    }
    if (*word >= '0' && *word <= '9')
        n = *word++ - '0';
    if (*word == '[') {
        i->address[(*n_addresses)++] = parse_address(p, word[1] == 's' ? SPACE_SHARED : SPACE_GLOBAL);
        word += 3;
    } else if (*word == '#') {
        i->number[(*n_numbers)++] = (uint32_t)parser_number(p);
        word++;
    } else if (*word == '@') {
        *target = parser_name(p);
        word++;
    } else {
        parse_values(p, i, n, letter_bytes(*word++), false, is_result);
    }
    if (*word == '|') {                     // a second result that may be left out
        if (parser_take(p, "|"))
            add_register(p, i, letter_bytes(word[1]), false, true);
        word += 2;
    }
    return word;
}

static void parse_other(Parser *p, PtxInsn *i, const PtxRow *row, const char **target)
{
    int n_addresses = 0, n_numbers = 0;
    bool is_first = true;
    for (const char *word = row->operands; *word && !p->failed;) {
        const bool may_miss = *word == '?';
        if (may_miss && !parser_is(p, ","))
            break;
        if (!is_first)
            parser_expect(p, ",");
        word = parse_word(p, i, word + may_miss, target, &n_addresses, &n_numbers);
        word += *word == ' ';
        is_first = false;
    }
    i->n_numbers = (uint8_t)n_numbers;
}

// mov.b32 with braces takes a register apart or puts one together.
static const char *name_of_move(Parser *p, const char *opcode)
{
    const bool is_move = strcmp(opcode, "mov.b32") == 0 || strcmp(opcode, "mov.b64") == 0;
    if (!is_move)
        return opcode;
    if (parser_is(p, "{"))
        return arena_printf(p->arena, "%s.apart", opcode);
    const char *semicolon = strchr(p->s, ';'), *brace = strchr(p->s, '{');
    return brace && semicolon && brace < semicolon ? arena_printf(p->arena, "%s.together", opcode) : opcode;
}

void ptx_parse_instruction(Parser *p)
{
    PtxKernel *k = p->kernel;
    PtxInsn i = {.guard = NO_REG, .line = p->line, .source_file = p->file, .source_line = p->source_line,
                 .address = {{.reg = NO_REG}, {.reg = NO_REG}, {.reg = NO_REG}}};
    if (parser_take(p, "@")) {
        i.guard_not = parser_take(p, "!");
        const char *name = parser_name(p);
        i.guard = find_register(p, name, 1, false);
    }
    const char *opcode = parser_name(p), *target = NULL;
    opcode = name_of_move(p, opcode);
    i.form = (uint16_t)ptx_find_form(opcode);
    if (p->failed)
        return;
    if (i.form == FORM_NONE) {
        parser_fail(p, "the simulator does not know the instruction `%s`", opcode);
        return;
    }
    const PtxRow *row = &ptx_row[i.form];
    switch (row->kind) {
    case KIND_ALU: parse_alu(p, &i, row); break;
    case KIND_LD: case KIND_ST: case KIND_ATOM: case KIND_RED: parse_memory(p, &i, row); break;
    case KIND_OTHER: parse_other(p, &i, row, &target); break;
    }
    parser_expect(p, ";");
    size_t n = k->n_insns;
    *PUSH(p, p->target, n, p->target_capacity) = target;
    *PUSH(p, k->insn, k->n_insns, k->insn_capacity) = i;
}
