// See kernel_race.h.
#include "kernel_race.h"

#include "gpu_model.h"
#include "plan_memory.h"

#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { MOST_ATTEMPTS = 4, FEW_ROUNDS = 4, SOME_ROUNDS = 10, LEAST_ROUNDS = 24, MOST_ROUNDS = 60, LEAST_FINAL = 15, KEPT = 3 };

// --- other data in the caches

typedef struct Flush {
    Program       *program;
    LoadedProgram *loaded;
    double         seconds[1];
} Flush;

// A program that writes so many bytes, each thread its own part, several times what its second-level cache holds; none where the
// device knows how.
static Status flush_open(Arena *arena, const Race *race, Flush *out, StatusText *why)
{
    const Target *target = race->target;
    const int threads = target->threads > 0 ? target->threads : 1;
    const size_t share = (target->l2_bytes ? target->l2_bytes : 524288) * 4 / 4096 * 4096, bytes = share * (size_t)threads;
    if (race->ops->chill)
        return STATUS_OK;
    Sources sources = sources_make(arena);
    Diag diag = diag_make(arena, &sources);
    Program *p = out->program = program_make(arena, "flush");
    p->prelude = p->cuda_prelude = "";
    const Buffer buffer = {.name = "x", .kind = BUFFER_STATE, .dtype = DTYPE_F32, .n_axes = 1, .axis = {"n"}, .size = {(int64_t)(bytes / 4)},
                           .bytes = bytes};
    const char *text = arena_printf(arena, "void flush(void *const *p, long begin, long end, void *scratch)\n{\n    (void)scratch;\n"
        "    for (long w = begin; w < end; w++) {\n        volatile char *x = (volatile char *)p[0] + w*%zuL;\n"
        "        for (long i = 0; i < %zuL; i += 64)\n            x[i] = x[i] + 1;\n    }\n}\n", share, share);
    const uint32_t x = program_add_buffer(p, buffer);
    const uint32_t kernel = program_add_kernel(p, (Kernel){.name = "flush", .family = FAMILY_LOOP, .text = text, .n_params = 1, .writes = 1});
    Launch launch = {.kernel = kernel, .n_work = threads, .grain = 1, .buffer = arena_array(arena, uint32_t, 1)};
    launch.buffer[0] = x;
    program_add_launch(p, launch);
    if (!plan_memory(p, &diag))
        return status_fail(why, STATUS_INTERNAL, "no plan for what empties the caches");
    return race->ops->load(race->device, p, &out->loaded, why);
}

// --- a race

// How often others took a processor from our threads so far.
static long interruptions(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_nivcsw : 0;
}

// A run in which another process had our processor says nothing of the kernel, so it is repeated, a few times.
static Status time_once(const Race *race, Flush *flush, double *launch_seconds, Racer *r, int round, StatusText *why)
{
    Status status = STATUS_OK;
    for (int attempt = 0; attempt < MOST_ATTEMPTS && status == STATUS_OK; attempt++) {
        status = race->ops->chill ? race->ops->chill(r->loaded, why) : race->ops->run_timed(flush->loaded, flush->seconds, why);
        const long before = interruptions();
        if (status == STATUS_OK)
            status = race->ops->run_timed(r->loaded, launch_seconds, why);
        double sum = 0;
        for (size_t l = 0; l < r->program->n_launches; l++)
            sum += launch_seconds[l];
        r->time[round] = (float)sum;
        if (interruptions() == before)
            break;
    }
    return status;
}

static int ascending(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(float *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, ascending);
    return n % 2 ? (double)x[n / 2] : ((double)x[n / 2 - 1] + (double)x[n / 2]) / 2;
}

static void sum_up(Racer *r, const Racer *first, int rounds)
{
    float ratio[RACE_MOST_ROUNDS], time[RACE_MOST_ROUNDS];
    int n = 0;
    r->n_wins = 0;
    for (int i = 0; i < rounds; i++)
        if (r->time[i] > 0 && first->time[i] > 0) {
            r->n_wins += r->time[i] < first->time[i];
            time[n] = r->time[i];
            ratio[n++] = r->time[i] / first->time[i];
        }
    r->n_rounds = n;
    r->ratio = n ? median(ratio, n) : 0;
    r->seconds = n ? median(time, n) : 0;
}

// All but the best `keep` drop out, and who is slower than the best by more than `much`.
static void thin(const Race *race, const Racer *first, size_t keep, double much)
{
    double best = 1;
    for (size_t i = 0; i < race->n; i++)
        if (race->racer[i].loaded && !race->racer[i].is_out)
            best = fmin(best, race->racer[i].ratio);
    for (size_t i = 0; i < race->n; i++) {
        Racer *r = &race->racer[i];
        size_t better = 0;
        if (!r->loaded || r == first || r->is_out)
            continue;
        for (size_t k = 0; k < race->n; k++) {
            const Racer *other = &race->racer[k];
            better += other->loaded && other != first && !other->is_out && (other->ratio < r->ratio || (other->ratio <= r->ratio && k < i));
        }
        r->is_out = better >= keep || r->ratio > much * best;
    }
}

static void sum_up_all(const Race *race, const Racer *first, int rounds)
{
    for (size_t i = 0; i < race->n; i++)
        if (race->racer[i].loaded && !race->racer[i].is_out)
            sum_up(&race->racer[i], first, rounds);
}

// True when the race is over after so many rounds.
static bool is_over(const Race *race, const Racer *first, int rounds)
{
    if (race->is_final)
        return rounds >= LEAST_FINAL && (rounds >= MOST_ROUNDS || first->seconds * rounds > race->seconds);
    if (rounds == FEW_ROUNDS)
        thin(race, first, race->n > 16 ? race->n / 2 : 8, 1.25);
    if (rounds == SOME_ROUNDS)
        thin(race, first, KEPT, 1.10);
    return rounds >= SOME_ROUNDS && (rounds >= LEAST_ROUNDS || first->seconds * rounds > race->seconds);
}

static Status run_rounds(Race *race, Flush *flush, Racer *first, double *launch_seconds, StatusText *why)
{
    Status status = STATUS_OK;
    for (int round = 0; round < MOST_ROUNDS && status == STATUS_OK; round++) {
        for (size_t i = 0; i < race->n && status == STATUS_OK; i++) {
            Racer *r = &race->racer[((size_t)round + i) % race->n];        // another one begins each round
            if (r->loaded && !r->is_out)
                status = time_once(race, flush, launch_seconds, r, round, why);
        }
        sum_up_all(race, first, round + 1);
        if (is_over(race, first, round + 1))
            break;
    }
    return status;
}

// Counts in place of times. NO_DEVICE: nobody counts.
static Status count_all(Arena *arena, Race *race, Racer *first, size_t most, StatusText *why)
{
    const GpuDevice *as = race->counted_as ? race->counted_as : gpu_device_find(NULL);
    SimCounters *counted = arena_array(arena, SimCounters, most);
    Status status = race->ops->run_counted ? STATUS_OK : STATUS_NO_DEVICE;
    for (size_t i = 0; i < race->n && status == STATUS_OK; i++) {
        Racer *r = &race->racer[i];
        if (!r->loaded)
            continue;
        status = race->ops->run_counted(r->loaded, counted, why);
        if (status != STATUS_OK)
            break;
        r->seconds = gpu_seconds(as, r->program, counted);
        r->ratio = r->seconds / first->seconds;
        r->n_rounds = LEAST_FINAL;
        r->n_wins = r->ratio < 1 ? LEAST_FINAL : 0;
    }
    return status;
}

Status race_run(Arena *arena, Race *race, StatusText *why)
{
    Racer *first = NULL;
    size_t most = 1;
    for (size_t i = race->n; i-- > 0;)
        if (race->racer[i].loaded) {
            first = &race->racer[i];
            most = first->program->n_launches > most ? first->program->n_launches : most;
        }
    if (!first)
        return STATUS_OK;
    Status status = count_all(arena, race, first, most, why);
    if (status != STATUS_NO_DEVICE)
        return status;
    Flush flush = {0};
    status = flush_open(arena, race, &flush, why);
    if (status == STATUS_OK)
        status = run_rounds(race, &flush, first, arena_array(arena, double, most), why);
    if (flush.loaded)
        race->ops->unload(flush.loaded);
    return status;
}
