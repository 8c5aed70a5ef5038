package org.modegpt.runs;

import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/// A PostgreSQL server of the installed version on a free port of the loopback address, with its
/// data in a folder.
final class PostgresServer implements AutoCloseable {
  private static final int ATTEMPTS = 3;

  private final Path data;
  private final Path programs;
  final String url;

  private PostgresServer(Path programs, Path data, String url) {
    this.programs = programs;
    this.data = data;
    this.url = url;
  }

  /// The folder of `initdb` and `pg_ctl`, if PostgreSQL is installed.
  static Optional<Path> installed() throws IOException {
    Path versions = Path.of("/usr/lib/postgresql");
    if (!Files.isDirectory(versions)) {
      return Optional.empty();
    }
    try (Stream<Path> folders = Files.list(versions)) {
      return folders
          .map(v -> v.resolve("bin"))
          .filter(b -> Files.isExecutable(b.resolve("initdb")))
          .max(Path::compareTo);
    }
  }

  static PostgresServer start(Path programs, Path folder) throws IOException {
    Path data = folder.resolve("data");
    if (System.getProperty("user.name").equals("root")) {
      // The server refuses to run as root.
      run(List.of("chown", "postgres", folder.toString()), null);
      for (Path p = folder; p != null; p = p.getParent()) {
        run(List.of("chmod", "a+x", p.toString()), null);
      }
    }
    run(
        asServer(
            programs.resolve("initdb").toString(),
            "-D",
            data.toString(),
            "-A",
            "trust",
            "-U",
            "tester",
            "--no-sync"),
        folder);
    for (int attempt = 1; ; attempt++) {
      int port;
      try (ServerSocket socket = new ServerSocket(0)) {
        port = socket.getLocalPort();
      }
      try {
        listen(programs, data, folder, port);
        return new PostgresServer(
            programs, data, "jdbc:postgresql://127.0.0.1:" + port + "/postgres?user=tester");
      } catch (IOException e) {
        // Another program may have taken the port in between.
        if (attempt == ATTEMPTS) {
          throw e;
        }
      }
    }
  }

  private static void listen(Path programs, Path data, Path folder, int port) throws IOException {
    String options = "-h 127.0.0.1 -p " + port + " -k " + folder;
    run(
        asServer(
            programs.resolve("pg_ctl").toString(),
            "-D",
            data.toString(),
            "-w",
            "-l",
            folder.resolve("log").toString(),
            "-o",
            options,
            "start"),
        folder);
  }

  void restart() throws IOException {
    run(
        asServer(
            programs.resolve("pg_ctl").toString(),
            "-D",
            data.toString(),
            "-w",
            "-m",
            "fast",
            "-l",
            data + "/log",
            "restart"),
        data.getParent());
  }

  private static List<String> asServer(String... command) {
    List<String> full = new ArrayList<>();
    if (System.getProperty("user.name").equals("root")) {
      full.addAll(List.of("runuser", "-u", "postgres", "--"));
    }
    full.addAll(List.of(command));
    return full;
  }

  private static void run(List<String> command, @Nullable Path folder) throws IOException {
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    Path output = Files.createTempFile("postgres", ".log");
    builder.redirectOutput(output.toFile());
    if (folder != null) {
      builder.directory(folder.toFile());
    }
    if (builder.start().onExit().join().exitValue() != 0) {
      throw new IOException(command + " failed: " + Files.readString(output));
    }
    Files.delete(output);
  }

  @Override
  public void close() throws IOException {
    run(
        asServer(
            programs.resolve("pg_ctl").toString(),
            "-D",
            data.toString(),
            "-m",
            "immediate",
            "stop"),
        data.getParent());
  }
}
