package org.modegpt.alerts;

import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.runs.AlertLog;
import org.modegpt.runs.RunJson;
import org.modegpt.telemetry.JsonClient;
import tools.jackson.databind.JsonNode;

/// Posts alerts as JSON, as [JsonClient] does.
///
/// @param secretEnvironment the environment variable with the key that bodies are signed with;
///   empty for no signature
public record Webhook(URI url, String secretEnvironment, Duration timeout, int attempts) {
  /// `sha256=` and the HMAC in hexadecimal of the timestamp, a full stop and the body.
  public static final String SIGNATURE = "X-Modegpt-Signature";

  /// Seconds since 1970; a receiver refuses old ones, so that nobody can send them again.
  public static final String TIMESTAMP = "X-Modegpt-Timestamp";

  static Webhook of(JsonNode node, String source) {
    String where = source + ", webhook";
    AlertRules.requireKnown(
        node, Set.of("url", "secret_environment", "timeout_seconds", "attempts"), where);
    URI url;
    try {
      url = URI.create(AlertRules.text(node, "url"));
    } catch (IllegalArgumentException e) {
      throw new UserException(where + ": url is not one.", e);
    }
    if (url.getHost() == null || !Set.of("http", "https").contains(url.getScheme())) {
      throw new UserException(where + ": url must begin with https:// or http:// and a host.");
    }
    return new Webhook(
        url,
        AlertRules.text(node, "secret_environment"),
        Duration.ofSeconds(Math.min(60, AlertRules.count(node, "timeout_seconds", 5, where))),
        Math.min(10, AlertRules.count(node, "attempts", 3, where)));
  }

  /// Posts the alerts.
  ///
  /// @throws IOException when the receiver refused or was not reached
  public void send(List<AlertLog.Alert> alerts) throws IOException, InterruptedException {
    byte[] body = RunJson.write(Map.of("alerts", alerts)).getBytes(StandardCharsets.UTF_8);
    Map<String, String> headers = new HashMap<>();
    String secret = secret();
    if (secret != null) {
      String at = Long.toString(Instant.now().getEpochSecond());
      headers.put(TIMESTAMP, at);
      headers.put(SIGNATURE, "sha256=" + sign(secret, at, body));
    }
    try (JsonClient client = new JsonClient(timeout, attempts)) {
      client.post(url, body, headers);
    }
  }

  private @Nullable String secret() {
    if (secretEnvironment.isEmpty()) {
      return null;
    }
    String secret = System.getenv(secretEnvironment);
    if (secret == null || secret.isEmpty()) {
      throw new UserException(
          "The webhook's secret is not set: put it into the environment as "
              + secretEnvironment
              + ".");
    }
    return secret;
  }

  static String sign(String secret, String timestamp, byte[] body) {
    try {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(secret.getBytes(StandardCharsets.UTF_8), "HmacSHA256"));
      mac.update((timestamp + ".").getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(mac.doFinal(body));
    } catch (GeneralSecurityException e) {
      throw new AssertionError("every Java platform has HmacSHA256", e);
    }
  }
}
