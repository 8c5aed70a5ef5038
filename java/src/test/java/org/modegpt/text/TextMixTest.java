package org.modegpt.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.TestData;
import org.modegpt.UserException;
import org.modegpt.model.Transformer;

class TextMixTest {
  @TempDir private Path folder;

  private String file(String name, String word) throws IOException {
    return Files.writeString(folder.resolve(name), word.repeat(400)).toString();
  }

  @Test
  void drawsFromEachTextItsShare() throws IOException {
    String a = file("a.txt", "aaaa ");
    String b = file("b.txt", "zzzz ");
    try (Transformer model = Transformer.open(TestData.model("stories260K"))) {
      Tokenizer tokenizer = model.directory().tokenizer();
      TextMix mix = TextMix.read(List.of(a + "=3", b));
      List<int[]> drawn = mix.tokens(tokenizer).sample(16, 8, 0, 512);
      long ofFirst = drawn.stream().filter(s -> tokenizer.decode(s).contains("a")).count();
      assertThat(drawn).hasSize(8);
      assertThat(ofFirst).isEqualTo(6);
      assertThat(mix.name()).contains("a.txt (75 %)", "b.txt (25 %)");
      assertThat(mix.sha256()).isNotEqualTo(TextMix.read(List.of(a + "=1", b)).sha256());
    }
  }

  @Test
  void withoutWeightsFilesAreOneText() throws IOException {
    String a = file("a.txt", "aaaa ");
    String b = file("b.txt", "zzzz ");
    assertThat(TextMix.read(List.of(a, b)).sha256())
        .isEqualTo(TextDataset.read(List.of(a, b)).sha256());
  }

  @Test
  void aWeightOfZeroIsAMistake() throws IOException {
    String a = file("a.txt", "aaaa ");
    assertThatThrownBy(() -> TextMix.read(List.of(a + "=0")))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("leave out the file");
  }
}
