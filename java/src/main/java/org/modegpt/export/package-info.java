/// Models in the formats of other tools: a compact model (or any other) goes back to the shapes of
/// its family, which every program that knows the family can load, and into a Hugging Face folder
/// or a GGUF file.
@org.jspecify.annotations.NullMarked
package org.modegpt.export;
