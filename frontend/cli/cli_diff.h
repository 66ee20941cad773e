// mixc diff: what its parts share. Files of tensors, dumps of IR, and runs are compared, each in its own way.
#ifndef MIXC_CLI_DIFF_H
#define MIXC_CLI_DIFF_H

#include "cli.h"

// Two files of tensors. Returns 0, NUMERIC's exit code where they differ by more than the tolerance, or an error's.
int diff_tensors(Cli *cli, const char *a, const char *b, double tolerance);
// Two dumps: files of IR text, or folders of them (dump --after all -o DIR). Names the first stage and line that differ.
int diff_dumps(Cli *cli, const char *a, const char *b);
// Two folders of runs: the first logged step whose loss differs, then their newest checkpoints.
int diff_runs(Cli *cli, const char *a, const char *b, double tolerance);

#endif
