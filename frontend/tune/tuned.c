// See tuned.h.
#include "tuned.h"

#include "tuning.h"

#include <math.h>
#include <stdlib.h>

// Raised when a knob changes its meaning, or a lowering changes so much that old times say nothing.
#define GENERATION "2"

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

// --- constants of the cost model

static const struct { const char *name; double least, most; } constant_row[] = {{"launch_cycles", 100, 1e6}, {"copy_cycles", 0.05, 100}};

// A step is a quarter: what changes by less is noise, and would make all that was measured another place's.
static double in_steps(double x)
{
    return pow(1.25, round(log(x) / log(1.25)));
}

bool tuned_constants(Tuning *db, CostConstants *out)
{
    double value[2];
    for (int i = 0; i < 2; i++)
        if (!tuning_constant(db, constant_row[i].name, &value[i]) || !(value[i] >= constant_row[i].least && value[i] <= constant_row[i].most))
            return false;
    *out = (CostConstants){in_steps(value[0]), in_steps(value[1])};
    return true;
}

Status tuned_keep_constants(Tuning *db, const CostConstants *cost, StatusText *why)
{
    const double value[] = {cost->launch, cost->copy};
    Status status = STATUS_OK;
    for (int i = 0; i < 2 && status == STATUS_OK; i++)
        status = tuning_put_constant(db, constant_row[i].name, value[i], why);
    return status;
}

Status tuned_move(Tuning *db, Arena *arena, const char *place, const CostConstants *cost, StatusText *why)
{
    return cost->launch > 0 ? tuning_move(db, arena_printf(arena, "%slaunch %.0f\ncopy %.3f\n", place, cost->launch, cost->copy), why) : STATUS_OK;
}

// --- winners

static int by_kernel(const void *a, const void *b)
{
    const Winner *x = a, *y = b;
    return (x->kernel > y->kernel) - (x->kernel < y->kernel);
}

static const Schedule *find(void *user, uint64_t kernel)
{
    const Tuned *t = user;
    const Winner key = {.kernel = kernel}, *found = !t->n ? NULL : bsearch(&key, t->winner, t->n, sizeof key, by_kernel);
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
    CostConstants cost = {0};
    if (db && tuned_constants(db, &cost) && tuned_move(db, &t->arena, place, &cost, &why) != STATUS_OK)
        cost = (CostConstants){0};
    if (db)
        tuning_winners(db, add, t);
    tuning_close(db);
    if (!t->n && cost.launch <= 0) {
        tuned_free(t);
        return NULL;
    }
    if (t->n)
        qsort(t->winner, t->n, sizeof *t->winner, by_kernel);
    t->face = (Schedules){find, t, cost};
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
