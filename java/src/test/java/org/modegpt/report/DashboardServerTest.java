package org.modegpt.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.net.SocketException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.UserException;
import org.modegpt.runs.Metrics;
import org.modegpt.runs.ModelUse;
import org.modegpt.runs.RunRecorder;
import org.modegpt.runs.RunSettings;

class DashboardServerTest {
  private static final String SCRIPT =
      "<script>window.hacked=1</script><img src=x onerror='window.hacked=2'>";

  @TempDir Path folder;
  private final HttpClient http = HttpClient.newHttpClient();
  private RunSettings settings;
  private DashboardServer server;
  private String id;

  @BeforeEach
  void start() {
    settings = RunSettings.of(folder, folder.resolve("runs.db").toString());
    try (RunRecorder recorder = RunRecorder.open(settings)) {
      id =
          recorder.record(
              "compress",
              Map.of("model", SCRIPT, "recipe", "a\"b\\c\nd"),
              run -> {
                run.model(new ModelUse(ModelUse.OUTPUT, "/x/" + SCRIPT, "h1", 5L, 10L));
                run.metric(Metrics.PERPLEXITY, 20.25, 0.5, "", Map.of("dataset", SCRIPT));
                return run.id();
              });
    }
    server = DashboardServer.start(settings, "127.0.0.1", 0, null);
  }

  @AfterEach
  void stop() {
    server.close();
  }

  private HttpResponse<String> get(String path, String... headers)
      throws IOException, InterruptedException {
    HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(base() + path));
    if (headers.length > 0) {
      request.headers(headers);
    }
    return http.send(request.build(), HttpResponse.BodyHandlers.ofString());
  }

  private String base() {
    return server.url().replaceAll("/(\\?.*)?$", "");
  }

  private int port() {
    return URI.create(server.url()).getPort();
  }

  /// Sends text as it is and returns all that comes back.
  private String raw(String text) throws IOException {
    try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port())) {
      socket.setSoTimeout(60_000);
      socket.getOutputStream().write(text.getBytes(StandardCharsets.ISO_8859_1));
      StringBuilder answer = new StringBuilder();
      try {
        InputStream in = socket.getInputStream();
        for (int c = in.read(); c >= 0; c = in.read()) {
          answer.append((char) c);
        }
      } catch (SocketException e) {
        // The server hung up on what it had not read; its answer may have come before.
        answer.append("(").append(e.getMessage()).append(")");
      }
      return answer.toString();
    }
  }

  @Test
  void answersWithTheRunsAndStrictHeaders() throws Exception {
    HttpResponse<String> page = get("/");
    assertThat(page.statusCode()).isEqualTo(200);
    assertThat(page.headers().firstValue("Content-Security-Policy").orElse(""))
        .contains("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'")
        .doesNotContain("unsafe");
    assertThat(page.headers().firstValue("X-Content-Type-Options")).contains("nosniff");
    assertThat(get("/chart.js").body()).contains("Chart.js v4").doesNotContain("sourceMappingURL");
    assertThat(get("/api/runs").body()).contains(id).contains("\"total\":1");
    assertThat(get("/api/run?id=last").body())
        .contains("\"kind\":\"compress\"")
        .contains("\"seconds\":");
    assertThat(get("/api/models").body()).contains("20.25");
    assertThat(get("/api/facets").body()).contains("\"compress\"");
    assertThat(get("/api/run?id=nothing").statusCode()).isEqualTo(400);
    assertThat(get("/api/runs?limit=9999999").statusCode()).isEqualTo(400);
    assertThat(
            raw("GET /api/runs?limit=%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
        .startsWith("HTTP/1.1 400");
    assertThat(get("/api/runs?text=" + "x".repeat(3000)).statusCode()).isEqualTo(400);
  }

  @Test
  void metricsAreWellFormedWhateverTheNames() throws Exception {
    HttpResponse<String> metrics = get("/metrics");
    assertThat(metrics.headers().firstValue("Content-Type").orElse(""))
        .startsWith("text/plain; version=0.0.4");
    for (String line : metrics.body().lines().toList()) {
      assertThat(line)
          .matches(
              "# (HELP|TYPE) [a-zA-Z_:][a-zA-Z0-9_:]* .*|[a-zA-Z_:][a-zA-Z0-9_:]*(\\{([a-zA-Z_][a-zA-Z0-9_]*=\"([^\"\\\\]|\\\\[\\\\n\"])*\",?)*})? [0-9.E+-]+");
    }
    assertThat(metrics.body())
        .contains("modegpt_runs_stored 1.0")
        .contains("recipe=\"a\\\"b\\\\c\\nd\"");
  }

  @Test
  void noPathReachesTheFileSystem() throws Exception {
    Files.writeString(folder.resolve("secret.txt"), "the secret");
    List<String> paths =
        List.of(
            "/../../../../etc/passwd",
            "/..%2f..%2f..%2fetc%2fpasswd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/style.css/../../secret.txt",
            "//etc/passwd",
            "/secret.txt",
            "/file:///etc/passwd",
            "/chartjs/LICENSE.md",
            "/index.html%00.css",
            folder.resolve("secret.txt").toString());
    for (String path : paths) {
      String answer =
          raw("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
      assertThat(answer)
          .as(path)
          .matches("(?s)HTTP/1.1 (404|400).*")
          .doesNotContain("root:", "the secret");
    }
  }

  @Test
  void bodiesAreRefusedWithoutReadingThem() throws Exception {
    String answer =
        raw(
            "POST /api/alerts/mute HTTP/1.1\r\nHost: localhost\r\nX-Modegpt: 1\r\nContent-Length: 99999999999\r\n\r\n"
                + "x".repeat(5000));
    assertThat(answer).startsWith("HTTP/1.1 413");
    String chunked =
        raw(
            "POST /api/alerts/mute HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n");
    assertThat(chunked).startsWith("HTTP/1.1 413");
    String headers = "X-A: " + "y".repeat(100_000);
    assertThat(raw("GET / HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n\r\n"))
        .doesNotContain("200 OK");
    assertThat(get("/api/runs").statusCode()).isEqualTo(200);
  }

  @Test
  void slowClientsDoNotHoldUpOthers() throws Exception {
    List<Socket> slow = new ArrayList<>();
    try {
      for (int i = 0; i < 150; i++) {
        Socket socket = new Socket(InetAddress.getLoopbackAddress(), port());
        // A request that never ends, and never reads.
        socket.getOutputStream().write("GET / HT".getBytes(StandardCharsets.ISO_8859_1));
        slow.add(socket);
      }
      for (int i = 0; i < 20; i++) {
        assertThat(get("/api/runs").statusCode()).isEqualTo(200);
      }
      Socket first = slow.getFirst();
      first.setSoTimeout(60_000);
      // The server hangs up on it in the end.
      assertThat(first.getInputStream().read()).isEqualTo(-1);
    } finally {
      for (Socket socket : slow) {
        socket.close();
      }
    }
  }

  @Test
  void aForeignNameForThisMachineIsRefused() throws Exception {
    assertThat(raw("GET /api/runs HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"))
        .startsWith("HTTP/1.1 403");
    assertThat(
            raw(
                "GET /api/runs HTTP/1.1\r\nHost: localhost.evil.example:80\r\nConnection: close\r\n\r\n"))
        .startsWith("HTTP/1.1 403");
    assertThat(raw("GET /api/runs HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n"))
        .startsWith("HTTP/1.1 200");
  }

  @Test
  void changesNeedOurOwnPage() throws Exception {
    String request =
        "POST /api/alerts/mute?rule=r&hours=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n";
    assertThat(raw(request + "\r\n")).startsWith("HTTP/1.1 403");
    assertThat(raw(request + "X-Modegpt: 1\r\nOrigin: http://evil.example\r\n\r\n"))
        .startsWith("HTTP/1.1 403");
    assertThat(raw("DELETE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
        .startsWith("HTTP/1.1 405");
  }

  @Test
  void otherAddressesNeedTheToken() throws Exception {
    try (DashboardServer open = DashboardServer.start(settings, "0.0.0.0", 0, null)) {
      String token = URI.create(open.url()).getQuery().replace("token=", "");
      assertThat(token).matches("[0-9a-f]{32}");
      String base = "http://127.0.0.1:" + URI.create(open.url()).getPort();
      assertThat(status(base + "/api/runs")).isEqualTo(401);
      assertThat(status(base + "/")).isEqualTo(401);
      assertThat(status(base + "/?token=0123456789abcdef")).isEqualTo(401);
      assertThat(status(base + "/api/runs", "Authorization", "Bearer " + token + "0"))
          .isEqualTo(401);
      assertThat(status(base + "/api/runs", "Authorization", "Bearer " + token)).isEqualTo(200);
      assertThat(status(base + "/api/runs", "Cookie", "a=b; modegpt_token=" + token))
          .isEqualTo(200);
      HttpResponse<String> login =
          http.send(
              HttpRequest.newBuilder(URI.create(open.url().replace("localhost", "127.0.0.1")))
                  .build(),
              HttpResponse.BodyHandlers.ofString());
      assertThat(login.statusCode()).isEqualTo(303);
      assertThat(login.headers().firstValue("Set-Cookie").orElse(""))
          .contains(token, "HttpOnly", "SameSite=Strict");
    }
    assertThatThrownBy(() -> DashboardServer.start(settings, "0.0.0.0", 0, "short"))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("16");
    assertThatThrownBy(() -> DashboardServer.start(settings, "127.0.0.1", port(), null))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("--port");
  }

  private int status(String url, String... headers) throws Exception {
    HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url));
    if (headers.length > 0) {
      request.headers(headers);
    }
    return http.send(request.build(), HttpResponse.BodyHandlers.discarding()).statusCode();
  }
}
