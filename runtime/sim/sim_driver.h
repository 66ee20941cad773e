// The simulator as a driver: it fills the table of driver functions (cuda_api.h), so that whatever is written against a
// driver runs in the simulator unchanged. Modules are loaded from PTX. Work on a stream is done when it is enqueued, or
// recorded while the stream is captured.
#ifndef MIXC_SIM_DRIVER_H
#define MIXC_SIM_DRIVER_H

#include "cuda_api.h"

typedef struct SimDriver SimDriver;

// MIXC_SIM_SEED: another order of warps and blocks for every seed (0: the plain one). MIXC_SIM_ARCH: the compute
// capability that is claimed, 80 or 90 and so on. MIXC_SIM_LIMIT: instructions of a warp, after which it is said to hang.
// Fails with OUT_OF_MEMORY, and BAD_USAGE for what is no number.
Status           sim_driver_open(SimDriver **out_driver, StatusText *why);
void             sim_driver_close(SimDriver *driver);         // NULL: nothing
const DriverApi *sim_driver_api(SimDriver *driver);           // borrowed

#endif
