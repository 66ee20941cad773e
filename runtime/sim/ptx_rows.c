// The rows of ptx_ops.def as a table, and look-ups in what was parsed.
#include "ptx.h"

#include <stdio.h>
#include <string.h>

const PtxRow ptx_row[FORM_COUNT] = {
#define ROW(form, ...) [FORM_##form] = {.name = #form, .operands = "", __VA_ARGS__},
#define MEMORY(form, what, in, of, many, strong) \
    ROW(form, .kind = KIND_##what, .space = SPACE_##in, .n = many, .type = {TYPE_##of}, .is_strong = strong)
#define ALU1(form, d, a, value) ROW(form, .kind = KIND_ALU, .n = 2, .type = {TYPE_##d, TYPE_##a})
#define ALU2(form, d, a, b, value) ROW(form, .kind = KIND_ALU, .n = 3, .type = {TYPE_##d, TYPE_##a, TYPE_##b})
#define ALU3(form, d, a, b, c, value) ROW(form, .kind = KIND_ALU, .n = 4, .type = {TYPE_##d, TYPE_##a, TYPE_##b, TYPE_##c})
#define LD(form, in, of, n) MEMORY(form, LD, in, of, n, false)
#define ST(form, in, of, n) MEMORY(form, ST, in, of, n, false)
#define STRONG_LD(form, in, of, n) MEMORY(form, LD, in, of, n, true)
#define STRONG_ST(form, in, of, n) MEMORY(form, ST, in, of, n, true)
#define ATOM(form, in, of, n, value) MEMORY(form, ATOM, in, of, n, true)
#define RED(form, in, of, n, value) MEMORY(form, RED, in, of, n, true)
#define UNIT(form, by, how, who) [FORM_##form] = {.name = #form, .kind = KIND_OTHER, .unit = UNIT_##by, .operands = how, .meets = who},
#define OTHER(form, by, how) UNIT(form, by, how, MEETS_NOBODY)
#define MEET(form, by, how) UNIT(form, by, how, MEETS_NAMED)
#define ALIGNED(form, by, how) UNIT(form, by, how, MEETS_WARP)
#include "ptx_ops.def"
};

PtxForm ptx_find_form(const char *opcode)
{
    char name[128];
    size_t n = 0;
    for (; opcode[n] && n + 1 < sizeof name; n++)
        name[n] = opcode[n] == '.' || opcode[n] == ':' ? '_' : opcode[n];
    name[n] = 0;
    for (int f = 1; f < FORM_COUNT; f++)
        if (strcmp(ptx_row[f].name, name) == 0)
            return (PtxForm)f;
    return FORM_NONE;
}

const PtxKernel *ptx_find(const PtxModule *m, const char *kernel)
{
    for (size_t i = 0; i < m->n_kernels; i++)
        if (strcmp(m->kernel[i].name, kernel) == 0)
            return &m->kernel[i];
    return NULL;
}

const char *ptx_register_name(const PtxKernel *k, int32_t slot, char *out, size_t room)
{
    snprintf(out, room, "a special register");
    for (size_t i = 0; i < k->n_regs; i++) {
        const PtxRegs *r = &k->regs[i];
        if (r->n < 0 && slot == r->first)
            snprintf(out, room, "%s", r->prefix);
        else if (slot >= r->first && slot < r->first + r->n)
            snprintf(out, room, "%s%d", r->prefix, slot - r->first);
    }
    return out;
}
