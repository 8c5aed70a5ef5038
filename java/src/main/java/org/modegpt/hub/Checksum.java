package org.modegpt.hub;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import org.modegpt.Progress;
import org.modegpt.io.Digests;

/// Checks a file against its etag: 64 hexadecimal digits are the SHA-256 of a large file, 40 are
/// git's name of a small one (SHA-1 over `blob SIZE\0` and the content). Other servers' etags say
/// nothing about the content.
final class Checksum {
  private Checksum() {}

  /// Whether an etag of this form can be checked at all.
  static boolean known(String etag) {
    return etag.matches("[0-9a-f]{64}|[0-9a-f]{40}");
  }

  static boolean matches(Path file, String etag) throws IOException {
    boolean git = etag.length() == 40;
    MessageDigest digest = Digests.of(git ? "SHA-1" : "SHA-256");
    if (git) {
      digest.update(("blob " + Files.size(file) + "\0").getBytes(StandardCharsets.US_ASCII));
    }
    byte[] buffer = new byte[1 << 20];
    try (InputStream in = Files.newInputStream(file)) {
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        Progress.checkCancelled();
        digest.update(buffer, 0, n);
      }
    }
    return HexFormat.of().formatHex(digest.digest()).equals(etag);
  }
}
