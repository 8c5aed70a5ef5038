package org.modegpt.compress;

import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import java.util.Set;
import org.modegpt.io.Json;
import org.modegpt.model.LayerShape;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Role;
import org.modegpt.tensor.DType;
import tools.jackson.databind.node.ObjectNode;

/// The `config.json` of a compressed model: the original's keys, and an object `modegpt` that says
/// without reference to the family what the layers compute and how large they are. The code that
/// transformers runs, {@link #CODE}, reads only that object and the common sizes; its head
/// describes every key.
public final class CompactConfig {
  /// The Python file that goes beside the weights.
  public static final String CODE = "modeling_modegpt.py";

  static final String TOKENIZER_CONFIG = "tokenizer_config.json";

  private CompactConfig() {}

  /// One block of the output.
  ///
  /// @param roles the weights it has
  public record Layer(LayerShape shape, Set<Role> roles) {
    public Layer {
      roles = Set.copyOf(roles);
    }
  }

  /// @param dtype of the matrices
  static ObjectNode of(ObjectNode original, ModelConfig sizes, List<Layer> layers, DType dtype) {
    ObjectNode config = of(original, sizes, layers);
    config.put(config.has("dtype") ? "dtype" : "torch_dtype", dtype.torchName());
    return config;
  }

  /// The same without the type of the weights.
  public static ObjectNode of(ObjectNode original, ModelConfig sizes, List<Layer> layers) {
    ObjectNode config = original.deepCopy();
    config.put("model_type", ModelConfig.COMPACT_TYPE);
    config.putArray("architectures").add("ModegptForCausalLM");
    ObjectNode code = config.putObject("auto_map");
    String module = CODE.replace(".py", "");
    code.put("AutoConfig", module + ".ModegptConfig");
    code.put("AutoModel", module + ".ModegptModel");
    code.put("AutoModelForCausalLM", module + ".ModegptForCausalLM");
    config.put("hidden_size", sizes.hiddenSize());
    config.put("num_hidden_layers", sizes.layers());
    config.put("num_attention_heads", sizes.heads());
    config.put("num_key_value_heads", sizes.kvHeads());
    config.put("vocab_size", sizes.vocabSize());
    config.put("tie_word_embeddings", sizes.tiedEmbeddings());
    ObjectNode compact =
        sizes.describe(
            layers.stream().map(Layer::shape).toList(),
            layers.stream().map(CompactConfig::biases).toList());
    if (original.has("architectures")) {
      compact.set("base_architectures", original.get("architectures"));
    }
    config.set("modegpt", compact);
    return config;
  }

  /// The projections of a block that have a bias.
  private static List<String> biases(Layer layer) {
    return layer.roles().stream()
        .filter(Role::bias)
        .sorted()
        .map(role -> role.key().replace("_bias", ""))
        .toList();
  }

  /// The tokenizer's configuration of a model that came without: transformers would go by the model
  /// type, which has no tokenizer of its own.
  static ObjectNode tokenizer() {
    return Json.MAPPER.createObjectNode().put("tokenizer_class", "PreTrainedTokenizerFast");
  }

  /// The Python code of the compact format.
  public static byte[] code() {
    try (InputStream in = CompactConfig.class.getResourceAsStream(CODE)) {
      return in.readAllBytes();
    } catch (IOException e) {
      throw new IllegalStateException("cannot read " + CODE, e);
    }
  }
}
