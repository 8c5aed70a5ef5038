package org.modegpt.export;

import java.util.ArrayList;
import java.util.List;
import org.modegpt.UserException;
import org.modegpt.compress.CompactConfig;
import org.modegpt.model.LayerShape;
import org.modegpt.model.ModelConfig;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// The `config.json` of a DeciLM / nemotron-nas model: one MLP width per layer as a multiplier,
/// `width = 2/3 · ffn_mult · hidden` rounded up to a multiple of 256. It has the object `modegpt`
/// of the compact format beside it, so that transformers and this program, which have no class for
/// such models, load it as well.
final class DeciConfig {
  private DeciConfig() {}

  static ObjectNode of(DenseModel model) {
    ModelConfig sizes = model.sizes();
    boolean llama = model.family().family().equals("llama");
    if (!llama || sizes.heads() * sizes.headDim() != sizes.hiddenSize()) {
      throw new UserException(
          "the DeciLM layout is for llama models whose heads together are as wide as the model, not for this '%s' model; choose dense or uniform"
              .formatted(sizes.modelType()));
    }
    List<CompactConfig.Layer> layers = new ArrayList<>();
    for (LayerShape shape : sizes.shapes()) {
      int width = model.width(layers.size());
      layers.add(new CompactConfig.Layer(shape.withMlpWidth(width), model.presentRoles()));
    }
    ObjectNode config = CompactConfig.of(model.config(), sizes, layers);
    int widest = model.layers().map(model::width).max().orElse(0);
    config.withObject("modegpt").put("mlp_width", widest);
    config.put("model_type", "nemotron-nas");
    config.putArray("architectures").add("DeciLMForCausalLM");
    ArrayNode blocks = config.putArray("block_configs");
    for (int layer = 0; layer < sizes.layers(); layer++) {
      ObjectNode block = blocks.addObject();
      ObjectNode attention = block.putObject("attention");
      attention.put("n_heads_in_group", sizes.heads() / sizes.kvHeads());
      attention.put("no_op", false);
      attention.put("replace_with_linear", false);
      ObjectNode ffn = block.putObject("ffn");
      ffn.put("ffn_mult", 1.5 * model.width(layer) / sizes.hiddenSize());
      ffn.put("no_op", false);
      ffn.put("replace_with_linear", false);
    }
    return config;
  }
}
