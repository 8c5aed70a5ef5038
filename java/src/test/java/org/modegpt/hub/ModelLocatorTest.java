package org.modegpt.hub;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.UserException;

/// Names, and models in a cache that other tools have written.
class ModelLocatorTest {
  @TempDir private Path folder;
  private Path snapshot;
  private ModelLocator locator;

  @BeforeEach
  void cache() throws IOException {
    snapshot = folder.resolve("models--org--name/snapshots/" + FakeHub.COMMIT);
    Files.createDirectories(snapshot);
    Path ref = folder.resolve("models--org--name/refs/main");
    Files.createDirectories(ref.getParent());
    Files.writeString(ref, FakeHub.COMMIT);
    locator = new ModelLocator(HubSettings.of(Map.of("HF_HUB_CACHE", folder.toString())));
  }

  private void file(String name, String content) throws IOException {
    Files.writeString(snapshot.resolve(name), content);
  }

  @Test
  void names() {
    assertThat(ModelRef.parse("org/name")).isEqualTo(new ModelRef("org/name", null, "main"));
    assertThat(ModelRef.parse("org/name@refs/pr/1").revision()).isEqualTo("refs/pr/1");
    assertThat(ModelRef.parse("https://huggingface.co/org/na.me-1_2/").id())
        .isEqualTo("org/na.me-1_2");
    assertThat(ModelRef.parse("hf.co/org/name:Q8_0@v1"))
        .isEqualTo(new ModelRef("org/name", "Q8_0", "v1"));
    assertThat(ModelRef.parse("gpt2").id()).isEqualTo("gpt2");
    for (String wrong :
        new String[] {
          "",
          "/org/name",
          "./name",
          "../name",
          "a/b/c",
          "org/",
          "org/na--me",
          "org/name@../x",
          "org/name:/etc/passwd",
          "org/name:a/../../b",
          "org name",
          "org/.name"
        }) {
      assertThat(ModelRef.maybe(wrong)).as(wrong).isEmpty();
    }
    assertThatThrownBy(() -> ModelRef.parse("a/b/c")).isInstanceOf(UserException.class);
  }

  @Test
  void pathsGoFirst() {
    assertThat(locator.locate(folder.toString(), null)).isEqualTo(folder);
    assertThat(locator.locate("no/such/path", null)).isEqualTo(Path.of("no/such/path"));
    assertThat(locator.locate("mistyped", null)).isEqualTo(Path.of("mistyped"));
  }

  @Test
  void aWholeModel() throws IOException {
    file("config.json", "{}");
    assertThatThrownBy(() -> locator.locate("org/name", null))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("not completely")
        .hasMessageContaining("modegpt download org/name");
    file("model.safetensors.index.json", "{\"weight_map\": {\"x\": \"a.safetensors\"}}");
    assertThatThrownBy(() -> locator.locate("org/name", null)).isInstanceOf(UserException.class);
    file("a.safetensors", "");
    assertThat(locator.locate("org/name", null)).isEqualTo(snapshot);
    assertThat(locator.locate("org/name@" + FakeHub.COMMIT, null)).isEqualTo(snapshot);
    assertThatThrownBy(() -> locator.locate("org/name@v2", null)).isInstanceOf(UserException.class);
  }

  @Test
  void ggufFiles() throws IOException {
    file("m.Q8_0.gguf", "");
    assertThat(locator.locate("org/name", null)).isEqualTo(snapshot.resolve("m.Q8_0.gguf"));
    file("m.Q4_0.gguf", "");
    assertThat(locator.locate("org/name:q4_0", null)).isEqualTo(snapshot.resolve("m.Q4_0.gguf"));
    assertThat(locator.locate("org/name:m.Q8_0.gguf", null))
        .isEqualTo(snapshot.resolve("m.Q8_0.gguf"));
    assertThatThrownBy(() -> locator.locate("org/name", null)).isInstanceOf(UserException.class);
    assertThatThrownBy(() -> locator.locate("org/name:.Q", null))
        .hasMessageContaining("several files");
  }

  @Test
  void downloadsOnlyWhenAsked() throws IOException {
    file("config.json", "{}");
    assertThatThrownBy(() -> locator.locate("org/other", null))
        .hasMessageContaining("add --download");
    file("model.safetensors", "");
    assertThat(locator.locate("org/other", ref -> snapshot)).isEqualTo(snapshot);
  }
}
