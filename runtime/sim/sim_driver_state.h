// What the parts of the simulated driver share; private to runtime/sim. sim_driver.c: the driver, memory, modules, streams, graphs,
// events; sim_work.c: what a stream does.
#ifndef MIXC_SIM_DRIVER_STATE_H
#define MIXC_SIM_DRIVER_STATE_H

#include "sim_driver.h"

#include "memory.h"
#include "sim/sim.h"

// Errors of the driver.
enum { INVALID = 1, NO_MEMORY = 2, BAD_PTX = 218, NOT_FOUND = 500, FAILED = 719 };

#define FIRST_ADDRESS UINT64_C(0x100000000)
#define MOST_PARAMS 512

typedef struct Taken {                      // a piece of memory that was handed out
    uint64_t address;
    Block    block;
    uint8_t *defined;                       // one for each byte
} Taken;

typedef struct WorkNode {                   // something that a stream does
    enum { WORK_LAUNCH, WORK_DEMAND } kind;
    CudaFunction *function;
    uint32_t   grid[3], block[3];
    size_t     shared_bytes;
    uint64_t  *arg;
    size_t     n_args;
    CudaTouch *touch;                       // NULL: everything that was handed out
    size_t     n_touch;
    char       line[256];
} WorkNode;

// What was handed out and not given back: every handle begins with this, and the driver ends them all when it is closed.
typedef struct Owned {
    struct Owned *next, **from;
    Arena         arena;
} Owned;

struct CudaFunction { CudaModule *module; const PtxKernel *kernel; };
struct CudaModule { Owned owned; PtxModule *ptx; };
struct CudaGraph { Owned owned; WorkNode *node; size_t n, capacity; };
struct CudaExec { Owned owned; const WorkNode *node; size_t n; };
struct CudaEvent { Owned owned; double seconds; };
struct CudaContext { int unused; };
struct CudaStream {
    Owned      owned;
    CudaGraph *capture;                     // NULL: work is done at once
    bool       has_touch;                   // for the next launch
    CudaTouch *touch;                       // in the arena
    size_t     n_touch;
    char       line[256];
};

struct SimDriver {
    DriverApi   api;
    Pool       *pool;                       // block_map touches pages with it
    Taken      *taken; size_t n_taken;
    Owned      *owned;
    uint64_t    next;                       // address that is handed out next
    size_t      in_use;
    SimCounters counters;
    CudaContext context;
    uint64_t    seed, limit, n_launches;
    uint64_t   *trace;                      // as in SimLaunch, of all launches
    bool        fill_is_unset;
    int         capability;
    StatusText  why;
    bool        has_complaint;
};

// Keeps that the sentence in s->why is the reason of `error`, which it returns.
int    sim_complain(SimDriver *s, int error);
// The piece of memory that holds all these bytes; NULL: none.
Taken *sim_find_taken(SimDriver *s, uint64_t address, size_t bytes);

// Functions of the table.
int sim_expect(void *self, CudaStream *stream, const char *line, const CudaTouch *touch, size_t n);
int sim_demand(void *self, CudaStream *stream, const CudaTouch *touch, size_t n);
int sim_launch_kernel(void *self, CudaFunction *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                      unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes, CudaStream *stream,
                      void **argument, void **extra);
int sim_exec_launch(void *self, CudaExec *exec, CudaStream *stream);

#endif
