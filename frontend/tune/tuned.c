// See tuned.h.
#include "tuned.h"

#include "tuning.h"

#include <stdlib.h>

// Raised when a knob changes its meaning, or a lowering changes so much that old times say nothing.
#define GENERATION "1"

typedef struct Winner {
    uint64_t kernel;
    Schedule schedule;
} Winner;

struct Tuned {
    Arena     arena;
    Winner   *winner; size_t n, capacity;   // by kernel, ascending
    Schedules face;
};

Status tuned_place(const DeviceOps *ops, Device *device, Arena *arena, const char **out_place, StatusText *why)
{
    const char *text = NULL;
    *out_place = NULL;
    if (!ops->identify)
        return STATUS_OK;
    Status status = ops->identify(device, arena, &text, why);
    if (status == STATUS_OK)
        *out_place = arena_printf(arena, "generation " GENERATION "\n%s", text);
    return status;
}

static int by_kernel(const void *a, const void *b)
{
    const Winner *x = a, *y = b;
    return (x->kernel > y->kernel) - (x->kernel < y->kernel);
}

static const Schedule *find(void *user, uint64_t kernel)
{
    const Tuned *t = user;
    const Winner key = {.kernel = kernel}, *found = bsearch(&key, t->winner, t->n, sizeof key, by_kernel);
    return found ? &found->schedule : NULL;
}

static void add(void *user, const TuningRow *row)
{
    Tuned *t = user;
    Winner winner = {.kernel = row->kernel};
    if (!schedule_parse(row->schedule, &winner.schedule))
        return;
    t->winner = arena_grow(&t->arena, t->winner, t->n, &t->capacity, sizeof *t->winner);
    t->winner[t->n++] = winner;
}

Tuned *tuned_load(const DeviceOps *ops, Device *device, const char *folder)
{
    StatusText why = {0};
    if (!tuning_is_there(folder))
        return NULL;                        // the usual case: nothing was tuned, nobody is asked who he is
    Tuned *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    arena_init(&t->arena);
    const char *place;
    Tuning *db = NULL;
    if (tuned_place(ops, device, &t->arena, &place, &why) == STATUS_OK && place)
        tuning_open(folder, place, false, &db, NULL, &why);
    if (db)
        tuning_winners(db, add, t);
    tuning_close(db);
    if (!t->n) {
        tuned_free(t);
        return NULL;
    }
    qsort(t->winner, t->n, sizeof *t->winner, by_kernel);
    t->face = (Schedules){find, t};
    return t;
}

void tuned_free(Tuned *tuned)
{
    if (!tuned)
        return;
    arena_free(&tuned->arena);
    free(tuned);
}

size_t tuned_count(const Tuned *tuned)
{
    return tuned ? tuned->n : 0;
}

const Schedules *tuned_schedules(const Tuned *tuned)
{
    return tuned ? &tuned->face : NULL;
}
