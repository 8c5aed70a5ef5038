/// Models from the Hugging Face hub: names, the cache shared with other tools, and downloads.
///
/// Only `modegpt download`, and commands that are told to, use the network; everything else looks
/// into the cache ({@link org.modegpt.hub.ModelLocator}).
package org.modegpt.hub;
