package org.modegpt.evaluate;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HexFormat;
import org.modegpt.evaluate.RequestEncoder.Encoded;
import org.modegpt.io.Digests;
import org.modegpt.tasks.TaskDefinition.Generation;

/// Hashes of what a model is asked, in tokens: equal questions have equal answers, whatever task
/// they come from.
final class AnswerKey {
  private static final int BYTES = 12;

  private AnswerKey() {}

  /// Of a continuation to score.
  static String of(Encoded request) {
    MessageDigest sha = Digests.sha256();
    update(sha, request.sequence().tokens());
    update(sha, request.sequence().scoredFrom());
    update(sha, request.targets());
    return HexFormat.of().formatHex(sha.digest(), 0, BYTES);
  }

  /// Of a prompt to continue.
  static String of(Encoded prompt, Generation settings) {
    MessageDigest sha = Digests.sha256();
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
}
