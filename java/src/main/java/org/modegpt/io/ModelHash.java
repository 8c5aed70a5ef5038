package org.modegpt.io;

import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.TreeSet;
import tools.jackson.databind.node.ObjectNode;

/// A SHA-256 that tells models apart without reading them whole. It covers the configuration, the
/// name, type and shape of every tensor in the order of names, and of its stored bytes all when
/// there are at most 64 KiB, else 16 pieces of 4 KiB evenly spread from the first to the last byte.
/// Training changes every tensor everywhere, so that finds another model; it is no protection
/// against a change of single weights by intent. The same model in another file format has another
/// hash.
final class ModelHash {
  private static final long PIECE = 4096;
  private static final long PIECES = 16;

  private ModelHash() {}

  static String of(ObjectNode config, TensorSource tensors) {
    MessageDigest sha = Digests.sha256();
    sha.update(Json.MAPPER.writeValueAsString(config).getBytes(StandardCharsets.UTF_8));
    for (String name : new TreeSet<>(tensors.names())) {
      TensorInfo info = tensors.info(name);
      sha.update(
          "\n%s %s %s\n"
              .formatted(name, info.dtype(), info.shape())
              .getBytes(StandardCharsets.UTF_8));
      MemorySegment bytes = tensors.stored(name);
      if (bytes.byteSize() <= PIECE * PIECES) {
        sha.update(bytes.asByteBuffer());
      } else {
        for (long i = 0; i < PIECES; i++) {
          // Exact for sizes below 2^59 bytes.
          sha.update(
              bytes.asSlice((bytes.byteSize() - PIECE) * i / (PIECES - 1), PIECE).asByteBuffer());
        }
      }
    }
    return HexFormat.of().formatHex(sha.digest());
  }
}
