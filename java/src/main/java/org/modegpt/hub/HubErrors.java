package org.modegpt.hub;

import java.io.IOException;
import java.net.http.HttpHeaders;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.time.Instant;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeParseException;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// What the hub's refusals mean for people. The hub answers 401 both for a model that does not
/// exist and for a private one, and tells more in `X-Error-Code` and `X-Error-Message`.
final class HubErrors {
  private static final Set<Integer> PASSING = Set.of(408, 425, 429, 500, 502, 503, 504);

  /// The draft header `RateLimit: "api";r=0;t=55`: 0 requests remain, and 55 s until there are
  /// more.
  private static final Pattern RATE_LIMIT = Pattern.compile(";\\s*r=0\\s*;\\s*t=(\\d+)");

  private HubErrors() {}

  /// @return a failure that may pass, to be tried again
  /// @throws UserException for all others
  static IOException of(
      HttpResponse<String> answer, ModelRef ref, String path, HubSettings settings) {
    int status = answer.statusCode();
    String code = answer.headers().firstValue("X-Error-Code").orElse("");
    String message = answer.headers().firstValue("X-Error-Message").orElse("");
    String host = answer.uri().getHost();
    if (PASSING.contains(status)) {
      return new TransientFailure(
          status == 429
              ? host + " allows no more requests for now (429)"
              : "%s has a problem (%d)".formatted(host, status),
          wait(answer.headers()));
    }
    boolean token = settings.token() != null;
    if (status == 401 && message.startsWith("Invalid credentials")) {
      throw new UserException(
          "%s does not accept the token: make a new one at %s/settings/tokens"
              .formatted(host, settings.endpoint()));
    }
    if (code.equals("GatedRepo")) {
      throw new UserException(
          "'%s' is gated: accept its terms at %s/%s%s"
              .formatted(
                  ref.id(),
                  settings.endpoint(),
                  ref.id(),
                  token
                      ? " with the account of your token"
                      : ", then give a token with HF_TOKEN or --token"));
    }
    if (code.equals("RevisionNotFound")) {
      throw new UserException("'%s' has no revision '%s'".formatted(ref.id(), ref.revision()));
    }
    if (code.equals("EntryNotFound")) {
      throw new UserException("'%s' has no file '%s'".formatted(ref.id(), path));
    }
    if (code.equals("RepoNotFound") || status == 401) {
      throw new UserException(
          "%s has no model '%s', or it is private: check the name%s"
              .formatted(
                  host,
                  ref.id(),
                  token
                      ? "; the token has no access to it"
                      : ", or give a token with HF_TOKEN or --token"));
    }
    throw new UserException(
        "%s refuses %s (%d)%s"
            .formatted(
                host,
                path.isEmpty() ? "'" + ref.id() + "'" : path,
                status,
                message.isEmpty() ? "" : ": " + message));
  }

  private static @Nullable Duration wait(HttpHeaders headers) {
    Matcher limit = RATE_LIMIT.matcher(headers.firstValue("RateLimit").orElse(""));
    if (limit.find()) {
      return Duration.ofSeconds(Long.parseLong(limit.group(1)) + 1);
    }
    String after = headers.firstValue("Retry-After").orElse("").strip();
    if (after.matches("\\d{1,9}")) {
      return Duration.ofSeconds(Long.parseLong(after));
    }
    try {
      Duration until =
          Duration.between(
              Instant.now(), Instant.from(DateTimeFormatter.RFC_1123_DATE_TIME.parse(after)));
      return until.isNegative() ? Duration.ZERO : until;
    } catch (DateTimeParseException e) {
      return null; // nothing said, or not in a form that is allowed
    }
  }
}
