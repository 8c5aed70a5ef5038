package org.modegpt;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.modegpt.io.Json;
import org.modegpt.io.SafetensorsWriter;
import org.modegpt.io.TensorInfo;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;
import tools.jackson.databind.node.ObjectNode;

/// A random two-layer llama with the demonstration model's tokenizer, to be damaged before it is
/// written.
public final class TinyModel {
  public static final int HIDDEN = 32;
  private static final int VOCABULARY = 8192;
  private static final int WIDTH = 48;

  public final ObjectNode config = Json.MAPPER.createObjectNode();
  public final Map<String, long[]> shapes = new LinkedHashMap<>();
  private final Map<String, Double> poison = new LinkedHashMap<>();

  public TinyModel() {
    config.put("model_type", "llama");
    config.put("hidden_size", HIDDEN);
    config.put("num_hidden_layers", 2);
    config.put("num_attention_heads", 4);
    config.put("num_key_value_heads", 2);
    config.put("intermediate_size", WIDTH);
    config.put("vocab_size", VOCABULARY);
    config.put("max_position_embeddings", 64);
    config.put("rms_norm_eps", 1e-5);
    config.put("hidden_act", "silu");
    config.put("tie_word_embeddings", true);
    shapes.put("model.embed_tokens.weight", new long[] {VOCABULARY, HIDDEN});
    shapes.put("model.norm.weight", new long[] {HIDDEN});
    for (int layer = 0; layer < 2; layer++) {
      String prefix = "model.layers." + layer + ".";
      shapes.put(prefix + "input_layernorm.weight", new long[] {HIDDEN});
      shapes.put(prefix + "self_attn.q_proj.weight", new long[] {32, HIDDEN});
      shapes.put(prefix + "self_attn.k_proj.weight", new long[] {16, HIDDEN});
      shapes.put(prefix + "self_attn.v_proj.weight", new long[] {16, HIDDEN});
      shapes.put(prefix + "self_attn.o_proj.weight", new long[] {HIDDEN, 32});
      shapes.put(prefix + "post_attention_layernorm.weight", new long[] {HIDDEN});
      shapes.put(prefix + "mlp.gate_proj.weight", new long[] {WIDTH, HIDDEN});
      shapes.put(prefix + "mlp.up_proj.weight", new long[] {WIDTH, HIDDEN});
      shapes.put(prefix + "mlp.down_proj.weight", new long[] {HIDDEN, WIDTH});
    }
  }

  /// Puts a value at the start of a tensor.
  public void poison(String tensor, double value) {
    poison.put(tensor, value);
  }

  public Path write(Path folder) {
    try (Arena arena = Arena.ofConfined()) {
      Files.createDirectories(folder);
      Files.writeString(folder.resolve("config.json"), Json.pretty(config));
      Files.copy(TestData.demo("wiki-16m/tokenizer.json"), folder.resolve("tokenizer.json"));
      List<TensorInfo> infos =
          shapes.entrySet().stream()
              .map(e -> TensorInfo.of(e.getKey(), DType.F32, e.getValue()))
              .toList();
      Random random = new Random(5);
      try (SafetensorsWriter writer =
          SafetensorsWriter.create(folder.resolve("model.safetensors"), Map.of(), infos)) {
        for (TensorInfo info : infos) {
          Tensor tensor = Tensor.allocate(arena, DType.F32, info.rows(), info.cols());
          for (long i = 0; i < tensor.rows(); i++) {
            for (long j = 0; j < tensor.cols(); j++) {
              tensor.set(i, j, info.shape().size() == 1 ? 1 : 0.2 * random.nextGaussian());
            }
          }
          if (poison.containsKey(info.name())) {
            tensor.set(0, 0, poison.get(info.name()));
          }
          writer.write(info.name(), tensor);
        }
        writer.commit();
      }
      return folder;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
