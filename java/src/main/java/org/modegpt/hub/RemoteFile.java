package org.modegpt.hub;

/// A file of a repository at a commit.
///
/// @param path name in the repository, with slashes
/// @param commit full hash of the commit
/// @param etag what identifies the content: SHA-256 of large files, git's SHA-1 of small ones
/// @param size bytes, or -1 where the server does not say
record RemoteFile(String path, String commit, String etag, long size) {}
