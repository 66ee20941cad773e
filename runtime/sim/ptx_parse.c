// See ptx.h: modules, kernels, declarations, labels. A function for each construct.
#include "ptx_parser.h"

#include <stdlib.h>
#include <string.h>

// --- declarations

static void parse_registers(Parser *p)
{
    PtxKernel *k = p->kernel;
    const char *type = parser_name(p);
    int bytes = ptx_width(type);
    if (!bytes)
        parser_fail(p, "registers of the unknown type `%s`", type);
    do {
        PtxRegs r = {.prefix = parser_name(p), .bytes = bytes, .first = k->n_slots, .n = -1};
        int32_t n_slots = 1;
        if (parser_take(p, "<")) {
            r.n = n_slots = (int32_t)parser_number(p);
            parser_expect(p, ">");
        }
        k->n_slots += n_slots;
        *PUSH(p, k->regs, k->n_regs, k->regs_capacity) = r;
    } while (parser_take(p, ","));
    parser_expect(p, ";");
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
    if (parser_take(p, ".align"))
        align = (size_t)parser_number(p);
    const char *type = parser_name(p);
    size_t bytes = (size_t)ptx_width(type), count = 1;
    if (!bytes)
        parser_fail(p, "a variable of the unknown type `%s`", type);
    if (align == 0)
        align = bytes ? bytes : 1;
    const char *name = parser_name(p);
    if (parser_take(p, "[")) {
        count = (size_t)parser_number(p);
        parser_expect(p, "]");
    }
    PtxSymbol s = {.name = name, .space = space, .offset = round_up(*size, align), .bytes = bytes * count};
    *size = s.offset + s.bytes;
    *PUSH(p, k->symbol, k->n_symbols, k->symbol_capacity) = s;
}

static void parse_loc(Parser *p)
{
    uint32_t line = p->line;
    p->file = (uint32_t)parser_number(p);
    p->source_line = (uint32_t)parser_number(p);
    while (p->token != TOKEN_END && p->line == line)       // the column; the place that it was inlined at
        parser_next(p);
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
    parser_next(p);
    parser_next(p);
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
            parser_fail(p, "there is no label `%s`", p->target[i]);
        else
            k->insn[i].target = (uint32_t)p->label[l].at;
    }
}

static void parse_body(Parser *p)
{
    for (int depth = 1; depth > 0 && !p->failed;) {
        if (p->token == TOKEN_END)
            parser_fail(p, "the text ends inside kernel `%s`", p->kernel->name);
        else if (parser_take(p, "{"))
            depth++;
        else if (parser_take(p, "}"))
            depth--;
        else if (parser_take(p, ".reg"))
            parse_registers(p);
        else if (parser_take(p, ".loc"))
            parse_loc(p);
        else if (parser_take(p, ".shared")) {
            parse_variable(p, SPACE_SHARED, &p->kernel->shared_bytes);
            parser_expect(p, ";");
        } else if (parser_take(p, ".local")) {
            parse_variable(p, SPACE_LOCAL, &p->kernel->local_bytes);
            parser_expect(p, ";");
        } else if (parser_take(p, ".pragma")) {
            parser_next(p);
            parser_expect(p, ";");
        } else if (p->token == TOKEN_NAME && p->text[0] == '.')
            parser_fail(p, "the simulator does not know the directive `%s`", p->text);
        else if (!parse_label(p))
            ptx_parse_instruction(p);
    }
}

static void parse_entry(Parser *p)
{
    p->kernel = PUSH(p, p->module->kernel, p->module->n_kernels, p->module->kernel_capacity);
    PtxKernel *k = p->kernel;
    *k = (PtxKernel){.name = parser_name(p)};
    for (int i = 0; i < SPECIAL_COUNT; i++)
        k->special[i] = NO_REG;
    p->n_labels = 0;
    parser_expect(p, "(");
    while (!parser_is(p, ")") && p->token != TOKEN_END) {
        parser_expect(p, ".param");
        parse_variable(p, SPACE_PARAM, &k->param_bytes);
        k->n_params++;
        if (!parser_is(p, ")"))
            parser_expect(p, ",");
    }
    parser_expect(p, ")");
    while (!parser_is(p, "{") && p->token != TOKEN_END) {
        if (parser_take(p, ".maxntid")) {
            k->max_threads = (uint32_t)parser_number(p);
            while (parser_take(p, ","))
                k->max_threads *= (uint32_t)parser_number(p);
        } else if (parser_take(p, ".minnctapersm") || parser_take(p, ".maxnreg") || parser_take(p, ".maxclusterrank"))
            parser_number(p);
        else
            parser_fail(p, "the simulator does not know the directive `%s`", p->text);
    }
    parser_expect(p, "{");
    parse_body(p);
    resolve_branches(p);
    if (!p->failed)
        ptx_find_joins(p, k);
    k->slot_bytes = arena_array(p->arena, uint8_t, (size_t)k->n_slots + 1);
    for (int32_t r = 0; r < k->n_slots; r++)
        k->slot_bytes[r] = (uint8_t)ptx_register_bytes(k, r);
}

static void parse_file(Parser *p)
{
    size_t n = (size_t)parser_number(p);
    const char *name = p->text;
    if (p->token != TOKEN_STRING || n > 1000) {
        parser_fail(p, "a .file without a name");
        return;
    }
    parser_next(p);
    while (parser_take(p, ","))
        parser_number(p);
    while (p->module->n_files <= n)
        *PUSH(p, p->module->file, p->module->n_files, p->module->file_capacity) = "";
    p->module->file[n] = name;
}

// .shared .align 16 .b8 name[]; - its size is given at the launch.
static void parse_dynamic(Parser *p)
{
    Dynamic d = {.align = 1};
    parser_expect(p, ".shared");
    if (parser_take(p, ".align"))
        d.align = (size_t)parser_number(p);
    parser_name(p);
    d.name = parser_name(p);
    parser_expect(p, "[");
    parser_expect(p, "]");
    parser_expect(p, ";");
    if (d.align == 0 || d.align > 1024)
        parser_fail(p, "shared memory at multiples of %zu", d.align);
    *PUSH(p, p->dynamic, p->n_dynamic, p->dynamic_capacity) = d;
}

static void parse_module(Parser *p)
{
    parser_next(p);
    while (p->token != TOKEN_END) {
        if (parser_take(p, ".version"))
            parser_number(p), parser_name(p);
        else if (parser_take(p, ".target")) {
            do
                parser_name(p);
            while (parser_take(p, ","));
        } else if (parser_take(p, ".address_size"))
            parser_number(p);
        else if (parser_take(p, ".visible") || parser_take(p, ".weak"))
            continue;
        else if (parser_take(p, ".extern"))
            parse_dynamic(p);
        else if (parser_take(p, ".entry"))
            parse_entry(p);
        else if (parser_take(p, ".file"))
            parse_file(p);
        else if (parser_take(p, ".section")) {
            while (p->token != TOKEN_END && !parser_is(p, "}"))
                parser_next(p);
            parser_expect(p, "}");
        } else
            parser_fail(p, "the simulator does not know the directive `%s`", p->token == TOKEN_NUMBER ? "number" : p->text);
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
