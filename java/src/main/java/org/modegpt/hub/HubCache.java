package org.modegpt.hub;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Optional;
import java.util.UUID;
import java.util.regex.Pattern;

/// The Hugging Face cache, as all tools share it:
///
/// ```
/// CACHEDIR.TAG
/// .locks/models--org--name/ETAG.lock
/// models--org--name/refs/main                  the commit a branch or tag is at
///                   blobs/ETAG                 contents
///                   blobs/ETAG.incomplete      what an unfinished download has
///                   snapshots/COMMIT/FILE      links to blobs (copies where links are impossible)
/// ```
final class HubCache {
  static final Pattern COMMIT = Pattern.compile("[0-9a-f]{40}");

  private static final String TAG =
      """
      Signature: 8a477f597d28d172789f06886806bc55
      # This file is a cache directory tag: backups may leave this folder out.
      # See https://bford.info/cachedir/
      """;

  private final Path root;
  private final boolean symlinks;

  HubCache(Path root, boolean symlinks) {
    this.root = root;
    this.symlinks = symlinks;
  }

  Path root() {
    return root;
  }

  private static String folderName(String id) {
    return "models--" + id.replace("/", "--");
  }

  private Path repository(String id) {
    return root.resolve(folderName(id));
  }

  /// The folder of a revision's files, if some of them are in the cache.
  Optional<Path> snapshot(ModelRef ref) throws IOException {
    String commit = ref.revision();
    if (!COMMIT.matcher(commit).matches()) {
      Path name = repository(ref.id()).resolve("refs").resolve(commit);
      if (!Files.isRegularFile(name)) {
        return Optional.empty();
      }
      commit = Files.readString(name).strip();
    }
    Path folder = repository(ref.id()).resolve("snapshots").resolve(commit);
    return Files.isDirectory(folder) ? Optional.of(folder) : Optional.empty();
  }

  /// The place for files of one commit of `ref`.
  Destination destination(ModelRef ref, String commit) {
    return new Snapshot(ref, commit);
  }

  /// Writes `CACHEDIR.TAG` where it is missing.
  static void tag(Path folder) throws IOException {
    Path tag = folder.resolve("CACHEDIR.TAG");
    if (!Files.exists(tag)) {
      Files.createDirectories(folder);
      Files.writeString(tag, TAG);
    }
  }

  private final class Snapshot implements Destination {
    private final ModelRef ref;
    private final String commit;
    private final Path repository;

    Snapshot(ModelRef ref, String commit) {
      this.ref = ref;
      this.commit = commit;
      this.repository = repository(ref.id());
    }

    @Override
    public Path folder() {
      return repository.resolve("snapshots").resolve(commit);
    }

    private Path blob(RemoteFile file) {
      return repository.resolve("blobs").resolve(file.etag());
    }

    /// Commits do not change, so a file that is there is right.
    @Override
    public boolean has(RemoteFile file) {
      return Files.exists(folder().resolve(file.path()));
    }

    @Override
    public Path lock(RemoteFile file) {
      return root.resolve(".locks").resolve(folderName(ref.id())).resolve(file.etag() + ".lock");
    }

    @Override
    public Path partial(RemoteFile file) throws IOException {
      tag(root);
      Files.createDirectories(blob(file).getParent());
      return blob(file).resolveSibling(file.etag() + ".incomplete");
    }

    @Override
    public boolean adopt(RemoteFile file) throws IOException {
      if (!Files.exists(blob(file))) {
        return false;
      }
      link(file, false);
      return true;
    }

    @Override
    public void complete(RemoteFile file) throws IOException {
      Files.move(partial(file), blob(file), StandardCopyOption.ATOMIC_MOVE);
      link(file, true);
    }

    /// @param fresh whether nothing else can refer to the blob yet
    private void link(RemoteFile file, boolean fresh) throws IOException {
      Path pointer = folder().resolve(file.path());
      Files.createDirectories(pointer.getParent());
      if (Files.exists(pointer)) {
        return;
      }
      Files.deleteIfExists(pointer); // a link to a blob that is gone
      if (symlinks) {
        try {
          Files.createSymbolicLink(pointer, pointer.getParent().relativize(blob(file)));
          return;
        } catch (FileSystemException | UnsupportedOperationException e) {
          if (Files.exists(pointer)) {
            return; // another download of the same file was faster
          }
          // No links on this file system or for this user: the content itself goes there.
        }
      }
      if (fresh) {
        Files.move(blob(file), pointer);
      } else {
        Files.copy(blob(file), pointer);
      }
    }

    @Override
    public void finish() throws IOException {
      if (!ref.revision().equals(commit)) {
        Path name = repository.resolve("refs").resolve(ref.revision());
        Files.createDirectories(name.getParent());
        Path fresh = name.resolveSibling(name.getFileName() + "." + UUID.randomUUID() + ".tmp");
        Files.write(fresh, commit.getBytes(StandardCharsets.UTF_8));
        Files.move(fresh, name, StandardCopyOption.ATOMIC_MOVE);
      }
    }
  }
}
