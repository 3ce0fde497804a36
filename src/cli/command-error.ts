/** A command cannot do what it was asked for; its message is one full sentence for the person who asked. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}
