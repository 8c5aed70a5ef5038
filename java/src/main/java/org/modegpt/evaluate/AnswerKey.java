package org.modegpt.evaluate;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import org.modegpt.evaluate.RequestEncoder.Encoded;
import org.modegpt.tasks.TaskDefinition.Generation;

/// Hashes of what a model is asked, in tokens: equal questions have equal answers, whatever task
/// they come from.
final class AnswerKey {
  private static final int BYTES = 12;

  private AnswerKey() {}

  /// Of a continuation to score.
  static String of(Encoded request) {
    MessageDigest sha = sha256();
    update(sha, request.sequence().tokens());
    update(sha, request.sequence().scoredFrom());
    update(sha, request.targets());
    return HexFormat.of().formatHex(sha.digest(), 0, BYTES);
  }

  /// Of a prompt to continue.
  static String of(Encoded prompt, Generation settings) {
    MessageDigest sha = sha256();
    update(sha, prompt.sequence().tokens());
    update(sha, settings.maxTokens());
    sha.update(String.join("\0", settings.until()).getBytes(StandardCharsets.UTF_8));
    return "g" + HexFormat.of().formatHex(sha.digest(), 0, BYTES);
  }

  private static void update(MessageDigest sha, int... values) {
    ByteBuffer bytes = ByteBuffer.allocate(4 * values.length + 4);
    bytes.putInt(values.length);
    bytes.asIntBuffer().put(values);
    sha.update(bytes.array());
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }
}
