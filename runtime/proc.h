// Child processes: argument vectors, never a shell; what they print is kept; a time limit ends the whole group.
#ifndef MIXC_PROC_H
#define MIXC_PROC_H

#include "arena.h"
#include "status.h"

#include <stdbool.h>

typedef struct Proc {
    const char *const *argv;                // argv[0] is an absolute path; NULL-terminated
    const char *const *env;                 // NULL-terminated
    // Filled by proc_run_all.
    bool        ended, timed_out;
    int         wait_status;                // as waitpid gives it
    const char *output;                     // what it wrote to both outputs, at most 16 KiB, in the arena
    double      seconds;
} Proc;

// Runs all at once and waits for all, at most `limit_s` seconds. Standard input is empty. Fails (NO_COMPILER) only
// when a child cannot be started or takes too long; a child's own failure is in its record.
Status proc_run_all(Arena *arena, Proc *proc, int n, double limit_s, StatusText *why);

// True when the child left with exit code 0.
bool   proc_ok(const Proc *proc);
// How it ended, in words: "exit code 1", "killed by signal 9 (Killed)".
const char *proc_ending(Arena *arena, const Proc *proc);

// Finds a program the way a shell does: a name with a slash as it is, others along PATH. Returns an absolute path in
// the arena, NULL when there is none.
const char *proc_find_program(Arena *arena, const char *name);

double proc_now_s(void);                    // a clock that only moves forward

#endif
