// The prelude of a program: the vector types and the mathematical functions that its kernels use, and no others.
//
// A function is written once, as a template over V (floats), I (ints) and so on (helpers.def), and rendered as NAME_v
// for vectors and NAME_s for scalars. In C the vector form is a macro around an always-inlined function on pointers, so
// that no vector ever crosses a function boundary and the file means the same for every -march.
#ifndef MIXC_PRELUDE_H
#define MIXC_PRELUDE_H

#include "text.h"

typedef enum Helper {
#define HELPER(id, name, signature, body) HELPER_##id,
#include "helpers.def"
#undef HELPER
    HELPER_COUNT
} Helper;

extern const char *const helper_name[HELPER_COUNT];

// Which functions a set of kernels uses. Zeroed = none.
typedef struct PreludeUse {
    bool helper[2][HELPER_COUNT];           // [0] scalar, [1] vector form
    bool builtin[2][96];
    bool doubles;                           // 64-bit vectors are needed
} PreludeUse;

// Notes every NAME_v( and NAME_s( in a kernel's text.
void prelude_scan(const char *text, PreludeUse *use);
// Writes the prelude. `lanes`: floats of a vector (C dialect); 0: CUDA.
void prelude_print(const PreludeUse *use, int lanes, Text *out);

#endif
