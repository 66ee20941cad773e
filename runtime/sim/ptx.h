// PTX text, decoded: what NVRTC makes of our kernels, ready to be stepped through. A form of an instruction that is not
// in ptx_ops.def, or a directive that is not known, fails with file and line.
#ifndef MIXC_PTX_H
#define MIXC_PTX_H

#include "arena.h"
#include "status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WARP_LANES = 32, NO_REG = INT32_MIN };

// A register of all lanes of a warp, read as any type of its width.
typedef union Slot {
    uint8_t  pred[WARP_LANES];
    uint16_t u16[WARP_LANES];
    int16_t  s16[WARP_LANES];
    uint32_t u32[WARP_LANES];
    int32_t  s32[WARP_LANES];
    float    f32[WARP_LANES];
    uint64_t u64[WARP_LANES];
    int64_t  s64[WARP_LANES];
    double   f64[WARP_LANES];
} Slot;

typedef enum PtxForm {
    FORM_NONE,
#define ALU1(form, d, a, value) FORM_##form,
#define ALU2(form, d, a, b, value) FORM_##form,
#define ALU3(form, d, a, b, c, value) FORM_##form,
#define LD(form, space, of, n) FORM_##form,
#define ST(form, space, of, n) FORM_##form,
#define ATOM(form, space, of, n, value) FORM_##form,
#define RED(form, space, of, n, value) FORM_##form,
#define OTHER(form, unit, operands) FORM_##form,
#include "ptx_ops.def"
    FORM_COUNT
} PtxForm;

typedef enum PtxKind { KIND_ALU, KIND_LD, KIND_ST, KIND_ATOM, KIND_RED, KIND_OTHER } PtxKind;
// Which file executes a row of OTHER: sim_run.c, sim_exchange.c, sim_tensor.c, sim_copy.c, sim_mbarrier.c.
typedef enum PtxUnit { UNIT_NONE, UNIT_CONTROL, UNIT_EXCHANGE, UNIT_TENSOR, UNIT_COPY, UNIT_MBARRIER } PtxUnit;
// Who must be there before an instruction runs: nobody else; the lanes that a register names, at whatever time they come; the whole warp, by
// one way (`.aligned`).
typedef enum PtxMeeting { MEETS_NOBODY, MEETS_NAMED, MEETS_WARP } PtxMeeting;
typedef enum PtxSpace { SPACE_NONE, SPACE_GLOBAL, SPACE_SHARED, SPACE_LOCAL, SPACE_GENERIC, SPACE_PARAM } PtxSpace;
typedef enum PtxType { TYPE_pred, TYPE_u8, TYPE_s8, TYPE_u16, TYPE_s16, TYPE_u32, TYPE_s32, TYPE_f32, TYPE_u64, TYPE_s64, TYPE_f64 } PtxType;

typedef struct PtxRow {
    const char *name;                       // with '_' for '.'
    PtxKind     kind;
    PtxSpace    space;
    uint8_t     n;                          // ALU: operands with the result; memory: values; atomics: operands
    uint8_t     type[4];                    // PtxType of each operand of ALU, [0] of memory
    PtxUnit     unit;
    const char *operands;                   // OTHER: how they are read
    PtxMeeting  meets;
    bool        is_strong;                  // volatile, relaxed and so on: made for threads that race
} PtxRow;

extern const PtxRow ptx_row[FORM_COUNT];

typedef struct PtxAddress {
    int32_t reg;                            // NO_REG: `offset` is all of it
    bool    is_narrow;                      // the register has 32 bits
    int64_t offset;
} PtxAddress;

enum { INSN_REGS = 20 };

// Operand i is register slot reg[i], or constant ~reg[i] when negative: results first, then sources, as written.
typedef struct PtxInsn {
    uint16_t   form;
    bool       guard_not;
    uint8_t    n_results, n_regs, n_numbers;
    int32_t    guard;                       // NO_REG: always
    int32_t    reg[INSN_REGS];
    PtxAddress address[3];
    uint32_t   number[3];                   // literal operands
    uint32_t   target;                      // branches: index of the instruction
    uint16_t   joins;                       // branches: the join where ways that part here come together again; 0: at the end
    uint16_t   begins;                      // the join that is here; 0: none
    uint32_t   line;                        // in the PTX
    uint32_t   source_file, source_line;    // from .loc; 0: unknown
} PtxInsn;

// Registers `prefix`0 ... of one width; they start at slot `first`.
typedef struct PtxRegs {
    const char *prefix;
    int         bytes;                      // 1: a predicate
    int32_t     first, n;
} PtxRegs;

typedef struct PtxSymbol {
    const char *name;
    PtxSpace    space;
    uint64_t    offset;
    size_t      bytes;
} PtxSymbol;

typedef enum PtxSpecial {
    SPECIAL_TID_X, SPECIAL_TID_Y, SPECIAL_TID_Z, SPECIAL_NTID_X, SPECIAL_NTID_Y, SPECIAL_NTID_Z, SPECIAL_CTAID_X,
    SPECIAL_CTAID_Y, SPECIAL_CTAID_Z, SPECIAL_NCTAID_X, SPECIAL_NCTAID_Y, SPECIAL_NCTAID_Z, SPECIAL_LANEID, SPECIAL_COUNT
} PtxSpecial;

typedef struct PtxKernel {
    const char *name;
    PtxInsn    *insn;    size_t n_insns, insn_capacity;
    PtxRegs    *regs;    size_t n_regs, regs_capacity;
    PtxSymbol  *symbol;  size_t n_symbols, symbol_capacity;
    Slot       *constant; uint8_t *constant_bytes; size_t n_constants, constant_capacity, bytes_capacity;
    int32_t     special[SPECIAL_COUNT];     // slot; NO_REG: not read
    int32_t     n_slots;
    uint8_t    *slot_bytes;                 // [n_slots] the width of each register
    size_t      n_params, param_bytes, shared_bytes, local_bytes;
    uint32_t    max_threads;                // .maxntid; 0: not said
    size_t      n_joins;                    // with join 0, the end
} PtxKernel;

typedef struct PtxModule {
    Arena      *arena;                      // borrowed
    const char *name;                       // of the file, for messages
    const char **file; size_t n_files, file_capacity;      // [0] unused; names of .file
    PtxKernel  *kernel; size_t n_kernels, kernel_capacity;
} PtxModule;

// Fails with INTERNAL on text that it does not know: `NAME:LINE: what was found`.
Status ptx_parse(Arena *arena, const char *name, const char *text, PtxModule **out_module, StatusText *why);
// The form of an opcode as it is written, `ld.global.f32`; FORM_NONE: no row has it.
PtxForm ptx_find_form(const char *opcode);
const PtxKernel *ptx_find(const PtxModule *m, const char *kernel);     // NULL: none
// "%r12" for a slot.
const char *ptx_register_name(const PtxKernel *k, int32_t slot, char *out, size_t room);

#endif
