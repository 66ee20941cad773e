// See cli_signal.h.
#define _GNU_SOURCE
#include "cli_signal.h"

#include "status.h"

#include <unistd.h>

// A signal handler can reach nothing but a global. It belongs to the program, not to the library.
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    if (interrupted)
        _exit(status_exit_code(STATUS_INTERRUPTED));
    interrupted = 1;
}

const volatile sig_atomic_t *cli_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);               // `mixc train | head` goes on training
    return &interrupted;
}
