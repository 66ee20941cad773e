// A trial in another program: where a process that has opened a device cannot fork and open it again (CUDA), the child is
// this program anew, which reads on stdin what to try and says on stdout how it went, as trial_run does.
#ifndef MIXC_TRIAL_PROCESS_H
#define MIXC_TRIAL_PROCESS_H

#include "kernel_trial.h"

#define TRIAL_ARGUMENT "try-kernels"        // the program's only one; no verb, as nobody types it

// The trial as text: device, its options, schedules, the kernel's graph.
void trial_print(const Trial *trial, FILE *to);
// Reads such a text, and tries. Returns an exit code: what was read is no trial, or the device is not here.
int  trial_serve(FILE *in, FILE *out);
// In a forked child: replaces it by such a program, whose stdout is `fd`. Returns if that fails.
void trial_exec(const Trial *trial, int fd);

#endif
