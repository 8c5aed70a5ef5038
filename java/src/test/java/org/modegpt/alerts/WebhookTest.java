package org.modegpt.alerts;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.modegpt.UserException;
import org.modegpt.runs.AlertLog;

class WebhookTest {
  private record Call(Headers headers, byte[] body) {}

  private static final AlertLog.Alert ALERT =
      new AlertLog.Alert("a1", "rule", "run", "perplexity", Instant.EPOCH, 22, 20, "worse", "open");

  private final List<Call> calls = new CopyOnWriteArrayList<>();
  private final List<Integer> answers = new CopyOnWriteArrayList<>();
  private HttpServer server;
  private URI url;

  @BeforeEach
  void receiver() throws IOException {
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.createContext(
        "/hook",
        exchange -> {
          calls.add(
              new Call(exchange.getRequestHeaders(), exchange.getRequestBody().readAllBytes()));
          int status = answers.isEmpty() ? 204 : answers.removeFirst();
          if (status == 0) {
            return; // never answers
          }
          exchange.sendResponseHeaders(status, -1);
          exchange.close();
        });
    server.start();
    url = URI.create("http://127.0.0.1:" + server.getAddress().getPort() + "/hook");
  }

  @AfterEach
  void stop() {
    server.stop(0);
  }

  private Webhook webhook(String secret, Duration timeout, int attempts) {
    return new Webhook(url, secret, timeout, attempts);
  }

  @Test
  void triesAgainAfterAFailureAndAfterSilence() throws Exception {
    answers.addAll(List.of(503, 0, 200));
    // On a busy machine an answer may take longer than this; then it is tried once more.
    webhook("", Duration.ofMillis(700), 8).send(List.of(ALERT));
    assertThat(answers).isEmpty();
    assertThat(calls).hasSizeGreaterThanOrEqualTo(3);
    assertThat(new String(calls.getLast().body(), StandardCharsets.UTF_8))
        .contains("\"rule\":\"rule\"", "\"metric\":\"perplexity\"", "\"value\":22.0");
    assertThat(calls.getLast().headers()).doesNotContainKey(Webhook.SIGNATURE);
  }

  @Test
  void aRefusalIsNotRepeatedAndATrialEnds() {
    answers.add(403);
    assertThatThrownBy(() -> webhook("", Duration.ofSeconds(60), 3).send(List.of(ALERT)))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("403");
    assertThat(calls).hasSize(1);
    answers.addAll(List.of(500, 500));
    assertThatThrownBy(() -> webhook("", Duration.ofSeconds(60), 2).send(List.of(ALERT)))
        .hasMessageContaining("500");
    assertThat(calls).hasSize(3);
  }

  @Test
  void signsWithTheSecretAndRefusesToGoWithoutIt() throws Exception {
    // PATH stands in for a secret: a test cannot set its own environment.
    webhook("PATH", Duration.ofSeconds(60), 1).send(List.of(ALERT));
    Call call = calls.getFirst();
    String at = call.headers().getFirst(Webhook.TIMESTAMP);
    assertThat(call.headers().getFirst(Webhook.SIGNATURE))
        .isEqualTo("sha256=" + Webhook.sign(System.getenv("PATH"), at, call.body()));
    assertThatThrownBy(
            () -> webhook("MODEGPT_NO_SUCH", Duration.ofSeconds(60), 1).send(List.of(ALERT)))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("MODEGPT_NO_SUCH");
    // HMAC-SHA256 of "1.{}" with the key "key", computed with: printf '1.{}' | openssl dgst -sha256
    // -hmac key
    assertThat(Webhook.sign("key", "1", "{}".getBytes(StandardCharsets.UTF_8)))
        .isEqualTo("1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224");
  }
}
