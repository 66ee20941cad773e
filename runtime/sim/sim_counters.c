// See sim_counters.h.
#include "sim_counters.h"

void sim_counters_add(SimCounters *to, const SimCounters *what)
{
#define COUNTER(name) to->name += what->name;
    SIM_COUNTERS
#undef COUNTER
}

void sim_counters_subtract(SimCounters *from, const SimCounters *what)
{
#define COUNTER(name) from->name -= what->name;
    SIM_COUNTERS
#undef COUNTER
}
