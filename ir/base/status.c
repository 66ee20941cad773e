// See status.h.
#include "status.h"

#include <stdarg.h>
#include <stdio.h>

static const struct { int exit_code; const char *sentence; } status_row[STATUS_COUNT] = {
#define STATUS(id, exit_code, sentence) [STATUS_##id] = {exit_code, sentence},
#include "status.def"
#undef STATUS
};

Status status_fail(StatusText *why, Status status, const char *format, ...)
{
    if (why && !why->text[0]) {
        va_list args;
        va_start(args, format);
        vsnprintf(why->text, sizeof why->text, format, args);
        va_end(args);
    }
    return status;
}

int status_exit_code(Status status)
{
    return status_row[status].exit_code;
}

const char *status_sentence(Status status)
{
    return status_row[status].sentence;
}
