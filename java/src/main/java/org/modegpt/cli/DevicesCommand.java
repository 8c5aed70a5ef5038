package org.modegpt.cli;

import java.util.concurrent.Callable;
import org.modegpt.backend.Backends;
import org.modegpt.io.Json;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

@Command(
    name = "devices",
    description = "Lists what the program can compute on, and why something is missing.",
    mixinStandardHelpOptions = true)
final class DevicesCommand implements Callable<Integer> {
  @Mixin private OutputOptions output;

  @Override
  public Integer call() {
    if (output.json) {
      output
          .out()
          .print(
              Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(Backends.candidates())
                  + "\n");
    } else {
      Table table = new Table("device", "available", "what");
      Backends.candidates()
          .forEach(c ->
              table.row(
                  c.name(),
                  c.available() ? "yes" : "no",
                  c.available() ? c.description() : c.reason()));
      output.out().print(table);
    }
    output.out().flush();
    return 0;
  }
}
