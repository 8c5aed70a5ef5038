package org.modegpt.hub;

import java.io.IOException;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandler;
import java.net.http.HttpResponse.BodySubscribers;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import org.modegpt.UserException;
import org.modegpt.io.IoErrors;

/// Brings the bytes of one file into its partial file: goes on where an earlier attempt stopped,
/// survives broken connections, and checks the whole against the etag.
final class Transfer {
  private final HubClient client;
  private final HubSettings settings;
  private final ModelRef ref;
  private final RemoteFile file;
  private final Path partial;
  private final AtomicLong total;
  private final Consumer<String> say;

  /// Bytes of the partial file that are counted in `total`.
  private long counted;

  /// @param total counts the bytes that are there, of all files
  Transfer(
      HubClient client,
      HubSettings settings,
      ModelRef ref,
      RemoteFile file,
      Path partial,
      AtomicLong total,
      Consumer<String> say) {
    this.client = client;
    this.settings = settings;
    this.ref = ref;
    this.file = file;
    this.partial = partial;
    this.total = total;
    this.say = say;
  }

  /// @throws UserException when the file cannot be had whole and right
  void run() throws IOException {
    for (int attempt = 0; attempt < 2; attempt++) {
      Retry retry = new Retry(settings.retryDelay(), say);
      retry.run(file.path(), () -> fetchRest(retry));
      if (!Checksum.known(file.etag())) {
        say.accept(
            "%s: the server gives no checksum; only the size was checked".formatted(file.path()));
        return;
      }
      if (Checksum.matches(partial, file.etag())) {
        return;
      }
      Files.delete(partial);
      count(0);
      say.accept("%s: wrong checksum; fetching it anew".formatted(file.path()));
    }
    throw new UserException(
        "%s arrives damaged: its checksum is not the one the hub states; try again later or through another network"
            .formatted(file.path()));
  }

  private boolean fetchRest(Retry retry) throws IOException {
    long have = Files.exists(partial) ? Files.size(partial) : 0;
    if (file.size() >= 0 && have > file.size()) {
      Files.delete(partial);
      have = 0;
    }
    count(have);
    if (have == file.size() && have > 0) {
      return true;
    }
    AtomicLong received = new AtomicLong();
    HttpResponse<String> answer;
    try (FileChannel out =
        FileChannel.open(partial, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
      answer = client.fetch(ref, file, have, into(out, have, received, retry), received::get);
    }
    if (answer.statusCode() == 416) { // what is there is not the start of this file
      Files.delete(partial);
      throw new IOException("the server cannot go on at byte " + have);
    }
    long size = Files.size(partial);
    if (file.size() >= 0 && size < file.size()) {
      throw new IOException(
          "the connection ended after %d of %d bytes".formatted(size, file.size()));
    }
    return true;
  }

  /// Writes the body of a good answer behind what is there, or from the start where the server
  /// sends the whole file; other bodies are texts.
  private BodyHandler<String> into(FileChannel out, long have, AtomicLong received, Retry retry) {
    return info -> {
      if (info.statusCode() != 200 && info.statusCode() != 206) {
        return BodySubscribers.ofString(StandardCharsets.UTF_8);
      }
      boolean rest =
          info.statusCode() == 206
              && info.headers()
                  .firstValue("Content-Range")
                  .orElse("")
                  .startsWith("bytes " + have + "-");
      AtomicLong position = new AtomicLong(rest ? have : 0);
      truncate(out, position.get());
      return BodySubscribers.mapping(
          BodySubscribers.ofByteArrayConsumer(chunk ->
              chunk.ifPresent(bytes -> {
                write(out, position.getAndAdd(bytes.length), bytes);
                received.addAndGet(bytes.length);
                retry.progressed();
              })),
          _ -> "");
    };
  }

  private void truncate(FileChannel out, long length) {
    try {
      out.truncate(length);
      count(length);
    } catch (IOException e) {
      throw IoErrors.writing(partial, e);
    }
  }

  private void write(FileChannel out, long at, byte[] bytes) {
    try {
      ByteBuffer buffer = ByteBuffer.wrap(bytes);
      while (buffer.hasRemaining()) {
        out.write(buffer, at + buffer.position());
      }
      count(at + bytes.length);
    } catch (IOException e) {
      throw IoErrors.writing(partial, e);
    }
  }

  private synchronized void count(long bytes) {
    total.addAndGet(bytes - counted);
    counted = bytes;
  }
}
