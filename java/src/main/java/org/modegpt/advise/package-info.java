/// Advice before a compression is run: what size, perplexity, memory and speed an untried ratio
/// will have, from recorded runs of the same original and from removal curves kept beside its
/// statistics, with bands that say how far such predictions have been off.
@NullMarked
package org.modegpt.advise;

import org.jspecify.annotations.NullMarked;
