/// Runs told to other programs: an MLflow server, an OpenTelemetry collector, and a port where a
/// running job is scraped by Prometheus. All of it is off unless a setting asks for it
/// ([org.modegpt.runs.RunSettings]), happens beside the job, and when it fails says so on standard
/// error and nothing more.
@NullMarked
package org.modegpt.telemetry;

import org.jspecify.annotations.NullMarked;
