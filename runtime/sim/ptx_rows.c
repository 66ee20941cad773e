// The rows of ptx_ops.def as a table, and look-ups in what was parsed.
#include "ptx.h"

#include <stdio.h>
#include <string.h>

const PtxRow ptx_row[FORM_COUNT] = {
#define ALU1(form, d, a, value) [FORM_##form] = {#form, KIND_ALU, SPACE_NONE, 2, {TYPE_##d, TYPE_##a}},
#define ALU2(form, d, a, b, value) [FORM_##form] = {#form, KIND_ALU, SPACE_NONE, 3, {TYPE_##d, TYPE_##a, TYPE_##b}},
#define ALU3(form, d, a, b, c, value) [FORM_##form] = {#form, KIND_ALU, SPACE_NONE, 4, {TYPE_##d, TYPE_##a, TYPE_##b, TYPE_##c}},
#define LD(form, space, of, n) [FORM_##form] = {#form, KIND_LD, SPACE_##space, n, {TYPE_##of}},
#define ST(form, space, of, n) [FORM_##form] = {#form, KIND_ST, SPACE_##space, n, {TYPE_##of}},
#define ATOM(form, space, of, n, value) [FORM_##form] = {#form, KIND_ATOM, SPACE_##space, n, {TYPE_##of}},
#define RED(form, space, of, n, value) [FORM_##form] = {#form, KIND_RED, SPACE_##space, n, {TYPE_##of}},
#define CONTROL(form) [FORM_##form] = {#form, KIND_CONTROL, SPACE_NONE, 0, {0}},
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
