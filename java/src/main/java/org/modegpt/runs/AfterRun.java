package org.modegpt.runs;

/// Something done once a run is stored: alert rules, another server. Runs on the recorder's thread;
/// may throw, which is told on standard error.
public interface AfterRun {
  void after(RunRecord run, RunStore store) throws Exception;
}
