package org.modegpt.hub;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Executors;
import org.modegpt.io.Json;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// A server on this machine that answers like the hub: small files itself with git's SHA-1 as etag,
/// large ones by a redirect to a second server with their SHA-256, ranges, and the hub's error
/// codes. Requests can be made to fail, see {@link #onRequest}.
public final class FakeHub implements AutoCloseable {
  public static final String COMMIT = "0123456789abcdef0123456789abcdef01234567";

  /// Takes over a request; returns false to let it be answered as usual.
  @FunctionalInterface
  interface Intervention {
    boolean answer(HttpExchange exchange) throws IOException;
  }

  private record Rule(String part, int[] times, Intervention intervention) {}

  private final HttpServer hub;
  private final HttpServer store;
  private final String id;
  private final Map<String, byte[]> files = new TreeMap<>();
  private final List<Rule> rules = Collections.synchronizedList(new ArrayList<>());

  /// Every request as `METHOD path range=... auth=...`.
  final List<String> log = Collections.synchronizedList(new ArrayList<>());

  /// Without this token all is refused, if it is not empty.
  volatile String token = "";

  public FakeHub(String id, Map<String, byte[]> content) throws IOException {
    this.id = id;
    files.putAll(content);
    hub = start(this::hub);
    store = start(this::store);
  }

  private HttpServer start(Intervention handler) throws IOException {
    HttpServer server =
        HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 50);
    server.setExecutor(Executors.newVirtualThreadPerTaskExecutor());
    server.createContext(
        "/",
        exchange -> {
          try (exchange) {
            log.add(
                "%s %s range=%s auth=%s"
                    .formatted(
                        exchange.getRequestMethod(),
                        exchange.getRequestURI().getPath(),
                        exchange.getRequestHeaders().getFirst("Range"),
                        exchange.getRequestHeaders().getFirst("Authorization")));
            if (!intervened(exchange)) {
              handler.answer(exchange);
            }
          }
        });
    server.start();
    return server;
  }

  private boolean intervened(HttpExchange exchange) throws IOException {
    for (Rule rule : List.copyOf(rules)) {
      String request = exchange.getRequestMethod() + " " + exchange.getRequestURI().getPath();
      if (request.contains(rule.part)) {
        synchronized (rule) {
          if (rule.times[0]-- <= 0) {
            continue;
          }
        }
        if (rule.intervention.answer(exchange)) {
          return true;
        }
      }
    }
    return false;
  }

  /// The next `times` requests whose `METHOD path` contains `part` go to `intervention`.
  void onRequest(String part, int times, Intervention intervention) {
    rules.add(new Rule(part, new int[] {times}, intervention));
  }

  /// Refuses with a status and headers given as `Name: value`.
  static Intervention refusal(int status, String... headers) {
    return exchange -> {
      for (String header : headers) {
        int colon = header.indexOf(": ");
        exchange.getResponseHeaders().set(header.substring(0, colon), header.substring(colon + 2));
      }
      exchange.sendResponseHeaders(status, -1);
      return true;
    };
  }

  public String endpoint() {
    return "http://localhost:" + hub.getAddress().getPort();
  }

  static String etag(String name, byte[] content) {
    try {
      if (large(name)) {
        return hex(MessageDigest.getInstance("SHA-256").digest(content));
      }
      MessageDigest sha = MessageDigest.getInstance("SHA-1");
      sha.update(("blob " + content.length + "\0").getBytes(StandardCharsets.US_ASCII));
      return hex(sha.digest(content));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  private static String hex(byte[] bytes) {
    return HexFormat.of().formatHex(bytes);
  }

  private static boolean large(String name) {
    return name.endsWith(".safetensors") || name.endsWith(".gguf");
  }

  private boolean hub(HttpExchange exchange) throws IOException {
    String path = exchange.getRequestURI().getPath();
    String auth = exchange.getRequestHeaders().getFirst("Authorization");
    if (!token.isEmpty() && auth == null) {
      return refusal(401, "X-Error-Message: Invalid username or password.").answer(exchange);
    }
    if (!token.isEmpty() && !("Bearer " + token).equals(auth)) {
      return refusal(401, "X-Error-Message: Invalid credentials in Authorization header")
          .answer(exchange);
    }
    String api = "/api/models/" + id + "/";
    String resolve = "/" + id + "/resolve/";
    if (path.startsWith(api + "revision/")) {
      return known(path.substring((api + "revision/").length()))
          ? json(exchange, info())
          : refusal(404, "X-Error-Code: RevisionNotFound").answer(exchange);
    }
    if (path.startsWith(api + "tree/")) {
      return json(exchange, tree());
    }
    if (path.startsWith(resolve)) {
      String[] rest = path.substring(resolve.length()).split("/", 2);
      return known(rest[0])
          ? file(exchange, rest[1])
          : refusal(404, "X-Error-Code: RevisionNotFound").answer(exchange);
    }
    return refusal(401, "X-Error-Code: RepoNotFound").answer(exchange);
  }

  private static boolean known(String revision) {
    return revision.equals("main") || revision.equals(COMMIT);
  }

  private ObjectNode info() {
    ObjectNode root = Json.MAPPER.createObjectNode();
    root.put("_id", "1").put("id", id).put("sha", COMMIT).put("private", false);
    ArrayNode siblings = root.putArray("siblings");
    files.keySet().forEach(name -> siblings.addObject().put("rfilename", name));
    return root;
  }

  private ArrayNode tree() {
    ArrayNode entries = Json.MAPPER.createArrayNode();
    files.forEach((name, content) -> {
      ObjectNode entry = entries.addObject().put("type", "file").put("path", name);
      entry.put("size", content.length).put("oid", etag(large(name) ? "pointer" : name, content));
      if (large(name)) {
        entry
            .putObject("lfs")
            .put("oid", etag(name, content))
            .put("size", content.length)
            .put("pointerSize", 134);
      }
    });
    return entries;
  }

  private static boolean json(HttpExchange exchange, Object node) throws IOException {
    byte[] body = Json.MAPPER.writeValueAsBytes(node);
    exchange.getResponseHeaders().set("Content-Type", "application/json");
    exchange.sendResponseHeaders(200, body.length);
    exchange.getResponseBody().write(body);
    return true;
  }

  private boolean file(HttpExchange exchange, String name) throws IOException {
    byte[] content = files.get(name);
    exchange.getResponseHeaders().set("X-Repo-Commit", COMMIT);
    if (content == null) {
      return refusal(404, "X-Error-Code: EntryNotFound").answer(exchange);
    }
    String etag = "\"" + etag(name, content) + "\"";
    if (large(name)) {
      return refusal(
              302,
              "X-Linked-Etag: " + etag,
              "X-Linked-Size: " + content.length,
              "Location: http://127.0.0.1:%d/%s".formatted(store.getAddress().getPort(), name))
          .answer(exchange);
    }
    exchange.getResponseHeaders().set("ETag", etag);
    return content(exchange, content, content.length);
  }

  private boolean store(HttpExchange exchange) throws IOException {
    byte[] content = files.get(exchange.getRequestURI().getPath().substring(1));
    return content(exchange, content, content.length);
  }

  /// Sends the wanted range of `content`, but only up to byte `end`, then breaks the connection.
  static boolean content(HttpExchange exchange, byte[] content, int end) throws IOException {
    if (exchange.getRequestMethod().equals("HEAD")) {
      exchange.getResponseHeaders().set("Content-Length", Integer.toString(content.length));
      exchange.sendResponseHeaders(200, -1);
      return true;
    }
    String range = exchange.getRequestHeaders().getFirst("Range");
    int from = range == null ? 0 : Integer.parseInt(range.replaceAll("bytes=(\\d+)-", "$1"));
    if (from >= content.length && from > 0) {
      return refusal(416).answer(exchange);
    }
    if (from > 0) {
      exchange
          .getResponseHeaders()
          .set(
              "Content-Range",
              "bytes %d-%d/%d".formatted(from, content.length - 1, content.length));
    }
    int length = content.length - from;
    exchange.sendResponseHeaders(from > 0 ? 206 : 200, length == 0 ? -1 : length);
    try (OutputStream out = exchange.getResponseBody()) {
      out.write(Arrays.copyOfRange(content, from, Math.max(from, end)));
      out.flush();
    } catch (IOException e) {
      if (end == content.length) {
        throw new UncheckedIOException(e);
      }
    }
    return true;
  }

  /// Sends a large file's start and breaks off at byte `end`.
  Intervention brokenAt(String name, int end) {
    return exchange -> content(exchange, files.get(name), end);
  }

  /// Sends other bytes of the same number.
  Intervention damaged(String name) {
    return exchange -> {
      byte[] wrong = files.get(name).clone();
      wrong[wrong.length / 2] ^= 1;
      return content(exchange, wrong, wrong.length);
    };
  }

  long count(String part) {
    return log.stream().filter(line -> line.contains(part)).count();
  }

  @Override
  public void close() {
    hub.stop(0);
    store.stop(0);
  }
}
