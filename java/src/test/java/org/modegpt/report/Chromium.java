package org.modegpt.report;

import java.io.BufferedReader;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// A headless Chromium driven by the WebDriver protocol, spoken directly.
final class Chromium implements AutoCloseable {
  /// For a machine on which other work takes the processors.
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  private static final JsonMapper JSON = JsonMapper.shared();

  private final Process driver;
  private final HttpClient http = HttpClient.newHttpClient();
  private final String session;

  private Chromium(Process driver, String base, boolean dark, int width, int height)
      throws IOException {
    this.driver = driver;
    Map<String, Object> options =
        Map.of(
            "args",
            List.of(
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--force-device-scale-factor=1",
                "--window-size=" + width + "," + height,
                dark
                    ? "--blink-settings=preferredColorScheme=0"
                    : "--blink-settings=preferredColorScheme=1"));
    JsonNode answer =
        send(
            "POST",
            base + "/session",
            Map.of(
                "capabilities",
                Map.of(
                    "alwaysMatch",
                    Map.of(
                        "goog:chromeOptions",
                        options,
                        "goog:loggingPrefs",
                        Map.of("browser", "ALL")))));
    session = base + "/session/" + answer.get("sessionId").asString();
  }

  static Optional<Path> driver() {
    return Stream.of(
            "/usr/bin/chromedriver",
            "/usr/lib/chromium/chromedriver",
            "/usr/local/bin/chromedriver")
        .map(Path::of)
        .filter(Files::isExecutable)
        .findFirst();
  }

  static Chromium start(Path driver, boolean dark, int width, int height) throws IOException {
    Process process =
        new ProcessBuilder(driver.toString(), "--port=0").redirectErrorStream(true).start();
    BufferedReader lines = process.inputReader();
    String line;
    while ((line = lines.readLine()) != null) {
      int at = line.indexOf("on port ");
      if (at >= 0 && line.contains("started successfully")) {
        String port = line.substring(at + 8).replaceAll("[^0-9]", "");
        Thread.ofVirtual().start(() -> lines.lines().forEach(ignored -> {}));
        Chromium browser = new Chromium(process, "http://127.0.0.1:" + port, dark, width, height);
        browser.emulate(width, height);
        return browser;
      }
    }
    throw new IOException("chromedriver did not start");
  }

  /// Sets the size of the page itself; a headless window has a least width of its own.
  private void emulate(int width, int height) throws IOException {
    send(
        "POST",
        session + "/goog/cdp/execute",
        Map.of(
            "cmd",
            "Emulation.setDeviceMetricsOverride",
            "params",
            Map.of(
                "width", width, "height", height, "deviceScaleFactor", 1, "mobile", width < 600)));
  }

  void open(String url) throws IOException {
    send("POST", session + "/url", Map.of("url", url));
  }

  /// The value of a script's `return`.
  JsonNode script(String script, Object... arguments) throws IOException {
    return send(
        "POST", session + "/execute/sync", Map.of("script", script, "args", List.of(arguments)));
  }

  /// Waits until the script returns true.
  void await(String condition) throws IOException {
    long start = System.nanoTime();
    while (System.nanoTime() - start < PATIENCE.toNanos()) {
      if (script("return Boolean(" + condition + ")").asBoolean()) {
        return;
      }
      try {
        Thread.sleep(50);
      } catch (InterruptedException e) {
        throw new IOException(e);
      }
    }
    throw new IOException(
        "never true within "
            + PATIENCE.toSeconds()
            + " s: "
            + condition
            + "; page: "
            + script("return document.body.innerText"));
  }

  /// Presses keys one after the other; WebDriver's code for Tab is U+E004, for Enter U+E007.
  void keys(String keys) throws IOException {
    List<Map<String, String>> actions =
        keys.codePoints()
            .mapToObj(Character::toString)
            .flatMap(k ->
                Stream.of(
                    Map.of("type", "keyDown", "value", k), Map.of("type", "keyUp", "value", k)))
            .toList();
    send(
        "POST",
        session + "/actions",
        Map.of("actions", List.of(Map.of("type", "key", "id", "keyboard", "actions", actions))));
  }

  /// Messages of the page's console that are warnings or errors.
  List<String> complaints() throws IOException {
    return send("POST", session + "/se/log", Map.of("type", "browser"))
        .valueStream()
        .filter(e ->
            !e.get("level").asString().equals("INFO") && !e.get("level").asString().equals("DEBUG"))
        .map(e -> e.get("message").asString())
        .toList();
  }

  /// A picture of the whole page.
  void screenshot(Path file) throws IOException {
    JsonNode answer =
        send(
            "POST",
            session + "/goog/cdp/execute",
            Map.of(
                "cmd", "Page.captureScreenshot", "params", Map.of("captureBeyondViewport", true)));
    Files.write(file, Base64.getDecoder().decode(answer.get("data").asString()));
  }

  private JsonNode send(String method, String url, Object body) throws IOException {
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(url))
            .timeout(PATIENCE.multipliedBy(2))
            .header("Content-Type", "application/json")
            .method(method, HttpRequest.BodyPublishers.ofString(JSON.writeValueAsString(body)))
            .build();
    try {
      HttpResponse<String> response = http.send(request, HttpResponse.BodyHandlers.ofString());
      JsonNode value = JSON.readTree(response.body()).get("value");
      if (response.statusCode() != 200) {
        throw new IOException(value.get("message").asString());
      }
      return value;
    } catch (InterruptedException e) {
      throw new IOException(e);
    }
  }

  @Override
  public void close() throws IOException {
    try {
      send("DELETE", session, Map.of());
    } finally {
      driver.descendants().forEach(ProcessHandle::destroy);
      driver.destroy();
    }
  }
}
