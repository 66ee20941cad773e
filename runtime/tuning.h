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
    double        final;                    // its time over the default's, by its last races; 0: there were none. Read only,
    int           rounds, wins;             // of all of them. as these are
} TuningRow;

// The best of a kernel's schedules meet the default in races of their own, each in a process of its own.
enum { TUNING_RACES = 3 };
typedef struct TuningRace {
    uint64_t    kernel;
    const char *schedule;
    int         number;                     // < TUNING_RACES
    double      ratio;                      // median over the rounds of its time over the default's
    int         rounds, wins;               // wins: rounds in which it was faster
} TuningRace;

// Opens `folder`/tuning.db (folder NULL: as for the cache). To read: *out is NULL when there is no such file or it cannot be
// used. To write: made if need be; a damaged or foreign file is moved aside first, which `note` tells. `place` as above.
Status tuning_open(const char *folder, const char *place, bool to_write, Tuning **out, StatusText *note, StatusText *why);
bool   tuning_is_there(const char *folder); // there is a file to read
void   tuning_close(Tuning *t);             // NULL is fine
// From now on another place's rows are meant.
Status tuning_move(Tuning *t, const char *place, StatusText *why);
const char *tuning_path(const Tuning *t);

// Errors: STATUS_IO (full disk, locked for too long).
Status tuning_put(Tuning *t, const TuningRow *row, StatusText *why);
// Whether there is a row. *out_ratio: its seconds over the default's; 0 unless OK.
bool   tuning_find(Tuning *t, uint64_t kernel, const char *schedule, double *out_ratio);
Status tuning_put_race(Tuning *t, const TuningRace *race, StatusText *why);
bool   tuning_has_race(Tuning *t, uint64_t kernel, const char *schedule, int number);

// What was measured of the place itself, for the cost model. A later value takes the place of an earlier one.
Status tuning_put_constant(Tuning *t, const char *name, double value, StatusText *why);
bool   tuning_constant(Tuning *t, const char *name, double *out_value);

// Visits the rows of this place, kernel by kernel; texts are valid during the call.
typedef void TuningVisit(void *user, const TuningRow *row);
void   tuning_list(Tuning *t, TuningVisit *visit, void *user);
// The best schedule of each kernel whose last races it won: by the median of three it beat the default by more than 1.5 % (and
// 0.1 us), and in so many rounds that chance is no explanation.
void   tuning_winners(Tuning *t, TuningVisit *visit, void *user);

#endif
