package org.modegpt.model;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.io.ModelDirectory;
import org.modegpt.io.TensorInfo;
import org.modegpt.io.TensorSource;
import org.modegpt.model.Architecture.Global;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// A decoder-only language model on disk: its configuration and its mapped weights, checked to fit
/// together when opened. Nothing is resident until a block is loaded. Opening and reading are safe
/// from several threads; close it last.
public final class Transformer implements AutoCloseable {

  /// How weights are held by a back-end.
  public enum Residence {
    /// Matrices as F32, or as stored where the back-end's products take that; for passes over many
    /// tokens.
    F32,
    /// Matrices in the stored type (on the CPU without a copy), for decoding, where reading weights
    /// is the time.
    STORED
  }

  /// Parameters have these names whatever the family calls its tensors.
  private static final Architecture NAMES = Architecture.compact();

  private final ModelDirectory directory;
  private final TensorSource source;
  private final ModelConfig config;
  private final Architecture architecture;

  private Transformer(ModelDirectory directory) {
    this.directory = directory;
    this.config = ModelConfig.of(directory.config());
    this.architecture = config.compressed() ? NAMES : Architecture.of(config.modelType());
    this.source =
        directory.neutral()
            ? directory.tensors()
            : architecture.parameters(directory.tensors(), config);
    checkTensors();
  }

  /// Opens a Hugging Face folder or a GGUF file.
  ///
  /// @throws UserException when a file is missing, damaged, of an unknown architecture, or its
  ///   tensors do not fit
  public static Transformer open(Path path) {
    ModelDirectory directory = ModelDirectory.open(path);
    try {
      return new Transformer(directory);
    } catch (RuntimeException e) {
      directory.close();
      throw e;
    }
  }

  public ModelConfig config() {
    return config;
  }

  /// The family, as its files have it.
  public Architecture architecture() {
    return architecture;
  }

  public ModelDirectory directory() {
    return directory;
  }

  /// All parameters under the names of {@link Architecture#compact}: nothing fused or transposed,
  /// in the stored type.
  public TensorSource tensors() {
    return source;
  }

  /// Parameters of the whole model, tied weights counted once.
  public long parameters() {
    return source.names().stream().mapToLong(n -> source.info(n).elements()).sum();
  }

  /// Stored size of all tensors.
  public long bytes() {
    return source.names().stream().mapToLong(n -> source.info(n).bytes()).sum();
  }

  /// Size of a block's weights once {@link #block} has loaded them.
  public long bytes(Backend backend, int layer, Residence residence) {
    long bytes = 0;
    for (Role role : Role.values()) {
      String name = NAMES.name(role, layer);
      if (source.has(name)) {
        TensorInfo info = source.info(name);
        boolean keep = role.compressible() && kept(backend, name, residence);
        bytes += keep ? info.bytes() : DType.F32.bytes(info.elements());
      }
    }
    return bytes;
  }

  /// Loads one block; it lives as long as `arena`.
  ///
  /// @throws UserException when a weight is NaN or infinite
  public BlockWeights block(Backend backend, Arena arena, int layer, Residence residence) {
    Map<Role, Tensor> tensors = new EnumMap<>(Role.class);
    for (Role role : Role.values()) {
      String name = NAMES.name(role, layer);
      if (source.has(name)) {
        boolean keep = role.compressible() && kept(backend, name, residence);
        Tensor tensor = load(backend, arena, name, keep);
        tensors.put(role, role.normWeight() ? shifted(backend, arena, tensor) : tensor);
      }
    }
    LayerShape shape = config.shapes().get(layer);
    return new BlockWeights(shape, tensors, frequencies(backend, arena, shape));
  }

  /// The blocks one after another, for passes over many tokens.
  public Ahead<BlockWeights> blocksAhead(Backend backend) {
    return new Ahead<>(
        backend,
        backend.sideStream(),
        config.layers(),
        (by, arena, layer) -> block(by, arena, layer, Residence.F32));
  }

  /// The blocks from the last to the first: number 0 is the last.
  public Ahead<BlockWeights> blocksBack(Backend backend) {
    int last = config.layers() - 1;
    return new Ahead<>(
        backend,
        backend.sideStream(),
        config.layers(),
        (by, arena, index) -> block(by, arena, last - index, Residence.F32));
  }

  /// A block of this model's kind with weights that are on the back-end's device already.
  public BlockWeights block(
      Backend backend, Arena arena, LayerShape shape, Map<Role, Tensor> weights) {
    return new BlockWeights(shape, weights, frequencies(backend, arena, shape));
  }

  /// Tokens to the residual stream; lives as long as `arena`.
  public TokenEmbedding embedding(Backend backend, Arena arena) {
    Tensor table = load(backend, arena, NAMES.name(Global.EMBEDDING), true);
    Tensor positions = null;
    if (config.design().learnedPositions()) {
      Tensor all = load(backend, arena, NAMES.name(Global.POSITIONS), true);
      positions = all.rows(config.design().positionOffset(), all.rows());
    }
    return new TokenEmbedding(backend, table, positions, config.design().embeddingScale());
  }

  public Tensor finalNorm(Backend backend, Arena arena) {
    return shifted(backend, arena, load(backend, arena, NAMES.name(Global.FINAL_NORM), false));
  }

  /// The bias of the last norm, where it is LayerNorm.
  @Nullable Tensor finalNormBias(Backend backend, Arena arena) {
    return config.design().layerNorm()
        ? load(backend, arena, NAMES.name(Global.FINAL_NORM_BIAS), false)
        : null;
  }

  /// The output matrix `[vocab, d]`; the embedding when they are tied.
  public Tensor head(Backend backend, Arena arena, Residence residence) {
    boolean own = source.has(NAMES.name(Global.HEAD));
    String name = NAMES.name(own ? Global.HEAD : Global.EMBEDDING);
    return load(backend, arena, name, kept(backend, name, residence));
  }

  /// Whether a matrix needs no conversion.
  private boolean kept(Backend backend, String name, Residence residence) {
    return residence == Residence.STORED
        || source.info(name).dtype().equals(backend.operandType().name());
  }

  /// A norm's weight as it multiplies.
  private Tensor shifted(Backend backend, Arena arena, Tensor weight) {
    float offset = config.design().normOffset();
    if (offset == 0) {
      return weight;
    }
    float[] values = Residents.floats(backend, weight);
    for (int i = 0; i < values.length; i++) {
      values[i] += offset;
    }
    return Residents.upload(
        backend, arena, Tensor.ofFloats(arena, weight.rows(), weight.cols(), values));
  }

  private Tensor load(Backend backend, Arena arena, String name, boolean keepType) {
    Tensor stored = source.get(name, arena);
    Tensor local = stored;
    if (!backend.unifiedMemory()) {
      local = backend.allocate(arena, stored.dtype(), stored.rows(), stored.cols());
      backend.copy(stored, local);
    }
    long bad = backend.countNonFinite(local);
    if (bad > 0) {
      throw new UserException(
          directory.path()
              + ": tensor "
              + name
              + " has "
              + bad
              + " NaN or infinite values; the checkpoint is damaged");
    }
    if (keepType || local.dtype() == DType.F32) {
      return local;
    }
    Tensor cast = backend.allocate(arena, DType.F32, stored.rows(), stored.cols());
    backend.cast(local, cast);
    return cast;
  }

  private @Nullable Tensor frequencies(Backend backend, Arena arena, LayerShape shape) {
    int pairs = shape.pairs();
    if (pairs == 0) {
      return null;
    }
    double[] all = config.ropes().get(shape.attention().rotary()).inverseFrequencies();
    Tensor host = Tensor.allocate(arena, DType.F32, config.kvHeads(), pairs);
    for (int head = 0; head < config.kvHeads(); head++) {
      for (int t = 0; t < pairs; t++) {
        host.set(head, t, all[shape.rotaryPairs().get(head).get(t)]);
      }
    }
    return Residents.upload(backend, arena, host);
  }

  private void checkTensors() {
    Set<String> left = new HashSet<>(source.names());
    int hidden = config.hiddenSize();
    check(NAMES.name(Global.EMBEDDING), config.vocabSize(), hidden, left);
    check(NAMES.name(Global.FINAL_NORM), 1, hidden, left);
    if (config.design().layerNorm()) {
      check(NAMES.name(Global.FINAL_NORM_BIAS), 1, hidden, left);
    }
    if (config.design().learnedPositions()) {
      long rows = (long) config.contextLength() + config.design().positionOffset();
      check(NAMES.name(Global.POSITIONS), rows, hidden, left);
    }
    String head = NAMES.name(Global.HEAD);
    if (source.has(head)) {
      check(head, config.vocabSize(), hidden, left);
    } else if (!config.tiedEmbeddings()) {
      throw new UserException(directory.path() + ": tensor " + fileName(head) + " is missing");
    }
    for (int layer = 0; layer < config.layers(); layer++) {
      LayerShape shape = config.shapes().get(layer);
      for (Role role : Role.values()) {
        String name = NAMES.name(role, layer);
        if (config.design().has(role) && (!role.bias() || source.has(name))) {
          check(name, config.rows(role, shape), config.cols(role, shape), left);
        }
      }
    }
    if (!left.isEmpty()) {
      String first = left.stream().sorted().findFirst().orElseThrow();
      throw new UserException(
          directory.path()
              + ": "
              + left.size()
              + " tensors do not belong to a "
              + config.layers()
              + "-layer "
              + architecture.family()
              + " model, the first is "
              + first
              + "; check num_hidden_layers and model_type");
    }
  }

  /// What messages call a parameter.
  private String fileName(String name) {
    for (Global global : Global.values()) {
      if (name.equals(NAMES.name(global))) {
        return architecture.name(global);
      }
    }
    for (int layer = 0; layer < config.layers(); layer++) {
      for (Role role : Role.values()) {
        if (name.equals(NAMES.name(role, layer))) {
          return architecture.name(role, layer);
        }
      }
    }
    return name;
  }

  private void check(String name, long rows, long cols, Set<String> left) {
    if (!source.has(name)) {
      throw new UserException(directory.path() + ": tensor " + fileName(name) + " is missing");
    }
    TensorInfo tensor = source.info(name);
    if (tensor.rows() != rows || tensor.cols() != cols) {
      throw new UserException(
          directory.path()
              + ": tensor "
              + fileName(name)
              + " is "
              + tensor.rows()
              + " x "
              + tensor.cols()
              + ", the configuration needs "
              + rows
              + " x "
              + cols);
    }
    left.remove(name);
  }

  @Override
  public void close() {
    directory.close();
  }
}
