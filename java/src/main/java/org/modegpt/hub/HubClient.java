package org.modegpt.hub;

import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpHeaders;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandler;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.HttpTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.LongSupplier;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import tools.jackson.databind.JsonNode;

/// Talks to the hub: what a repository holds, what a file is, and the bytes of it. Redirects are
/// followed here, so that the token goes to the hub alone and never to where it sends us.
/// Thread-safe.
final class HubClient implements AutoCloseable {
  private static final int MAX_REDIRECTS = 10;

  /// Files of a revision.
  record Listing(String commit, List<String> files) {}

  private final HubSettings settings;
  private final URI endpoint;
  private final HttpClient http;

  HubClient(HubSettings settings) {
    this.settings = settings;
    this.endpoint = URI.create(settings.endpoint());
    EnvironmentProxy proxy = new EnvironmentProxy(settings.environment());
    HttpClient.Builder builder =
        HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .followRedirects(HttpClient.Redirect.NEVER)
            .connectTimeout(settings.timeout())
            .proxy(proxy);
    if (proxy.hasPassword()) {
      // By default the JDK does not send a password to a proxy in front of an https address.
      System.setProperty("jdk.http.auth.tunneling.disabledSchemes", "");
      builder.authenticator(proxy.authenticator());
    }
    this.http = builder.build();
  }

  /// The commit a revision is at, and the files there.
  Listing list(ModelRef ref) throws IOException {
    URI uri =
        URI.create(
            "%s/api/models/%s/revision/%s"
                .formatted(settings.endpoint(), ref.id(), encoded(ref.revision())));
    HttpResponse<String> answer =
        checked(follow("GET", uri, "", BodyHandlers.ofString(), () -> 0, false), ref, "");
    JsonNode root = Json.object(answer.body().getBytes(StandardCharsets.UTF_8), uri.toString());
    String commit = root.path("sha").stringValue("");
    if (!HubCache.COMMIT.matcher(commit).matches()) {
      throw new UserException(
          "%s does not answer like a hub: check HF_ENDPOINT and the proxies".formatted(uri));
    }
    List<String> files = new ArrayList<>();
    for (JsonNode sibling : root.path("siblings").values()) {
      String name = sibling.path("rfilename").stringValue("");
      if (!ModelRef.safe(name)) {
        throw new UserException(
            "'%s' has a file '%s', which is no safe name".formatted(ref.id(), name));
      }
      files.add(name);
    }
    return new Listing(commit, files);
  }

  /// What a file is, without its bytes.
  RemoteFile metadata(ModelRef ref, String commit, String path) throws IOException {
    URI uri = address(ref, commit, path);
    HttpHeaders headers =
        checked(follow("HEAD", uri, "", BodyHandlers.ofString(), () -> 0, true), ref, path)
            .headers();
    String etag =
        headers
            .firstValue("X-Linked-Etag")
            .or(() -> headers.firstValue("ETag"))
            .map(value -> value.replaceFirst("^W/", "").replace("\"", ""))
            .orElse("");
    if (!etag.matches("[A-Za-z0-9_.=+-]+") || etag.startsWith(".")) {
      throw new UserException(
          "%s has no etag: this is no hub, check HF_ENDPOINT and the proxies".formatted(uri));
    }
    Optional<String> size =
        headers.firstValue("X-Linked-Size").or(() -> headers.firstValue("Content-Length"));
    return new RemoteFile(path, commit, etag, size.map(Long::parseLong).orElse(-1L));
  }

  /// Asks for the bytes of a file from `offset` on. What the answer holds goes to `body`.
  ///
  /// @param received counts the bytes that arrived, to notice a connection that is stuck
  HttpResponse<String> fetch(
      ModelRef ref, RemoteFile file, long offset, BodyHandler<String> body, LongSupplier received)
      throws IOException {
    String range = offset > 0 ? "bytes=" + offset + "-" : "";
    URI uri = address(ref, file.commit(), file.path());
    HttpResponse<String> answer = follow("GET", uri, range, body, received, false);
    return answer.statusCode() == 416 ? answer : checked(answer, ref, file.path());
  }

  private URI address(ModelRef ref, String commit, String path) {
    StringBuilder encoded = new StringBuilder();
    for (String part : path.split("/", -1)) {
      encoded.append('/').append(encoded(part));
    }
    return URI.create(
        "%s/%s/resolve/%s%s".formatted(settings.endpoint(), ref.id(), commit, encoded));
  }

  private static String encoded(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20");
  }

  /// @param stay whether to stop at a redirect to another host if that answer tells the etag
  private HttpResponse<String> follow(
      String method,
      URI first,
      String range,
      BodyHandler<String> body,
      LongSupplier received,
      boolean stay)
      throws IOException {
    URI uri = first;
    for (int hop = 0; hop <= MAX_REDIRECTS; hop++) {
      boolean home = sameOrigin(uri);
      HttpRequest.Builder request =
          HttpRequest.newBuilder(uri)
              .method(method, HttpRequest.BodyPublishers.noBody())
              .timeout(settings.timeout())
              .header("User-Agent", "modegpt")
              .header("Accept-Encoding", "identity");
      if (!range.isEmpty()) {
        request.header("Range", range);
      }
      if (home && settings.token() != null) {
        request.header("Authorization", "Bearer " + settings.token());
      }
      HttpResponse<String> answer = exchange(request.build(), body, received);
      Optional<String> location = answer.headers().firstValue("Location");
      if (answer.statusCode() / 100 != 3 || location.isEmpty()) {
        return answer;
      }
      URI next = resolved(uri, location.get());
      if (stay && !sameOrigin(next) && answer.headers().firstValue("X-Linked-Etag").isPresent()) {
        return answer;
      }
      if (uri.getScheme().equals("https") && !"https".equals(next.getScheme())) {
        throw new UserException(
            "%s sends us to the insecure address %s".formatted(uri.getHost(), next));
      }
      uri = next;
    }
    throw new UserException("%s: more than %d redirects".formatted(first, MAX_REDIRECTS));
  }

  private static URI resolved(URI from, String location) {
    try {
      URI next = from.resolve(location);
      if (next.getHost() != null && next.getScheme().startsWith("http")) {
        return next;
      }
    } catch (IllegalArgumentException e) {
      throw new UserException(
          "%s sends us to '%s', which is no address".formatted(from.getHost(), location), e);
    }
    throw new UserException(
        "%s sends us to '%s', which is no web address".formatted(from.getHost(), location));
  }

  private boolean sameOrigin(URI uri) {
    return endpoint.getScheme().equals(uri.getScheme())
        && endpoint.getHost().equalsIgnoreCase(uri.getHost())
        && endpoint.getPort() == uri.getPort();
  }

  /// One request. The answer must begin within the timeout, and not pause for longer after that.
  private HttpResponse<String> exchange(
      HttpRequest request, BodyHandler<String> body, LongSupplier received) throws IOException {
    CompletableFuture<HttpResponse<String>> answer = http.sendAsync(request, body);
    long before = -1;
    while (true) {
      try {
        return answer.get(settings.timeout().toMillis(), TimeUnit.MILLISECONDS);
      } catch (TimeoutException e) {
        if (received.getAsLong() == before) {
          answer.cancel(true);
          HttpTimeoutException stuck =
              new HttpTimeoutException(
                  "%s sent nothing for %d s"
                      .formatted(request.uri().getHost(), settings.timeout().toSeconds()));
          stuck.initCause(e);
          throw stuck;
        }
        before = received.getAsLong();
      } catch (ExecutionException e) {
        throw unwrapped(e, request.uri());
      } catch (InterruptedException e) {
        answer.cancel(true);
        throw Retry.cancelled(e);
      }
    }
  }

  private static IOException unwrapped(ExecutionException e, URI uri) {
    for (Throwable t = e; t != null; t = t.getCause()) {
      if (t instanceof UserException known) {
        throw known;
      }
    }
    return e.getCause() instanceof IOException io
        ? new IOException("no answer from %s: %s".formatted(uri.getHost(), Retry.message(io)), io)
        : new IOException("no answer from " + uri.getHost(), e);
  }

  private HttpResponse<String> checked(HttpResponse<String> answer, ModelRef ref, String path)
      throws IOException {
    int status = answer.statusCode();
    if (status / 100 == 2 || status / 100 == 3) {
      return answer;
    }
    throw HubErrors.of(answer, ref, path, settings);
  }

  @Override
  public void close() {
    http.shutdownNow();
  }
}
