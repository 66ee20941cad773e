// The program `mixc`.
#include "cli.h"
#include "trial_process.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// For every arena, those of the libraries too (ir/base/arena.h). Nothing can be saved or freed any more: what is written is
// written beside its place and renamed (replace_file.h), and what a compiler left behind the next run takes away.
void arena_exhausted(size_t wanted_bytes)
{
    fprintf(stderr, "mixc: not enough memory (%zu more bytes were wanted)\n", wanted_bytes);
    _exit(status_exit_code(STATUS_OUT_OF_MEMORY));
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN);               // a file beyond the limit (ulimit -f) fails to be written, with a message like a full disk
    if (argc == 2 && !strcmp(argv[1], TRIAL_ARGUMENT))
        return trial_serve(stdin, stdout);
    return cli_main(argc, argv);
}
