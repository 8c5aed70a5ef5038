package org.modegpt.io;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.modegpt.UserException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// The JSON header of a safetensors file, checked: every byte of the data belongs to exactly one
/// tensor, and every tensor has exactly the bytes its type and shape ask for.
///
/// @param tensors by name, in the order of their data
/// @param metadata the `__metadata__` map
record SafetensorsHeader(SequencedMap<String, Entry> tensors, Map<String, String> metadata) {

  /// Bytes per element of every type the format knows; the engine reads a subset of them.
  static final Map<String, Integer> ELEMENT_BYTES =
      Map.ofEntries(
          Map.entry("BOOL", 1),
          Map.entry("U8", 1),
          Map.entry("I8", 1),
          Map.entry("F8_E5M2", 1),
          Map.entry("F8_E4M3", 1),
          Map.entry("F8_E8M0", 1),
          Map.entry("I16", 2),
          Map.entry("U16", 2),
          Map.entry("F16", 2),
          Map.entry("BF16", 2),
          Map.entry("I32", 4),
          Map.entry("U32", 4),
          Map.entry("F32", 4),
          Map.entry("C64", 8),
          Map.entry("F64", 8),
          Map.entry("I64", 8),
          Map.entry("U64", 8));

  /// @param begin offset of the first byte from the start of the data section
  record Entry(TensorInfo info, long begin) {
    long end() {
      return begin + info.bytes();
    }
  }

  /// @param file names the file in errors
  /// @param dataBytes size of the file behind the header
  static SafetensorsHeader parse(byte[] json, String file, long dataBytes) {
    ObjectNode root = Json.object(json, file + ": its safetensors header");
    Map<String, String> metadata = new LinkedHashMap<>();
    List<Entry> entries = new ArrayList<>();
    for (Map.Entry<String, JsonNode> property : root.properties()) {
      if (property.getKey().equals("__metadata__")) {
        readMetadata(property.getValue(), metadata, file);
      } else {
        entries.add(entry(property.getKey(), property.getValue(), file, dataBytes));
      }
    }
    entries.sort(Comparator.comparingLong(Entry::begin).thenComparingLong(Entry::end));
    SequencedMap<String, Entry> tensors = new LinkedHashMap<>();
    long at = 0;
    for (Entry e : entries) {
      if (e.begin() != at) {
        throw bad(
            file,
            e.info().name(),
            "its data "
                + (e.begin() > at ? "leaves a hole after" : "overlaps")
                + " the tensor before it (byte "
                + e.begin()
                + ", expected "
                + at
                + ")");
      }
      at = e.end();
      tensors.put(e.info().name(), e);
    }
    if (at != dataBytes) {
      throw new UserException(
          file
              + ": "
              + (dataBytes - at)
              + " bytes after the last tensor belong to none; download or write the file again");
    }
    return new SafetensorsHeader(tensors, metadata);
  }

  private static void readMetadata(JsonNode node, Map<String, String> metadata, String file) {
    if (!node.isObject()) {
      throw new UserException(
          file + ": __metadata__ is not a map of strings; write the file again");
    }
    for (Map.Entry<String, JsonNode> property : node.properties()) {
      if (!property.getValue().isString()) {
        throw new UserException(
            file
                + ": __metadata__ '"
                + property.getKey()
                + "' is not a string; write the file again");
      }
      metadata.put(property.getKey(), property.getValue().stringValue());
    }
  }

  private static Entry entry(String name, JsonNode node, String file, long dataBytes) {
    JsonNode dtype = node.path("dtype");
    JsonNode shape = node.path("shape");
    JsonNode offsets = node.path("data_offsets");
    if (!dtype.isString() || !shape.isArray() || !offsets.isArray() || offsets.size() != 2) {
      throw bad(file, name, "its entry needs dtype, shape and two data_offsets");
    }
    Integer elementBytes = ELEMENT_BYTES.get(dtype.stringValue());
    if (elementBytes == null) {
      throw new UserException(
          file
              + ": tensor '"
              + name
              + "' has the unknown dtype '"
              + dtype.stringValue()
              + "'; convert the checkpoint to F32, F16 or BF16");
    }
    long begin = count(offsets.get(0), file, name, "data_offsets");
    long end = count(offsets.get(1), file, name, "data_offsets");
    if (begin > end) {
      throw bad(file, name, "data_offsets [" + begin + ", " + end + "] run backwards");
    }
    if (end > dataBytes) {
      throw new UserException(
          file
              + ": tensor '"
              + name
              + "' ends at byte "
              + end
              + " of the data, but the file has only "
              + dataBytes
              + ": the file is truncated; download or copy it again");
    }
    List<Long> dimensions = new ArrayList<>();
    for (JsonNode n : shape) {
      dimensions.add(count(n, file, name, "shape"));
    }
    TensorInfo info = new TensorInfo(name, dtype.stringValue(), dimensions, end - begin);
    if (expectedBytes(info, elementBytes) != info.bytes()) {
      throw bad(
          file,
          name,
          info.dtype()
              + " "
              + info.shape()
              + " does not take the "
              + info.bytes()
              + " bytes its data_offsets span");
    }
    return new Entry(info, begin);
  }

  /// -1 when it does not fit a long.
  private static long expectedBytes(TensorInfo info, int elementBytes) {
    try {
      long product = elementBytes;
      for (long n : info.shape()) {
        product = Math.multiplyExact(product, n);
      }
      return product;
    } catch (ArithmeticException _) {
      return -1;
    }
  }

  private static long count(JsonNode node, String file, String name, String what) {
    if (!node.isIntegralNumber() || !node.canConvertToLong() || node.longValue() < 0) {
      throw bad(file, name, what + " must hold non-negative integers, not " + node);
    }
    return node.longValue();
  }

  private static UserException bad(String file, String tensor, String what) {
    return new UserException(
        file
            + ": tensor '"
            + tensor
            + "': "
            + what
            + "; the file is damaged, download or write it again");
  }
}
