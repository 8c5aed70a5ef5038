package org.modegpt.hub;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// Settings of the hub, by the environment variables that other Hugging Face tools read.
///
/// @param endpoint `HF_ENDPOINT`, without a slash at the end
/// @param cache `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`
/// @param token `HF_TOKEN`, else the content of the file `HF_TOKEN_PATH` (`HF_HOME/token`); null
///   without either, or with `HF_HUB_DISABLE_IMPLICIT_TOKEN`
/// @param offline `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`
/// @param timeout `HF_HUB_DOWNLOAD_TIMEOUT`: longest silence of a server, 10 s by default
/// @param symlinks whether snapshots link to blobs; `HF_HUB_DISABLE_SYMLINKS` makes copies
/// @param retryDelay pause after a first failure, doubled after each further one
/// @param environment where the proxies are looked up
public record HubSettings(
    String endpoint,
    Path cache,
    @Nullable String token,
    boolean offline,
    Duration timeout,
    boolean symlinks,
    Duration retryDelay,
    Map<String, String> environment) {

  private static final Set<String> TRUE = Set.of("1", "ON", "YES", "TRUE");

  /// Settings of this process.
  public static HubSettings ofEnvironment() {
    return of(System.getenv());
  }

  /// Settings by the variables of `env`.
  ///
  /// @throws UserException if one of them cannot be used
  public static HubSettings of(Map<String, String> env) {
    Path caches = path(env, "XDG_CACHE_HOME", Path.of(System.getProperty("user.home"), ".cache"));
    Path home = path(env, "HF_HOME", caches.resolve("huggingface"));
    Path cache = path(env, "HF_HUB_CACHE", path(env, "HUGGINGFACE_HUB_CACHE", home.resolve("hub")));
    return new HubSettings(
        endpoint(env.getOrDefault("HF_ENDPOINT", "")),
        cache,
        isTrue(env, "HF_HUB_DISABLE_IMPLICIT_TOKEN") ? null : token(env, home),
        isTrue(env, "HF_HUB_OFFLINE") || isTrue(env, "TRANSFORMERS_OFFLINE"),
        Duration.ofSeconds(seconds(env.getOrDefault("HF_HUB_DOWNLOAD_TIMEOUT", ""))),
        !isTrue(env, "HF_HUB_DISABLE_SYMLINKS"),
        Duration.ofSeconds(1),
        Map.copyOf(env));
  }

  /// The same with a token the user gave.
  public HubSettings withToken(String given) {
    return new HubSettings(
        endpoint, cache, given.strip(), offline, timeout, symlinks, retryDelay, environment);
  }

  /// Whether progress may be shown: not with `HF_HUB_DISABLE_PROGRESS_BARS`.
  public boolean progressBars() {
    return !isTrue(environment, "HF_HUB_DISABLE_PROGRESS_BARS");
  }

  /// Not the token: records end up in messages.
  @Override
  public String toString() {
    return "HubSettings[" + endpoint + ", " + cache + (offline ? ", offline" : "") + "]";
  }

  private static boolean isTrue(Map<String, String> env, String name) {
    return TRUE.contains(env.getOrDefault(name, "").toUpperCase(Locale.ROOT));
  }

  private static Path path(Map<String, String> env, String name, Path fallback) {
    String value = env.getOrDefault(name, "");
    if (value.isEmpty()) {
      return fallback;
    }
    return value.equals("~") || value.startsWith("~/")
        ? Path.of(System.getProperty("user.home") + value.substring(1))
        : Path.of(value);
  }

  private static String endpoint(String value) {
    if (value.isBlank()) {
      return "https://huggingface.co";
    }
    String stripped = value.strip().replaceFirst("/+$", "");
    try {
      URI uri = URI.create(stripped);
      if (uri.getHost() != null && Set.of("http", "https").contains(uri.getScheme())) {
        return stripped;
      }
    } catch (IllegalArgumentException e) {
      throw new UserException("HF_ENDPOINT is '%s', which is no address".formatted(value), e);
    }
    throw new UserException(
        "HF_ENDPOINT is '%s': want an address like https://huggingface.co".formatted(value));
  }

  private static @Nullable String token(Map<String, String> env, Path home) {
    for (String name : new String[] {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
      String value = env.getOrDefault(name, "").strip();
      if (!value.isEmpty()) {
        return value;
      }
    }
    Path file = path(env, "HF_TOKEN_PATH", home.resolve("token"));
    if (!Files.isRegularFile(file)) {
      return null;
    }
    try {
      String value = Files.readString(file).strip();
      return value.isEmpty() ? null : value;
    } catch (IOException e) {
      throw new UserException("cannot read the token in %s: %s".formatted(file, e.getMessage()), e);
    }
  }

  private static long seconds(String value) {
    if (value.isBlank()) {
      return 10;
    }
    try {
      long seconds = Long.parseLong(value.strip());
      if (seconds > 0) {
        return seconds;
      }
    } catch (NumberFormatException e) {
      throw new UserException(
          "HF_HUB_DOWNLOAD_TIMEOUT is '%s': want a number of seconds".formatted(value), e);
    }
    throw new UserException(
        "HF_HUB_DOWNLOAD_TIMEOUT is '%s': want a number of seconds above 0".formatted(value));
  }
}
