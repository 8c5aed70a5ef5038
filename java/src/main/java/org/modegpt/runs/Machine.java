package org.modegpt.runs;

import java.io.BufferedReader;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;

/// Describes the machine a run is on. Speeds are only compared between runs with equal
/// descriptions.
final class Machine {
  private static final String DESCRIPTION = describe();
  private static final String HOST = host();

  private Machine() {}

  /// As in `4 x AMD EPYC 9R14, 24 GiB, Linux amd64, Java 25.0.3`.
  static String description() {
    return DESCRIPTION;
  }

  static String hostName() {
    return HOST;
  }

  private static String describe() {
    long memory = 0;
    if (ManagementFactory.getOperatingSystemMXBean()
        instanceof com.sun.management.OperatingSystemMXBean system) {
      memory = system.getTotalMemorySize();
    }
    return "%d x %s, %d GiB, %s %s, Java %s"
        .formatted(
            Runtime.getRuntime().availableProcessors(),
            processor(),
            Math.round(memory / (double) (1L << 30)),
            System.getProperty("os.name"),
            System.getProperty("os.arch"),
            System.getProperty("java.version"));
  }

  private static String processor() {
    Path info = Path.of("/proc/cpuinfo");
    if (!Files.isReadable(info)) {
      return "processor";
    }
    try (BufferedReader reader = Files.newBufferedReader(info)) {
      String line;
      while ((line = reader.readLine()) != null) {
        if (line.startsWith("model name")) {
          return line.substring(line.indexOf(':') + 1).strip();
        }
      }
      return "processor";
    } catch (IOException e) {
      return "processor";
    }
  }

  private static String host() {
    String name = System.getenv("HOSTNAME");
    if (name != null && !name.isBlank()) {
      return name;
    }
    try {
      return InetAddress.getLocalHost().getHostName();
    } catch (UnknownHostException e) {
      return "unknown";
    }
  }
}
