// Schedules: how a kernel is cut up, where its family leaves a choice.
//
// A schedule changes speed and the order of sums, never what is computed. Without one, a family's cost model decides; so a
// kernel always has a default, which is candidate 0. Schedules are found by the kernel's structure (kernel_key.h), so what
// was measured for one layer holds for all that are like it, in every model.
//
//     candidates of a kernel --rank by cost model--> the best few --compile, check, time--> database --Schedules--> codegen
#ifndef MIXC_KERNEL_SCHEDULE_H
#define MIXC_KERNEL_SCHEDULE_H

#include "graph.h"
#include "target.h"

typedef enum KnobId {
#define KNOB(id, text, least, what) KNOB_##id,
#include "knobs.def"
#undef KNOB
    KNOB_COUNT
} KnobId;

typedef struct Schedule { int32_t knob[KNOB_COUNT]; } Schedule;         // 0: as the cost model says

// The text form: "tile_rows=14 tile_vectors=2 rows=224"; "default" when nothing is set. schedule_parse returns false
// when the text is not one.
const char *schedule_text(Arena *arena, const Schedule *schedule);
bool        schedule_parse(const char *text, Schedule *out);
bool        schedule_is_default(const Schedule *schedule);

// What the cost model is told of the device; 0: what is built in.
typedef struct CostConstants {
    double launch;                          // cycles from one launch to the next, on all threads
    double copy;                            // cycles of a thread for each float that goes to memory and comes back, all threads at it
} CostConstants;

// What measurements say. `find` returns NULL when nothing is known of the kernel.
typedef struct Schedules {
    const Schedule *(*find)(void *user, uint64_t key);
    void           *user;
    CostConstants   cost;
} Schedules;

CostConstants target_cost(const Target *target);            // with what is built in where nothing was measured

typedef struct Candidate {
    Schedule schedule;
    double   cycles;                        // of the busiest thread, by the cost model
} Candidate;

// The candidates of a family, collected one by one. `sign` stands for what a schedule comes to: of those that come to the
// same, the first counts. candidates_ranked gives the first added (the default), then the others from the cheapest on.
typedef struct CandidateList {
    Arena     *arena;
    Candidate *at;
    uint64_t  *sign;
    size_t     n, capacity, sign_capacity;
} CandidateList;

void     candidates_add(CandidateList *list, Schedule schedule, double cycles, uint64_t sign);
size_t   candidates_ranked(CandidateList *list, size_t most, Candidate **out);
uint64_t schedule_sign(uint64_t sign, int64_t number);      // sign, and a number more

// The schedules of kernel `kernel` of a fused graph, those most worth measuring first; [0] is the default. The first n of them
// are the same for any larger `most`. At most `most`; at least one.
size_t codegen_candidates(Arena *arena, const Graph *g, uint32_t kernel, const Target *target, size_t most, Candidate **out);

// The distinct structures among the kernels of a fused graph, in order of first appearance.
typedef struct KernelClass {
    uint64_t key;
    uint32_t kernel;                        // the first one, of the graph
    size_t   instances;
} KernelClass;

size_t codegen_kernel_classes(Arena *arena, const Graph *g, KernelClass **out);

// One kernel as a graph of its own: what it reads are ARGs x1, x2, .., what it stores are results y1, y2, ..; codegen_program
// makes the same kernel of it, under the same key. It borrows from g. NULL after an error in diag.
Graph *codegen_kernel_graph(Arena *arena, Diag *diag, const Graph *g, uint32_t kernel);

#endif
