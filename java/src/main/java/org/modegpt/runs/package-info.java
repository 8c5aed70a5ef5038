/// What every run cost and gave: recorded, kept and asked for.
///
/// ## Recording
///
/// A command begins a [Run][org.modegpt.runs.Run], names its phases, and reports metrics;
/// everything else (machine, versions, resources over time, how it ended) is added here:
///
/// ```java
/// try (RunRecorder recorder = RunRecorder.open(RunSettings.fromEnvironment())) {
///   recorder.record("compress", Map.of("model", "smollm2", "recipe", "default", "ratio", "0.7"), run -> {
///     run.model(ModelUse.BASE, modelDirectory);
///     try (Run.Phase phase = run.phase("calibrate")) {
///       phase.progress(12, 128);
///     }
///     run.layer(0, "mlp", 1536, 1180, 0.004, 0.0051);
///     run.metric(Metrics.PERPLEXITY, 41.8, 0.3, "", Map.of("dataset", "wikitext2"));
///   });
/// }
/// ```
///
/// Recording never fails or slows the job: events go to a bounded queue that one thread writes in
/// batches. What cannot be written is told once on standard error. `MODEGPT_RUNS=off` (or
/// `--no-record`) turns it off.
///
/// ## The store
///
/// One SQLite file in WAL mode, by default `$XDG_DATA_HOME/modegpt/runs.db`, or a PostgreSQL
/// database by its JDBC URL. SQLite rather than DuckDB because several processes write at once
/// (DuckDB lets a single process open a file for writing), because rows are small and appended (a
/// row store's work), and because its driver is 12 MB for all platforms where DuckDB's is 80 MB.
/// Tables are only ever appended to: a run has a row when it begins and another when it ends, so a
/// run without an end whose process is gone was killed.
///
/// ## Errors
///
/// Reading throws [org.modegpt.UserException] for what a user can put right and
/// [StoreException][org.modegpt.runs.StoreException] when the database itself fails.
@NullMarked
package org.modegpt.runs;

import org.jspecify.annotations.NullMarked;
