package org.modegpt.report;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.modegpt.UserException;
import org.modegpt.runs.RunStore;

/// A port on the loopback address where Prometheus (or an OpenTelemetry collector's Prometheus
/// receiver) finds how the runs at work go, as long as a job lasts.
public final class MetricsEndpoint implements AutoCloseable {
  private final HttpServer server;
  private final RunStore store;
  private final Access access;
  private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();

  private MetricsEndpoint(HttpServer server, RunStore store, Access access) {
    this.server = server;
    this.store = store;
    this.access = access;
    server.setExecutor(threads);
    server.createContext("/metrics", this::answer);
    server.start();
  }

  /// Serves `/metrics` of the store at `location` on `port` (0 takes a free one).
  public static MetricsEndpoint start(String location, int port) {
    InetAddress loopback = InetAddress.getLoopbackAddress();
    RunStore store = RunStore.open(location);
    HttpLimits.set();
    try {
      HttpServer server = HttpServer.create(new InetSocketAddress(loopback, port), 16);
      return new MetricsEndpoint(server, store, Access.on(loopback, null));
    } catch (IOException e) {
      store.close();
      throw new UserException(
          "Cannot serve metrics on port "
              + port
              + " ("
              + e.getMessage()
              + "); choose another MODEGPT_METRICS_PORT.",
          e);
    }
  }

  int port() {
    return server.getAddress().getPort();
  }

  private void answer(HttpExchange exchange) throws IOException {
    try (exchange) {
      boolean allowed =
          access.allows(exchange.getRequestHeaders()) && exchange.getRequestMethod().equals("GET");
      byte[] body = (allowed ? PrometheusText.of(store) : "").getBytes(StandardCharsets.UTF_8);
      exchange.getResponseHeaders().set("Content-Type", PrometheusText.TYPE);
      exchange.sendResponseHeaders(allowed ? 200 : 403, allowed ? body.length : -1);
      if (allowed) {
        exchange.getResponseBody().write(body);
      }
    }
  }

  @Override
  public void close() {
    server.stop(0);
    threads.shutdownNow();
    store.close();
  }
}
