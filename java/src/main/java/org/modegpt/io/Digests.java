package org.modegpt.io;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/// Hashes that every Java platform has.
public final class Digests {
  private Digests() {}

  public static MessageDigest sha256() {
    return of("SHA-256");
  }

  /// @param algorithm SHA-256, SHA-1 or MD5
  public static MessageDigest of(String algorithm) {
    try {
      return MessageDigest.getInstance(algorithm);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has " + algorithm, e);
    }
  }

  /// SHA-256 of a text in UTF-8.
  public static byte[] sha256(String text) {
    return sha256().digest(text.getBytes(StandardCharsets.UTF_8));
  }

  /// The same in lower-case hexadecimal.
  public static String sha256Hex(String text) {
    return HexFormat.of().formatHex(sha256(text));
  }
}
