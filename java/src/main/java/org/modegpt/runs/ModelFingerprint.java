package org.modegpt.runs;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;
import org.modegpt.io.Digests;

/// Identifies a model's content in milliseconds, whatever its size: SHA-256 over name, size,
/// beginning, end and evenly spread pieces of each weight file and over `config.json`. Two
/// compressions of a model differ in every such piece; a file damaged in one byte may not be
/// noticed, so this is an identity and no checksum.
///
/// @param hash 16 hexadecimal digits; empty for a path that holds no model
/// @param bytes total size of the weight files
public record ModelFingerprint(String hash, long bytes) {
  private static final int PIECES = 32;
  private static final int PIECE_BYTES = 16 << 10;

  /// The fingerprint of a model directory or a single file.
  public static ModelFingerprint of(Path model) throws IOException {
    List<Path> files;
    if (Files.isDirectory(model)) {
      try (Stream<Path> children = Files.list(model)) {
        files = children.filter(ModelFingerprint::counts).sorted().toList();
      }
    } else {
      files = Files.exists(model) ? List.of(model) : List.of();
    }
    MessageDigest digest = Digests.sha256();
    long bytes = 0;
    for (Path file : files) {
      long size = Files.size(file);
      digest.update((name(file) + " " + size + "\n").getBytes(StandardCharsets.UTF_8));
      addPieces(digest, file, size);
      bytes += name(file).endsWith(".json") ? 0 : size;
    }
    String hash = files.isEmpty() ? "" : HexFormat.of().formatHex(digest.digest(), 0, 8);
    return new ModelFingerprint(hash, bytes);
  }

  private static String name(Path file) {
    return file.getFileName().toString();
  }

  private static boolean counts(Path file) {
    String name = name(file);
    return name.endsWith(".safetensors")
        || name.endsWith(".gguf")
        || name.endsWith(".bin")
        || name.equals("config.json");
  }

  private static void addPieces(MessageDigest digest, Path file, long size) throws IOException {
    try (FileChannel channel = FileChannel.open(file)) {
      ByteBuffer piece = ByteBuffer.allocate(PIECE_BYTES);
      long last = Math.max(0, size - PIECE_BYTES);
      long previous = -1;
      for (int i = 0; i < PIECES; i++) {
        long at = last * i / (PIECES - 1);
        if (at == previous) {
          continue;
        }
        previous = at;
        piece.clear();
        while (piece.hasRemaining() && channel.read(piece, at + piece.position()) > 0) {
          // read until the piece is full or the file ends
        }
        digest.update(piece.flip());
      }
    }
  }
}
