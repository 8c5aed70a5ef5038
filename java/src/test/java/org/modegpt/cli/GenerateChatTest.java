package org.modegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.TinyModel;

/// `generate --chat` as users type it.
class GenerateChatTest {
  @TempDir private Path folder;
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();
  private Path model;

  @BeforeEach
  void model() {
    model = new TinyModel().write(folder.resolve("tiny"));
  }

  private int run(String... more) {
    String[] words = {"generate", model.toString(), "--device", "cpu", "-n", "4"};
    String[] all = Arrays.copyOf(words, words.length + more.length);
    System.arraycopy(more, 0, all, words.length, more.length);
    return Main.run(new PrintWriter(out), new PrintWriter(err), all);
  }

  private void template(String text) throws IOException {
    Files.writeString(model.resolve("chat_template.jinja"), text);
  }

  @Test
  void oneAnswer() throws IOException {
    template("{% for m in messages %}[{{ m.role }}: {{ m.content }}]{% endfor %}");
    assertThat(run("--chat", "--system", "Be brief.", "-p", "Hello", "--json"))
        .as(err.toString())
        .isZero();
    assertThat(out.toString()).contains("\"prompt\": \"Hello\"", "\"new_tokens\": ");
  }

  @Test
  void aConversation() throws IOException {
    template("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}");
    InputStream before = System.in;
    System.setIn(new ByteArrayInputStream("Hello\n\nAnd you?\n".getBytes(StandardCharsets.UTF_8)));
    try {
      assertThat(run("--chat", "--temperature", "0")).as(err.toString()).isZero();
    } finally {
      System.setIn(before);
    }
    assertThat(out.toString().lines().count()).isGreaterThanOrEqualTo(2);
    System.setIn(new ByteArrayInputStream("Hello\n".repeat(30).getBytes(StandardCharsets.UTF_8)));
    try {
      assertThat(run("--chat", "-c", "40")).isEqualTo(Main.FAILED);
    } finally {
      System.setIn(before);
    }
    assertThat(err.toString()).contains("longer than the context of 40 tokens");
  }

  @Test
  void refusals() throws IOException {
    assertThat(run("--chat", "-p", "x")).isEqualTo(Main.FAILED);
    assertThat(err.toString()).contains("has no chat template");
    assertThat(run()).isEqualTo(Main.USAGE);
    assertThat(run("-p", "x", "--system", "y")).isEqualTo(Main.USAGE);
    template("{{ raise_exception('no system message, please') }}");
    assertThat(run("--chat", "-p", "x")).isEqualTo(Main.FAILED);
    assertThat(err.toString()).contains("no system message, please");
  }
}
