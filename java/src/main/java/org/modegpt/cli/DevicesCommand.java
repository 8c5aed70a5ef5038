package org.modegpt.cli;

import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.backend.ops.OpSummary;
import org.modegpt.io.Json;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "devices",
    description = "Lists what the program can compute on, and why something is missing.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "Examples:",
      "  modegpt devices                      what there is",
      "  modegpt devices --ops --device cuda  every operation of a device against the reference"
    })
final class DevicesCommand implements Callable<Integer> {
  @Option(
      names = "--ops",
      description =
          "Run every operation of --device on the list of cases that the tests use, and print its worst error against the"
              + " plain Java back-end. Bounds of products are those of the precision that MODEGPT_GEMM sets.")
  private boolean ops;

  @Mixin private EngineOptions engine;
  @Mixin private OutputOptions output;

  @Override
  public Integer call() {
    if (ops) {
      runOps();
      return 0;
    }
    List<Backends.Candidate> candidates = Backends.candidates();
    if (output.json) {
      print(candidates);
    } else {
      Table table = new Table("device", "available", "what");
      candidates.forEach(c ->
          table.row(
              c.name(),
              c.available() ? "yes" : "no",
              c.available() ? c.description() : c.reason()));
      output.out().print(table);
    }
    output.out().flush();
    return 0;
  }

  private void runOps() {
    List<OpSummary> summaries;
    try (Backend backend = engine.open();
        Backend reference = Backends.open("reference", 1)) {
      output.say(backend.name() + ": " + backend.describe());
      summaries = OpSummary.of(backend, reference);
    }
    if (output.json) {
      print(summaries);
    } else {
      Table table = new Table("operation", "cases", "failed", "of bound", "worst error");
      for (OpSummary s : summaries) {
        String share = String.format(Locale.ROOT, "%.0f %%", 100 * s.share());
        table.row(s.op(), s.cases(), s.failures().size(), share, s.worst());
      }
      output.out().print(table);
    }
    output.out().flush();
    List<String> failures = summaries.stream().flatMap(s -> s.failures().stream()).toList();
    failures.forEach(output::say);
    if (!failures.isEmpty()) {
      throw new UserException(failures.size() + " cases are beyond their bound");
    }
  }

  private void print(Object value) {
    output
        .out()
        .print(Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(value) + "\n");
  }
}
