// The schedules that `mixc tune` found best on this device, for code generation.
#ifndef MIXC_TUNED_H
#define MIXC_TUNED_H

#include "device.h"
#include "kernel_schedule.h"
#include "tuning.h"

typedef struct Tuned Tuned;

// The text that times on this device are kept under: the device's own and the generation of the code generator. NULL when
// times are not kept for it.
Status tuned_place(const DeviceOps *ops, Device *device, Arena *arena, const char **out_place, StatusText *why);

// The constants that were measured of the place that `db` was opened for, in steps of a quarter. False: none, or none that can be.
// What was measured of kernels depends on them, as the default does: tuned_move goes from `place` to that place with these constants.
bool   tuned_constants(Tuning *db, CostConstants *out);
Status tuned_keep_constants(Tuning *db, const CostConstants *cost, StatusText *why);
Status tuned_move(Tuning *db, Arena *arena, const char *place, const CostConstants *cost, StatusText *why);

// Reads the constants and the winners from the tuning database in `folder` (NULL: the usual place). NULL when there are none, also when the
// database cannot be used: then the cost model decides.
Tuned *tuned_load(const DeviceOps *ops, Device *device, const char *folder);
void   tuned_free(Tuned *tuned);            // NULL is fine
size_t tuned_count(const Tuned *tuned);
const Schedules *tuned_schedules(const Tuned *tuned);      // NULL for NULL

#endif
