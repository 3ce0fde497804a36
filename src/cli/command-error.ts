/** A command cannot do what it was asked for; its message is one full sentence for the person who asked. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

/** The reader of a command's output has closed it, so a message would reach no reader. */
export class ReaderGoneError extends Error {
  override readonly name = 'ReaderGoneError';
}
