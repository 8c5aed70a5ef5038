package org.modegpt.export;

import java.lang.foreign.Arena;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.modegpt.backend.Backend;
import org.modegpt.compress.BlockSizes;
import org.modegpt.compress.DenseView;
import org.modegpt.export.OutputFormat.Layout;
import org.modegpt.io.TensorInfo;
import org.modegpt.model.Architecture;
import org.modegpt.model.Architecture.Global;
import org.modegpt.model.LayerShape;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Role;
import org.modegpt.model.Transformer;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// A model in the shapes of its family: the same function with zeros where something was removed,
/// so that heads have their original size. The softmax scale, which a family derives from the head
/// size, and the rotary frequencies, which it derives from a pair's place, are then right without a
/// word: kept pairs are in their own places. MLPs have the original width, or a smaller one.
final class DenseModel {
  private static final Architecture NAMES = Architecture.compact();
  private static final Set<Role> ATTENTION_BIASES =
      EnumSet.of(Role.Q_BIAS, Role.K_BIAS, Role.V_BIAS, Role.O_BIAS);

  private final Transformer source;
  private final Backend backend;
  private final ObjectNode config;
  private final ModelConfig sizes;
  private final Architecture family;
  private final List<Integer> widths;
  private final Set<Role> roles;

  /// @param backend whose operations take host tensors
  DenseModel(Transformer source, Layout layout, Backend backend) {
    if (!backend.unifiedMemory()) {
      throw new IllegalArgumentException("formats are written on the CPU");
    }
    this.source = source;
    this.backend = backend;
    this.config = familyConfig(source);
    int original = ModelConfig.of(config).mlpWidth();
    List<Integer> kept = source.config().shapes().stream().map(LayerShape::mlpWidth).toList();
    int widest = kept.stream().mapToInt(Integer::intValue).max().orElse(original);
    this.widths =
        switch (layout) {
          case UNIFORM -> kept.stream().map(_ -> widest).toList();
          case DECI -> kept.stream().map(DenseModel::deciWidth).toList();
          default -> kept.stream().map(_ -> original).toList();
        };
    if (layout == Layout.UNIFORM && widest != original) {
      setWidth(widest);
    }
    this.sizes = ModelConfig.of(config);
    this.family = Architecture.of(sizes.modelType());
    this.roles = roles();
  }

  private static int deciWidth(int width) {
    int multiple = OutputFormat.DECI_MULTIPLE;
    return (width + multiple - 1) / multiple * multiple;
  }

  /// The `config.json` of the original, as far as a compact model kept it.
  private static ObjectNode familyConfig(Transformer source) {
    ObjectNode config = source.directory().config();
    JsonNode compact = config.path("modegpt");
    if (compact.isObject()) {
      config.put("model_type", compact.path("base_model_type").asString());
      if (compact.has("base_architectures")) {
        config.set("architectures", compact.get("base_architectures"));
      }
      config.remove("modegpt");
      config.remove("auto_map");
    }
    config.remove("layer_intermediate_sizes");
    config.remove("quantization_config");
    return config;
  }

  private void setWidth(int width) {
    JsonNode keys = Architecture.of(config.path("model_type").asString()).config().path("keys");
    config.put(keys.path("intermediate_size").asString("intermediate_size"), width);
  }

  /// Roles that blocks of the output have. A family that has biases has them in every layer, and
  /// those of its projections that share a switch together.
  private Set<Role> roles() {
    Set<Role> found = EnumSet.noneOf(Role.class);
    for (int layer = 0; layer < sizes.layers(); layer++) {
      for (Role role : Role.values()) {
        if (source.tensors().has(NAMES.name(role, layer))) {
          found.add(role);
        }
      }
    }
    if (found.stream().anyMatch(ATTENTION_BIASES::contains)) {
      found.addAll(ATTENTION_BIASES);
    }
    found.retainAll(family.layer().keySet());
    return found;
  }

  ObjectNode config() {
    return config;
  }

  /// Sizes as the configuration says them.
  ModelConfig sizes() {
    return sizes;
  }

  Architecture family() {
    return family;
  }

  /// MLP width of a layer.
  int width(int layer) {
    return widths.get(layer);
  }

  boolean has(Role role) {
    return roles.contains(role);
  }

  Set<Role> presentRoles() {
    return roles;
  }

  /// The shape of a weight in this model.
  List<Long> shape(Role role, int layer) {
    LayerShape full = LayerShape.full(width(layer), sizes.headDim(), sizes.kvHeads());
    long rows = sizes.rows(role, full);
    long cols = sizes.cols(role, full);
    return role.compressible() ? List.of(rows, cols) : List.of(cols);
  }

  /// All weights of a block, F32.
  Map<Role, Tensor> block(Arena arena, int layer) {
    Map<Role, Tensor> stored = new EnumMap<>(Role.class);
    for (Role role : Role.values()) {
      Tensor tensor = parameter(NAMES.name(role, layer), arena);
      if (tensor != null) {
        stored.put(role, tensor);
      }
    }
    LayerShape shape = source.config().shapes().get(layer);
    BlockSizes full = BlockSizes.of(sizes);
    BlockSizes block =
        new BlockSizes(
            full.hidden(),
            full.heads(),
            full.kvHeads(),
            full.headDim(),
            width(layer),
            full.gated(),
            full.pairs(),
            false);
    Map<Role, Tensor> dense = new DenseView(backend, block).of(arena, shape, stored);
    for (Role role : roles) {
      dense.computeIfAbsent(
          role, r -> Tensor.allocate(arena, DType.F32, 1, sizes.cols(r, shapeOf(layer))));
    }
    Tensor bias = dense.get(Role.O_BIAS);
    if (bias != null && !has(Role.O_BIAS)) {
      absorb(dense, bias, shape.voDim());
    }
    return dense;
  }

  private LayerShape shapeOf(int layer) {
    return LayerShape.full(width(layer), sizes.headDim(), sizes.kvHeads());
  }

  /// Puts an output bias, for which the family has no place, into the values: a free column of the
  /// first value head is given the bias 1 and no weights, so every token's value there is 1, and so
  /// is their average; the output projection of the first head multiplies it by the bias.
  private void absorb(Map<Role, Tensor> dense, Tensor bias, int column) {
    dense.get(Role.V_BIAS).set(0, column, 1);
    Tensor output = dense.get(Role.O);
    for (long i = 0; i < bias.cols(); i++) {
      output.set(i, column, bias.get(0, i));
    }
    dense.remove(Role.O_BIAS);
  }

  /// What the file says of a tensor outside the blocks, or null.
  @Nullable TensorInfo info(Global global) {
    String name = NAMES.name(global);
    return source.tensors().has(name) ? source.tensors().info(name) : null;
  }

  /// A tensor outside the blocks, F32.
  @Nullable Tensor global(Global global, Arena arena) {
    return parameter(NAMES.name(global), arena);
  }

  private @Nullable Tensor parameter(String name, Arena arena) {
    if (!source.tensors().has(name)) {
      return null;
    }
    Tensor stored = source.tensors().get(name, arena);
    Tensor wide = Tensor.allocate(arena, DType.F32, stored.rows(), stored.cols());
    backend.cast(stored, wide);
    backend.sync();
    return wide;
  }

  /// Layers, in order.
  IntStream layers() {
    return IntStream.range(0, sizes.layers());
  }
}
