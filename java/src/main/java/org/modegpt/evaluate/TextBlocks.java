package org.modegpt.evaluate;

import java.util.Arrays;
import org.modegpt.UserException;
import org.modegpt.model.Transformer;
import org.modegpt.tasks.DataFolders;
import org.modegpt.tasks.TaskDefinition;
import org.modegpt.text.TextDataset;

/// The consecutive blocks of tokens that a perplexity or divergence task works on.
record TextBlocks(String name, int[] ids, int blockLength, int count) {
  private static final int DEFAULT_LENGTH = 2048;

  static TextBlocks of(TaskDefinition task, DataFolders folders, Transformer model) {
    TextDataset text =
        TextDataset.read(
            folders.find(task, task.data()).stream().map(java.nio.file.Path::toString).toList());
    int context = model.config().contextLength();
    int length = task.blockLength() > 0 ? task.blockLength() : Math.min(DEFAULT_LENGTH, context);
    if (length > context) {
      throw new UserException(
          "task %s: block_length %d is more than the model's context of %d"
              .formatted(task.name(), length, context));
    }
    int[] ids = model.directory().tokenizer().encode(text.text());
    for (int id : ids) {
      if (id >= model.config().vocabSize()) {
        throw new UserException(
            "the tokenizer gives token %d, outside the model's vocabulary of %d"
                .formatted(id, model.config().vocabSize()));
      }
    }
    int blocks = ids.length / length;
    if (blocks == 0) {
      throw new UserException(
          "task %s: %s has %d tokens, fewer than one block of %d; give more text or a smaller block_length"
              .formatted(task.name(), text.name(), ids.length, length));
    }
    return new TextBlocks(
        text.name(), ids, length, task.limit() > 0 ? Math.min(task.limit(), blocks) : blocks);
  }

  int[] block(int index) {
    return Arrays.copyOfRange(ids, index * blockLength, (index + 1) * blockLength);
  }
}
