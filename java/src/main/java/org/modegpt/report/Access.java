package org.modegpt.report;

import com.sun.net.httpserver.Headers;
import java.net.InetAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// Who may ask the dashboard. On the loopback address anyone on this machine, but only under a
/// loopback host name, so that no web page can reach it by a name of its own (DNS rebinding). On
/// any other address whoever has the token, in an `Authorization: Bearer` header or in the cookie
/// that opening `/?token=...` sets.
final class Access {
  static final String COOKIE = "modegpt_token";
  private static final Set<String> LOOPBACK_NAMES = Set.of("localhost", "127.0.0.1", "[::1]");
  private static final int SHORTEST_TOKEN = 16;

  private final boolean loopback;
  private final @Nullable String token;

  private Access(boolean loopback, @Nullable String token) {
    this.loopback = loopback;
    this.token = token;
  }

  /// Access on `address`; makes up a token where one is needed and none is given.
  static Access on(InetAddress address, @Nullable String token) {
    if (token != null && !token.matches("[A-Za-z0-9._~-]{" + SHORTEST_TOKEN + ",200}")) {
      throw new UserException(
          "A token has "
              + SHORTEST_TOKEN
              + " to 200 letters, digits or . _ ~ -; leave it out to have one made.");
    }
    boolean loopback = address.isLoopbackAddress();
    return new Access(loopback, token != null || loopback ? token : newToken());
  }

  private static String newToken() {
    byte[] bytes = new byte[16];
    new SecureRandom().nextBytes(bytes);
    return HexFormat.of().formatHex(bytes);
  }

  @Nullable String token() {
    return token;
  }

  /// Whether a request with these headers may be answered.
  boolean allows(Headers headers) {
    String host = headers.getFirst("Host");
    if (loopback && (host == null || !LOOPBACK_NAMES.contains(name(host)))) {
      return false;
    }
    if (token == null) {
      return true;
    }
    String bearer = headers.getFirst("Authorization");
    return (bearer != null && bearer.startsWith("Bearer ") && isToken(bearer.substring(7)))
        || headers.getOrDefault("Cookie", java.util.List.of()).stream()
            .flatMap(line -> Arrays.stream(line.split(";", -1)))
            .map(String::strip)
            .anyMatch(c -> c.startsWith(COOKIE + "=") && isToken(c.substring(COOKIE.length() + 1)));
  }

  /// Whether a request that changes something comes from our own page: other sites cannot set this
  /// header without being asked first.
  boolean isOwnPage(Headers headers) {
    String origin = headers.getFirst("Origin");
    boolean same =
        origin == null
            || String.valueOf(URI.create(origin).getRawAuthority())
                .equals(headers.getFirst("Host"));
    return "1".equals(headers.getFirst("X-Modegpt")) && same;
  }

  boolean isToken(String text) {
    return token != null
        && MessageDigest.isEqual(
            text.getBytes(StandardCharsets.UTF_8), token.getBytes(StandardCharsets.UTF_8));
  }

  private static String name(String host) {
    int port = host.lastIndexOf(':');
    return port > host.lastIndexOf(']') ? host.substring(0, port) : host;
  }
}
