package org.modegpt.hub;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.Progress;
import org.modegpt.UserException;

/// Downloads from a server that behaves like the hub.
class HubTest {
  private static final String WEIGHTS = "model.safetensors";
  private static final ModelRef REF = ModelRef.parse("org/tiny");

  @TempDir private Path folder;
  private final byte[] weights = new byte[300_000];
  private final byte[] config = "{\"model_type\": \"llama\"}\n".getBytes(StandardCharsets.UTF_8);
  private final Map<String, String> environment = new HashMap<>();
  private final List<String> said = Collections.synchronizedList(new ArrayList<>());
  private FakeHub server;

  @BeforeEach
  void start() throws IOException {
    new Random(1).nextBytes(weights);
    server =
        new FakeHub(
            "org/tiny",
            Map.of(
                WEIGHTS,
                weights,
                "config.json",
                config,
                "pytorch_model.bin",
                new byte[10],
                "onnx/model.onnx",
                new byte[10]));
    environment.put("HF_ENDPOINT", server.endpoint());
    environment.put("HF_HOME", folder.toString());
  }

  @AfterEach
  void stop() {
    server.close();
  }

  private HubSettings settings() {
    HubSettings s = HubSettings.of(environment);
    return new HubSettings(
        s.endpoint(),
        s.cache(),
        s.token(),
        s.offline(),
        Duration.ofSeconds(1),
        s.symlinks(),
        Duration.ofMillis(5),
        s.environment());
  }

  private Path download(ModelRef ref) {
    try (Hub hub = new Hub(settings(), said::add)) {
      return hub.download(ref, FileSelection.DEFAULT, null, Progress.SILENT);
    }
  }

  private void assertComplete(Path snapshot) throws IOException {
    assertThat(Files.readAllBytes(snapshot.resolve(WEIGHTS))).isEqualTo(weights);
    assertThat(Files.readAllBytes(snapshot.resolve("config.json"))).isEqualTo(config);
  }

  private Path blob() {
    return folder.resolve("hub/models--org--tiny/blobs").resolve(FakeHub.etag(WEIGHTS, weights));
  }

  private Path partial() {
    return blob().resolveSibling(blob().getFileName() + ".incomplete");
  }

  @Test
  void layoutOfTheCache() throws IOException {
    Path snapshot = download(REF);
    assertComplete(snapshot);
    Path repository = folder.resolve("hub/models--org--tiny");
    assertThat(snapshot).isEqualTo(repository.resolve("snapshots/" + FakeHub.COMMIT));
    assertThat(repository.resolve("refs/main")).hasContent(FakeHub.COMMIT);
    assertThat(Files.readSymbolicLink(snapshot.resolve(WEIGHTS)))
        .isEqualTo(Path.of("../../blobs", FakeHub.etag(WEIGHTS, weights)));
    assertThat(folder.resolve("hub/CACHEDIR.TAG"))
        .content()
        .startsWith("Signature: 8a477f597d28d172789f06886806bc55");
    assertThat(snapshot.resolve("pytorch_model.bin")).doesNotExist();
    assertThat(partial()).doesNotExist();
    long requests = server.count("GET /model.safetensors");
    assertComplete(download(REF));
    assertThat(server.count("GET /model.safetensors")).isEqualTo(requests).isEqualTo(1);
  }

  @Test
  void commitAndOneFile() throws IOException {
    Path file = download(ModelRef.parse("org/tiny:config.json@" + FakeHub.COMMIT));
    assertThat(Files.readAllBytes(file)).isEqualTo(config);
    assertThat(folder.resolve("hub/models--org--tiny/refs")).doesNotExist();
    assertThat(server.count(WEIGHTS)).isZero();
  }

  @Test
  void dryRunWritesNothing() {
    try (Hub hub = new Hub(settings(), said::add)) {
      Hub.Plan plan = hub.plan(REF, FileSelection.DEFAULT, null);
      assertThat(plan.commit()).isEqualTo(FakeHub.COMMIT);
      assertThat(plan.bytes()).isEqualTo(weights.length + config.length);
      assertThat(plan.files()).noneMatch(Hub.Item::present);
    }
    assertThat(folder.resolve("hub")).doesNotExist();
  }

  @Test
  void patterns() {
    try (Hub hub = new Hub(settings(), said::add)) {
      FileSelection all = new FileSelection(List.of("*"), List.of("*.bin", "onnx/"));
      assertThat(hub.plan(REF, all, null).files())
          .extracting(Hub.Item::path)
          .containsExactly("config.json", WEIGHTS);
      FileSelection none = new FileSelection(List.of("*.gguf"), List.of());
      assertThatThrownBy(() -> hub.plan(REF, none, null))
          .isInstanceOf(UserException.class)
          .hasMessageContaining("no file of 'org/tiny' fits");
    }
    assertThat(FileSelection.matches("model-[0-9]?.json", "model-12.json")).isTrue();
    assertThat(FileSelection.matches("model-[!0-9].json", "model-1.json")).isFalse();
  }

  @Test
  void localFolder() throws IOException {
    Path mine = folder.resolve("mine");
    try (Hub hub = new Hub(settings(), said::add)) {
      hub.download(REF, FileSelection.DEFAULT, mine, Progress.SILENT);
      assertComplete(mine);
      assertThat(Files.isSymbolicLink(mine.resolve(WEIGHTS))).isFalse();
      long requests = server.count("GET /");
      hub.download(REF, FileSelection.DEFAULT, mine, Progress.SILENT);
      assertThat(server.count("GET /model.safetensors")).isEqualTo(1);
      assertThat(server.count("GET /")).isEqualTo(requests + 1); // the listing
      Files.delete(mine.resolve("config.json"));
      assertThat(hub.plan(REF, FileSelection.DEFAULT, mine).files())
          .filteredOn(f -> !f.present())
          .extracting(Hub.Item::path)
          .containsExactly("config.json");
    }
    assertThat(folder.resolve("hub")).doesNotExist();
  }

  @Test
  void brokenTransfersGoOn() throws IOException {
    server.onRequest("GET /" + WEIGHTS, 1, server.brokenAt(WEIGHTS, 100_000));
    server.onRequest("GET /" + WEIGHTS, 1, server.brokenAt(WEIGHTS, 200_000));
    assertComplete(download(REF));
    assertThat(server.log).anyMatch(l -> l.startsWith("GET /model.safetensors range=bytes="));
    assertThat(said).anyMatch(l -> l.contains("trying again"));
  }

  @Test
  void anEarlierDownloadIsResumed() throws IOException {
    Files.createDirectories(partial().getParent());
    Files.write(partial(), Arrays.copyOf(weights, 123_456));
    assertComplete(download(REF));
    assertThat(server.log)
        .filteredOn(l -> l.startsWith("GET /model.safetensors"))
        .singleElement()
        .asString()
        .contains("range=bytes=123456-");
  }

  @Test
  void aServerWithoutRangesSendsAllAnew() throws IOException {
    Files.createDirectories(partial().getParent());
    Files.write(partial(), Arrays.copyOf(weights, 123_456));
    server.onRequest(
        "GET /" + WEIGHTS,
        1,
        exchange -> {
          exchange.sendResponseHeaders(200, weights.length);
          exchange.getResponseBody().write(weights);
          return true;
        });
    assertComplete(download(REF));
  }

  @Test
  void wrongChecksums() throws IOException {
    server.onRequest("GET /" + WEIGHTS, 1, server.damaged(WEIGHTS));
    assertComplete(download(REF)); // the second try is right
    Files.delete(blob());
    server.onRequest("GET /" + WEIGHTS, 9, server.damaged(WEIGHTS));
    assertThatThrownBy(() -> download(REF))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("arrives damaged");
    assertThat(blob()).doesNotExist();
    assertThat(partial()).doesNotExist();
    server.onRequest("GET /org/tiny/resolve", 9, server.damaged("config.json"));
    Files.delete(folder.resolve("hub/models--org--tiny/blobs/" + FakeHub.etag("", config)));
    assertThatThrownBy(() -> download(ModelRef.parse("org/tiny:config.json")))
        .hasMessageContaining("arrives damaged");
  }

  @Test
  void aWrongStartIsThrownAway() throws IOException {
    Files.createDirectories(partial().getParent());
    Files.write(partial(), new byte[50_000]);
    assertComplete(download(REF));
    assertThat(said).anyMatch(l -> l.contains("wrong checksum"));
  }

  @Test
  void aStuckConnectionIsGivenUp() throws IOException {
    server.onRequest(
        "GET /" + WEIGHTS,
        1,
        exchange -> {
          exchange.sendResponseHeaders(200, weights.length);
          exchange.getResponseBody().write(weights, 0, 1000);
          exchange.getResponseBody().flush();
          try {
            Thread.sleep(60_000);
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
          return true;
        });
    long start = System.nanoTime();
    assertComplete(download(REF));
    assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(60));
    assertThat(said).anyMatch(l -> l.contains("sent nothing for 1 s"));
  }

  @Test
  void busyServers() throws IOException {
    server.onRequest("GET /api", 1, FakeHub.refusal(429, "Retry-After: 1"));
    server.onRequest("HEAD /org/tiny/resolve", 1, FakeHub.refusal(503));
    server.onRequest("GET /" + WEIGHTS, 2, FakeHub.refusal(500));
    long start = System.nanoTime();
    assertComplete(download(REF));
    assertThat(Duration.ofNanos(System.nanoTime() - start)).isGreaterThan(Duration.ofSeconds(1));
    server.onRequest("GET /api", 1, FakeHub.refusal(429, "RateLimit: \"api\";r=0;t=7200"));
    assertThatThrownBy(() -> download(REF)).hasMessageContaining("asks to wait 120 minutes");
    server.onRequest("GET /api", 99, FakeHub.refusal(503));
    assertThatThrownBy(() -> download(REF)).hasMessageContaining("after 5 attempts");
  }

  @Test
  void refusals() {
    assertThatThrownBy(() -> download(ModelRef.parse("org/other")))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("no model 'org/other', or it is private");
    assertThatThrownBy(() -> download(ModelRef.parse("org/tiny@v9")))
        .hasMessage("'org/tiny' has no revision 'v9'");
    assertThatThrownBy(() -> download(ModelRef.parse("org/tiny:nothing.json")))
        .hasMessageContaining("no file 'nothing.json', it has: config.json");
    server.onRequest("HEAD", 1, FakeHub.refusal(404, "X-Error-Code: EntryNotFound"));
    assertThatThrownBy(() -> download(ModelRef.parse("org/tiny:config.json")))
        .hasMessage("'org/tiny' has no file 'config.json'");
    server.onRequest("HEAD", 9, FakeHub.refusal(403, "X-Error-Code: GatedRepo"));
    assertThatThrownBy(() -> download(REF))
        .hasMessageContaining("'org/tiny' is gated: accept its terms at " + server.endpoint());
    server.onRequest("GET /api", 1, FakeHub.refusal(302, "Location: https://x\\y"));
    assertThatThrownBy(() -> download(REF)).isInstanceOf(UserException.class);
  }

  @Test
  void theTokenGoesToTheHubAlone() throws IOException {
    server.token = "hf_secret";
    assertThatThrownBy(() -> download(REF)).hasMessageContaining("give a token with HF_TOKEN");
    environment.put("HF_TOKEN", "wrong");
    assertThatThrownBy(() -> download(REF)).hasMessageContaining("does not accept the token");
    environment.remove("HF_TOKEN");
    Files.writeString(folder.resolve("token"), "hf_secret\n");
    assertComplete(download(REF));
    assertThat(server.log)
        .filteredOn(l -> l.startsWith("GET /model.safetensors"))
        .isNotEmpty()
        .allMatch(l -> l.endsWith("auth=null"));
    assertThat(server.count("auth=Bearer hf_secret")).isGreaterThan(3);
    environment.put("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
    assertThat(HubSettings.of(environment).token()).isNull();
    assertThat(HubSettings.of(environment).withToken(" hf_x ").token()).isEqualTo("hf_x");
    assertThat(HubSettings.of(environment).withToken("hf_x").toString()).doesNotContain("hf_x");
  }

  @Test
  void aFullDisk() throws IOException {
    Assumptions.assumeTrue(Files.exists(Path.of("/dev/full")), "skipped: no /dev/full here");
    Files.createDirectories(partial().getParent());
    Files.createSymbolicLink(partial(), Path.of("/dev/full"));
    assertThatThrownBy(() -> download(REF))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("No space left");
    assertThat(folder.resolve("hub/models--org--tiny/refs")).doesNotExist();
  }

  @Test
  void severalAtOnce() throws Exception {
    try (var pool = Executors.newFixedThreadPool(3)) {
      List<Future<Path>> running = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        running.add(pool.submit(() -> download(REF)));
      }
      for (Future<Path> path : running) {
        assertComplete(path.get());
      }
    }
    assertThat(server.count("GET /model.safetensors")).isEqualTo(1);
  }

  @Test
  void withoutLinks() throws IOException {
    environment.put("HF_HUB_DISABLE_SYMLINKS", "1");
    Path snapshot = download(REF);
    assertComplete(snapshot);
    assertThat(Files.isSymbolicLink(snapshot.resolve(WEIGHTS))).isFalse();
    assertComplete(download(REF));
  }

  @Test
  void offline() {
    environment.put("HF_HUB_OFFLINE", "1");
    assertThatThrownBy(() -> download(REF)).hasMessageContaining("HF_HUB_OFFLINE");
  }

  @Test
  void throughAProxy() throws IOException {
    environment.put("http_proxy", server.endpoint()); // it answers absolute addresses just as well
    environment.put("HF_ENDPOINT", "http://hub.invalid");
    environment.put("no_proxy", "127.0.0.1");
    assertComplete(download(REF));
    environment.put("no_proxy", ".invalid");
    assertThatThrownBy(() -> download(REF)).isInstanceOf(UserException.class);
  }
}
