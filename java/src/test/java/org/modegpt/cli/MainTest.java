package org.modegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.modegpt.TestData;
import org.modegpt.TinyModel;
import org.modegpt.io.Json;
import tools.jackson.databind.node.ObjectNode;

/// Command lines as users type them: results, exit codes, and one clear line for everything that
/// can be wrong.
class MainTest {
  @TempDir private Path folder;
  private Path model;
  private Path text;

  @BeforeAll
  static void demonstrationFiles() {
    System.setProperty("modegpt.demo", TestData.demo("").toString());
  }

  @BeforeEach
  void files() throws IOException {
    model = new TinyModel().write(folder.resolve("tiny"));
    text = folder.resolve("text.txt");
    Files.writeString(
        text, "The quick brown fox jumps over the lazy dog and runs away.\n".repeat(60));
  }

  private CommandRun compress(Path path, Object... more) {
    List<Object> args =
        new ArrayList<>(
            List.of(
                "compress",
                path,
                "-o",
                folder.resolve("out"),
                "--calibration",
                text,
                "--num-calibration-samples",
                4));
    args.addAll(
        List.of("--max-seq-length", 32, "--device", "cpu", "-t", 2, "-q", "-f", text, "-c", 32));
    args.addAll(List.of(more));
    return CommandRun.of(args.toArray());
  }

  /// Fails in the stated way with one line that names the trouble, and leaves nothing behind.
  private void assertRefused(CommandRun result, int code, String... words) throws IOException {
    assertThat(result.code()).as(result.err()).isEqualTo(code);
    String[] lines = result.err().strip().split("\n");
    assertThat(lines).as(result.err()).hasSizeLessThanOrEqualTo(code == Main.USAGE ? 2 : 1);
    assertThat(lines[0]).startsWith("modegpt: ").contains(words);
    try (Stream<Path> left = Files.list(folder)) {
      assertThat(left.filter(p -> p.getFileName().toString().startsWith("out")).toList()).isEmpty();
    }
  }

  @Test
  void compressReloadEvaluateGenerate() {
    CommandRun made = compress(model, "--ratio", "0.3", "--json");
    assertThat(made.code()).as(made.err()).isZero();
    ObjectNode json = Json.object(made.out().getBytes(StandardCharsets.UTF_8), "output");
    assertThat(json.path("models").get(1).path("ratio").asDouble()).isBetween(0.29, 0.31);
    for (String phase : List.of("calibration", "allocation", "decomposition")) {
      assertThat(json.path("seconds").path(phase).asDouble()).as(phase).isPositive();
    }
    Path out = folder.resolve("out");
    CommandRun perplexity =
        CommandRun.of("perplexity", out, "-f", text, "-c", 32, "--device", "cpu", "-q");
    assertThat(perplexity.code()).as(perplexity.err()).isZero();
    assertThat(perplexity.out()).contains("Final estimate: PPL = ", "bits per byte", "no BOS");
    CommandRun generated =
        CommandRun.of("generate", out, "-p", "The fox", "-n", 5, "--json", "--device", "cpu");
    assertThat(generated.code()).as(generated.err()).isZero();
    assertThat(CommandRun.of("inspect", out, "--json").out()).contains("\"compressed\": true");
    assertThat(CommandRun.of("inspect", out).out()).contains("| layer |");
    assertThat(CommandRun.of("bench", out, "-p", 8, "-n", 2, "-r", 1, "--device", "cpu").out())
        .contains("tg2");
    Object[] batches = {
      "bench", out, "-p", 4, "-n", 2, "-b", "1,3", "-d", 5, "-r", 1, "--device", "cpu", "--json"
    };
    CommandRun batched = CommandRun.of(batches);
    assertThat(batched.out())
        .contains("\"test\": \"tg2 @ d5\"", "\"batch\": 3", "\"tokens_per_second_each\"");
  }

  @Test
  void queriesAndKeysThatMustStayWholeDo() {
    Path qwen3 = TestData.family("qwen3");
    Object[] ask = {
      "compress", qwen3, "--dry-run", "--recipe", "paper", "--json", "--device", "cpu"
    };
    CommandRun dense =
        CommandRun.of(Stream.concat(Stream.of(ask), Stream.of("--format", "dense")).toArray());
    assertThat(dense.code()).as(dense.err()).isZero();
    assertThat(dense.err()).contains("queries and keys stay whole");
    CommandRun compact = CommandRun.of(ask);
    assertThat(compact.err()).doesNotContain("stay whole");
    assertThat(ranks(dense)).allMatch(qk -> qk == 16);
    assertThat(ranks(compact)).anyMatch(qk -> qk < 16);
    CommandRun tooMuch =
        CommandRun.of(
            Stream.concat(Stream.of(ask), Stream.of("--format", "gguf", "--ratio", "0.95"))
                .toArray());
    assertThat(tooMuch.code()).isEqualTo(Main.FAILED);
    assertThat(tooMuch.err()).contains("with queries and keys whole at most");
  }

  private static List<Integer> ranks(CommandRun dryRun) {
    List<Integer> ranks = new ArrayList<>();
    Json.object(dryRun.out().getBytes(StandardCharsets.UTF_8), "output")
        .path("layers")
        .values()
        .forEach(layer -> ranks.add(layer.path("qk_rank").asInt()));
    return ranks;
  }

  @Test
  void statisticsServeSeveralRatios() {
    Path statistics = folder.resolve("statistics");
    CommandRun calibrated =
        CommandRun.of(
            "calibrate",
            model,
            "-o",
            statistics,
            "--calibration",
            text,
            "--num-calibration-samples",
            4,
            "--max-seq-length",
            32,
            "--device",
            "cpu",
            "-q",
            "--show-statistics");
    assertThat(calibrated.code()).as(calibrated.err()).isZero();
    assertThat(calibrated.out()).contains("block influence");
    CommandRun made =
        compress(
            model,
            "--statistics",
            statistics,
            "--ratio",
            "0.2,0.4",
            "--no-eval",
            "--recipe",
            "paper");
    assertThat(made.code()).as(made.err()).isZero();
    assertThat(folder.resolve("out/tiny-20/model.safetensors")).exists();
    assertThat(folder.resolve("out/tiny-40/model.safetensors")).exists();
    CommandRun plan =
        CommandRun.of(
            "compress",
            model,
            "--statistics",
            statistics,
            "--recipe",
            "paper",
            "--dry-run",
            "--ratio",
            "0.5",
            "-q");
    assertThat(plan.out()).contains("| layer |", "50.");
  }

  @Test
  void convertChangesTheType() {
    Path converted = folder.resolve("converted");
    assertThat(CommandRun.of("convert", model, "-o", converted, "--dtype", "bf16", "-q").code())
        .isZero();
    assertThat(CommandRun.of("inspect", converted, "--tensors").out()).contains("BF16");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "compress",
        "calibrate",
        "perplexity",
        "generate",
        "inspect",
        "convert",
        "bench",
        "devices",
        "runs",
        "dashboard",
        "alerts",
        "advise"
      })
  void everyCommandHelps(String command) {
    CommandRun help = CommandRun.of(command, "--help");
    assertThat(help.code()).isZero();
    assertThat(help.out()).contains("Usage: modegpt " + command);
  }

  @Test
  void usage() throws IOException {
    assertRefused(CommandRun.of("compres"), Main.USAGE, "compres");
    assertRefused(compress(model, "--ratio", "0.99"), Main.USAGE, "--ratio", "0.95");
    assertRefused(compress(model, "--ratio", "-0.1"), Main.USAGE, "--ratio");
    assertRefused(compress(model, "--ratio", "x"), Main.USAGE, "-ratio", "x");
    assertRefused(compress(model, "--multiple-of", "0"), Main.USAGE, "--multiple-of");
    assertRefused(
        compress(model, "--ratio", "0.2", "--target-params", "5"), Main.USAGE, "--target-params");
    assertThat(CommandRun.of("--version").out()).startsWith("modegpt ");
  }

  @Test
  void modelsThatCannotBeUsed() throws IOException {
    assertRefused(compress(folder.resolve("nowhere")), Main.FAILED, "nowhere");
    Files.createDirectories(folder.resolve("empty"));
    assertRefused(compress(folder.resolve("empty")), Main.FAILED, "config.json");

    TinyModel missing = new TinyModel();
    missing.shapes.remove("model.layers.1.mlp.up_proj.weight");
    assertRefused(
        compress(missing.write(folder.resolve("missing"))),
        Main.FAILED,
        "model.layers.1.mlp.up_proj.weight",
        "missing");

    TinyModel extra = new TinyModel();
    extra.shapes.put("model.layers.2.mlp.up_proj.weight", new long[] {48, 32});
    assertRefused(
        compress(extra.write(folder.resolve("extra"))),
        Main.FAILED,
        "model.layers.2.mlp.up_proj.weight");

    TinyModel shape = new TinyModel();
    shape.shapes.put("model.layers.0.mlp.up_proj.weight", new long[] {47, 32});
    assertRefused(
        compress(shape.write(folder.resolve("shape"))), Main.FAILED, "47 x 32", "48 x 32");

    TinyModel nan = new TinyModel();
    nan.poison("model.layers.1.self_attn.k_proj.weight", Double.NaN);
    assertRefused(compress(nan.write(folder.resolve("nan"))), Main.FAILED, "k_proj", "NaN");

    TinyModel unknown = new TinyModel();
    unknown.config.put("model_type", "mamba");
    assertRefused(
        compress(unknown.write(folder.resolve("unknown"))), Main.FAILED, "mamba", "supported");

    TinyModel vocabulary = new TinyModel();
    vocabulary.config.put("vocab_size", 100);
    vocabulary.shapes.put("model.embed_tokens.weight", new long[] {100, 32});
    assertRefused(
        compress(vocabulary.write(folder.resolve("vocabulary"))), Main.FAILED, "vocabulary of 100");
  }

  @Test
  void damagedFiles() throws IOException {
    Path weights = model.resolve("model.safetensors");
    byte[] whole = Files.readAllBytes(weights);
    try (RandomAccessFile file = new RandomAccessFile(weights.toFile(), "rw")) {
      file.setLength(whole.length / 2);
    }
    assertRefused(compress(model), Main.FAILED, "model.safetensors");
    Files.write(
        weights, new byte[] {(byte) 0xff, (byte) 0xff, (byte) 0xff, (byte) 0xff, 0, 0, 0, 0, '{'});
    assertRefused(compress(model), Main.FAILED, "header length");
    Files.writeString(
        weights,
        new String(whole, StandardCharsets.ISO_8859_1).replaceFirst("\"F32\"", "\"F99\""),
        StandardCharsets.ISO_8859_1);
    assertRefused(compress(model), Main.FAILED, "F99");
    Files.writeString(model.resolve("config.json"), "{");
    assertRefused(compress(model), Main.FAILED, "config.json");
    Path gguf = folder.resolve("broken.gguf");
    Files.write(gguf, new byte[] {'G', 'G', 'U', 'F', 3, 0, 0, 0, 9});
    assertRefused(compress(gguf), Main.FAILED, "broken.gguf");
  }

  @Test
  void textsThatCannotBeUsed() throws IOException {
    Files.writeString(text, "");
    assertRefused(compress(model), Main.FAILED, "empty");
    Files.writeString(text, "too short");
    assertRefused(compress(model), Main.FAILED, "tokens");
    Files.write(text, new byte[] {'a', (byte) 0xff, 'b'});
    assertRefused(compress(model), Main.FAILED, "UTF-8", "byte 1");
    Files.delete(text);
    assertRefused(compress(model), Main.FAILED, "text.txt");
  }

  @Test
  void placesThatCannotBeWritten() throws IOException {
    Path taken = Files.createDirectories(folder.resolve("taken"));
    CommandRun refused = CommandRun.of("compress", model, "-o", taken, "--calibration", text, "-q");
    assertThat(refused.code()).isEqualTo(Main.FAILED);
    assertThat(refused.err()).contains("exists already");
    assertThat(taken).isEmptyDirectory();
    CommandRun nowhere = CommandRun.of("convert", model, "-o", "/proc/no/such/place", "-q");
    assertThat(nowhere.code()).isEqualTo(Main.FAILED);
    assertThat(nowhere.err().strip().lines()).hasSize(1);
  }

  @Test
  void statisticsOfAnotherModel() throws IOException {
    TinyModel other = new TinyModel();
    other.poison("model.layers.0.mlp.down_proj.weight", 9);
    Path statistics = folder.resolve("statistics");
    assertThat(
            CommandRun.of(
                    "calibrate",
                    other.write(folder.resolve("other")),
                    "-o",
                    statistics,
                    "--calibration",
                    text,
                    "--num-calibration-samples",
                    4,
                    "--max-seq-length",
                    32,
                    "--device",
                    "cpu",
                    "-q")
                .code())
        .isZero();
    assertRefused(compress(model, "--statistics", statistics), Main.FAILED, "another model");
    assertRefused(
        compress(model, "--statistics", model.resolve("model.safetensors")),
        Main.FAILED,
        "no statistics file");
  }
}
