package org.modegpt.runs;

import java.time.Instant;
import java.util.SortedMap;
import org.jspecify.annotations.Nullable;

/// A line of the list of runs; `metrics` maps [RunRecord.Metric#key] to values. `seconds` is null
/// while a run lasts.
public record RunSummary(
    String id,
    String kind,
    String status,
    Instant started,
    @Nullable Double seconds,
    String model,
    String recipe,
    String machine,
    String host,
    String error,
    SortedMap<String, Double> metrics) {}
