// Ctrl-C, for verbs that have something to save: train and tune.
#ifndef MIXC_CLI_SIGNAL_H
#define MIXC_CLI_SIGNAL_H

#include <signal.h>

// From now on a first SIGINT, SIGTERM or SIGHUP makes the returned number 1, for a loop to look at; a second one leaves at once with
// exit code 130. Writing to a pipe that nobody reads is an error like others.
const volatile sig_atomic_t *cli_catch_signals(void);

#endif
