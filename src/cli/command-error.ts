/** A command cannot do what it was asked for; its message is one full sentence for the person who asked. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

/** Whoever reads what a command writes has enough of it: there is nobody to be told. */
export class ReaderGoneError extends Error {
  override readonly name = 'ReaderGoneError';
}
