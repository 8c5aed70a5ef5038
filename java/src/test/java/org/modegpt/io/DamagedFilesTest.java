package org.modegpt.io;

import static org.assertj.core.api.Assertions.fail;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.TestData;
import org.modegpt.TinyModel;
import org.modegpt.UserException;
import org.modegpt.model.Transformer;

/// Whatever is wrong with a file, opening the model says so in a {@link UserException} or works;
/// nothing else is thrown.
class DamagedFilesTest {
  private static final int TRIES = 400;

  @TempDir private Path folder;

  private static void open(Path path, String what) {
    try (Transformer model = Transformer.open(path)) {
      model.parameters();
    } catch (UserException expected) {
      if (expected.getMessage() == null
          || expected.getMessage().isBlank()
          || expected.getMessage().contains("\n")) {
        fail(what + ": not one clear line: " + expected.getMessage());
      }
    } catch (RuntimeException | Error e) {
      fail(what + " gave " + e, e);
    }
  }

  private static byte[] damaged(byte[] whole, int header, Random random) {
    byte[] bytes =
        random.nextInt(4) == 0 ? Arrays.copyOf(whole, random.nextInt(whole.length)) : whole.clone();
    for (int i = random.nextInt(4); i >= 0 && bytes.length > 0; i--) {
      bytes[random.nextInt(Math.min(header, bytes.length))] = (byte) random.nextInt(256);
    }
    return bytes;
  }

  @Test
  void safetensors() throws IOException {
    Path weights = new TinyModel().write(folder.resolve("m")).resolve("model.safetensors");
    byte[] whole = Files.readAllBytes(weights);
    Random random = new Random(1);
    for (int i = 0; i < TRIES; i++) {
      Files.write(weights, damaged(whole, 2200, random));
      open(folder.resolve("m"), "damage " + i);
    }
  }

  @Test
  void config() throws IOException {
    Path model = new TinyModel().write(folder.resolve("m"));
    byte[] whole = Files.readAllBytes(model.resolve("config.json"));
    Random random = new Random(2);
    for (int i = 0; i < TRIES; i++) {
      Files.write(model.resolve("config.json"), damaged(whole, whole.length, random));
      open(model, "damage " + i);
    }
  }

  @Test
  void gguf() throws IOException {
    byte[] start;
    try (InputStream in = Files.newInputStream(TestData.model("smollm2-135m"))) {
      start = in.readNBytes(1 << 16);
    }
    Path file = folder.resolve("m.gguf");
    Random random = new Random(3);
    for (int i = 0; i < TRIES / 4; i++) {
      Files.write(file, damaged(start, 2000, random));
      open(file, "damage " + i);
    }
  }
}
