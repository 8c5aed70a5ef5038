/// Watching a model at work in an application: latency, speed, memory, how sure it is of its text,
/// and how far that text is from what the model was calibrated on, in the same store as all runs.
@NullMarked
package org.modegpt.monitor;

import org.jspecify.annotations.NullMarked;
