package org.modegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.TinyModel;
import org.modegpt.io.Json;
import tools.jackson.databind.JsonNode;

/// `generate --prompt-file`.
class PromptFileTest {
  @TempDir private Path folder;
  private Path model;
  private Path prompts;
  private final StringWriter err = new StringWriter();

  @BeforeEach
  void write() {
    model = new TinyModel().write(folder.resolve("model"));
    prompts = folder.resolve("prompts.jsonl");
  }

  private int code;

  private List<JsonNode> run(Object... more) {
    StringWriter out = new StringWriter();
    String[] all =
        Stream.concat(Stream.of("generate", model, "--device", "cpu", "-n", 6), Stream.of(more))
            .map(String::valueOf)
            .toArray(String[]::new);
    code = Main.run(new PrintWriter(out), new PrintWriter(err), all);
    return out.toString().lines().map(Json.MAPPER::readTree).toList();
  }

  @Test
  void everyPromptGetsTheTextItGetsAlone() throws IOException {
    Files.writeString(
        prompts,
        """
        {"id": 7, "prompt": "The fox"}

        {"prompt": "A river runs through"}
        {"prompt": "It was"}
        """);
    List<JsonNode> lines = run("--prompt-file", prompts, "-b", 2);
    assertThat(code).as(err.toString()).isZero();
    assertThat(err.toString()).contains("3 prompts of ", "up to 2 prompts at once");
    assertThat(lines).hasSize(3);
    assertThat(lines.getFirst().path("id").asInt()).isEqualTo(7);
    for (int i = 0; i < 3; i++) {
      JsonNode line = lines.get(i);
      StringWriter out = new StringWriter();
      String prompt = line.path("prompt").stringValue();
      // Each prompt of a file draws with the next seed.
      String seed = Integer.toString(i);
      String[] alone = {
        "generate",
        model.toString(),
        "--device",
        "cpu",
        "-n",
        "6",
        "--json",
        "--seed",
        seed,
        "-p",
        prompt
      };
      assertThat(Main.run(new PrintWriter(out), new PrintWriter(err), alone)).isZero();
      JsonNode expected = Json.MAPPER.readTree(out.toString());
      for (String field : List.of("text", "prompt_tokens", "new_tokens")) {
        assertThat(line.path(field)).as(field).isEqualTo(expected.path(field));
      }
    }
  }

  @Test
  void linesOfText() throws IOException {
    prompts = folder.resolve("prompts.txt");
    Files.writeString(prompts, "The fox\n\nA river\n");
    assertThat(
            run("--prompt-file", prompts, "--temperature", 0).stream()
                .map(l -> l.path("prompt").stringValue()))
        .containsExactly("The fox", "A river");
  }

  @Test
  void refusals() throws IOException {
    run("--prompt-file", prompts);
    assertRefused(Main.FAILED, "there is no such file");
    Files.writeString(prompts, "\n");
    run("--prompt-file", prompts);
    assertRefused(Main.FAILED, "holds no prompt");
    Files.writeString(prompts, "{\"prompt\": \"a\"}\n{\"text\": \"b\"}\n");
    run("--prompt-file", prompts);
    assertRefused(Main.FAILED, "line 2 has no text in the field 'prompt'");
    Files.writeString(
        prompts, "{\"prompt\": \"a\"}\n{\"prompt\": \"" + "fox ".repeat(90) + "\"}\n");
    assertThat(run("--prompt-file", prompts)).isEmpty();
    assertRefused(Main.FAILED, "line 2 has ", "more than the context of 64");
    run("--prompt-file", prompts, "-p", "x");
    assertRefused(Main.USAGE, "exclude each other");
    run("-p", "x", "-b", 2);
    assertRefused(Main.USAGE, "needs --prompt-file");
  }

  private void assertRefused(int expected, String... parts) {
    assertThat(code).isEqualTo(expected);
    assertThat(err.toString()).contains(parts);
  }
}
