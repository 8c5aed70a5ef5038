package org.modegpt.hub;

import java.io.IOException;
import java.nio.file.Path;

/// Where downloaded files go: the shared cache or a folder.
interface Destination {
  /// The folder in which the files lie under their own names.
  Path folder();

  /// Whether the file is there with the content the hub has now.
  boolean has(RemoteFile file) throws IOException;

  /// Held while the file is fetched, by all processes.
  Path lock(RemoteFile file);

  /// Where the bytes gather until they are complete; its folder exists.
  Path partial(RemoteFile file) throws IOException;

  /// Takes over what another download has brought meanwhile; false if there is nothing.
  boolean adopt(RemoteFile file) throws IOException;

  /// Puts the complete and checked partial file in its place.
  void complete(RemoteFile file) throws IOException;

  /// Everything asked for is there.
  void finish() throws IOException;
}
