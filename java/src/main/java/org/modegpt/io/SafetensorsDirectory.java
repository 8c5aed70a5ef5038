package org.modegpt.io;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.SequencedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import org.modegpt.UserException;
import org.modegpt.tensor.Tensor;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// The tensors of a Hugging Face folder: `model.safetensors`, or the shards that
/// `model.safetensors.index.json` names.
final class SafetensorsDirectory implements TensorSource {
  static final String SINGLE = "model.safetensors";
  static final String INDEX = "model.safetensors.index.json";

  private final Path directory;
  private final List<SafetensorsFile> files;
  private final SequencedMap<String, SafetensorsFile> byName = new LinkedHashMap<>();

  private SafetensorsDirectory(Path directory, List<SafetensorsFile> files) {
    this.directory = directory;
    this.files = files;
  }

  static boolean present(Path directory) {
    return Files.isRegularFile(directory.resolve(SINGLE))
        || Files.isRegularFile(directory.resolve(INDEX));
  }

  /// Whether all files of the weights are there, without looking into them.
  static boolean complete(Path directory) {
    if (!Files.isRegularFile(directory.resolve(INDEX))) {
      return present(directory);
    }
    return Json.object(directory.resolve(INDEX)).path("weight_map").values().stream()
        .map(shard -> shard.stringValue(""))
        .distinct()
        .allMatch(shard -> !shard.isEmpty() && Files.isRegularFile(directory.resolve(shard)));
  }

  static SafetensorsDirectory open(Path directory) {
    SafetensorsDirectory source = new SafetensorsDirectory(directory, new ArrayList<>());
    try {
      if (Files.isRegularFile(directory.resolve(INDEX))) {
        source.openShards(Json.object(directory.resolve(INDEX)));
      } else {
        source.add(SafetensorsFile.open(directory.resolve(SINGLE)));
      }
      return source;
    } catch (RuntimeException e) {
      source.close();
      throw e;
    }
  }

  private void openShards(ObjectNode index) {
    Path indexFile = directory.resolve(INDEX);
    if (!index.path("weight_map").isObject()) {
      throw new UserException(indexFile + " has no weight_map; download it again");
    }
    Map<String, String> weightMap = new TreeMap<>();
    for (Map.Entry<String, JsonNode> property : index.path("weight_map").properties()) {
      String shard = property.getValue().stringValue("");
      if (!shard.matches("[^/\\\\\\x00]+")) {
        throw new UserException(
            indexFile
                + ": tensor '"
                + property.getKey()
                + "' names the shard "
                + property.getValue()
                + ", which is no file name in this folder");
      }
      weightMap.put(property.getKey(), shard);
    }
    for (String shard : new TreeSet<>(weightMap.values())) {
      Path file = directory.resolve(shard);
      if (!Files.isRegularFile(file)) {
        throw new UserException(
            file + " is missing but " + INDEX + " names it; download the shard");
      }
      add(SafetensorsFile.open(file));
    }
    weightMap.forEach((name, shard) -> {
      SafetensorsFile file = byName.get(name);
      if (file == null || !file.path().equals(directory.resolve(shard))) {
        throw new UserException(
            indexFile
                + " puts tensor '"
                + name
                + "' into "
                + shard
                + ", which does not have it; the index and the"
                + " shards are from different checkpoints");
      }
    });
    for (String name : byName.keySet()) {
      if (!weightMap.containsKey(name)) {
        throw new UserException(
            indexFile
                + " does not name tensor '"
                + name
                + "' of "
                + byName.get(name).path().getFileName()
                + "; the index and the shards are from different checkpoints");
      }
    }
  }

  private void add(SafetensorsFile file) {
    files.add(file);
    for (String name : file.names()) {
      SafetensorsFile other = byName.put(name, file);
      if (other != null) {
        throw new UserException(
            directory
                + ": tensor '"
                + name
                + "' is in both "
                + other.path().getFileName()
                + " and "
                + file.path().getFileName()
                + "; remove the file that does not belong");
      }
    }
  }

  @Override
  public SequencedSet<String> names() {
    return Collections.unmodifiableSequencedSet(byName.sequencedKeySet());
  }

  @Override
  public TensorInfo info(String name) {
    return file(name).info(name);
  }

  @Override
  public Tensor get(String name, Arena arena) {
    return file(name).get(name, arena);
  }

  @Override
  public MemorySegment stored(String name) {
    return file(name).stored(name);
  }

  private SafetensorsFile file(String name) {
    SafetensorsFile file = byName.get(name);
    if (file == null) {
      throw new UserException(
          directory
              + ": there is no tensor '"
              + name
              + "'; the checkpoint is incomplete or of another architecture");
    }
    return file;
  }

  @Override
  public Map<String, String> metadata() {
    return files.isEmpty() ? Map.of() : files.getFirst().metadata();
  }

  @Override
  public void close() {
    files.forEach(SafetensorsFile::close);
  }
}
