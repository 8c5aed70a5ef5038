package org.modegpt.telemetry;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;

/// Sends JSON by HTTP. An answer that promises better luck later (none at all, 408, 429, 5xx) is
/// waited out and tried again; redirects are not followed.
public final class JsonClient implements AutoCloseable {
  private static final Duration FIRST_PAUSE = Duration.ofMillis(500);
  private static final int LONGEST_PROBLEM = 200;

  private final HttpClient client;
  private final Duration timeout;
  private final int attempts;

  /// @param timeout of each attempt
  public JsonClient(Duration timeout, int attempts) {
    this.client = HttpClient.newBuilder().connectTimeout(timeout).build();
    this.timeout = timeout;
    this.attempts = attempts;
  }

  /// An answer that is no failure, or a refusal such as 404.
  record Answer(int status, String body) {
    boolean isDone() {
      return status < 300;
    }

    private boolean isHopeless() {
      return status != 408 && status != 429 && status < 500;
    }
  }

  /// Posts `body` and returns what was answered.
  ///
  /// @throws IOException when it was not taken, saying why
  public String post(URI url, byte[] body, Map<String, String> headers)
      throws IOException, InterruptedException {
    Answer answer = send("POST", url, body, headers);
    if (!answer.isDone()) {
      throw new IOException(refusal(url, answer));
    }
    return answer.body();
  }

  static String refusal(URI url, Answer answer) {
    String said = answer.body().replaceAll("\\s+", " ");
    return url.getHost()
        + " answered "
        + answer.status()
        + (said.isBlank()
            ? ""
            : ": " + said.substring(0, Math.min(LONGEST_PROBLEM, said.length())));
  }

  Answer send(String method, URI url, byte[] body, Map<String, String> headers)
      throws IOException, InterruptedException {
    HttpRequest.Builder request =
        HttpRequest.newBuilder(url)
            .timeout(timeout)
            .header("User-Agent", "modegpt")
            .header("Content-Type", "application/json")
            .method(method, HttpRequest.BodyPublishers.ofByteArray(body));
    headers.forEach(request::header);
    String problem = "";
    for (int attempt = 0; attempt < attempts; attempt++) {
      if (attempt > 0) {
        Thread.sleep(FIRST_PAUSE.multipliedBy(1L << (attempt - 1)));
      }
      try {
        HttpResponse<String> response =
            client.send(
                request.build(), HttpResponse.BodyHandlers.ofString(StandardCharsets.UTF_8));
        Answer answer = new Answer(response.statusCode(), response.body());
        if (answer.isDone() || answer.isHopeless()) {
          return answer;
        }
        problem = refusal(url, answer);
      } catch (IOException e) {
        String message = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
        problem = url.getHost() + " was not reached: " + message;
      }
    }
    throw new IOException(problem);
  }

  @Override
  public void close() {
    client.shutdownNow();
    client.close();
  }
}
