package org.modegpt.report;

import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.runs.RunJson;
import org.modegpt.runs.RunSettings;
import org.modegpt.runs.RunStore;

/// Serves the dashboard with the JDK's own server, a virtual thread for each request. Fixed paths,
/// no request bodies, bounded headers, times and numbers of connections; see [Access] for who may
/// ask. Close it to stop.
public final class DashboardServer implements AutoCloseable {
  private static final String POLICY =
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
          + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

  private final HttpServer server;
  private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
  private final RunStore store;
  private final Access access;
  private final DashboardApi api;
  private final LiveRuns live;

  private DashboardServer(HttpServer server, RunStore store, Access access) {
    this.server = server;
    this.store = store;
    this.access = access;
    this.api = new DashboardApi(store);
    this.live = new LiveRuns(store);
  }

  /// Serves the store of `settings` on `address`, at `port` (0 takes a free one). Without a `token`
  /// one is made up where the address is not loopback.
  ///
  /// @throws UserException when the address or port cannot be had
  public static DashboardServer start(
      RunSettings settings, String address, int port, @Nullable String token) {
    InetAddress host;
    try {
      host = InetAddress.getByName(address);
    } catch (IOException e) {
      throw new UserException("There is no address " + address + " on this machine.", e);
    }
    Access access = Access.on(host, token);
    RunStore store = RunStore.open(settings.location());
    HttpLimits.set();
    try {
      HttpServer http = HttpServer.create(new InetSocketAddress(host, port), 64);
      DashboardServer server = new DashboardServer(http, store, access);
      http.setExecutor(server.threads);
      http.createContext("/", server::handle);
      http.start();
      return server;
    } catch (IOException e) {
      store.close();
      throw new UserException(
          "Cannot listen on "
              + address
              + " port "
              + port
              + " ("
              + e.getMessage()
              + "); choose another with --port.",
          e);
    }
  }

  /// Where to point a browser; carries the token, if one is needed.
  public String url() {
    InetSocketAddress at = server.getAddress();
    InetAddress host = at.getAddress();
    String name =
        host.isLoopbackAddress() || host.isAnyLocalAddress() ? "localhost" : host.getHostAddress();
    String token = access.token();
    return "http://" + name + ":" + at.getPort() + "/" + (token == null ? "" : "?token=" + token);
  }

  private void handle(HttpExchange exchange) throws IOException {
    try (exchange) {
      harden(exchange.getResponseHeaders());
      try {
        answer(exchange);
      } catch (UserException e) {
        error(exchange, 400, e.getMessage());
      } catch (RuntimeException e) {
        System.err.println("dashboard: " + exchange.getRequestURI().getPath() + ": " + e);
        error(exchange, 500, "The dashboard failed; its terminal says why.");
      }
    }
  }

  private void answer(HttpExchange exchange) throws IOException {
    String path = exchange.getRequestURI().getPath();
    Query query = Query.of(exchange.getRequestURI().getRawQuery());
    String method = exchange.getRequestMethod();
    Assets.Asset asset = Assets.at(path);
    if (hasBody(exchange.getRequestHeaders())) {
      error(exchange, 413, "Requests have no body.");
    } else if (path.equals("/") && access.isToken(query.text("token"))) {
      exchange
          .getResponseHeaders()
          .set(
              "Set-Cookie",
              Access.COOKIE + "=" + query.text("token") + "; HttpOnly; SameSite=Strict; Path=/");
      exchange.getResponseHeaders().set("Location", "/");
      exchange.sendResponseHeaders(303, -1);
    } else if (!access.allows(exchange.getRequestHeaders())) {
      error(
          exchange,
          access.token() == null ? 403 : 401,
          "Open the address that modegpt dashboard printed.");
    } else if (method.equals("POST")) {
      if (!access.isOwnPage(exchange.getRequestHeaders())) {
        error(exchange, 403, "Changes are made from the dashboard's own page.");
      } else {
        json(exchange, api.change(path, query));
      }
    } else if (!method.equals("GET") && !method.equals("HEAD")) {
      error(exchange, 405, "Only GET, HEAD and POST are known here.");
    } else if (asset != null) {
      send(exchange, 200, asset.type(), asset.text());
    } else if (path.equals("/metrics")) {
      send(exchange, 200, PrometheusText.TYPE, PrometheusText.of(store));
    } else if (path.equals("/api/live")) {
      live.stream(exchange, store.resolve(query.text("id")));
    } else {
      json(exchange, api.read(path, query));
    }
  }

  private static boolean hasBody(Headers headers) {
    String length = headers.getFirst("Content-Length");
    return headers.containsKey("Transfer-Encoding") || (length != null && !length.equals("0"));
  }

  private static void harden(Headers headers) {
    headers.set("Content-Security-Policy", POLICY);
    headers.set("X-Content-Type-Options", "nosniff");
    headers.set("X-Frame-Options", "DENY");
    headers.set("Referrer-Policy", "no-referrer");
    headers.set("Cross-Origin-Opener-Policy", "same-origin");
    headers.set("Cross-Origin-Resource-Policy", "same-origin");
    headers.set("Permissions-Policy", "camera=(), geolocation=(), microphone=()");
    headers.set("Cache-Control", "no-store");
  }

  private static void json(HttpExchange exchange, @Nullable Object value) throws IOException {
    if (value == null) {
      error(exchange, 404, "There is nothing here.");
    } else {
      send(exchange, 200, "application/json; charset=utf-8", RunJson.write(value));
    }
  }

  private static void error(HttpExchange exchange, int code, String message) throws IOException {
    send(
        exchange,
        code,
        "application/json; charset=utf-8",
        RunJson.write(java.util.Map.of("error", message)));
  }

  private static void send(HttpExchange exchange, int code, String type, String text)
      throws IOException {
    byte[] body = text.getBytes(StandardCharsets.UTF_8);
    exchange.getResponseHeaders().set("Content-Type", type);
    if (exchange.getRequestMethod().equals("HEAD")) {
      exchange.sendResponseHeaders(code, -1);
      return;
    }
    exchange.sendResponseHeaders(code, body.length == 0 ? -1 : body.length);
    try (OutputStream out = exchange.getResponseBody()) {
      out.write(body);
    }
  }

  @Override
  public void close() {
    live.close();
    server.stop(0);
    threads.shutdownNow();
    store.close();
  }
}
