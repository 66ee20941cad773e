// What was measured: times of kernels under schedules, in an SQLite file beside the cache of compiled kernels.
//
// A row is (kernel, place, schedule) -> seconds. The kernel is the key of its structure; the place is everything else that
// a time depends on: device, compiler, threads, generation of the code generator. Every row is committed as it is
// measured, so a search that was killed goes on where it was. Rows are never changed, so candidates added later leave
// old ones valid. Nothing in the file is needed for right results: a file that is damaged, foreign or locked means that
// the cost model decides.
#ifndef MIXC_TUNING_H
#define MIXC_TUNING_H

#include "arena.h"
#include "status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Tuning Tuning;

typedef enum TuningOutcome { TUNING_OK, TUNING_WRONG, TUNING_CRASHED, TUNING_REFUSED, TUNING_OUTCOME_COUNT } TuningOutcome;
extern const char *const tuning_outcome_text[TUNING_OUTCOME_COUNT];

typedef struct TuningRow {
    uint64_t      kernel;
    const char   *schedule;                 // codegen/kernel_schedule.h, "default" for the cost model's choice
    TuningOutcome outcome;
    double        seconds, beside;          // of one run; of the default in the same race; 0 unless OK
    const char   *about;                    // the kernel in words, for people
} TuningRow;

// Opens `folder`/tuning.db (folder NULL: as for the cache). To read: *out is NULL when there is no such file or it cannot be
// used. To write: made if need be; a damaged or foreign file is moved aside first, which `note` tells. `place` as above.
Status tuning_open(const char *folder, const char *place, bool to_write, Tuning **out, StatusText *note, StatusText *why);
bool   tuning_is_there(const char *folder); // there is a file to read
void   tuning_close(Tuning *t);             // NULL is fine
const char *tuning_path(const Tuning *t);

// Errors: STATUS_IO (full disk, locked for too long).
Status tuning_put(Tuning *t, const TuningRow *row, StatusText *why);
bool   tuning_has(Tuning *t, uint64_t kernel, const char *schedule);

// Visits the rows of this place, kernel by kernel; texts are valid during the call.
typedef void TuningVisit(void *user, const TuningRow *row);
void   tuning_list(Tuning *t, TuningVisit *visit, void *user);
// The best schedule of each kernel, where it beat the default by more than 1.5 % (and 0.1 us) in the same race.
void   tuning_winners(Tuning *t, TuningVisit *visit, void *user);

#endif
