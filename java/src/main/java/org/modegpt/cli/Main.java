package org.modegpt.cli;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CancellationException;
import org.modegpt.UserException;
import org.modegpt.backend.BackendException;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IExecutionExceptionHandler;
import picocli.CommandLine.ParameterException;

/// The program. Data goes to standard output, progress and messages to standard error. Exit codes:
/// 0 done, 1 failed, 2 wrong usage, 3 a gate failed or an alert fired, 130 interrupted.
@Command(
    name = "modegpt",
    description =
        "Compresses decoder-only language models by modular decomposition (arXiv 2408.09632).",
    synopsisSubcommandLabel = "COMMAND",
    mixinStandardHelpOptions = true,
    versionProvider = Version.class,
    subcommands = {
      DownloadCommand.class,
      CompressCommand.class,
      CalibrateCommand.class,
      PerplexityCommand.class,
      GenerateCommand.class,
      InspectCommand.class,
      ConvertCommand.class,
      BenchCommand.class,
      EvalCommand.class,
      TasksCommand.class,
      DevicesCommand.class,
      RunsCommand.class,
      DashboardCommand.class,
      AlertsCommand.class,
      AdviseCommand.class
    },
    footer = {
      "",
      "Examples:",
      "  modegpt compress                                     the demonstration model, 20 %% smaller",
      "  modegpt compress my-model --ratio 0.3 --output small  a checkpoint of your own",
      "  modegpt COMMAND --help                               all options of a command",
      "",
      "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a gate failed or an alert fired, 130 interrupted."
    })
public final class Main {
  static final int FAILED = 1;
  static final int USAGE = 2;
  static final int GATE = 3;
  static final int INTERRUPTED = 130;

  private Main() {}

  public static void main(String... args) {
    PrintStream out =
        new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
    PrintStream err =
        new PrintStream(new FileOutputStream(FileDescriptor.err), true, StandardCharsets.UTF_8);
    System.setOut(out);
    System.setErr(err);
    PrintWriter results = new PrintWriter(out, false, StandardCharsets.UTF_8);
    int code = run(results, new PrintWriter(err, true, StandardCharsets.UTF_8), args);
    results.flush();
    System.exit(code);
  }

  /// Runs one command line and returns its exit code.
  static int run(PrintWriter out, PrintWriter err, String... args) {
    CommandLine program = new CommandLine(new Main());
    program.setOut(out);
    program.setErr(err);
    program.setCaseInsensitiveEnumValuesAllowed(true);
    program.setExecutionExceptionHandler(failures());
    program.setParameterExceptionHandler((e, _) -> {
      CommandLine command = e.getCommandLine();
      err.println("modegpt: " + oneLine(e));
      err.println("Try '" + command.getCommandSpec().qualifiedName() + " --help'.");
      return USAGE;
    });
    if (args.length == 0) {
      program.usage(err);
      return USAGE;
    }
    return program.execute(args);
  }

  private static IExecutionExceptionHandler failures() {
    return (e, command, parsed) -> {
      PrintWriter err = command.getErr();
      if (e instanceof ParameterException usage) {
        throw usage;
      }
      if (e instanceof CancellationException) {
        err.println("modegpt: interrupted");
        return INTERRUPTED;
      }
      boolean expected = e instanceof UserException || e instanceof BackendException;
      boolean verbose = parsed.subcommand() != null && parsed.subcommand().hasMatchedOption("-v");
      err.println("modegpt: " + (expected ? oneLine(e) : "internal error: " + e));
      if (verbose || !expected) {
        e.printStackTrace(err);
      }
      return FAILED;
    };
  }

  private static String oneLine(Exception e) {
    return e.getMessage() == null ? e.toString() : e.getMessage().lines().findFirst().orElse("");
  }
}
