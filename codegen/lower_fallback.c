// Product and row kernels as plain loops, where no better lowering is linked in.
#include "lower.h"

__attribute__((weak)) bool lower_rows(Lower *L)
{
    return lower_loop(L);
}
