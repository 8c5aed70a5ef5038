package org.modegpt.report;

import java.util.Map;

/// Bounds on what clients of this program's servers may take, against slow and greedy ones. The JDK
/// reads them once, when the first server of a process is made: whoever makes one calls this
/// before. Properties that are set already stay.
final class HttpLimits {
  private static final Map<String, Integer> LIMITS =
      Map.of(
          "sun.net.httpserver.maxReqTime", 15,
          "sun.net.httpserver.maxRspTime", 120,
          "sun.net.httpserver.maxReqHeaders", 60,
          "sun.net.httpserver.maxReqHeaderSize", 32_768,
          "sun.net.httpserver.idleInterval", 30,
          "jdk.httpserver.maxConnections", 256);

  private HttpLimits() {}

  static void set() {
    LIMITS.forEach((property, value) -> {
      if (System.getProperty(property) == null) {
        System.setProperty(property, Integer.toString(value));
      }
    });
  }
}
