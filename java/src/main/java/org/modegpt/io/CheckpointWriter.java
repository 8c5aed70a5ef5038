package org.modegpt.io;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.modegpt.tensor.Tensor;
import tools.jackson.databind.node.ObjectNode;

/// Writes the tensors of a Hugging Face folder: `model.safetensors`, or shards of at most a given
/// size with `model.safetensors.index.json`. Tensors are dealt to shards in the order of their
/// declaration, so a block stays together; one that is larger than the limit gets a shard of its
/// own. Tensors may be written in any order and from several threads.
public final class CheckpointWriter implements AutoCloseable {
  /// The shard size Hugging Face tools use: 5 GB.
  public static final long DEFAULT_SHARD_BYTES = 5_000_000_000L;

  private final Path folder;
  private final List<SafetensorsWriter> shards = new ArrayList<>();
  private final Map<String, SafetensorsWriter> byTensor = new HashMap<>();
  private final ObjectNode index = Json.MAPPER.createObjectNode();

  /// Starts all files of the checkpoint in an existing folder.
  public CheckpointWriter(Path folder, List<TensorInfo> tensors, long maxShardBytes) {
    this.folder = folder;
    List<List<TensorInfo>> plan = plan(tensors, maxShardBytes);
    index
        .putObject("metadata")
        .put("total_size", tensors.stream().mapToLong(TensorInfo::bytes).sum());
    Map<String, String> weightMap = new TreeMap<>();
    try {
      for (int i = 0; i < plan.size(); i++) {
        String name =
            plan.size() == 1
                ? SafetensorsDirectory.SINGLE
                : "model-%05d-of-%05d.safetensors".formatted(i + 1, plan.size());
        SafetensorsWriter shard =
            SafetensorsWriter.create(folder.resolve(name), Map.of(), plan.get(i));
        shards.add(shard);
        for (TensorInfo tensor : plan.get(i)) {
          if (byTensor.put(tensor.name(), shard) != null) {
            throw new IllegalArgumentException("tensor '" + tensor.name() + "' is declared twice");
          }
          weightMap.put(tensor.name(), name);
        }
      }
    } catch (RuntimeException e) {
      close();
      throw e;
    }
    ObjectNode map = index.putObject("weight_map");
    weightMap.forEach(map::put);
  }

  private static List<List<TensorInfo>> plan(List<TensorInfo> tensors, long maxShardBytes) {
    List<List<TensorInfo>> plan = new ArrayList<>(List.of(new ArrayList<>()));
    long bytes = 0;
    for (TensorInfo tensor : tensors) {
      if (bytes > 0 && bytes + tensor.bytes() > maxShardBytes) {
        plan.add(new ArrayList<>());
        bytes = 0;
      }
      plan.getLast().add(tensor);
      bytes += tensor.bytes();
    }
    return plan;
  }

  /// Writes a declared tensor, see {@link SafetensorsWriter#write}.
  public void write(String name, Tensor tensor) {
    SafetensorsWriter shard = byTensor.get(name);
    if (shard == null) {
      throw new IllegalArgumentException("tensor '" + name + "' is not declared");
    }
    shard.write(name, tensor);
  }

  /// Completes all files; the index comes last.
  public void commit() {
    shards.forEach(SafetensorsWriter::commit);
    if (shards.size() > 1) {
      AtomicFile.write(
          folder.resolve(SafetensorsDirectory.INDEX),
          Json.pretty(index).getBytes(StandardCharsets.UTF_8));
    }
  }

  @Override
  public void close() {
    shards.forEach(SafetensorsWriter::close);
  }
}
