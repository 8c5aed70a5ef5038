/// The commands about recorded runs: `runs`, `dashboard`, `alerts` and `advise`. Results go to
/// standard output, everything else to standard error; exit codes are 0 (done), 1 (failed), 2
/// (usage) and 3 (an alert rule fired).
@NullMarked
package org.modegpt.runs.cli;

import org.jspecify.annotations.NullMarked;
