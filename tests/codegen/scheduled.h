// A graph compiled for a GPU whose products all have one schedule. Include it after run_graph.h or sim_graph.h.
#ifndef MIXC_TESTS_SCHEDULED_H
#define MIXC_TESTS_SCHEDULED_H

#include "kernel_schedule.h"

static inline const Schedule *find_schedule(void *user, uint64_t key)
{
    (void)key;
    return user;
}

// `schedule`: its text. `library_ways`: how many ways a library offers, 0 without one.
static inline void compile_scheduled(Ran *r, const char *text, const char *schedule, int library_ways)
{
    Schedule one = {0};
    assert_true(schedule_parse(schedule, &one));
    const Schedules schedules = {.find = find_schedule, .user = &one};
    const Target target = {.name = "cuda", .is_cuda = true, .vector_floats = 8, .vector_registers = 16, .l1_bytes = 32768,
                           .l2_bytes = 1 << 20, .threads = 1, .schedules = &schedules, .library_ways = library_ways};
    compile_for(r, text, &target);
}

#endif
