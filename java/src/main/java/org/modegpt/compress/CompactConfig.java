package org.modegpt.compress;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.modegpt.io.Json;
import org.modegpt.model.LayerShape;
import org.modegpt.model.ModelConfig;
import org.modegpt.tensor.DType;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// The `config.json` of a compressed model: the original's with its sizes, and an object `modegpt`
/// with what each layer kept.
final class CompactConfig {
  private CompactConfig() {}

  static ObjectNode of(ObjectNode original, List<LayerShape> shapes, @Nullable DType dtype) {
    ObjectNode config = original.deepCopy();
    ObjectNode compact = Json.MAPPER.createObjectNode();
    compact.put("format_version", ModelConfig.FORMAT_VERSION);
    compact.put("base_model_type", config.path("model_type").asString(""));
    ArrayNode layers = compact.putArray("layers");
    for (LayerShape shape : shapes) {
      ObjectNode layer = layers.addObject();
      layer.put("mlp_width", shape.mlpWidth());
      layer.put("qk_dim", shape.qkDim());
      layer.put("vo_dim", shape.voDim());
      layer.set("rotary_pairs", Json.MAPPER.valueToTree(shape.rotaryPairs()));
    }
    config.put("model_type", ModelConfig.COMPACT_TYPE);
    config.putArray("architectures").add("ModegptForCausalLM");
    if (dtype != null) {
      String name =
          switch (dtype) {
            case F32 -> "float32";
            case F16 -> "float16";
            default -> "bfloat16";
          };
      config.put(config.has("torch_dtype") ? "torch_dtype" : "dtype", name);
    }
    config.set("modegpt", compact);
    return config;
  }
}
