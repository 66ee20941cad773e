// What engine.c and engine_net*.c share: a net is a loaded program, or a graph for the evaluator.
#ifndef MIXC_ENGINE_NET_H
#define MIXC_ENGINE_NET_H

#include "engine.h"

struct Net {
    Slot   *slot; size_t n_slots, slot_capacity;
    // a program
    const DeviceOps *ops;                   // NULL: the evaluator
    const Program   *program;
    LoadedProgram   *loaded;                // owned
    const Net       *beside;                // whose parameters it shares (LoadOptions.beside); NULL: nobody's
    int              threads;               // of the device
    // the evaluator
    const Graph *graph;
    double     **number;                    // [n_slots] values in double; owned, each and all
};

// `beside`: NULL, or a net on the same device (LoadOptions.beside).
Status net_make_program(Arena *arena, const DeviceOps *ops, Device *device, int threads, const Program *p, Net *beside,
                        Net **out_net, StatusText *why);
Status net_make_reference(Arena *arena, const Graph *g, Net **out_net, StatusText *why);
// The name of an output: output.NAME, loss.NAME, term.NAME, watch.NAME, grad.NAME; in the arena. NEXT has none.
const char *net_output_name(Arena *arena, const Output *output);

// True when the slot's storage is that of the net beside it.
bool   net_is_shared(const Net *net, const Slot *slot);

Status reference_write(Net *net, const Slot *slot, int64_t first, int64_t n, const void *data);
Status reference_read(const Net *net, const Slot *slot, int64_t first, int64_t n, void *data);
Status reference_run(Net *net, StatusText *why);
void   reference_free(Net *net);

#endif
