package org.modegpt.io;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SequencedSet;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;
import tools.jackson.databind.node.ObjectNode;

/// A GGUF file seen as a checkpoint under the engine's own parameter names (see the compact format
/// in ARCHITECTURE.md), with the configuration and the tokenizer files that the original folder
/// had. Where llama.cpp fuses, reorders or shifts weights, {@link GgufArchitecture} says how.
final class GgufModel implements TensorSource {
  private final GgufFile file;
  private final GgufArchitecture architecture;
  private final TensorSource parameters;

  private GgufModel(GgufFile file) {
    this.file = file;
    Long parts = file.integer("split.count");
    if (parts != null && parts > 1) {
      throw file.error(
          "it is one of %d parts; join them with llama-gguf-split --merge".formatted(parts));
    }
    this.architecture = GgufArchitecture.of(file);
    this.parameters = new SlicedTensors(new Stored(file), architecture.parameters());
  }

  static GgufModel open(Path path) {
    GgufFile file = GgufFile.open(path);
    try {
      return new GgufModel(file);
    } catch (RuntimeException e) {
      file.close();
      throw e;
    }
  }

  /// The `config.json` of the model.
  ObjectNode config() {
    return architecture.config();
  }

  /// `tokenizer.json`, `tokenizer_config.json` and `generation_config.json`.
  Map<String, ObjectNode> tagAlong() {
    return GgufTokenizer.files(file);
  }

  @Override
  public SequencedSet<String> names() {
    return parameters.names();
  }

  @Override
  public TensorInfo info(String name) {
    require(name);
    return parameters.info(name);
  }

  @Override
  public Tensor get(String name, Arena arena) {
    require(name);
    return parameters.get(name, arena);
  }

  @Override
  public MemorySegment stored(String name) {
    require(name);
    return parameters.stored(name);
  }

  private void require(String name) {
    if (!parameters.has(name)) {
      throw file.error(
          "there is no tensor '%s'; the file is incomplete or of another architecture"
              .formatted(name));
    }
  }

  @Override
  public Map<String, String> metadata() {
    return parameters.metadata();
  }

  @Override
  public void close() {
    file.close();
  }

  /// The tensors of the file under llama.cpp's names.
  private record Stored(GgufFile file) implements TensorSource {

    @Override
    public SequencedSet<String> names() {
      return Collections.unmodifiableSequencedSet(file.tensors().sequencedKeySet());
    }

    @Override
    public TensorInfo info(String name) {
      GgufFile.Entry entry = entry(name);
      return entry.type().dtype() == null
          ? TensorInfo.of(name, DType.F16, entry.info().shape())
          : entry.info();
    }

    @Override
    public Tensor get(String name, Arena arena) {
      GgufFile.Entry entry = entry(name);
      if (entry.type().dtype() != null) {
        return file.view(entry);
      }
      Tensor decoded = Tensor.allocate(arena, DType.F16, entry.info().rows(), entry.info().cols());
      GgufBlocks.decode(entry.type(), file.stored(entry), decoded.data());
      return decoded;
    }

    @Override
    public MemorySegment stored(String name) {
      return file.stored(entry(name));
    }

    private GgufFile.Entry entry(String name) {
      return Objects.requireNonNull(file.tensors().get(name), name);
    }

    @Override
    public Map<String, String> metadata() {
      Map<String, String> scalars = new LinkedHashMap<>();
      file.metadata()
          .forEach((key, value) -> {
            if (!(value instanceof List<?>)) {
              scalars.put(key, value.toString());
            }
          });
      return scalars;
    }

    @Override
    public void close() {
      file.close();
    }
  }
}
