// Status: the outcome of anything that depends on the world (files, compiler, device, memory).
// The sentence that explains a failure to a person is kept in a StatusText beside it.
#ifndef MIXC_STATUS_H
#define MIXC_STATUS_H

typedef enum Status {
#define STATUS(id, exit_code, sentence) STATUS_##id,
#include "status.def"
#undef STATUS
    STATUS_COUNT
} Status;

// Where a failing function explains itself. Zeroed = empty. The first explanation wins.
typedef struct StatusText {
    char text[1024];
} StatusText;

// Records why and returns `status`, so that `return status_fail(...)` reads well. `why` may be NULL.
Status status_fail(StatusText *why, Status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int         status_exit_code(Status status);
const char *status_sentence(Status status);

#endif
